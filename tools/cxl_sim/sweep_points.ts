/**
 * Points of a sweep of `cxl_sim`: their command lines, checked before anything starts, and the process that runs them.
 * @module
 */

import { CommanderError } from "commander";

import { yieldToEventLoop } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { parseSynthetic } from "../../src/sim/trace/synthetic.ts";
import type { Point, PointAnswer, PointRequest } from "../../src/sweep/mod.ts";
import { printJsonLine } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { replay, replayCommand, type ReplayOptions } from "./replay.ts";
import { readSettings } from "./settings.ts";

/** Options of `cxl_sim run` that name a file which the run reads. */
export const INPUT_OPTIONS: readonly string[] = ["trace", "config", "curve", "damon-plan"];

/** Points checked between two looks at signals. */
const SLICE = 64;

interface Parsed {
  readonly options: ReplayOptions;
  readonly program: readonly string[];
}

/** Reads the command line of a point. */
function parsePoint(words: readonly string[]): Parsed {
  let parsed: Parsed | null = null;
  const command = replayCommand("run").exitOverride().configureOutput({ outputError: () => {} })
    .action((...args: unknown[]) => {
      const [program, options] = args as [readonly string[], ReplayOptions];
      parsed = { program, options };
    });
  try {
    command.parse(words, { from: "user" });
  } catch (cause) {
    if (!(cause instanceof CommanderError)) throw cause;
    const [message = ""] = cause.message.replace(/^error: /, "").split("\n");
    throw new BusbarError("usage", message, {
      operation: "read the options",
      hint: "cxl_sim run --help: any of its options that makes a report",
      cause,
    });
  }
  if (parsed === null) throw new BusbarError("bug", "a command without its action");
  return parsed;
}

/**
 * Checks every point: its options, settings and generator, and that it has accesses.
 *
 * @throws {BusbarError} the mistake of the first wrong point, with its command line
 */
export async function checkPoints(points: readonly Point[]): Promise<void> {
  for (const [i, { commandLine }] of points.entries()) {
    try {
      const { options, program } = parsePoint(commandLine);
      await readSettings(options);
      if (options.synthetic !== undefined) parseSynthetic(options.synthetic);
      const sources = [options.synthetic, options.trace, options.target, ...program].filter((one) => one !== undefined);
      if (sources.length === 0) {
        throw new BusbarError("usage", "which accesses?", { hint: "an option synthetic, trace or target" });
      }
    } catch (error) {
      if (!(error instanceof BusbarError)) throw error;
      throw new BusbarError(error.code, `point ${i + 1}, ${commandLine.join(" ")}: ${error.message}`, {
        operation: "check the grid",
        hint: error.hint ?? undefined,
        cause: error,
      });
    }
    if (i % SLICE === SLICE - 1) await yieldToEventLoop();
    interruption.throwIfAborted();
  }
}

/** What a worker process does: a line with a point comes in, a line with its report goes out, until the input ends. */
export async function answerPoints(input: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  let text = "";
  for await (const part of input.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const request = JSON.parse(text.slice(0, end)) as PointRequest;
      text = text.slice(end + 1);
      const answer = await answerPoint(request);
      // What was cut short is no result.
      if (interruption.aborted) return;
      printJsonLine(answer);
    }
  }
}

async function answerPoint({ id, commandLine }: PointRequest): Promise<PointAnswer> {
  try {
    const { options, program } = parsePoint(commandLine);
    const { report } = await replay(options, program, await readSettings(options));
    return { id, result: report };
  } catch (error) {
    const { code, message, hint } = error instanceof BusbarError
      ? error
      : { code: "bug", message: error instanceof Error ? error.message : String(error), hint: null };
    return { id, failure: { code, message, hint } };
  }
}
