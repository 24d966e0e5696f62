/**
 * What `nvme_io` did, as text and JSON.
 * @module
 */

import { bold, dim } from "@std/fmt/colors";

import type { Histogram } from "../../../src/core/histogram.ts";
import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { IoJobResult } from "../../../src/nvme/jobs/io_job.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";
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
} from "./transfers.ts";

/** What was asked for. */
export interface IoDescription extends TransferPlan {
  /** The locator. */
  readonly device: string;
  /** `read`, `write`, `verify`, `bench`. */
  readonly action: string;
  /** Transfers in flight. */
  readonly depth: number;
  /** Queue pairs. */
  readonly queues: number;
}

/** A phase of a benchmark. */
export interface BenchPhaseResult {
  /** Its name. */
  readonly name: string;
  /** Seconds from the start of the benchmark. */
  readonly startSeconds: number;
  /** One for each drive. */
  readonly drives: readonly { readonly what: IoDescription; readonly result: IoJobResult }[];
}

const PERCENTILES = [50, 90, 99, 99.9, 99.99] as const;
const BAR_WIDTH = 40;

/** The result for people: one line, and the latencies. */
export function ioResultLines(what: IoDescription, result: IoJobResult): string[] {
  const { transfers, bytes, elapsedMs, latency, mismatch } = result;
  const rate = `${formatBytes(Math.round(bytes / elapsedMs * 1000))}/s`;
  const lines = [
    `${bold(what.action)}: ${amountMoved(what, result)} in ${formatDurationMs(elapsedMs)}: ${
      Math.round(transfers / elapsedMs * 1000)
    } IOPS, ${rate} ` +
    `(depth ${what.depth}, ${what.queues} queue${what.queues === 1 ? "" : "s"})`,
  ];
  return [...lines, ...verifiedLines(what.action, mismatch), ...latencyLines(latency)];
}

function latencyLines(latency: Histogram): string[] {
  if (latency.count === 0) return [];
  const given = PERCENTILES.filter((percent) => latency.hasPercentile(percent));
  const cells = [
    ["latency", "min", ...given.map((percent) => `${percent} %`), "max"],
    ["µs", ...[latency.min, ...given.map((percent) => latency.percentile(percent)), latency.max].map(microseconds)],
  ];
  const octaves = latency.octaves();
  const most = Math.max(...octaves.map((octave) => octave.count));
  const bars = octaves.map(({ from, to, count }) => [
    dim(`${microseconds(from)} to ${microseconds(to)} µs`),
    "█".repeat(Math.max(1, Math.round(count / most * BAR_WIDTH))),
    String(count),
  ]);
  const missing = missingPercentiles(latency, PERCENTILES);
  return [...columns(cells), ...(missing === null ? [] : [dim(missing)]), ...columns(bars)];
}

/** Phases for people: a heading each, and the drives below it. */
export function benchLines(phases: readonly BenchPhaseResult[]): string[] {
  return phases.flatMap(({ name, startSeconds, drives }, index) => [
    ...(index === 0 ? [] : [""]),
    `${bold(name)}, from second ${startSeconds.toFixed(1)}`,
    ...drives.flatMap(({ what, result }) => ioResultLines({ ...what, action: what.device }, result)),
  ]);
}

/** Phases for programs. */
export function benchJson(phases: readonly BenchPhaseResult[]): JsonObject {
  return {
    schema: "nvme_io/1",
    action: "bench",
    phases: phases.map(({ name, startSeconds, drives }) => ({
      name,
      startSeconds,
      drives: drives.map(({ what, result }) => membersJson(what, result)),
    })),
  };
}

/** The result for programs. */
export function ioResultJson(what: IoDescription, result: IoJobResult): JsonObject {
  return { schema: "nvme_io/1", ...membersJson(what, result) };
}

function membersJson(what: IoDescription, result: IoJobResult): JsonObject {
  const { latency, mismatch } = result;
  return {
    device: what.device,
    action: what.action,
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
    interruptWaits: result.waits,
    latencyUs: { ...timesJson(latency, PERCENTILES), missing: missingPercentiles(latency, PERCENTILES) },
    mismatch: mismatchJson(mismatch),
  };
}

/** The schema of {@linkcode ioResultJson} and {@linkcode benchJson}. */
export function nvmeIoSchema(): JsonObject {
  const number = { type: "number", minimum: 0 };
  const integer = { type: "integer", minimum: 0 };
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  const members = {
    device: { type: "string" },
    action: { enum: ["read", "write", "verify", "bench"] },
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
    interruptWaits: integer,
    latencyUs: closedObject({ ...timesMembers(PERCENTILES), missing: { type: ["string", "null"] } }),
    mismatch: mismatchSchema(),
  };
  const schema = { const: "nvme_io/1" };
  return documentSchema("nvme_io", [
    closedObject({ schema, ...members }),
    closedObject({
      schema,
      action: { const: "bench" },
      phases: {
        type: "array",
        items: closedObject({
          name: { type: "string" },
          startSeconds: number,
          drives: { type: "array", items: closedObject(members) },
        }),
      },
    }),
  ]);
}
