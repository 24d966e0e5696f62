/**
 * The schema of what `cxl_sim run --json` prints.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";
import { countersDocument } from "./schemas.ts";

const number: JsonObject = { type: "number" };
const count: JsonObject = { type: "integer", minimum: 0 };
const text: JsonObject = { type: "string" };
const quantity: JsonObject = { type: "string", pattern: "^-?[0-9]+$" };
const address: JsonObject = { type: "string", pattern: "^0x[0-9a-f]+$" };
const optional = (schema: JsonObject): JsonObject => ({ anyOf: [schema, { type: "null" }] });
const list = (items: JsonObject): JsonObject => ({ type: "array", items });
const record = (value: JsonObject): JsonObject => ({ type: "object", additionalProperties: value });

const LATENCY = closedObject({
  count,
  minNs: number,
  meanNs: number,
  p50Ns: optional(number),
  p90Ns: optional(number),
  p99Ns: optional(number),
  p999Ns: optional(number),
  maxNs: number,
  histogram: list(closedObject({ fromNs: number, toNs: number, count })),
});

const NODE = closedObject({
  node: count,
  name: text,
  hops: count,
  extraNs: number,
  pathReadNs: number,
  pathWriteNs: number,
  reads: count,
  writes: count,
  bytes: quantity,
  meanNs: optional(number),
  GBs: number,
  capacityBytes: quantity,
  usedBytes: quantity,
});

const LINK = closedObject({
  name: text,
  kind: { enum: ["local", "endpoint", "switch"] },
  number: count,
  direction: { enum: ["up", "down"] },
  bandwidthGBs: optional(number),
  serviceNs: number,
  utilisation: optional(number),
  peakUtilisation: optional(number),
  waitNs: optional(number),
  longestQueue: optional(count),
  creditStalls: optional(count),
});

const EPOCH = closedObject({
  startNs: number,
  lengthNs: number,
  epochs: count,
  readLines: list(count),
  writeLines: list(count),
  usedBytes: list(number),
  movedIn: list(count),
  movedOut: list(count),
  delayNs: number,
});

const EXPLAINED = closedObject({
  access: text,
  issueNs: optional(number),
  completionNs: optional(number),
  parts: list(closedObject({ part: text, ns: number })),
  links: list(closedObject({ link: text, arrivalNs: number, waitNs: number, serviceNs: number })),
});

/** The schema of the report of a run. */
export const RUN_REPORT: JsonObject = closedObject({
  schema: { const: "cxl_sim_run/1" },
  incomplete: { type: "boolean" },
  trace: closedObject({
    source: text,
    accesses: count,
    reads: count,
    writes: count,
    atomics: count,
    prefetches: count,
    lines: count,
    threads: count,
  }),
  config: { type: "object" },
  configHash: { type: "string", pattern: "^[0-9a-f]{64}$" },
  origins: record(text),
  notes: list(text),
  weight: optional(closedObject({ values: list(number), mean: number })),
  model: closedObject({
    bandwidth: text,
    replay: text,
    placement: text,
    migration: list(text),
    coherence: text,
    mlp: optional(number),
    window: optional(count),
  }),
  time: closedObject({
    nativeNs: number,
    baselineNs: optional(number),
    simulatedNs: number,
    slowdown: optional(number),
    delayNs: optional(number),
    saturated: optional({ type: "boolean" }),
  }),
  attribution: list(closedObject({ part: text, ns: number })),
  sums: closedObject({ waitNs: optional(number), coherenceNs: number, moveNs: number, walkNs: number }),
  latency: optional(LATENCY),
  nodes: list(NODE),
  switches: list(
    closedObject({
      switch: count,
      name: text,
      parent: count,
      reads: count,
      writes: count,
      bytes: quantity,
      GBs: number,
    }),
  ),
  links: list(LINK),
  hosts: list(closedObject({
    host: count,
    threads: count,
    cacheHits: optional(count),
    cacheMisses: optional(count),
    writebacks: optional(count),
    walks: optional(count),
    cachedWalks: optional(count),
  })),
  prefetch: optional(closedObject({ issued: count, useful: count, late: count, coverage: number })),
  coherence: optional(record(count)),
  counters: record(quantity),
  noRoom: optional(
    closedObject({ accesses: count, address, usedBytes: list(quantity), capacityBytes: list(quantity) }),
  ),
  curve: optional(closedObject({
    droppedPoints: count,
    extrapolated: { type: "boolean" },
    points: list(closedObject({ node: count, GBs: optional(number), ns: number })),
  })),
  epochs: closedObject({ count, cappedEpochs: count, rows: list(EPOCH) }),
  heat: optional(closedObject({
    every: count,
    timesNs: list(number),
    rows: list(closedObject({ from: address, to: address, counts: list(count) })),
  })),
  explained: optional(EXPLAINED),
});

/** The schema of what `cxl_sim run --json` prints. */
export function runSchema(): JsonObject {
  return documentSchema("cxl_sim", [RUN_REPORT, countersDocument()], "run");
}
