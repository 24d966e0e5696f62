/**
 * `cxl_sim run`: replays accesses over a topology and prints what came of it.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import type { RunReport } from "../../src/sim/report_document.ts";
import { makeOutputFolder, writeOutput } from "../cli/files.ts";
import { note, print, printJson, printSchema } from "../cli/output.ts";
import { epochCsv } from "../render/sim/epoch_csv.ts";
import { runSchema } from "../render/sim/run_schema.ts";
import { explanationLines, runLines } from "../render/sim/run_text.ts";
import { Log } from "./log.ts";
import { replay, replayCommand, type ReplayOptions } from "./replay.ts";
import { readSettings } from "./settings.ts";

interface RunOptions extends ReplayOptions {
  readonly counters?: string;
  readonly csv?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly timing?: true;
  readonly json?: true;
  readonly jsonSchema?: true;
}

/** The command line of `cxl_sim run`. */
export const run: CommandUnknownOpts = replayCommand("run")
  .description("Replay a trace, a generator or a program over a CXL topology: latency, bandwidth, slowdown.")
  .option("--counters <file>", "counter mode: a CSV of counters, a row for each epoch, in place of accesses")
  .option("--csv <file>", "write a row for each epoch")
  .option("--html <file>", "write one page with every picture")
  .option("--svg <folder>", "write each picture as a file")
  .option("--timing", "say on standard error how long it took")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (...args: unknown[]) => {
    const [program, options] = args as [readonly string[], RunOptions];
    if (options.jsonSchema) return printSchema(runSchema());
    const log = new Log();
    const settings = await readSettings(options);
    if (options.counters !== undefined) {
      const { runCounters } = await import("./counters.ts");
      return runCounters(options.counters, settings, options.json === true);
    }
    const { report, elapsedMs } = await replay(options, program, settings);
    for (const text of report.notes) log.info(text);
    if (options.timing) note(`cxl_sim: ${report.trace.accesses} accesses in ${(elapsedMs / 1000).toFixed(2)} s`);
    await write(report, options);
    if (options.json) return printJson(report);
    print((options.explain === undefined ? runLines(report) : explanationLines(report)).join("\n"));
  });

async function write(
  report: RunReport,
  options: RunOptions,
): Promise<void> {
  if (options.csv !== undefined) writeOutput(options.csv, epochCsv(report));
  if (options.html === undefined && options.svg === undefined) return;
  const { runPage, runPictures } = await import("../render/sim/run_page.ts");
  if (options.html !== undefined) writeOutput(options.html, await runPage(report));
  if (options.svg !== undefined) {
    makeOutputFolder(options.svg);
    for (const { name, svg } of await runPictures(report)) writeOutput(`${options.svg}/${name}.svg`, svg);
  }
}
