/**
 * `lab setup`: fetch what lab machines are made from.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { cannotSetUp, setUp } from "../../src/lab/image.ts";
import { cannotStart } from "../../src/lab/parts.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import { labSchema } from "../render/lab/lab_schema.ts";

/** The command line of `lab setup`. */
export const setup: CommandUnknownOpts = withOwnSchema(
  new Command("setup")
    .description(
      "Fetch QEMU, a kernel and the guest's tools into the user's cache. Changes nothing else, needs no root.",
    )
    .option("--refresh", "fetch the newest packages even when an image is there")
    .option("--json", "print one JSON document")
    .action(async (options) => {
      if (cannotSetUp() !== null && cannotStart() === null) {
        if (options.json) printJson({ schema: "lab_setup/1", made: false, image: null });
        else print("nothing to fetch: BUSBAR_LAB_QEMU and BUSBAR_LAB_KERNEL name what machines are started with");
        return;
      }
      const { image, made } = await setUp({
        refresh: options.refresh === true,
        onProgress: (line) => note(`lab setup: ${line}`),
        signal: interruption,
      });
      if (options.json) {
        printJson({ schema: "lab_setup/1", made, image });
        return;
      }
      const { kernelRelease = "", packages = [] } = image.record ?? {};
      const qemu = packages.find((name) => name.startsWith("qemu-system-x86_"))?.split("_")[1] ?? "";
      print(`${made ? "fetched" : "ready"}: QEMU ${decodeURIComponent(qemu)}, Linux ${kernelRelease}`);
      print(`in ${image.root}`);
    }),
  () => labSchema("setup"),
);
