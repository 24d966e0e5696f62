/**
 * Opens an accelerator by its locator.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Locator, type OptionTable, parseLocator, readOptions, wrongLocatorKind } from "../core/locator.ts";
import type { Machine } from "../core/machine.ts";
import { localMachine, machineOf } from "../../ffi/machine.ts";
import { SoftOradax } from "../../ffi/soft_oradax.ts";
import { DriverOradax, type OradaxTransport } from "./transport.ts";

/** The settings of `soft:oradax`. */
export const SOFT_ORADAX_OPTIONS: OptionTable = {
  dax: { type: "integer", title: "generation: 1 (M7) or 2 (M8)", default: "2", min: 1n, max: 2n },
  units: { type: "integer", title: "threads; 0 is one for each processor, 8 at most", default: "0", max: 8n },
  queue: { type: "integer", title: "CCBs that wait, at most", default: "128", min: 1n, max: 128n },
  delay_us: { type: "integer", title: "microseconds that each CCB takes at least", default: "0", max: 60_000_000n },
  loops: { type: "text", title: "auto, avx512, avx2, neon or portable", default: "auto", max: 16n },
};

/** Where the driver makes its device: one of the two, never both. */
export const ORADAX_NODES: readonly string[] = ["/dev/oradax1", "/dev/oradax2"];

/**
 * Opens `soft:oradax`, `/dev/oradax1` or `/dev/oradax2`, here or on another machine; of a whole machine, what it has.
 *
 * @throws {BusbarError} `usage` for another kind of locator; as open fails
 *
 * @example
 * ```ts
 * import { parseLocator } from "../core/locator.ts";
 * import { openOradax } from "./open.ts";
 * using dax = openOradax(parseLocator("soft:oradax?dax=1"), "example");
 * console.assert(dax.dax === 1);
 * ```
 */
export function openOradax(
  locator: Locator,
  operation: string,
  machine: Machine = machineOf(locator),
): OradaxTransport {
  // The machine's own, whichever it is; software devices are of this process.
  if (locator.kind === "machine") return openPresentOradax(machine, operation);
  if (locator.kind === "soft" && locator.device === "oradax") {
    const settings = readOptions(locator, SOFT_ORADAX_OPTIONS);
    return DriverOradax.soft(SoftOradax.open(locator.text, settings), settings.get("dax") === "1" ? 1 : 2);
  }
  if (locator.kind === "node" && ORADAX_NODES.includes(locator.path)) {
    return DriverOradax.driver(machine.openOradax(locator.path), locator.path.endsWith("1") ? 1 : 2);
  }
  throw wrongLocatorKind(locator, operation, ["soft:oradax", ...ORADAX_NODES]);
}

/** The accelerator of this machine where it has one, else the software one. @throws as opening a present device fails */
export function openDefaultOradax(operation: string): OradaxTransport {
  return openPresent(localMachine, operation) ?? openOradax(parseLocator("soft:oradax"), operation);
}

function openPresent(machine: Machine, operation: string): OradaxTransport | null {
  for (const node of ORADAX_NODES) {
    try {
      return openOradax(parseLocator(node), operation, machine);
    } catch (error) {
      if (!isBusbarError(error, "absent")) throw error;
    }
  }
  return null;
}

function openPresentOradax(machine: Machine, operation: string): OradaxTransport {
  const transport = openPresent(machine, operation);
  if (transport !== null) return transport;
  throw new BusbarError("absent", `${machine.name} has no accelerator: neither ${ORADAX_NODES.join(" nor ")}`, {
    operation,
    path: machine.name,
  });
}
