/**
 * What `gpu_nvme` did, as text and JSON.
 * @module
 */

import { bold } from "@std/fmt/colors";

import type { Histogram } from "../../../src/core/histogram.ts";
import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { DirectDoorbells, DirectMode, DirectResult, DirectTier } from "../../../src/gpu/nvme/direct_job.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";
import { fileSchemas } from "./gpu_nvme_files.ts";
import { pathsSchema } from "./gpu_nvme_paths.ts";
import { residentSchema } from "./gpu_nvme_resident.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";
import {
  amountMoved,
  microseconds,
  mismatchJson,
  mismatchSchema,
  missingPercentiles,
  timesJson,
  timesMembers,
  verifiedLines,
} from "../nvme/transfers.ts";

/** What was asked for. */
export interface DirectDescription extends TransferPlan {
  /** The controller's locator. */
  readonly device: string;
  /** The GPU, in words. */
  readonly gpu: string;
  /** `read`, `write`, `verify`, `bench`. */
  readonly action: string;
  /** Who submits. */
  readonly mode: DirectMode;
  /** How doorbells are rung. */
  readonly doorbells: DirectDoorbells;
  /** What lies in device memory. */
  readonly tier: DirectTier;
  /** How the drive reaches device memory, in words; null for tier 1. */
  readonly memoryWay: string | null;
  /** Transfers in flight. */
  readonly depth: number;
  /** Queue pairs. */
  readonly queues: number;
}

const PERCENTILES = [50, 99, 99.9] as const;
const GIB = 2 ** 30;

const WHO = { thread: "one thread", warp: "one warp", grid: "many warps" } as const;
const BELLS = {
  mmio: "in the controller's registers",
  shadow: "in memory (shadow doorbells)",
  proxy: "forwarded by a thread of the host",
} as const;

const TIERS = {
  1: "queues and data in pinned host memory",
  2: "queues in pinned host memory, data in",
  3: "queues and data in",
} as const;

function tierText({ tier, memoryWay }: Pick<DirectDescription, "tier" | "memoryWay">): string {
  return `tier ${tier}: ${TIERS[tier]}${memoryWay === null ? "" : ` ${memoryWay}`}`;
}

/** How it is done, and by what: before the figures. */
export function methodLines(what: DirectDescription): string[] {
  const queues = what.queues === 1 ? "one queue pair" : `${what.queues} queue pairs`;
  return [
    `GPU ${what.gpu}`,
    `${WHO[what.mode]} on ${queues}, ${what.depth} commands in flight, doorbells ${BELLS[what.doorbells]}`,
    `${tierText(what)}${what.doorbells === "proxy" ? "" : "; no CPU in the data path"}`,
  ];
}

/** The result for people. */
export function gpuNvmeLines(what: DirectDescription, result: DirectResult, cpuSeconds: number): string[] {
  const { transfers, bytes, elapsedMs, mismatch, times } = result;
  const rate = `${formatBytes(Math.round(bytes / elapsedMs * 1000))}/s`;
  const lines = [
    `${bold(what.action)}: ${amountMoved(what, result)} in ${formatDurationMs(elapsedMs)}: ` +
    `${Math.round(transfers / elapsedMs * 1000)} IOPS, ${rate}`,
  ];
  lines.push(...verifiedLines(what.action, mismatch));
  const { submitted, tailRings, headRings } = result;
  lines.push(`${submitted} commands with ${tailRings} tail and ${headRings} head doorbells written`);
  const perGib = bytes === 0 ? "" : `, ${(cpuSeconds / (bytes / GIB)).toFixed(2)} s a GiB`;
  lines.push(`processor time of this process: ${cpuSeconds.toFixed(2)} s${perGib}`);
  if (times.wait.count === 0) return lines;
  // All three histograms count the same commands.
  const given = PERCENTILES.filter((percent) => times.wait.hasPercentile(percent));
  const row = (name: string, histogram: Histogram): string[] => [
    name,
    ...[histogram.min, ...given.map((percent) => histogram.percentile(percent)), histogram.max].map(microseconds),
  ];
  const missing = missingPercentiles(times.wait, PERCENTILES, "command");
  return [
    ...lines,
    ...columns([
      ["µs", "min", ...given.map((percent) => `${percent} %`), "max"],
      row("build", times.build),
      row("ring", times.ring),
      row("wait", times.wait),
    ]),
    ...(missing === null ? [] : [missing]),
    `times of the last ${times.wait.count} commands, by the GPU's timer`,
  ];
}

/** The result for programs. */
export function gpuNvmeJson(what: DirectDescription, result: DirectResult, cpuSeconds: number): JsonObject {
  const { mismatch, times } = result;
  return {
    schema: "gpu_nvme/1",
    device: what.device,
    gpu: what.gpu,
    action: what.action,
    mode: what.mode,
    doorbells: what.doorbells,
    tier: what.tier,
    memoryWay: what.memoryWay,
    namespace: what.namespace.id,
    lba: what.lba.toString(),
    blocks: what.blocks.toString(),
    blockBytes: what.namespace.blockBytes,
    transferBlocks: what.transferBlocks,
    depth: what.depth,
    queues: what.queues,
    transfers: result.transfers,
    bytes: String(result.bytes),
    elapsedMs: result.elapsedMs,
    cpuSeconds,
    submitted: result.submitted,
    tailRings: result.tailRings,
    headRings: result.headRings,
    timedCommands: times.wait.count,
    buildUs: timesJson(times.build, PERCENTILES),
    ringUs: timesJson(times.ring, PERCENTILES),
    waitUs: timesJson(times.wait, PERCENTILES),
    mismatch: mismatchJson(mismatch),
  };
}

/** The schema of {@linkcode gpuNvmeJson}. */
export function gpuNvmeSchema(): JsonObject {
  const number = { type: "number", minimum: 0 };
  const integer = { type: "integer", minimum: 0 };
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  const text = { type: "string" };
  const times = closedObject(timesMembers(PERCENTILES));
  return documentSchema("gpu_nvme", [
    ...fileSchemas(),
    pathsSchema(),
    residentSchema(),
    closedObject({
      schema: { const: "gpu_nvme/1" },
      device: text,
      gpu: text,
      action: { enum: ["read", "write", "verify", "bench"] },
      mode: { enum: ["thread", "warp", "grid"] },
      doorbells: { enum: ["mmio", "shadow", "proxy"] },
      tier: { enum: [1, 2, 3] },
      memoryWay: { type: ["string", "null"] },
      namespace: integer,
      lba: decimal,
      blocks: decimal,
      blockBytes: integer,
      transferBlocks: integer,
      depth: integer,
      queues: integer,
      transfers: integer,
      bytes: decimal,
      elapsedMs: number,
      cpuSeconds: number,
      submitted: integer,
      tailRings: integer,
      headRings: integer,
      timedCommands: integer,
      buildUs: times,
      ringUs: times,
      waitUs: times,
      mismatch: mismatchSchema(),
    }),
  ]);
}
