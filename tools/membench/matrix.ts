/**
 * `membench matrix`: latency and bandwidth from the processors of each NUMA node to the memory of each.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";

import { thisMachine } from "../../src/core/host.ts";
import { formatBytes } from "../../src/core/units.ts";
import { environmentOf, largestCacheBytes } from "../../src/memory/bench_environment.ts";
import {
  allowedOf,
  countMatrixSteps,
  type MatrixNodes,
  matrixNodes,
  type MatrixOptions,
  measureMatrix,
  READ_PERCENTS,
} from "../../src/memory/matrix.ts";
import { openNodeMemory } from "../../src/memory/node_memory.ts";
import { readNodes } from "../../src/memory/tiers.ts";
import { memorySize, timeOption, wholeNumber } from "../cli/arguments.ts";
import { writeOutput } from "../cli/files.ts";
import { note, print, printJson } from "../cli/output.ts";
import { StepProgress } from "../cli/progress.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import { withOwnSchema } from "../cli/subcommand.ts";
import {
  matrixJson,
  matrixMethodLines,
  matrixPage,
  matrixPicture,
  type MatrixReport,
  matrixSchema,
  nodeMatrixLines,
} from "../render/memory/matrix.ts";

const KIBIBYTE = 1024;
const SMALLEST_DEFAULT_BYTES = 64 * KIBIBYTE ** 2;
const LARGEST_DEFAULT_BYTES = KIBIBYTE ** 3;

function percents(text: string): number[] {
  return text.split(",").map((word) => {
    const value = /^\d{1,3}$/.test(word.trim()) ? Number(word) : NaN;
    if (value <= 100) return value;
    throw new InvalidArgumentError(`'${word}' is no share of reads: write 0 to 100 (percent), as in 100,67,50,0`);
  });
}

/** Twice the largest cache, so that most of it is in memory, but not more than half of what any node has free. */
function defaultSize(nodes: MatrixNodes, cacheBytes: number | null): number {
  const free = Math.min(...nodes.memories.map(({ freeBytes }) => Number(freeBytes)));
  const wanted = Math.max(SMALLEST_DEFAULT_BYTES, 2 * (cacheBytes ?? 0));
  return Math.min(wanted, LARGEST_DEFAULT_BYTES, Math.floor(free / 2));
}

/** The matrix of this machine's nodes, with what it was measured on. */
export async function measureThisMachine(
  options: Omit<MatrixOptions, "sizeBytes" | "signal" | "onStep"> & { readonly sizeBytes: number | null },
  begin: (report: MatrixReport) => void,
): Promise<MatrixReport> {
  const environment = environmentOf(thisMachine);
  const nodes = matrixNodes(readNodes(thisMachine), allowedOf(thisMachine));
  const cacheBytes = largestCacheBytes(environment);
  const wanted = options.sizeBytes ?? defaultSize(nodes, cacheBytes);
  const most = Math.max(...nodes.processors.map(({ cpus }) => cpus.length));
  const method = { ...options, threads: Math.min(options.threads, most), sizeBytes: wanted - wanted % KIBIBYTE };
  const report: MatrixReport = { environment, nodes, method, cells: [] };
  begin(report);
  if (cacheBytes !== null && method.sizeBytes < 2 * cacheBytes) {
    note(
      `membench: caches of ${formatBytes(cacheBytes)} hold much of ${formatBytes(method.sizeBytes)}; ` +
        `--size ${formatBytes(2 * cacheBytes).replace(" ", "")} measures more of the memory`,
    );
  }
  const common = { ...method, signal: interruption };
  using progress = new StepProgress(countMatrixSteps(nodes, common));
  const cells = await measureMatrix(nodes, openNodeMemory, { ...common, onStep: (what) => progress.step(what) });
  return { ...report, cells };
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
