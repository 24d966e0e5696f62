/**
 * What `membench` measured, as text and JSON.
 * @module
 */

import { bold, dim } from "@std/fmt/colors";

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import type { BenchEnvironment } from "../../../src/memory/bench_environment.ts";
import { BENCHMARKS, type BenchOptions, type BenchResult, type Rate } from "../../../src/memory/membench.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

/** The machine, in one line. */
export function machineLine(environment: BenchEnvironment): string {
  const known = (text: string | null, name: string): string => text === null ? "" : `, ${name} ${text}`;
  return `${environment.processor ?? "unknown processor"}, processors ${environment.cpus ?? "?"}` +
    `${environment.isVirtual === true ? ", a virtual machine" : ""}, Linux ${environment.kernel ?? "?"}` +
    known(environment.nodes, "nodes") + known(environment.largestCache, "largest cache") +
    known(environment.governor, "governor") + known(environment.hugePages, "huge pages for shared memory");
}

/** Machine and method, before any number. */
export function environmentLines(environment: BenchEnvironment, options: BenchOptions): string[] {
  return [
    machineLine(environment),
    `each number: median of slices of 100 ms in ${formatDurationMs(options.durationMs)}, at least 3; ` +
    `${options.threads} thread${options.threads === 1 ? "" : "s"}, ` +
    `${options.cpus.length === 0 ? "not pinned" : `on processors ${options.cpus.join(",")}`}; pages touched before`,
    `latency: one random cycle, a slot each ${options.strideBytes} bytes; bandwidth: 16-byte accesses, nt past the cache; ` +
    `durable: ${formatBytes(options.blockBytes)} blocks, each permanent before the next`,
  ];
}

/** Rows of the comparison: name, and the value of each backend. */
export function comparison(results: readonly BenchResult[]): string[][] {
  const rows: [string, (result: BenchResult) => string][] = [
    ["memory", (result) => `${result.kind}, ${formatBytes(result.sizeBytes)}`],
    ["latency", ({ latency }) => nanoseconds(latency?.at(-1)?.medianNs)],
    ["throughput (copy)", ({ bandwidth }) => gigabytes(bandwidth?.copy)],
    ["  read", ({ bandwidth }) => gigabytes(bandwidth?.read)],
    ["  write", ({ bandwidth }) => gigabytes(bandwidth?.write)],
    ["  write nt", ({ bandwidth }) => gigabytes(bandwidth?.["write-nt"])],
    ["  copy nt", ({ bandwidth }) => gigabytes(bandwidth?.["copy-nt"])],
    ["CPU of copy", ({ bandwidth }) => percent(bandwidth?.copy)],
    ["made durable by", ({ persistence, durable }) => durable === null ? "-" : persistence],
    ["durable write", ({ durable }) => durable === null ? "-" : `${(1e6 / durable.perSecond).toFixed(2)} µs`],
    ["  CPU", ({ durable }) => percent(durable)],
    [
      "  CPU of it in the kernel",
      ({ durable }) => durable === null ? "-" : `${(100 * durable.systemShare).toFixed(0)} %`,
    ],
    [
      "  CPU for one",
      ({ durable }) => durable === null ? "-" : `${(1e6 * durable.cpuShare / durable.perSecond).toFixed(2)} µs`,
    ],
    ["random updates", ({ gups }) => gups === null ? "-" : `${(gups.perSecond / 1e9).toFixed(4)} GUPS`],
    ["  with a hot set", ({ hotGups }) => hotGups === null ? "-" : `${(hotGups.perSecond / 1e9).toFixed(4)} GUPS`],
  ];
  const filled = rows.map(([name, value]) => [name, ...results.map(value)]);
  return filled.filter(([, ...values]) => values.some((value) => value !== "-"));
}

/** The comparison, and what has more than one number: latency by working set, and under load. */
export function benchLines(results: readonly BenchResult[]): string[] {
  const head = ["", ...results.map(({ name }) => bold(name))];
  const lines = columns([head, ...comparison(results)]);
  const sets = [
    ...new Set(results.flatMap(({ latency }) => latency?.map(({ workingSetBytes }) => workingSetBytes) ?? [])),
  ]
    .sort((a, b) => a - b);
  if (sets.length > 0) {
    const rows = sets.map((set) => [
      formatBytes(set),
      ...results.map(({ latency }) =>
        nanoseconds(latency?.find(({ workingSetBytes }) => workingSetBytes === set)?.medianNs)
      ),
    ]);
    lines.push("", dim("latency by working set"), ...columns([head, ...rows]));
  }
  for (const { name, loaded } of results) {
    if (loaded === null) continue;
    const rows = loaded.map((
      point,
    ) => [`${(point.bytesPerSecond / 1e9).toFixed(2)} GB/s`, nanoseconds(point.medianNs)]);
    lines.push("", dim(`latency under load, ${name}`), ...columns(rows));
  }
  return lines;
}

