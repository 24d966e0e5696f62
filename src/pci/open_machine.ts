/**
 * Opening a machine by its locator, to read what it has.
 * @module
 */

import { type Locator, readOptions, toLocator, wrongDevice } from "../core/locator.ts";
import { type Machine, TextMachine } from "../core/machine.ts";
import { localMachine, machineOf } from "../../ffi/machine.ts";
import { readMachineFile } from "./machine_file.ts";

/** What {@linkcode openMachine} takes. */
export const MACHINE_LOCATORS: readonly string[] = ["file:RECORDING", "ssh:HOST/ for another machine"];

/**
 * Opens a machine as a whole: without a locator this one, `file:saved.txt` one that was recorded, `ssh:HOST/` another one,
 * where the program reaches it. Of a device on another machine it is that machine.
 *
 * @throws {BusbarError} `usage` for other locators; as reading the recording fails
 *
 * @example
 * ```ts
 * import { openMachine } from "./open_machine.ts";
 * const machine = openMachine();
 * console.assert(machine.host.list("/sys").includes("bus"));
 * ```
 */
export function openMachine(locator?: string | Locator): Machine {
  if (locator === undefined) return localMachine;
  const parsed = toLocator(locator);
  if (parsed.kind === "file") {
    readOptions(parsed, {});
    return new TextMachine(readMachineFile(parsed.path).host);
  }
  if (parsed.host === null) throw wrongDevice(parsed, "machine", MACHINE_LOCATORS);
  return machineOf(parsed);
}
