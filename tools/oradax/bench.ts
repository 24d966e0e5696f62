/**
 * `oradax bench`: how fast the software coprocessor is on this machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { yieldToEventLoop } from "../../src/core/deadline.ts";
import { MEASURED_COMMANDS, MEASURED_WIDTHS, type Measurement, OradaxMeasure } from "../../src/oradax/measure.ts";
import { wholeNumber } from "../cli/arguments.ts";
import { benchJson, benchLines } from "../render/oradax/oradax.ts";
import { print, printJson } from "../cli/output.ts";
import { Progress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";

/** The command line of `oradax bench`. */
export const bench: CommandUnknownOpts = new Command("bench")
  .description("Measure the software coprocessor on one core, as a ratio to reading as many bytes.")
  .option("--width <bits>", "only elements of this width", wholeNumber)
  .option("--loops <name>", "auto, avx512, avx2, neon or portable", "auto")
  .option("--json", "print one JSON document")
  .action(async (options) => {
    const widths = options.width === undefined ? MEASURED_WIDTHS : [options.width];
    const results: Measurement[] = [];
    using measure = new OradaxMeasure({ loops: options.loops, repeat: 3 });
    const readRate = measure.readRate();
    using progress = new Progress("bench", widths.length);
    for (const [i, bits] of widths.entries()) {
      for (const command of MEASURED_COMMANDS) {
        if (bits <= 16 || command === "scan") results.push(measure.measure(command, bits, readRate));
        await yieldToEventLoop(interruption);
      }
      progress.update(i + 1);
    }
    if (options.json) printJson(benchJson(measure.loops, readRate, results));
    else print(benchLines(measure.loops, readRate, results).join("\n"));
  });
