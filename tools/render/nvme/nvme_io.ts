/**
 * What `nvme_io` did, as text and JSON.
 * @module
 */

import { bold, dim, red } from "@std/fmt/colors";

import { type Histogram, valuesForPercentile } from "../../../src/core/histogram.ts";
import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { IoJobResult } from "../../../src/nvme/jobs/io_job.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

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

const PERCENTILES = [50, 90, 99, 99.9, 99.99] as const;
const BAR_WIDTH = 40;

/** The result for people: one line, and the latencies. */
export function ioResultLines(what: IoDescription, result: IoJobResult): string[] {
  const { transfers, bytes, elapsedMs, latency, mismatch } = result;
  const rate = `${formatBytes(Math.round(bytes / elapsedMs * 1000))}/s`;
  const lines = [
    `${bold(what.action)}: ${amount(what, result)} in ${formatDurationMs(elapsedMs)}: ${
      Math.round(transfers / elapsedMs * 1000)
    } IOPS, ${rate} ` +
    `(depth ${what.depth}, ${what.queues} queue${what.queues === 1 ? "" : "s"})`,
  ];
  if (mismatch !== null) lines.push(red(`block ${mismatch.lba} is wrong at byte ${mismatch.offset}: ${mismatch.text}`));
  else if (what.action === "verify") lines.push("every block is as the pattern says");
  return [...lines, ...latencyLines(latency)];
}

/** What was moved. The last transfer of a range may be shorter than the others. */
function amount(what: IoDescription, { transfers, bytes }: IoJobResult): string {
  const sizeBytes = what.transferBlocks * what.namespace.blockBytes;
  return transfers * sizeBytes === bytes
    ? `${transfers} × ${formatBytes(sizeBytes)}`
    : `${formatBytes(bytes)} in ${transfers} transfers of at most ${formatBytes(sizeBytes)}`;
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
  const missing = missingPercentiles(latency);
  return [...columns(cells), ...(missing === null ? [] : [dim(missing)]), ...columns(bars)];
}

/** What so few transfers cannot tell, or null. */
function missingPercentiles(latency: Histogram): string | null {
  const first = PERCENTILES.find((percent) => !latency.hasPercentile(percent));
  if (first === undefined) return null;
  return `${latency.count} transfer${latency.count === 1 ? "" : "s"}: ${first} % needs ${valuesForPercentile(first)}`;
}

function microseconds(nanoseconds: number): string {
  return (nanoseconds / 1000).toFixed(1);
}

/** The result for programs. */
export function ioResultJson(what: IoDescription, result: IoJobResult): JsonObject {
  const { latency, mismatch } = result;
  return {
    schema: "nvme_io/1",
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
    latencyUs: {
      min: latency.min / 1000,
      mean: latency.mean / 1000,
      max: latency.max / 1000,
      percentiles: Object.fromEntries(
        PERCENTILES.map((percent) => [
          String(percent),
          latency.hasPercentile(percent) ? latency.percentile(percent) / 1000 : null,
        ]),
      ),
      missing: missingPercentiles(latency),
    },
    mismatch: mismatch === null ? null : { lba: mismatch.lba.toString(), offset: mismatch.offset, text: mismatch.text },
  };
}

/** The schema of {@linkcode ioResultJson}. */
export function nvmeIoSchema(): JsonObject {
  const number = { type: "number", minimum: 0 };
  const integer = { type: "integer", minimum: 0 };
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  return documentSchema("nvme_io", [closedObject({
    schema: { const: "nvme_io/1" },
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
    latencyUs: closedObject({
      min: number,
      mean: number,
      max: number,
      percentiles: closedObject(
        Object.fromEntries(PERCENTILES.map((percent) => [String(percent), { type: ["number", "null"], minimum: 0 }])),
      ),
      missing: { type: ["string", "null"] },
    }),
    mismatch: { anyOf: [{ type: "null" }, closedObject({ lba: decimal, offset: integer, text: { type: "string" } })] },
  })]);
}
