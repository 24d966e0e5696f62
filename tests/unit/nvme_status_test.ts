import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { NvmeStatus, nvmeStatusOf, STATUS_CODES, statusCodeNamed, statusError } from "../../src/nvme/tables/status.ts";

Deno.test("each part of a status comes from its own bits", () => {
  const status = new NvmeStatus(0x4002);
  assertEquals(
    [status.sct, status.sc, status.crd, status.more, status.doNotRetry],
    [0, 2, 0, false, true] as unknown[],
  );
  const parts = (value: number): unknown[] => {
    const { sc, sct, crd, more, doNotRetry } = new NvmeStatus(value);
    return [sc, sct, crd, more, doNotRetry];
  };
  assertEquals(parts(0x00ff), [0xff, 0, 0, false, false]);
  assertEquals(parts(0x0700), [0, 7, 0, false, false]);
  assertEquals(parts(0x1800), [0, 0, 3, false, false]);
  assertEquals(parts(0x2000), [0, 0, 0, true, false]);
  assertEquals(parts(0x4000), [0, 0, 0, false, true]);
  assertEquals(new NvmeStatus(0x12_8000).value, 0);
});

/** Statuses that QEMU 7.2 answered with when it was driven register by register. */
Deno.test("statuses measured on an emulated controller have the name of what was done wrong", () => {
  const measured: readonly [number, string][] = [
    [0x4080, "LBA Out of Range"],
    [0x400b, "Invalid Namespace or Format"],
    [0x4001, "Invalid Command Opcode"],
    [0x4002, "Invalid Field in Command"],
    [0x400f, "Data SGL Length Invalid"],
    [0x4013, "PRP Offset Invalid"],
    [0x0285, "Compare Failure"],
    [0x4101, "Invalid Queue Identifier"],
    [0x4102, "Invalid Queue Size"],
    [0x4100, "Completion Queue Invalid"],
    [0x010c, "Invalid Queue Deletion"],
  ];
  for (const [value, name] of measured) assertEquals(new NvmeStatus(value).name, name);
});

Deno.test("every value of the field has a name and a sentence, and no code stands in the table twice", () => {
  for (let value = 0; value < 0x8000; value++) {
    const status = new NvmeStatus(value);
    assert(status.name.length > 0 && status.sentence.length > 0 && `${status}`.startsWith(status.name));
    assert(!status.sentence.endsWith("."));
  }
  const codes = STATUS_CODES.map(({ sct, sc }) => sct << 8 | sc);
  assertEquals(new Set(codes).size, codes.length);
  assertEquals(new Set(STATUS_CODES.map(({ name }) => name)).size, codes.length);
  for (const { sc } of STATUS_CODES) assert(sc < 0xc0);
  assertEquals(new NvmeStatus(0x1c3).name, "Vendor Specific Status");
  assertEquals(new NvmeStatus(0x702).name, "Vendor Specific Status");
  assertEquals(new NvmeStatus(0x502).name, "Reserved Status");
});

Deno.test("an error made from a status names it, hints at what to do, and gives the number back", () => {
  const error = statusError(0x600b, { operation: "identify namespace 5", path: "0000:01:00.0" });
  assertEquals([error.code, error.exitStatus], ["device-failed", 1] as unknown[]);
  assertEquals(
    error.message,
    "0000:01:00.0: identify namespace 5 failed: Invalid Namespace or Format (sct 0, sc 0x0b, more in the error log, " +
      "do not retry)",
  );
  assertStringIncludes(error.hint ?? "", "nvme_identify");
  assertEquals(nvmeStatusOf(error)?.value, 0x600b);
  assertEquals(nvmeStatusOf(new BusbarError("io", "around it", { cause: error }))?.value, 0x600b);
  assertEquals(statusError(0x1c3, { operation: "x", hint: "ask them" }).hint, "ask them");
  for (const other of [new BusbarError("io", "x"), new Error("x"), null, 5]) assertEquals(nvmeStatusOf(other), null);
});

Deno.test("a misspelt name of a status is found when the module loads", () => {
  assertEquals(statusCodeNamed("Compare Failure"), 0x285);
  assertThrows(() => statusCodeNamed("Compare failure"), BusbarError, "no NVMe status has the name");
});
