/** The tables of the Type 2 GPU, the C header made from them, and what is told apart by them. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { cHeader, HEADER_PATH } from "../../src/type2/c_header.ts";
import { launchParams, slotsOf } from "../../src/type2/arguments.ts";
import { commandNamed, COMMANDS, RESULTS } from "../../src/type2/commands.ts";
import { codeIn, findGeneration, hasFeature } from "../../src/type2/generation.ts";
import { DATA_OFFSET, EXT_MAGIC, J_MAGIC, MAGIC, registerOffset, TYPE2_REGISTERS } from "../../src/type2/registers.ts";

Deno.test("the C header is what the tables say: deno task gen writes it", () => {
  assertEquals(Deno.readTextFileSync(new URL(`../../${HEADER_PATH}`, import.meta.url)), cHeader());
});

Deno.test("registers lie in order below DATA, aligned, and none overlaps the next", () => {
  let end = 0;
  for (const row of TYPE2_REGISTERS.rows) {
    assert(row.type === "uint");
    assert(row.offset >= end && row.offset % row.sizeBytes === 0, row.name);
    end = row.offset + row.sizeBytes;
  }
  assert(end <= DATA_OFFSET);
});

Deno.test("commands have a code each, in order, and name only results that there are", () => {
  assertEquals(COMMANDS.map((row) => row.code), COMMANDS.map((row) => row.code).toSorted((a, b) => a - b));
  assertEquals(new Set(COMMANDS.map((row) => row.code)).size, COMMANDS.length);
  const known = new Set(RESULTS.map((row) => row.code));
  for (const row of COMMANDS) for (const error of row.errors) assert(known.has(error), `${row.name} ${error}`);
});

/** Registers by name; what is not named reads 0. */
function registers(values: Readonly<Record<string, number>>): (offset: number) => number {
  const at = new Map(Object.entries(values).map(([name, value]) => [registerOffset(name), value]));
  return (offset) => at.get(offset) ?? 0;
}

Deno.test("the generation goes by CAPS, magic numbers and the window, not by the size of BAR2", () => {
  const profile = (values: Record<string, number>, window: number): string =>
    findGeneration(registers({ MAGIC, VERSION: 0x10000, ...values }), window, "x").profile.name;
  assertEquals(profile({}, 0x10000), "v1");
  assertEquals(profile({}, 128 << 20), "v1"); // a large cache is no sign of the second generation
  assertEquals(profile({ CAPS: 0x1b }, 0x101000), "v2");
  assertEquals(profile({ CAPS: 0x1b }, 0x10000), "v1");
  assertEquals(profile({ CAPS: 0x3b, J_MAGIC }, 128 << 20), "v2-J");
  assertEquals(profile({ CAPS: 0x1b, VERSION: 0x11300 }, 64 << 20), "newer");
});

Deno.test("what is no such device is said with what was read", () => {
  const fails = (values: Record<string, number>, window: number, code: string, part: string): void => {
    const error = assertThrows(() => findGeneration(registers(values), window, "x"), BusbarError, part);
    assertEquals(error.code, code);
    assert(error.hint !== null);
  };
  fails({ MAGIC }, 0x8000, "unsupported", "0x8000");
  fails({ MAGIC: 0xffff_ffff }, 0x10000, "unreachable", "all ones");
  fails({}, 0x10000, "unreachable", "reads 0");
  fails({ MAGIC: 0x12345678 }, 0x10000, "absent", "0x12345678");
});

Deno.test("features follow CAPS, in the fork one bit further from dynamic capacity on", () => {
  const of = (values: Record<string, number>, window = 0x101000) =>
    findGeneration(registers({ MAGIC, VERSION: 0x10000, ...values }), window, "x");
  assert(!hasFeature(of({}), "BULK") && !hasFeature(of({}), "PEERS") && hasFeature(of({}), "common"));
  assert(hasFeature(of({ CAPS: 0x1b }), "BULK") && !hasFeature(of({ CAPS: 0x1b }), "DCD"));
  assert(hasFeature(of({ CAPS: 0x3b }), "DCD"));
  const fork = of({ CAPS: 0x3b, J_MAGIC });
  assert(!hasFeature(fork, "DCD") && hasFeature(fork, "FORK_J"));
  assertEquals(codeIn(fork, commandNamed("CACHE_PREFETCH").code), 0x88);
  assert(hasFeature(of({ EXT_MAGIC }), "EXTENSION") && !hasFeature(of({}), "EXTENSION"));
});

Deno.test("launches are packed as in the protocol's example", () => {
  const params = launchParams(5, { grid: [3, 2, 1], block: [32, 4, 1], sharedBytes: 256 }, 2);
  assertEquals(params, [5n, 0x2_00000003n, 0x20_00000001n, 0x1_00000004n, 0x2_00000100n]);
});

Deno.test("each argument begins at a slot of its own, a structure fills several", () => {
  const parameter = (offset: number, sizeBytes: number) => ({
    name: "p",
    type: "b8",
    offset,
    sizeBytes,
    isArray: sizeBytes > 8,
  });
  const kernel = { name: "k", parameters: [parameter(0, 1), parameter(4, 12), parameter(16, 8)] };
  const packed = Uint8Array.from({ length: 24 }, (_, i) => i + 1);
  const slots = slotsOf(kernel, packed);
  assertEquals([...slots.subarray(0, 8)], [1, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals([...slots.subarray(8, 24)], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 0]);
  assertEquals([...slots.subarray(24)], [17, 18, 19, 20, 21, 22, 23, 24]);
});
