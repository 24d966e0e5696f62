/**
 * `lab qemu`: the command line behind a machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { runsLabGuest } from "../../src/lab/description.ts";
import { shareAttributes } from "../../src/lab/guest_environment.ts";
import { findInitramfs } from "../../src/lab/initramfs.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { findParts } from "../../src/lab/parts.ts";
import { planMachine, shellText } from "../../src/lab/qemu.ts";
import { note, print, printJson } from "../render/output.ts";
import { interruption } from "../run.ts";

/** The command line of `lab qemu`. */
export const qemu: CommandUnknownOpts = new Command("qemu")
  .description("Print a machine's QEMU command line. Pasted into a shell, it boots to a shell on this terminal.")
  .argument("<machine>", "a machine of lab list, or a YAML file")
  .option("--json", "print one JSON document")
  .action(async (name, options) => {
    const { machine, name: machineName } = await loadMachine(name);
    const setUp = { onProgress: (line: string) => note(`lab qemu: ${line}`), signal: interruption };
    const parts = await findParts(machine.kernel ?? null, setUp);
    const folder = `${Deno.env.get("TMPDIR") ?? "/tmp"}/busbar-lab-${machineName}`;
    const share = `${folder}/share`;
    const plan = planMachine(machine, {
      ...parts,
      initramfs: runsLabGuest(machine) ? await findInitramfs(parts, interruption) : "",
      tools: parts.root,
      name: machineName,
      folder,
      sockets: null,
      share,
      shareAttributes: shareAttributes(share),
    });
    if (options.json) {
      const files = plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes: sizeBytes.toString() }));
      printJson({ schema: "lab_qemu/1", machine: machineName, folder, argv: plan.argv, files });
    } else print(shellText(plan, folder));
  });
