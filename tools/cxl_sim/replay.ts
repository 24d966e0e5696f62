/**
 * From the options of `cxl_sim run` to the report of a run: what `run` prints, and what a sweep does for each point.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { yieldToEventLoop } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { reportOf } from "../../src/sim/report.ts";
import type { RunReport } from "../../src/sim/report_document.ts";
import { Simulator } from "../../src/sim/simulator.ts";
import { AccessBatch } from "../../src/sim/trace/batch.ts";
import { wholeNumber } from "../cli/arguments.ts";
import { ElapsedProgress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";
import { type AccessOptions, addAccesses, openAccesses } from "./accesses.ts";
import { configEcho, configHash } from "./echo.ts";
import { addSettings, type SettingOptions, type Settings } from "./settings.ts";

/** Milliseconds between two looks at signals. */
const SLICE_MS = 50;

const FILTERED_NOTE =
  "the trace was recorded behind a cache: its writes are dirty lines that were driven out, and stall nobody";

/** The options that make a report. */
export interface ReplayOptions extends SettingOptions, AccessOptions {
  readonly explain?: number;
}

/** A report, and how long it took to make. */
export interface Replayed {
  readonly report: RunReport;
  readonly elapsedMs: number;
}

/** A command with these options, and the program behind them. */
export function replayCommand(name: string): CommandUnknownOpts {
  const command = new Command(name).argument("[program...]", "a program to record and replay, behind --");
  return addSettings(addAccesses(command))
    .option("--explain <n>", "how the latency of the n-th access is made up", wholeNumber);
}

/**
 * Simulates what the options name.
 *
 * @throws {BusbarError} as settings and accesses do; `out-of-range` when the access to explain does not exist
 */
export async function replay(
  options: ReplayOptions,
  program: readonly string[],
  settings: Settings,
): Promise<Replayed> {
  // A program has the terminal to itself.
  using _progress = program.length > 0 ? null : new ElapsedProgress("cxl_sim");
  await using accesses = await openAccesses(options, program, settings.processors);
  const begun = performance.now();
  const config = accesses.filtered ? { ...settings.config, writesStall: false } : settings.config;
  const simulator = new Simulator(config, options.explain ?? 0);
  await feed(simulator, (batch) => accesses.read(batch));
  const state = simulator.finish();
  if (options.explain !== undefined && options.explain > simulator.accesses) {
    throw new BusbarError("out-of-range", `access ${options.explain}: there are ${simulator.accesses}`, {
      operation: "explain an access",
      hint: "--explain counts accesses from 1",
    });
  }
  const echo = configEcho(config);
  const report = reportOf(state, {
    trace: accesses.name,
    config: echo,
    configHash: await configHash(echo),
    origins: accesses.filtered ? { ...settings.origins, writesStall: "the recording" } : settings.origins,
    notes: [...settings.notes, ...accesses.notes, ...accesses.filtered ? [FILTERED_NOTE] : []],
    incomplete: interruption.aborted,
    weight: settings.weight,
  });
  return { report, elapsedMs: performance.now() - begun };
}

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
