/**
 * `--host`: a tool that looks at a whole machine looks at another one.
 * @module
 */

import type { Host } from "../../src/core/host.ts";
import type { Machine } from "../../src/core/machine.ts";
import { openMachine } from "../../src/pci/open_machine.ts";

/** The option, for `.option(...HOST_OPTION)`. */
export const HOST_OPTION = ["--host <machine>", "another machine: ssh:[USER@]NAME[:PORT], or file:RECORDING"] as const;

/** The option beside it, for tools that take devices of other machines too; `run` takes it. */
export const SUDO_OPTION = ["--sudo", "on the other machine: as root, by sudo -n"] as const;

/** The machine that is meant; without a text this one. @throws {BusbarError} `usage` for what names no machine */
export function machineFrom(text: string | undefined): Machine {
  return openMachine(text);
}

/** The text interfaces of the machine that is meant. */
export function hostFrom(text: string | undefined): Host {
  return machineFrom(text).host;
}
