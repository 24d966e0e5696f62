import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import {
  formatBytes,
  formatDecimalBytes,
  formatDurationMs,
  formatDurationUs,
  hex,
  parseBytes,
  parseDurationMs,
  parseUnsigned,
} from "../../src/core/units.ts";

Deno.test("sizes are written with the largest binary unit, exact or to two decimals", () => {
  const cases: readonly [bigint, string][] = [
    [0n, "0 B"],
    [1023n, "1023 B"],
    [1024n, "1 KiB"],
    [1536n, "1.50 KiB"],
    [16384n, "16 KiB"],
    [1n << 30n, "1 GiB"],
    [(1n << 30n) + 1n, "1.00 GiB"],
    [1n << 63n, "8 EiB"],
    [(1n << 64n) - 1n, "16.00 EiB"],
    [(1n << 20n) - 1n, "1.00 MiB"],
    [1_048_064n, "1023.50 KiB"],
  ];
  for (const [value, text] of cases) assertEquals(formatBytes(value), text);
});

Deno.test("capacities are written as drives are sold, rounded and not cut", () => {
  const cases: readonly [bigint, string][] = [
    [0n, "0 B"],
    [999n, "999 B"],
    [1000n, "1 kB"],
    [512_110_190_592n, "512.11 GB"],
    [3_840_755_982_336n, "3.84 TB"],
    [1_999_999_999_999n, "2.00 TB"],
    [67_108_864n, "67.11 MB"],
    [999_999n, "1.00 MB"],
    [994_999n, "995.00 kB"],
    [(1n << 128n) - 1n, "340282366920938463463.37 EB"],
  ];
  for (const [value, text] of cases) assertEquals(formatDecimalBytes(value), text);
});

Deno.test("microseconds are written in the unit that fits", () => {
  const cases: readonly [number | bigint, string][] = [
    [0, "0 µs"],
    [80n, "80 µs"],
    [999, "999 µs"],
    [2500n, "2.5 ms"],
    [5_000_000n, "5 s"],
    [0xffff_ffffn, "71.58 min"],
  ];
  for (const [value, text] of cases) assertEquals(formatDurationUs(value), text);
});

Deno.test("sizes are read in every usual spelling", () => {
  const cases: readonly [string, bigint][] = [
    ["4096", 4096n],
    ["0x1000", 4096n],
    ["64K", 65536n],
    ["64k", 65536n],
    ["64KiB", 65536n],
    ["1.5GiB", 1610612736n],
    ["10MB", 10_000_000n],
    ["16 TiB", 1n << 44n],
    ["18446744073709551615", (1n << 64n) - 1n],
  ];
  for (const [text, value] of cases) assertEquals(parseBytes(text), value);
});

Deno.test("what is no size is refused with an example", () => {
  for (const text of ["", "x", "-1", "1e3", "0x", "64Q", "1..5K", "1.5", "0.3KiB", "K", "0x1000K"]) {
    assertEquals(assertThrows(() => parseBytes(text), BusbarError).code, "usage", text);
  }
});

Deno.test("durations are read in their units, plain numbers as seconds", () => {
  const cases: readonly [string, number][] = [
    ["500ms", 500],
    ["2s", 2000],
    ["1.5s", 1500],
    ["3", 3000],
    ["2m", 120000],
    ["250us", 0.25],
    ["1h", 3600000],
  ];
  for (const [text, value] of cases) assertEquals(parseDurationMs(text), value);
  for (const text of ["", "0", "-1s", "s", "1d", "1e9s"]) assertThrows(() => parseDurationMs(text), BusbarError);
});

Deno.test("durations are written as people say them", () => {
  const cases: readonly [number, string][] = [[0, "0 ms"], [250, "250 ms"], [7500, "7.5 s"], [90_000, "90 s"], [
    150_000,
    "2.5 min",
  ]];
  for (const [value, text] of cases) assertEquals(formatDurationMs(value), text);
});

Deno.test("numbers are decimal or hexadecimal and nothing else", () => {
  assertEquals([parseUnsigned("10", "x"), parseUnsigned("0x1F", "x")], [10n, 31n]);
  for (const text of ["", "-1", "1.0", "abc", "0b1", "1 "]) {
    assertThrows(() => parseUnsigned(text, "offset"), BusbarError, "offset");
  }
  assertEquals([hex(255), hex(255n, 4), hex(0)], ["0xff", "0x00ff", "0x0"]);
});
