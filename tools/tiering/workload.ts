/**
 * `tiering workload`: a workload of the experiments by itself.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { formatBytes } from "../../src/core/units.ts";
import { holdMemory, updateAtRandom } from "../../src/memory/workload.ts";
import { onlyWith } from "../cli/applicable.ts";
import { positiveNumber, sizeBytes } from "../cli/arguments.ts";
import { print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { updatesJson, updatesLine } from "../render/memory/tiering.ts";

/** HPC Challenge RandomAccess: four updates for each word. */
export const DEFAULT_UPDATES = 4;

/** The command line of `tiering workload`. */
export const workload: CommandUnknownOpts = new Command("workload")
  .description("Run a workload of the experiments by itself: random updates of a table, or a hog that holds memory.")
  .addArgument(
    new Argument("<kind>", "gups ends when its updates are made, hog when it is ended").choices(["gups", "hog"]),
  )
  .argument("<size>", "as in 1GiB", sizeBytes)
  .option("--updates <n>", "gups: updates for each word of 8 bytes", positiveNumber, DEFAULT_UPDATES)
  .option("--json", "print one JSON document")
  .action(async (kind, size, options, self) => {
    onlyWith(self, kind === "gups", ["--updates"], "gups");
    if (kind === "hog") {
      const held = { schema: "tiering_workload/1", heldBytes: size.toString() };
      await holdMemory(size, () => options.json ? printJson(held) : print(`holds ${formatBytes(size)}`), interruption);
      return;
    }
    const done = await updateAtRandom(size, { perWord: options.updates, signal: interruption });
    if (options.json) printJson(updatesJson(done));
    else print(updatesLine(done));
  });
