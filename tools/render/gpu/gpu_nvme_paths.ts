/**
 * What `gpu_nvme paths` measured, as text and JSON.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { DirectDoorbells, DirectMode } from "../../../src/gpu/nvme/direct_job.ts";
import type { DrivePath } from "../../../src/gpu/nvme_paths.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";
import { columns } from "../../cli/table.ts";
import { microseconds, timesJson, timesMembers } from "../nvme/transfers.ts";

/** What was asked for. */
export interface PathsDescription extends TransferPlan {
  /** The controller's locator. */
  readonly device: string;
  /** The GPU, in words. */
  readonly gpu: string;
  /** Who submits, in the kernels. */
  readonly mode: DirectMode;
  /** How kernels ring doorbells. */
  readonly doorbells: DirectDoorbells;
  /** Transfers in flight. */
  readonly depth: number;
  /** Queue pairs of the kernels. */
  readonly queues: number;
  /** Milliseconds of each way. */
  readonly durationMs: number;
}

const PERCENTILES = [50, 99] as const;
const GIB = 2 ** 30;

/** How it is done, and by what: before the figures. */
export function pathsMethodLines(what: PathsDescription): string[] {
  const transfer = formatBytes(what.transferBlocks * what.namespace.blockBytes);
  return [
    `GPU ${what.gpu}, drive ${what.device}`,
    `reads of ${transfer} at random places, ${what.depth} in flight, ${formatDurationMs(what.durationMs)} each way`,
    `kernels: --mode ${what.mode}, --queues ${what.queues}, --doorbells ${what.doorbells}`,
  ];
}

/** The table for people, and what was not measured. */
export function pathsLines(ways: readonly DrivePath[]): string[] {
  const rows = ways.flatMap(({ name, copies, figures }) => {
    if (figures === null) return [];
    const { transfers, bytes, elapsedMs, latency, cpuSeconds } = figures;
    const percentiles = PERCENTILES.map((one) =>
      latency.hasPercentile(one) ? microseconds(latency.percentile(one)) : "-"
    );
    return [[
      name,
      (bytes / elapsedMs / 1e6).toFixed(3),
      String(Math.round(transfers / elapsedMs * 1000)),
      ...percentiles,
      bytes === 0 ? "-" : (cpuSeconds / (bytes / GIB)).toFixed(2),
      String(copies),
    ]];
  });
  const missing = ways.flatMap(({ name, missing }) => missing === null ? [] : [`not measured: ${name}: ${missing}`]);
  const header = ["way", "GB/s", "commands/s", ...PERCENTILES.map((one) => `${one} % µs`), "CPU s/GiB", "copies"];
  return [...(rows.length === 0 ? [] : columns([header, ...rows])), ...missing];
}

/** The same for programs. */
export function pathsJson(what: PathsDescription, ways: readonly DrivePath[]): JsonObject {
  return {
    schema: "gpu_nvme/1",
    action: "paths",
    device: what.device,
    gpu: what.gpu,
    mode: what.mode,
    doorbells: what.doorbells,
    depth: what.depth,
    queues: what.queues,
    namespace: what.namespace.id,
    transferBytes: what.transferBlocks * what.namespace.blockBytes,
    durationMs: what.durationMs,
    ways: ways.map(({ name, copies, figures, missing }) => ({
      name,
      copies,
      missing,
      figures: figures === null ? null : {
        transfers: figures.transfers,
        bytes: String(figures.bytes),
        elapsedMs: figures.elapsedMs,
        cpuSeconds: figures.cpuSeconds,
        latencyUs: timesJson(figures.latency, PERCENTILES),
      },
    })),
  };
}

/** The schema of {@linkcode pathsJson}. */
export function pathsSchema(): JsonObject {
  const integer = { type: "integer", minimum: 0 }, number = { type: "number", minimum: 0 }, text = { type: "string" };
  const figures = closedObject({
    transfers: integer,
    bytes: { type: "string", pattern: "^[0-9]+$" },
    elapsedMs: number,
    cpuSeconds: number,
    latencyUs: closedObject(timesMembers(PERCENTILES)),
  });
  return closedObject({
    schema: { const: "gpu_nvme/1" },
    action: { const: "paths" },
    device: text,
    gpu: text,
    mode: { enum: ["thread", "warp", "grid"] },
    doorbells: { enum: ["mmio", "shadow", "proxy"] },
    depth: integer,
    queues: integer,
    namespace: integer,
    transferBytes: integer,
    durationMs: number,
    ways: {
      type: "array",
      items: closedObject({
        name: text,
        copies: integer,
        missing: { type: ["string", "null"] },
        figures: { oneOf: [{ type: "null" }, figures] },
      }),
    },
  });
}
