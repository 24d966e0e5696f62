/**
 * `lab shell`: a terminal in a lab machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { findGuest } from "../../src/lab/run_folder.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { reportLabFailure } from "./failure.ts";
import { useConsole, useTerminal } from "./terminal.ts";

/** The command line of `lab shell`. */
export const shell: CommandUnknownOpts = new Command("shell")
  .description("Open a shell in a machine. Ctrl-C and the window's size reach the guest; exit ends it.")
  .argument("[machine]", "a machine of lab list, or a YAML file; left out with --attach")
  .option("--share <folder>", "a folder that the guest may write to, at the same path there")
  .option("--keep", "leave the guest running after the shell")
  .option("--attach [guest]", "use a guest that was left running, instead of booting one")
  .action(async (machine, options) => {
    if (!Deno.stdin.isTerminal()) {
      throw new BusbarError("usage", "a shell needs a terminal", { hint: "lab run MACHINE -- COMMAND needs none" });
    }
    const attach = options.attach !== undefined;
    if (!attach && machine === undefined) {
      throw new BusbarError("usage", "no machine named", { hint: "lab shell nvme; lab list shows the machines" });
    }
    const share = options.share === undefined ? {} : { share: await Deno.realPath(options.share) };
    const named = machine === undefined || attach ? null : await loadMachine(machine);
    try {
      await using guest = named === null
        ? await Guest.attach(findGuest(typeof options.attach === "string" ? options.attach : machine ?? null))
        : await Guest.boot(named, { ...share, onProgress: (line) => note(`lab shell: ${line}`), signal: interruption });
      if (!guest.record.takesCommands) await useConsole(guest, interruption);
      else Deno.exitCode = await useTerminal(guest, interruption);
      if (attach) return;
      if (options.keep) {
        await guest.keep();
        note(`lab shell: ${guest.record.id} goes on; lab clean ${guest.record.id} ends it`);
      } else await guest.powerOff();
    } catch (error) {
      reportLabFailure(error, "lab shell");
    }
  });
