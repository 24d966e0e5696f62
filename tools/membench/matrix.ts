/**
 * `membench matrix`: latency and bandwidth from the processors of each NUMA node to the memory of each.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";

import { READ_PERCENTS } from "../../src/memory/matrix.ts";
import { memorySize, timeOption, wholeNumber } from "../cli/arguments.ts";
import { writeOutput } from "../cli/files.ts";
import { note, print, printJson } from "../cli/output.ts";
import { raiseExitStatus } from "../cli/run.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import {
  matrixJson,
  matrixMethodLines,
  matrixPage,
  matrixPicture,
  matrixSchema,
  nodeMatrixLines,
} from "../render/memory/matrix.ts";
import { measureThisMachine } from "./measure.ts";

function percents(text: string): number[] {
  return text.split(",").map((word) => {
    const value = /^\d{1,3}$/.test(word.trim()) ? Number(word) : NaN;
    if (value <= 100) return value;
    throw new InvalidArgumentError(`'${word}' is no share of reads: write 0 to 100 (percent), as in 100,67,50,0`);
  });
}

/** The command line of `membench matrix`. */
export const matrix: CommandUnknownOpts = withOwnSchema(new Command("matrix"), matrixSchema)
  .description(
    "Latency, bandwidth and mixes of reads and writes from the processors of each NUMA node to the memory of each.",
  )
  .option("--size <size>", "bytes of each node's memory; twice the largest cache by default, at most 1GiB", memorySize)
  .addOption(timeOption("--duration <time>", "time for each number", "500ms"))
  .option("--threads <n>", "bandwidth: at most so many threads; all processors of a node by default", wholeNumber)
  .option("--stride <bytes>", "from one slot of the pointer chase to the next", wholeNumber, 256)
  .option("--reads <list>", "percent of the accesses that read; 100,67,50,0 by default", percents)
  .option("--svg <file>", "write heat maps")
  .option("--html <file>", "write a page with the tables and heat maps")
  .option("--json", "print one JSON document")
  .action(async (options) => {
    const report = await measureThisMachine({
      sizeBytes: options.size === undefined ? null : Number(options.size),
      durationMs: options.duration,
      strideBytes: options.stride,
      threads: options.threads ?? Infinity,
      readPercents: options.reads ?? READ_PERCENTS,
    }, (begun) => {
      if (!options.json) print([...matrixMethodLines(begun), ""].join("\n"));
    });
    if (options.svg !== undefined) writeOutput(options.svg, await matrixPicture(report));
    if (options.html !== undefined) writeOutput(options.html, await matrixPage(report));
    if (options.json) printJson(matrixJson(report));
    else print(nodeMatrixLines(report).join("\n"));
    const share = Math.min(...report.cells.map(({ cpuShare }) => cpuShare ?? 1));
    if (share < 0.95) {
      note(`membench: other programs ran meanwhile: a thread had only ${(100 * share).toFixed(0)} % of its processor`);
    }
    if (report.cells.some(({ reason }) => reason !== null)) raiseExitStatus("io");
    for (const file of [options.svg, options.html]) if (file !== undefined) note(`membench: wrote ${file}`);
  });