function nanoseconds(value: number | undefined): string {
  return value === undefined ? "-" : `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ns`;
}

function gigabytes(rate: Rate | undefined): string {
  return rate === undefined ? "-" : `${(rate.perSecond / 1e9).toFixed(2)} GB/s`;
}

function percent(rate: Rate | null | undefined): string {
  return rate === null || rate === undefined ? "-" : `${(100 * rate.cpuShare).toFixed(0)} %`;
}

/** Everything for programs. */
export function benchJson(
  environment: BenchEnvironment,
  options: BenchOptions,
  results: readonly BenchResult[],
): JsonObject {
  const { benchmarks, durationMs, strideBytes, threads, cpus, blockBytes } = options;
  return {
    schema: "membench/1",
    environment: { ...environment, caches: environment.caches.map((one) => ({ ...one })) },
    method: { benchmarks: [...benchmarks], durationMs, strideBytes, threads, cpus: [...cpus], blockBytes },
    results: results.map((result): Json => ({
      name: result.name,
      kind: result.kind,
      sizeBytes: String(result.sizeBytes),
      persistence: result.persistence,
      latency: result.latency?.map((point) => ({ ...point })) ?? null,
      bandwidth: result.bandwidth === null
        ? null
        : Object.fromEntries(Object.entries(result.bandwidth).map(([kind, rate]) => [kind, { ...rate }])),
      durable: result.durable === null ? null : { ...result.durable },
      gups: result.gups === null ? null : { ...result.gups },
      hotGups: result.hotGups === null ? null : { ...result.hotGups },
      loaded: result.loaded?.map((point) => ({ ...point })) ?? null,
    })),
  };
}

/** The schema of a {@linkcode BenchEnvironment}. */
export function environmentSchema(): JsonObject {
  const textOrNull: JsonObject = { type: ["string", "null"] };
  return closedObject({
    processor: textOrNull,
    cpus: textOrNull,
    isVirtual: { type: ["boolean", "null"] },
    kernel: textOrNull,
    nodes: textOrNull,
    hugePages: textOrNull,
    governor: textOrNull,
    largestCache: textOrNull,
    caches: {
      type: "array",
      items: closedObject({ name: { type: "string" }, sizeBytes: { type: "integer", minimum: 1 } }),
    },
  });
}

/** The schema of {@linkcode benchJson}. */
export function membenchSchema(): JsonObject {
  const number: JsonObject = { type: "number", minimum: 0 };
  const integer: JsonObject = { type: "integer", minimum: 0 };
  const orNull = (schema: JsonObject): JsonObject => ({ anyOf: [{ type: "null" }, schema] });
  const list = (properties: Record<string, Json>): JsonObject => ({ type: "array", items: closedObject(properties) });
  const rate = { perSecond: number, best: number, cpuShare: number, systemShare: number, samples: integer };
  const updates = closedObject({ ...rate, updates: integer, errors: integer, words: integer });
  const kinds = ["read", "write", "copy", "write-nt", "copy-nt"];
  const result = {
    name: { type: "string" },
    kind: { type: "string" },
    sizeBytes: { type: "string", pattern: "^[0-9]+$" },
    persistence: { enum: ["cache flush", "msync", "none"] },
    latency: orNull(
      list({ workingSetBytes: integer, medianNs: number, bestNs: number, worstNs: number, cpuShare: number }),
    ),
    bandwidth: orNull(closedObject(Object.fromEntries(kinds.map((kind) => [kind, closedObject(rate)])))),
    durable: orNull(closedObject(rate)),
    gups: orNull(updates),
    hotGups: orNull(updates),
    loaded: orNull(list({ delay: integer, bytesPerSecond: number, medianNs: number, bestNs: number, worstNs: number })),
  };
  return documentSchema("membench", [closedObject({
    schema: { const: "membench/1" },
    environment: environmentSchema(),
    method: closedObject({
      benchmarks: { type: "array", items: { enum: [...BENCHMARKS] } },
      durationMs: number,
      strideBytes: integer,
      threads: integer,
      cpus: { type: "array", items: integer },
      blockBytes: integer,
    }),
    results: list(result),
  })]);
}
