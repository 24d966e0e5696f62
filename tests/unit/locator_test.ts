import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { nearest, type OptionTable, parseLocator, readOptions, type SoftLocator } from "../../src/core/locator.ts";

Deno.test("each kind of locator is told by its form", () => {
  assertEquals(parseLocator("01:00.0").kind, "pci");
  assertEquals(parseLocator("/dev/dax0.0"), { kind: "node", text: "/dev/dax0.0", path: "/dev/dax0.0" });
  assertEquals(parseLocator("file:saved.dump"), {
    kind: "file",
    text: "file:saved.dump",
    path: "saved.dump",
    query: new Map(),
  });
  assertEquals(parseLocator("soft:nvme?size=64MiB&mn=A%26B%20%3D"), {
    kind: "soft",
    text: "soft:nvme?size=64MiB&mn=A%26B%20%3D",
    device: "nvme",
    query: new Map([["size", "64MiB"], ["mn", "A&B ="]]),
  });
});

Deno.test("what names nothing is refused, and the error lists the forms", () => {
  for (const text of ["", "zz", "nvme0", "soft:", "soft:NVMe", "soft:?x=1", "file:", "/dev/", "/dev/x\0", "C:\\x"]) {
    const error = assertThrows(() => parseLocator(text), BusbarError);
    assertEquals(error.code, "usage", text);
  }
  for (
    const text of [
      "soft:nvme?",
      "soft:nvme?x",
      "soft:nvme?=1",
      "soft:nvme?a=1&a=2",
      "soft:nvme?a=%zz",
      "soft:nvme?a=1&",
    ]
  ) {
    assertEquals(assertThrows(() => parseLocator(text), BusbarError).code, "usage", text);
  }
});

const TABLE: OptionTable = {
  size: { type: "size", title: "capacity", default: "1GiB", min: 4096n, max: 1n << 40n },
  depth: { type: "integer", title: "queue depth", default: "32", min: 1n, max: 64n },
  serial: { type: "text", title: "serial number", default: "S1", max: 4n },
};

function soft(query: string): SoftLocator {
  const locator = parseLocator(`soft:x?${query}`);
  if (locator.kind !== "soft") throw new Error("not soft");
  return locator;
}

Deno.test("settings are filled in, converted and kept in range", () => {
  assertEquals(Object.fromEntries(readOptions(soft("size=64K"), TABLE)), { size: "65536", depth: "32", serial: "S1" });
  const bad: readonly [string, string][] = [
    ["sise=1", "no setting of this device"],
    ["size=1", "at least 4096"],
    ["size=lots", "not a size"],
    ["depth=65", "at most 64"],
    ["depth=1.5", "not a number"],
    ["serial=12345", "at most 4 bytes"],
    ["serial=%C3%A4%C3%A4%C3%A4", "at most 4 bytes"],
    ["serial=a%0Ab", "line breaks"],
    ["__proto__=1", "no setting"],
    ["constructor=1", "no setting"],
  ];
  for (const [query, message] of bad) {
    const error = assertThrows(() => readOptions(soft(query), TABLE), BusbarError, message);
    assertEquals(error.code, "usage");
  }
});

Deno.test("a misspelt setting is answered with the one that was meant", () => {
  const error = assertThrows(() => readOptions(soft("sise=1"), TABLE), BusbarError);
  assertEquals(error.hint, "did you mean 'size'? It takes size, depth, serial");
  assertEquals([nearest("Dept", ["size", "depth"]), nearest("zzzzz", ["size", "depth"]), nearest("a", [])], [
    "depth",
    null,
    null,
  ]);
});
