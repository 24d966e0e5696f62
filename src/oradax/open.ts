/**
 * Opens an accelerator by its locator.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Locator, type OptionTable, readOptions, toLocator, wrongDevice } from "../core/locator.ts";
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

/** How an accelerator is opened. */
export interface OpenOradaxOptions {
  /** The machine that it is on; that of the locator by default. */
  readonly machine?: Machine;
}

/**
 * Opens `soft:oradax`, `/dev/oradax1` or `/dev/oradax2`, here or on another machine; of a whole machine, what it has.
 *
 * @throws {BusbarError} `usage` for another kind of locator; as open fails
 *
 * @example
 * ```ts
 * import { openOradax } from "./open.ts";
 * using dax = openOradax("soft:oradax?dax=1");
 * console.assert(dax.dax === 1);
 * ```
 */
export function openOradax(locator: string | Locator, options: OpenOradaxOptions = {}): OradaxTransport {
  const parsed = toLocator(locator);
  const machine = options.machine ?? machineOf(parsed);
  // The machine's own, whichever it is; software devices are of this process.
  if (parsed.kind === "machine") return openPresentOradax(machine);
  if (parsed.kind === "soft" && parsed.device === "oradax") {
    const settings = readOptions(parsed, SOFT_ORADAX_OPTIONS);
    return DriverOradax.soft(SoftOradax.open(parsed.text, settings), settings.get("dax") === "1" ? 1 : 2);
  }
  if (parsed.kind === "node" && ORADAX_NODES.includes(parsed.path)) {
    return DriverOradax.driver(machine.openOradax(parsed.path), parsed.path.endsWith("1") ? 1 : 2);
  }
  throw wrongDevice(parsed, "data analytics accelerator", ["soft:oradax", ...ORADAX_NODES]);
}

/** The accelerator of this machine where it has one, else the software one. @throws as opening a present device fails */
export function openDefaultOradax(): OradaxTransport {
  return openPresent(localMachine) ?? openOradax("soft:oradax");
}

function openPresent(machine: Machine): OradaxTransport | null {
  for (const node of ORADAX_NODES) {
    try {
      return openOradax(node, { machine });
    } catch (error) {
      if (!isBusbarError(error, "absent")) throw error;
    }
  }
  return null;
}

function openPresentOradax(machine: Machine): OradaxTransport {
  const transport = openPresent(machine);
  if (transport !== null) return transport;
  throw new BusbarError("absent", `${machine.name} has no accelerator: neither ${ORADAX_NODES.join(" nor ")}`, {
    operation: "open data analytics accelerator",
    path: machine.name,
  });
}
