/**
 * What a PCI function is, as lines of text and as JSON.
 * @module
 */

import { bold } from "@std/fmt/colors";

import { changing, closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { type Fact, Unknown } from "../../../src/core/fact.ts";
import { formatBytes, hex } from "../../../src/core/units.ts";
import { className, type PciFunction, summarize } from "../../../src/pci/function.ts";
import type { Resource } from "../../../src/pci/resources.ts";

/** `0000:01:00.0: NVMe controller 1b36:0010, driver nvme`. */
export function functionLine(fn: PciFunction): string {
  return `${bold(fn.name)}: ${summarize(fn)}`;
}

/** `BAR0: 16 KiB of 64-bit memory at 0xfe000000`. */
export function barLine(bar: Resource): string {
  const width = bar.space === "I/O" ? "I/O ports" : bar.is64Bit ? "64-bit memory" : "32-bit memory";
  const kind = bar.prefetchable ? `prefetchable ${width}` : width;
  return `BAR${bar.index}: ${formatBytes(bar.sizeBytes)} of ${kind} at ${hex(bar.start)}`;
}

/**
 * A fact as JSON: its value, or null and why.
 *
 * @param none why there is none, where that is known
 */
export function factJson<T extends string | number>(fact: Fact<T>, none: string): JsonObject {
  if (fact instanceof Unknown) return { value: null, reason: fact.reason };
  return { value: fact, reason: fact === null ? none : null };
}

function factSchema(type: string): JsonObject {
  return closedObject({ value: { type: [type, "null"] }, reason: { type: ["string", "null"] } });
}

/** A function as JSON. */
export function functionJson(fn: PciFunction): JsonObject {
  const soft = fn.address === null;
  const unless = (reason: string): string => soft ? "a software device" : reason;
  return {
    name: fn.name,
    vendorId: fn.vendorId,
    deviceId: fn.deviceId,
    classCode: fn.classCode,
    class: className(fn.classCode),
    driver: factJson(fn.driver, unless("no driver holds it")),
    iommuGroup: factJson(fn.iommuGroup, unless("the machine has no IOMMU, or it is off")),
    numaNode: factJson(fn.numaNode, unless("the firmware does not say")),
    powerState: factJson(fn.powerState, unless("the kernel does not say")),
  };
}

/** The schema of {@linkcode functionJson}. */
export const FUNCTION_SCHEMA: JsonObject = closedObject({
  name: { type: "string" },
  vendorId: { type: "integer", minimum: 0, maximum: 0xffff },
  deviceId: { type: "integer", minimum: 0, maximum: 0xffff },
  classCode: { type: "integer", minimum: 0, maximum: 0xffffff },
  class: { type: "string" },
  driver: factSchema("string"),
  iommuGroup: changing(factSchema("string")),
  numaNode: factSchema("integer"),
  powerState: changing(factSchema("string")),
});

/** A BAR as JSON: its size, which may need 64 bits, is a decimal string. */
export function barJson(bar: Resource): JsonObject {
  return {
    index: bar.index,
    space: bar.space,
    address: hex(bar.start, 16),
    sizeBytes: bar.sizeBytes.toString(),
    is64Bit: bar.is64Bit,
    prefetchable: bar.prefetchable,
  };
}

/** The schema of {@linkcode barJson}. */
export const BAR_SCHEMA: JsonObject = closedObject({
  index: { type: "integer", minimum: 0, maximum: 5 },
  space: { enum: ["memory", "I/O"] },
  address: changing({ type: "string", pattern: "^0x[0-9a-f]{16}$" }),
  sizeBytes: { type: "string", pattern: "^[0-9]+$" },
  is64Bit: { type: "boolean" },
  prefetchable: { type: "boolean" },
});
