/**
 * `tiering show|apply|restore|experiment`: memory tiers, and the settings that move pages between them.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { thisMachine } from "../src/core/host.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import { runCommand } from "../src/memory/child_process.ts";
import type { ExperimentRun } from "../src/memory/experiment.ts";
import { applyProfile, readTierState, TIERING_KEPT } from "../src/memory/tiers.ts";
import { HOST_OPTION, hostFrom } from "./cli/machine.ts";
import { note, print, printJson } from "./cli/output.ts";
import { TABLE_FORMATS } from "./render/memory/numa_stats.ts";
import { readTierProfile, readYaml } from "../src/memory/tier_profile.ts";
import { experimentJson, experimentLines, tieringSchema, tierJson, tierLines } from "./render/memory/tiering.ts";
import { withoutWord, withSchema } from "./cli/subcommand.ts";
import { interruption, openJournal, raiseExitStatus, run } from "./cli/run.ts";

function show(options: { readonly json?: true | undefined; readonly host?: string | undefined }): void {
  const state = readTierState(hostFrom(options.host));
  if (options.json) printJson(tierJson(state));
  else print(tierLines(state).join("\n"));
}

const showCommand: CommandUnknownOpts = new Command("show")
  .description("Show nodes, tiers, where pages are demoted to, and the settings. This is what it does without a word.")
  .option(...HOST_OPTION)
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
  .description("Put back every setting that tiering apply changed.")
  .option("--json", "print one JSON document")
  .action((options) => {
    for (const one of UndoJournal.restoreKept(TIERING_KEPT)) {
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

const experiment: CommandUnknownOpts = new Command("experiment")
  .description("Run workloads in several cases (balancing, DAMON, both, neither) and count each. Puts everything back.")
  .argument("<file>", "a YAML file with cases and workloads")
  .addOption(new Option("--format <form>", "of the tables").choices(TABLE_FORMATS).default("text" as const))
  .option("--json", "print one JSON document")
  .action(async (file, options) => {
    // Brings zod, which nothing else here needs.
    const { checkExperiment, runExperiment } = await import("../src/memory/experiment.ts");
    const runs: ExperimentRun[] = [];
    let isShown = false;
    const showRuns = (complete: boolean): void => {
      if (isShown || (runs.length === 0 && !complete)) return;
      isShown = true;
      if (options.json) printJson(experimentJson(runs, complete));
      else print(experimentLines(runs, options.format).join("\n"));
      if (!complete) note("tiering: the experiment did not come to its end; the runs above had");
    };
    const experiment = checkExperiment(await readYaml(file), file);
    // A workload may take its time to end, and after a signal there is little.
    interruption.addEventListener("abort", () => showRuns(false), { once: true });
    try {
      await runExperiment(thisMachine, experiment, {
        openJournal: () => openJournal("tiering experiment"),
        onRun: (caseName, workload) => note(`${caseName}: ${workload}`),
        onResult: (run) => runs.push(run),
        signal: interruption,
      });
    } catch (error) {
      showRuns(false);
      throw error;
    }
    showRuns(true);
    if (runs.some((run) => run.exitStatus !== 0)) raiseExitStatus("no");
  });

/** The command line of `tiering`. */
export const command: CommandUnknownOpts = withoutWord(withSchema(new Command("tiering"), tieringSchema), "show")
  .description("Memory tiers, and the settings that move pages between them.")
  .action(() => show({}))
  .addCommand(showCommand)
  .addCommand(apply)
  .addCommand(experiment)
  .addCommand(restore);

if (import.meta.main) await run(command);
