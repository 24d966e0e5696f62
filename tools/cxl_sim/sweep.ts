/**
 * `cxl_sim sweep`: a grid of runs on the processors of this machine.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import denoJson from "../../deno.json" with { type: "json" };
import { BusbarError } from "../../src/core/error.ts";
import { LineWorker, LocalScheduler, pointsOf, Results, sweepReport } from "../../src/sweep/mod.ts";
import { timeOption, wholeNumber } from "../cli/arguments.ts";
import { printSchema } from "../cli/output.ts";
import { StepProgress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";
import { selfCommand } from "../cli/self.ts";
import { sweepSchema } from "../render/sweep/sweep_schema.ts";
import { finishBatch, pointsToRun } from "../sweep/batch.ts";
import { showReport } from "../sweep/show.ts";
import { readValue } from "./files.ts";
import { answerPoints, checkPoints, INPUT_OPTIONS } from "./sweep_points.ts";

/** Milliseconds that one point may take. */
const POINT_LIMIT = "1h";

interface SweepOptions {
  readonly workers?: number;
  readonly output?: string;
  readonly retry?: true;
  readonly timeout: number;
  readonly csv?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly json?: true;
  readonly jsonSchema?: true;
  readonly worker?: true;
}

/** The command line of `cxl_sim sweep`. */
export const sweep: CommandUnknownOpts = new Command("sweep")
  .description("Run every point of a grid of settings, on all processors; a finished point is never run twice.")
  .argument("[file]", "the grid, as YAML or JSON")
  .option("--workers <n>", "points that run at once; the number of processors by default", wholeNumber)
  .option("--output <folder>", "where results are kept, a file for each point; FILE.results by default")
  .option("--retry", "run the points again that failed")
  .addOption(timeOption("--timeout <time>", "for one point", POINT_LIMIT))
  .option("--csv <file>", "write the table of points")
  .option("--html <file>", "write one page with the table and every picture")
  .option("--svg <folder>", "write each picture as a file")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .addOption(new Option("--worker", "answer points that come on standard input").hideHelp())
  .action(async (...args: unknown[]) => {
    const [file, options] = args as [string | undefined, SweepOptions];
    if (options.jsonSchema) return printSchema(sweepSchema());
    if (options.worker) return await answerPoints(Deno.stdin.readable);
    if (file === undefined) {
      throw new BusbarError("usage", "which grid?", { hint: "cxl_sim sweep FILE.yaml", operation: "read the options" });
    }
    await runSweep(file, options);
  });

async function runSweep(file: string, options: SweepOptions): Promise<void> {
  const value = await readValue(file, "the grid");
  const { gridOf } = await import("../../src/sweep/grid_file.ts");
  const grid = gridOf(value, file);
  if (!["cxl_sim", "cxl_sim run"].includes(grid.tool.join(" "))) {
    throw new BusbarError("usage", `${file}: the tool is ${grid.tool.join(" ")}`, {
      operation: "read the grid",
      path: file,
      hint: "cxl_sim sweep runs grids of cxl_sim",
    });
  }
  if (options.workers === 0) throw new BusbarError("usage", "--workers 0: one or more", { operation: "sweep" });
  const points = await pointsOf(grid, { version: denoJson.version, inputOptions: INPUT_OPTIONS });
  using results = Results.hold(options.output ?? `${file.replace(/\.(ya?ml|json)$/, "")}.results`);
  const wanted = pointsToRun(points, results, options.retry === true);
  await checkPoints(wanted);
  {
    using progress = new StepProgress(points.length);
    for (const _ of points.slice(wanted.length)) progress.step("");
    const command = [...selfCommand("cxl_sim"), "sweep", "--worker"];
    const scheduler = new LocalScheduler({
      workers: options.workers ?? navigator.hardwareConcurrency,
      openWorker: () => new LineWorker(command, options.timeout),
      onPoint: ({ parameters }) => progress.step(JSON.stringify(parameters)),
    });
    await finishBatch(await scheduler.start(wanted, results));
  }
  await showReport(
    { schema: "cxl_sim_sweep/1", incomplete: interruption.aborted, ...sweepReport(grid, points, results) },
    options,
  );
}
