/**
 * `cxl_sim run`: replays accesses over a topology and prints what came of it.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { yieldToEventLoop } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { reportOf, type RunReport } from "../../src/sim/report.ts";
import { Simulator } from "../../src/sim/simulator.ts";
import { AccessBatch } from "../../src/sim/trace/batch.ts";
import { wholeNumber } from "../cli/arguments.ts";
import { writeOutput } from "../cli/files.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { epochCsv } from "../render/sim/epoch_csv.ts";
import { runSchema } from "../render/sim/run_schema.ts";
import { explanationLines, runLines } from "../render/sim/run_text.ts";
import { type AccessOptions, addAccesses, openAccesses } from "./accesses.ts";
import { configEcho, configHash } from "./echo.ts";
import { Log } from "./log.ts";
import { addSettings, readSettings, type SettingOptions } from "./settings.ts";

interface RunOptions extends SettingOptions, AccessOptions {
  readonly counters?: string;
  readonly explain?: number;
  readonly csv?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly timing?: true;
  readonly json?: true;
  readonly jsonSchema?: true;
}

/** Milliseconds between two looks at signals. */
const SLICE_MS = 50;

/** The command line of `cxl_sim run`. */
export const run: CommandUnknownOpts = addSettings(addAccesses(
  new Command("run")
    .description("Replay a trace, a generator or a program over a CXL topology: latency, bandwidth, slowdown.")
    .argument("[program...]", "a program to record and replay, behind --"),
))
  .option("--counters <file>", "counter mode: a CSV of counters, a row for each epoch, in place of accesses")
  .option("--explain <n>", "how the latency of the n-th access is made up", wholeNumber)
  .option("--csv <file>", "write a row for each epoch")
  .option("--html <file>", "write one page with every picture")
  .option("--svg <folder>", "write each picture as a file")
  .option("--timing", "say on standard error how long it took")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (...args: unknown[]) => {
    const [program, options] = args as [readonly string[], RunOptions];
    if (options.jsonSchema) return printJson(runSchema());
    const log = new Log();
    const settings = await readSettings(options);
    if (options.counters !== undefined) {
      const { runCounters } = await import("./counters.ts");
      return runCounters(options.counters, settings, options.json === true);
    }
    await using accesses = await openAccesses(options, program, settings.processors);
    const begun = performance.now();
    const simulator = new Simulator(settings.config, options.explain ?? 0);
    await feed(simulator, (batch) => accesses.read(batch));
    const state = simulator.finish();
    if (options.explain !== undefined && options.explain > simulator.accesses) {
      throw new BusbarError("out-of-range", `access ${options.explain}: there are ${simulator.accesses}`, {
        operation: "explain an access",
        hint: "--explain counts accesses from 1",
      });
    }
    const echo = configEcho(settings.config);
    const report = reportOf(state, {
      trace: accesses.name,
      config: echo,
      configHash: await configHash(echo),
      origins: settings.origins,
      notes: [...settings.notes, ...accesses.notes],
      incomplete: interruption.aborted,
      weight: settings.weight,
    });
    for (const text of report.notes) log.info(text);
    if (options.timing) {
      const seconds = (performance.now() - begun) / 1000;
      note(`cxl_sim: ${simulator.accesses} accesses in ${seconds.toFixed(2)} s`);
    }
    await write(report, options);
    if (options.json) return printJson(report);
    print((options.explain === undefined ? runLines(report) : explanationLines(report)).join("\n"));
  });

/** Feeds accesses until there are no more, or until a signal: then what is known is printed. */
async function feed(simulator: Simulator, read: (batch: AccessBatch) => number | Promise<number>): Promise<void> {
  const batch = new AccessBatch();
  let looked = performance.now();
  while (!interruption.aborted && await read(batch) > 0) {
    simulator.feed(batch);
    const now = performance.now();
    if (now - looked < SLICE_MS) continue;
    looked = now;
    await yieldToEventLoop();
  }
}

async function write(
  report: RunReport,
  options: RunOptions,
): Promise<void> {
  if (options.csv !== undefined) writeOutput(options.csv, epochCsv(report));
  if (options.html === undefined && options.svg === undefined) return;
  const { runPage, runPictures } = await import("../render/sim/run_page.ts");
  if (options.html !== undefined) writeOutput(options.html, await runPage(report));
  if (options.svg !== undefined) {
    await Deno.mkdir(options.svg, { recursive: true });
    for (const { name, svg } of await runPictures(report)) writeOutput(`${options.svg}/${name}.svg`, svg);
  }
}
