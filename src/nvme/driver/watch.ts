/**
 * Registers over time.
 * @module
 */

import { Deadline, pause } from "../../core/deadline.ts";
import { isBusbarError } from "../../core/error.ts";
import { goneError, type Mmio } from "../../core/mmio.ts";
import type { PciDevice } from "../../pci/device.ts";
import { compareDumps, readRegisters, type RegisterChange, type RegisterDump } from "../tables/register_dump.ts";

/** How often the machine is asked whether the function is still there, between two reads of its registers. */
const PRESENCE_MS = 200;

/** One look that differed from the look before. */
export interface WatchEvent {
  /** When it was seen. */
  readonly time: Date;
  /** What changed. */
  readonly changes: readonly RegisterChange[];
  /** All registers at that time. */
  readonly dump: RegisterDump;
}

/** How registers are watched. */
export interface WatchOptions {
  /** Milliseconds between two looks. */
  readonly intervalMs: number;
  /** Ends it: the generator throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends it quietly. No limit by default. */
  readonly deadline?: Deadline;
}

/**
 * Reads the registers again and again, and yields each time that something changed.
 *
 * @param first what they were at the beginning
 * @throws {BusbarError} `device-gone` within {@linkcode PRESENCE_MS} of the function's end: its registers read all ones
 * or zeros, it left configuration space or sysfs, or an access faulted
 */
export async function* watchRegisters(
  device: PciDevice,
  bar0: Mmio,
  first: RegisterDump,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void> {
  const deadline = options.deadline ?? Deadline.after(Infinity);
  let previous = first;
  while (!deadline.expired) {
    await waitPresent(device, Math.min(options.intervalMs, deadline.remainingMs), options.signal);
    const dump = readOrGone(device, bar0);
    const changes = compareDumps(previous, dump);
    previous = dump;
    if (changes.length > 0) yield { time: new Date(), changes, dump };
  }
}

async function waitPresent(device: PciDevice, durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  const end = Deadline.after(durationMs);
  do {
    await pause(Math.min(PRESENCE_MS, end.remainingMs), signal);
    if (!device.isPresent()) throw goneError(device.function.name, "it left the machine's list of PCI functions");
  } while (!end.expired);
}

function readOrGone(device: PciDevice, bar0: Mmio): RegisterDump {
  try {
    return readRegisters(bar0);
  } catch (error) {
    if (!isBusbarError(error, "unreachable")) throw error;
    throw goneError(device.function.name, error.message.split(": ").at(-1) ?? "its registers do not answer");
  }
}
