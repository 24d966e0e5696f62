/**
 * Measuring the nodes of this machine, for every tool that needs their matrix.
 * @module
 */

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
} from "../../src/memory/matrix.ts";
import { openNodeMemory } from "../../src/memory/node_memory.ts";
import { readNodes } from "../../src/memory/tiers.ts";
import { note } from "../cli/output.ts";
import { StepProgress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";
import type { MatrixReport } from "../render/memory/matrix.ts";

const KIBIBYTE = 1024;
const SMALLEST_DEFAULT_BYTES = 64 * KIBIBYTE ** 2;
const LARGEST_DEFAULT_BYTES = KIBIBYTE ** 3;

/** Twice the largest cache, so that most of it is in memory, but not more than half of what any node has free. */
function defaultSize(nodes: MatrixNodes, cacheBytes: number | null): number {
  const free = Math.min(...nodes.memories.map(({ freeBytes }) => Number(freeBytes)));
  const wanted = Math.max(SMALLEST_DEFAULT_BYTES, 2 * (cacheBytes ?? 0));
  return Math.min(wanted, LARGEST_DEFAULT_BYTES, Math.floor(free / 2));
}

/**
 * The matrix of this machine's nodes, with what it was measured on.
 *
 * @param options how; null as the size chooses one
 * @param begin called with what is known before anything is measured
 * @throws {BusbarError} as {@linkcode matrixNodes} and {@linkcode measureMatrix}
 */
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
      `caches of ${formatBytes(cacheBytes)} hold much of ${formatBytes(method.sizeBytes)}; ` +
        `--size ${formatBytes(2 * cacheBytes).replace(" ", "")} measures more of the memory`,
    );
  }
  const common = { ...method, signal: interruption };
  using progress = new StepProgress(countMatrixSteps(nodes, common));
  const cells = await measureMatrix(nodes, openNodeMemory, { ...common, onStep: (what) => progress.step(what) });
  return { ...report, cells };
}
