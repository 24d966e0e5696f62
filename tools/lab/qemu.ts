/**
 * `lab qemu`: the command line behind a machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { loadMachine } from "../../src/lab/machine_file.ts";
import { planMachine, shellText } from "../../src/lab/qemu.ts";
import { printedPlaces } from "../../src/lab/printed_places.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import { labSchema } from "../render/lab/lab_schema.ts";

/** The command line of `lab qemu`. */
export const qemu: CommandUnknownOpts = withOwnSchema(
  new Command("qemu")
    .description("Print a machine's QEMU command line. Pasted into a shell, it boots to a shell on this terminal.")
    .argument("<machine>", "a machine of lab list, or a YAML file")
    .option("--json", "print one JSON document")
    .action(async (name, options) => {
      const { machine, name: machineName } = await loadMachine(name);
      const onProgress = (line: string): void => note(`lab: ${line}`);
      const { places, folder } = await printedPlaces(machine, machineName, { onProgress, signal: interruption });
      const plan = planMachine(machine, places);
      if (options.json) {
        const files = plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes: sizeBytes.toString() }));
        printJson({ schema: "lab_qemu/1", machine: machineName, folder, argv: plan.argv, files });
      } else print(shellText(plan, folder));
    }),
  () => labSchema("qemu"),
);
