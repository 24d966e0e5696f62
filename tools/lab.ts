/**
 * `busbar lab`: virtual machines with a stock Linux kernel and real-shaped hardware.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { clean } from "./lab/clean.ts";
import { list } from "./lab/list.ts";
import { qemu } from "./lab/qemu.ts";
import { run as runCommand } from "./lab/run.ts";
import { setup } from "./lab/setup.ts";
import { shell } from "./lab/shell.ts";
import { run } from "./cli/run.ts";

/** The command line of `lab`. */
export const command: CommandUnknownOpts = new Command("lab")
  .description("Virtual machines with a stock Linux kernel and real-shaped hardware, booted in seconds without root.")
  .addCommand(setup)
  .addCommand(runCommand)
  .addCommand(shell)
  .addCommand(qemu)
  .addCommand(list)
  .addCommand(clean);

if (import.meta.main) await run(command);
