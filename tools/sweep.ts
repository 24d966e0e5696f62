/**
 * `sweep`: a grid of runs of any tool, on this machine or on a cluster.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { LocalScheduler, type Point, Results, runChunk, type Scheduler, SlurmScheduler } from "../src/sweep/mod.ts";
import { timeOption, wholeNumber } from "./cli/arguments.ts";
import { print, printJson } from "./cli/output.ts";
import { StepProgress } from "./cli/progress.ts";
import { interruption, run } from "./cli/run.ts";
import { statusSchema, sweepSchema } from "./render/sweep/sweep_schema.ts";
import { finishBatch, pointsToRun } from "./sweep/batch.ts";
import { chunkCommand, folderOf, readSweep, type Sweep, workerOf } from "./sweep/grid.ts";
import { showSweep } from "./sweep/show.ts";

/** Milliseconds that one point may take. */
const POINT_LIMIT = "1h";
/** Milliseconds that one task of a cluster should take: long against what Slurm needs to start it. */
const CHUNK_TIME = "60s";

function gridFile(file: string | undefined): string {
  if (file !== undefined) return file;
  throw new BusbarError("usage", "which grid?", { hint: "sweep run GRID.yaml", operation: "read the options" });
}

const runCommand = new Command("run")
  .description("Run every point of a grid that has no result yet.")
  .argument("[file]", "the grid, as YAML or JSON")
  .option("--workers <n>", "points that run at once; the number of processors by default", wholeNumber)
  .option("--slurm <partition>", "run them on a cluster: job arrays of this partition")
  .addOption(timeOption("--chunk-time <time>", "how long one task of the cluster should take", CHUNK_TIME))
  .option("--output <folder>", "where results are kept, a file for each point; FILE.results by default")
  .option("--retry", "run the points again that failed")
  .addOption(timeOption("--timeout <time>", "for one point", POINT_LIMIT))
  .option("--csv <file>", "write the table of points")
  .option("--html <file>", "write one page with the table and every picture")
  .option("--svg <folder>", "write each picture as a file")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (given, options) => {
    if (options.jsonSchema) return printJson(sweepSchema("sweep", "sweep/1"));
    const file = gridFile(given);
    const sweep = await readSweep(file);
    using results = Results.hold(options.output ?? folderOf(file));
    const wanted = pointsToRun(sweep.points, results, options.retry === true);
    using progress = new StepProgress(Math.max(1, wanted.length));
    let shown = 0;
    const step = (ended: number, what: string): void => {
      for (; shown < ended; shown++) progress.step(what);
    };
    const scheduler: Scheduler = options.slurm === undefined
      ? new LocalScheduler({
        workers: options.workers ?? navigator.hardwareConcurrency,
        openWorker: () => workerOf(sweep.grid.tool, options.timeout),
        onPoint: ({ parameters }, { done, failed }) => step(done + failed, JSON.stringify(parameters)),
      })
      : new SlurmScheduler({
        partition: partitionOf(options.slurm),
        chunkCommand: chunkCommand(sweep.grid.tool, options.timeout),
        openWorker: () => workerOf(sweep.grid.tool, options.timeout),
        chunkMs: options.chunkTime,
        pollMs: 1000,
        onState: ({ done, failed, running }) => step(done + failed, `${running} tasks run`),
      });
    if (options.slurm !== undefined && options.retry) forgetFailures(wanted, results);
    if (wanted.length > 0) await finishBatch(await scheduler.start(wanted, results));
    await showSweep(sweep, results, options, interruption.aborted);
  });

function partitionOf(name: string): string {
  if (/^[\w.][\w.-]*$/.test(name)) return name;
  throw new BusbarError("usage", `'${name}' is no name of a partition`, { operation: "read the options" });
}

/** A task leaves alone what has an outcome: what is to be tried again must have none. */
function forgetFailures(points: Sweep["points"], results: Results): void {
  for (const { id } of points) results.forgetFailure(id);
}

const statusCommand = new Command("status")
  .description("Say how many points of a grid are done.")
  .argument("[file]", "the grid")
  .option("--output <folder>", "where its results are; FILE.results by default")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (given, options) => {
    if (options.jsonSchema) return printJson(statusSchema());
    const file = gridFile(given);
    const { grid, points } = await readSweep(file);
    const states = Results.read(options.output ?? folderOf(file)).states();
    const count = (wanted: string): number =>
      points.filter(({ id }) => (states.get(id) ?? "missing") === wanted).length;
    const [done, failed, missing] = [count("done"), count("failed"), count("missing")];
    const tool = grid.tool.join(" ");
    if (options.json) printJson({ schema: "sweep_status/1", tool, points: points.length, done, failed, missing });
    else print(`${tool}: ${points.length} points, ${done} done, ${failed} failed, ${missing} not run`);
  });

const reportCommand = new Command("report")
  .description("Show the results there are, as a table, CSV and pictures. Runs nothing.")
  .argument("[file]", "the grid")
  .option("--output <folder>", "where its results are; FILE.results by default")
  .option("--field <name...>", "show this field of the results too, as in latency.p99Ns")
  .option("--csv <file>", "write the table of points")
  .option("--html <file>", "write one page with the table and every picture")
  .option("--svg <folder>", "write each picture as a file")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (given, options) => {
    if (options.jsonSchema) return printJson(sweepSchema("sweep", "sweep/1"));
    const file = gridFile(given);
    await showSweep(await readSweep(file), Results.read(options.output ?? folderOf(file)), options, false);
  });

/** What a task of a cluster runs. */
const chunk = new Command("chunk")
  .description("What a task of a cluster runs: the points of a chunk that have no result yet.")
  .argument("<file>", "what run handed over")
  .argument("<index>", "the chunk, from 0", wholeNumberOrZero)
  .addOption(new Option("--tool <words>", "the tool and its subcommand").makeOptionMandatory())
  .addOption(timeOption("--timeout <time>", "for one point", POINT_LIMIT))
  .action(async (file, index, options) => {
    const worker = (): ReturnType<typeof workerOf> => workerOf(options.tool.split(" "), options.timeout);
    // The task's log tells what it ran itself, and whether it had been started before.
    const start = Deno.env.get("SLURM_RESTART_COUNT") ?? "0";
    const onStored = ({ id }: Point): void => print(`${id} chunk ${index} restart ${start}`);
    await runChunk(file, index, (folder) => Results.read(folder), worker, interruption, onStored);
  });

function wholeNumberOrZero(text: string): number {
  return text === "0" ? 0 : wholeNumber(text);
}

/** The command line of `sweep`. */
export const command: CommandUnknownOpts = new Command("sweep")
  .description("Run a tool with every combination of settings, here or on a Slurm cluster. No point runs twice.")
  .addCommand(runCommand)
  .addCommand(statusCommand)
  .addCommand(reportCommand)
  .addCommand(chunk, { hidden: true });

if (import.meta.main) await run(command);
