/**
 * `tiering show|apply|restore|experiment|workload|weights`: memory tiers, and the settings that move pages between them.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { isBusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import type { Restored } from "../src/core/undo/roll_back.ts";
import { runCommand } from "../src/memory/child_process.ts";
import { WEIGHTS_KEPT } from "../src/memory/interleave_weights.ts";
import { applyProfile, readTierState, TIERING_KEPT } from "../src/memory/tiers.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson } from "./cli/output.ts";
import { readTierProfile } from "../src/memory/tier_profile.ts";
import { tieringSchema, tierJson, tierLines } from "./render/memory/tiering.ts";
import { withoutWord, withSchema } from "./cli/subcommand.ts";
import { interruption, openJournal, raiseExitStatus, run } from "./cli/run.ts";
import { experiment } from "./tiering/experiment.ts";
import { weights } from "./tiering/weights.ts";
import { workload } from "./tiering/workload.ts";

function show(options: { readonly json?: true | undefined; readonly host?: string | undefined }): void {
  const state = readTierState(hostFrom(options.host));
  if (options.json) printJson(tierJson(state));
  else print(tierLines(state).join("\n"));
}

const showCommand: CommandUnknownOpts = new Command("show")
  .description("Show nodes, tiers, where pages are demoted to, and the settings. This is what it does without a word.")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(show);

const apply: CommandUnknownOpts = new Command("apply")
  .description(
    "Apply a profile, as a whole or not at all. It stays until tiering restore; with a command, until its end.",
  )
  .argument("<profile>", "a YAML or JSON file of settings, also HMSDK's; balancing is the one of HMSDK's guide")
  .argument("[command...]", "after --: a command; the profile ends with it")
  .option("--dry-run", "list what would be written; write nothing")
  .option("--json", "print one JSON document")
  .action(async (file, words, options) => {
    const profile = await readTierProfile(file);
    using journal = openJournal("tiering apply", options.dryRun ? (options.json ? note : print) : undefined);
    const changed = applyProfile(journal, thisMachine, profile);
    if (options.dryRun) return;
    if (words.length > 0) {
      const { exitStatus } = await runCommand(words, interruption);
      raiseExitStatus(exitStatus);
      return;
    }
    journal.keepAs(TIERING_KEPT);
    note(changed.length === 0 ? "nothing to change" : `changed ${changed.join(", ")}; tiering restore puts it back`);
    show(options);
  });

const restore: CommandUnknownOpts = new Command("restore")
  .description("Put back every setting that tiering apply changed, and the weights of tiering weights --apply.")
  .option("--json", "print one JSON document")
  .action((options) => {
    for (const one of restoreBoth()) {
      if (one.outcome === "restored" || one.outcome === "unchanged") continue;
      note(
        one.outcome === "changed"
          ? `${one.what}: left alone; tiering set '${one.left}', somebody else changed it to '${one.found}'`
          : `${one.what}: ${one.error ?? one.outcome}`,
      );
      raiseExitStatus(one.outcome === "changed" ? "busy" : "io");
    }
    show(options);
  });

/** Puts back the profile and the weights, whichever there are. @throws {BusbarError} `absent` when there are neither */
function restoreBoth(): Restored[] {
  const lacking: unknown[] = [];
  const restored = [TIERING_KEPT, WEIGHTS_KEPT].flatMap((name) => {
    try {
      return UndoJournal.restoreKept(name);
    } catch (error) {
      if (!isBusbarError(error, "absent")) throw error;
      lacking.push(error);
      return [];
    }
  });
  if (lacking.length === 2) throw lacking[0];
  return restored;
}

/** The command line of `tiering`. */
export const command: CommandUnknownOpts = withoutWord(withSchema(new Command("tiering"), tieringSchema), "show")
  .description("Memory tiers, and the settings that move pages between them.")
  .action(() => show({}))
  .addCommand(showCommand)
  .addCommand(apply)
  .addCommand(experiment)
  .addCommand(workload)
  .addCommand(weights)
  .addCommand(restore);

if (import.meta.main) await run(command);
