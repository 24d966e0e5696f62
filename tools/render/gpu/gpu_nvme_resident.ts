/**
 * What `gpu_nvme resident` measured, as text and JSON.
 * @module
 */

import { red } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { DirectDoorbells, DirectMode } from "../../../src/gpu/nvme/direct_job.ts";
import type { RequestRates } from "../../../src/gpu/resident_rates.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";
import { columns } from "../../cli/table.ts";
import { microseconds, timesJson, timesMembers } from "../nvme/transfers.ts";

/** What was asked for. */
export interface ResidentDescription extends TransferPlan {
  /** The controller's locator. */
  readonly device: string;
  /** The GPU, in words. */
  readonly gpu: string;
  /** Who submits. */
  readonly mode: DirectMode;
  /** How kernels ring doorbells. */
  readonly doorbells: DirectDoorbells;
  /** Requests in flight. */
  readonly depth: number;
  /** Queue pairs. */
  readonly queues: number;
  /** Milliseconds of each way. */
  readonly durationMs: number;
  /** How many places of the drive are read. */
  readonly places: number;
}

const PERCENTILES = [50, 99] as const;
const WAYS = { launch: "a launch for each request", resident: "requests to a kernel that stays" } as const;

function perSecond({ requests, elapsedMs }: RequestRates): number {
  return requests / elapsedMs * 1000;
}

/** How often more requests a second than launches: null where nothing was launched. */
function ratioOf(one: RequestRates, rates: readonly RequestRates[]): number | null {
  const launch = rates.find(({ way }) => way === "launch");
  return launch === undefined || launch.requests === 0 ? null : perSecond(one) / perSecond(launch);
}

/** How it is done, and by what: before the figures. */
export function residentMethodLines(what: ResidentDescription): string[] {
  const transfer = formatBytes(what.transferBlocks * what.namespace.blockBytes);
  return [
    `GPU ${what.gpu}, drive ${what.device}`,
    `reads of ${transfer} at ${what.places} random places, which the CPU's driver has read before; ${
      formatDurationMs(what.durationMs)
    } each way`,
    `kernels: --mode ${what.mode}, --queues ${what.queues}, --doorbells ${what.doorbells}; no CPU between a request and its data`,
  ];
}

/** The table for people. */
export function residentLines(rates: readonly RequestRates[]): string[] {
  const rows = rates.map((one) => [
    WAYS[one.way],
    String(one.inFlight),
    String(Math.round(perSecond(one))),
    ...PERCENTILES.map((percent) =>
      one.latency.hasPercentile(percent) ? microseconds(one.latency.percentile(percent)) : "-"
    ),
    one.requests === 0 ? "-" : (one.cpuSeconds / one.requests * 1e6).toFixed(1),
    one.way === "launch" ? "" : `${ratioOf(one, rates)?.toFixed(1) ?? "-"} ×`,
  ]);
  const header = ["way", "in flight", "requests/s", ...PERCENTILES.map((one) => `${one} % µs`), "CPU µs each", ""];
  const wrong = rates.reduce((sum, one) => sum + one.wrong, 0);
  const verdict = wrong === 0
    ? "every request brought the bytes that the CPU's driver had read"
    : red(`${wrong} requests brought other bytes than the CPU's driver had read`);
  return [...columns([header, ...rows]), verdict];
}

/** The same for programs. */
export function residentJson(what: ResidentDescription, rates: readonly RequestRates[]): JsonObject {
  return {
    schema: "gpu_nvme/1",
    action: "resident",
    device: what.device,
    gpu: what.gpu,
    mode: what.mode,
    doorbells: what.doorbells,
    depth: what.depth,
    queues: what.queues,
    namespace: what.namespace.id,
    lba: what.lba.toString(),
    blocks: what.blocks.toString(),
    transferBytes: what.transferBlocks * what.namespace.blockBytes,
    places: what.places,
    durationMs: what.durationMs,
    ways: rates.map((one) => ({
      way: one.way,
      inFlight: one.inFlight,
      requests: one.requests,
      requestsPerSecond: perSecond(one),
      timesLaunches: ratioOf(one, rates),
      elapsedMs: one.elapsedMs,
      cpuSeconds: one.cpuSeconds,
      wrong: one.wrong,
      latencyUs: timesJson(one.latency, PERCENTILES),
    })),
  };
}

/** The schema of {@linkcode residentJson}. */
export function residentSchema(): JsonObject {
  const integer = { type: "integer", minimum: 0 }, number = { type: "number", minimum: 0 }, text = { type: "string" };
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  return closedObject({
    schema: { const: "gpu_nvme/1" },
    action: { const: "resident" },
    device: text,
    gpu: text,
    mode: { enum: ["warp", "grid"] },
    doorbells: { enum: ["mmio", "shadow", "proxy"] },
    depth: integer,
    queues: integer,
    namespace: integer,
    lba: decimal,
    blocks: decimal,
    transferBytes: integer,
    places: integer,
    durationMs: number,
    ways: {
      type: "array",
      items: closedObject({
        way: { enum: ["launch", "resident"] },
        inFlight: integer,
        requests: integer,
        requestsPerSecond: number,
        timesLaunches: { type: ["number", "null"], minimum: 0 },
        elapsedMs: number,
        cpuSeconds: number,
        wrong: integer,
        latencyUs: closedObject(timesMembers(PERCENTILES)),
      }),
    },
  });
}
