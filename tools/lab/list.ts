/**
 * `lab list`: machines and running guests.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { loadMachine, SHIPPED } from "../../src/lab/machine_file.ts";
import { runningGuests } from "../../src/lab/run_folder.ts";
import { print, printJson } from "../cli/output.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import { labSchema } from "../render/lab/lab_schema.ts";

/** The command line of `lab list`. */
export const list: CommandUnknownOpts = withOwnSchema(
  new Command("list")
    .description("List the machines that come with busbar, and the guests that run now.")
    .option("--json", "print one JSON document")
    .action(async (options) => {
      const machines = await Promise.all(SHIPPED.map((name) => loadMachine(name)));
      const guests = runningGuests();
      if (options.json) {
        printJson({
          schema: "lab_list/1",
          machines: machines.map(({ name, path, machine }) => ({ name, path, purpose: machine.purpose })),
          guests,
        });
        return;
      }
      const width = Math.max(...machines.map(({ name }) => name.length));
      for (const { name, machine } of machines) print(`${name.padEnd(width)}  ${machine.purpose}`);
      print("");
      if (guests.length === 0) print("no guest runs");
      for (const guest of guests) {
        print(`${guest.id}  ${guest.kept ? "kept" : "in use"}, since ${guest.startedAt}, QEMU is process ${guest.pid}`);
      }
    }),
  () => labSchema("list"),
);
