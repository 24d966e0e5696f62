/**
 * `tiering experiment`: workloads in several cases, each pair counted.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { thisMachine } from "../../src/core/host.ts";
import { DAMON_INTERVALS } from "../../src/memory/damon_plan.ts";
import type { BuiltInWorkloads, ExperimentRun } from "../../src/memory/experiment.ts";
import { guideExperiment, type GuideOptions } from "../../src/memory/guide_experiment.ts";
import { readYaml } from "../../src/memory/tier_profile.ts";
import { onlyWith } from "../cli/applicable.ts";
import { positiveNumber, sizeBytes, timeOption } from "../cli/arguments.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption, openJournal, raiseExitStatus } from "../cli/run.ts";
import { selfCommand } from "../cli/self.ts";
import { TABLE_FORMATS } from "../render/memory/numa_stats.ts";
import { experimentJson, experimentLines } from "../render/memory/tiering.ts";
import { DEFAULT_UPDATES } from "./workload.ts";

const GUIDE_FLAGS: readonly string[] = ["--fast-size", "--sample", "--aggregate", "--update", "--cold-age"];

/** The command line of `tiering experiment`. */
export const experiment: CommandUnknownOpts = new Command("experiment")
  .description("Run workloads in several cases (balancing, DAMON, both, neither) and count each. Puts everything back.")
  .argument("<file>", "a YAML file with cases and workloads; guide is the one of the guides, for this machine's nodes")
  .addOption(
    new Option("--updates <n>", "GUPS: updates for each word of 8 bytes; 4 by default").argParser(positiveNumber),
  )
  .option("--fast-size <size>", "guide: what its tables are shares of; the fast node's memory by default", sizeBytes)
  .addOption(timeOption("--sample <time>", "guide: between two looks of DAMON at a page; 100ms by default"))
  .addOption(timeOption("--aggregate <time>", "guide: over which looks are summed up; 2s by default"))
  .addOption(timeOption("--update <time>", "guide: between two updates of what is watched; 20s by default"))
  .addOption(timeOption("--cold-age <time>", "guide: pages not used for so long are cold; 30s by default"))
  .addOption(new Option("--format <form>", "of the tables").choices(TABLE_FORMATS).default("text" as const))
  .option("--json", "print one JSON document")
  .action(async (file, options, self) => {
    onlyWith(self, file === "guide", GUIDE_FLAGS, "the experiment guide");
    // Brings zod, which nothing else here needs.
    const { checkExperiment, runExperiment } = await import("../../src/memory/experiment.ts");
    const runs: ExperimentRun[] = [];
    let isShown = false;
    const showRuns = (complete: boolean): void => {
      if (isShown || (runs.length === 0 && !complete)) return;
      isShown = true;
      if (options.json) printJson(experimentJson(runs, complete));
      else print(experimentLines(runs, options.format).join("\n"));
      if (!complete) note("tiering: the experiment did not come to its end; the runs above had");
    };
    const builtIn = builtInWorkloads(options.updates ?? DEFAULT_UPDATES);
    const experiment = file === "guide"
      ? guideExperiment(thisMachine, builtIn, guideOptions(options))
      : checkExperiment(await readYaml(file), file, builtIn);
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

/** The workloads that are built in, as command lines of this tool. */
function builtInWorkloads(updates: number): BuiltInWorkloads {
  const workload = (kind: string): string[] => [...selfCommand("tiering"), "workload", kind, "-"];
  return { gups: [...workload("gups"), "--updates", String(updates)], hog: workload("hog") };
}

interface GuideFlags {
  readonly fastSize?: bigint | undefined;
  readonly sample?: number | undefined;
  readonly aggregate?: number | undefined;
  readonly update?: number | undefined;
  readonly coldAge?: number | undefined;
}

function guideOptions({ fastSize, sample, aggregate, update, coldAge }: GuideFlags): GuideOptions {
  const inUs = (milliseconds: number | undefined, otherwise: number): number =>
    milliseconds === undefined ? otherwise : Math.round(1000 * milliseconds);
  return {
    fastBytes: fastSize,
    intervals: {
      sampleUs: inUs(sample, DAMON_INTERVALS.sampleUs),
      aggregateUs: inUs(aggregate, DAMON_INTERVALS.aggregateUs),
      updateUs: inUs(update, DAMON_INTERVALS.updateUs),
    },
    ...coldAge === undefined ? {} : { coldAgeUs: inUs(coldAge, 0) },
  };
}
