/**
 * `lab clean`: end kept guests and free the cache.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { cleanCache, stopGuest } from "../../src/lab/clean.ts";
import { formatBytes } from "../../src/core/units.ts";
import { findGuest, runningGuests } from "../../src/lab/run_folder.ts";
import { print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import { labSchema } from "../render/lab/lab_schema.ts";

/** The command line of `lab clean`. */
export const clean: CommandUnknownOpts = withOwnSchema(
  new Command("clean")
    .description("End guests that were left running, and remove what the lab no longer needs from the cache.")
    .argument("[guest...]", "end only these, and remove nothing else")
    .option("--all", "remove the image and the logs too: the next run fetches the image again")
    .option("--dry-run", "list what would be ended and removed")
    .option("--json", "print one JSON document")
    .action(async (names, options) => {
      const dryRun = options.dryRun === true;
      const guests = names.length > 0 ? names.map(findGuest) : runningGuests().filter((guest) => guest.kept);
      if (!dryRun) { for (const guest of guests) await stopGuest(guest); }
      const removed = names.length > 0
        ? []
        : await cleanCache({ all: options.all === true, dryRun, signal: interruption });
      const freedBytes = removed.reduce((sum, item) => sum + item.sizeBytes, 0);
      if (options.json) {
        printJson({ schema: "lab_clean/1", dryRun, guests: guests.map(({ id }) => id), removed, freedBytes });
        return;
      }
      for (const { id } of guests) print(`${dryRun ? "would end" : "ended"} ${id}`);
      for (const item of removed) {
        print(`${dryRun ? "would remove" : "removed"} ${item.path} (${formatBytes(item.sizeBytes)})`);
      }
      if (guests.length === 0 && removed.length === 0) print("nothing to clean");
    }),
  () => labSchema("clean"),
);
