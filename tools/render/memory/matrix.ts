/**
 * Latency and bandwidth between nodes, as tables, JSON and heat maps.
 * @module
 */

import { bold, dim, yellow } from "@std/fmt/colors";

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs, formatNumbers } from "../../../src/core/units.ts";
import type { BenchEnvironment } from "../../../src/memory/bench_environment.ts";
import type { MatrixCell, MatrixNodes, MatrixOptions, Spread } from "../../../src/memory/matrix.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";
import type { Chart } from "../chart/chart.ts";
import { drawCharts } from "../chart/draw.ts";
import { environmentSchema, machineLine } from "./membench.ts";
import { benchPage } from "./membench_curves.ts";

/** A matrix with all that belongs to it. */
export interface MatrixReport {
  /** The machine. */
  readonly environment: BenchEnvironment;
  /** Its nodes. */
  readonly nodes: MatrixNodes;
  /** How it was measured. */
  readonly method: Pick<MatrixOptions, "sizeBytes" | "durationMs" | "strideBytes" | "threads" | "readPercents">;
  /** What was measured. */
  readonly cells: readonly MatrixCell[];
}

/** Machine, nodes and method, before any number. */
export function matrixMethodLines({ environment, nodes, method }: Omit<MatrixReport, "cells">): string[] {
  const { sizeBytes, durationMs, strideBytes, readPercents } = method;
  const threads = nodes.processors.map(({ node, cpus }) =>
    `node ${node} on ${formatNumbers(cpus.slice(0, method.threads))}`
  );
  return [
    machineLine(environment),
    `${
      formatBytes(sizeBytes)
    } of each node's memory, bound to it; counted as its memory only where the kernel says so of ` +
    "every page, before and after",
    `each number: median of slices of 100 ms in ${
      formatDurationMs(durationMs)
    }, at least 3, and the smallest and largest`,
    ...strideBytes === null
      ? []
      : [`latency: one thread, on the first processor; one random cycle, a slot each ${strideBytes} bytes`],
    `bandwidth: pinned threads, ${threads.join("; ")}; pieces of 1 KiB, of which ${readPercents.join(", ")} % are ` +
    "read and the others written; that a write reads its cache line first is not counted",
    ...nodes.leftOut.map(({ node, reason }) => `node ${node}: ${reason}`),
    ...nodes.processors.length === 1 && nodes.memories.length === 1
      ? [`one node only (node ${nodes.memories[0]?.node ?? 0}): the matrix is 1 × 1`]
      : [],
  ];
}

/** A number of each cell, and how it is written. */
interface Quantity {
  readonly title: string;
  readonly of: (cell: MatrixCell) => Spread | null;
  readonly text: (value: number) => string;
  /** What it is divided by to have the unit of the title. */
  readonly unit: number;
}

function quantities({ method }: MatrixReport): Quantity[] {
  const nanoseconds = (value: number): string => value.toFixed(value < 100 ? 1 : 0);
  return [
    ...method.strideBytes === null
      ? []
      : [{ title: "latency, ns", of: (cell: MatrixCell): Spread | null => cell.latencyNs, text: nanoseconds, unit: 1 }],
    ...method.readPercents.map((percent, i) => ({
      title: `bandwidth, GB/s, ${percent} % reads`,
      of: (cell: MatrixCell): Spread | null => cell.bandwidth?.[i] ?? null,
      text: (value: number): string => (value / 1e9).toFixed(2),
      unit: 1e9,
    })),
  ];
}

function cellAt({ cells }: MatrixReport, processorNode: number, memoryNode: number): MatrixCell | undefined {
  return cells.find((cell) => cell.processorNode === processorNode && cell.memoryNode === memoryNode);
}

/** A table for each quantity: processors down, memory across. */
export function nodeMatrixLines(report: MatrixReport): string[] {
  const { processors, memories } = report.nodes;
  const lines: string[] = [];
  for (const { title, of, text } of quantities(report)) {
    const rows = processors.map(({ node }) => [
      `processors of node ${node}`,
      ...memories.map((memory) => {
        const cell = cellAt(report, node, memory.node);
        const spread = cell === undefined ? null : of(cell);
        return spread === null ? "unknown" : `${text(spread.median)} (${text(spread.min)}–${text(spread.max)})`;
      }),
    ]);
    if (lines.length > 0) lines.push("");
    lines.push(bold(title), ...columns([["", ...memories.map(({ node }) => dim(`memory of node ${node}`))], ...rows]));
  }
  const reasons = new Map(report.cells.map(({ memoryNode, reason }) => [memoryNode, reason]));
  for (const [node, reason] of reasons) if (reason !== null) lines.push(yellow(`memory of node ${node}: ${reason}`));
  return lines;
}

/** Everything for programs. */
export function matrixJson({ environment, nodes, method, cells }: MatrixReport): JsonObject {
  const spread = (value: Spread): Json => ({ ...value });
  return {
    schema: "membench-matrix/1",
    environment: { ...environment, caches: environment.caches.map((one) => ({ ...one })) },
    method: { ...method, sizeBytes: String(method.sizeBytes), readPercents: [...method.readPercents] },
    processorNodes: nodes.processors.map(({ node, cpus }) => ({ node, cpus: [...cpus] })),
    memoryNodes: nodes.memories.map(({ node, totalBytes }) => ({ node, totalBytes: String(totalBytes) })),
    leftOut: nodes.leftOut.map((one) => ({ ...one })),
    cells: cells.map((cell): Json => ({
      ...cell,
      latencyNs: cell.latencyNs === null ? null : spread(cell.latencyNs),
      bandwidth: cell.bandwidth?.map((rate, i) => ({
        readPercent: method.readPercents[i] ?? null,
        bytesPerSecond: spread(rate),
      })) ?? null,
    })),
  };
}

/** The schema of {@linkcode matrixJson}. */
export function matrixSchema(): JsonObject {
  const integer: JsonObject = { type: "integer", minimum: 0 };
  const percent: JsonObject = { type: "integer", minimum: 0, maximum: 100 };
  const number: JsonObject = { type: "number", minimum: 0 };
  const decimal: JsonObject = { type: "string", pattern: "^[0-9]+$" };
  const list = (items: JsonObject): JsonObject => ({ type: "array", items });
  const orNull = (schema: JsonObject): JsonObject => ({ anyOf: [{ type: "null" }, schema] });
  const spread = closedObject({ median: number, min: number, max: number, samples: integer });
  return documentSchema("membench", [closedObject({
    schema: { const: "membench-matrix/1" },
    environment: environmentSchema(),
    method: closedObject({
      sizeBytes: decimal,
      durationMs: number,
      strideBytes: orNull(integer),
      threads: integer,
      readPercents: list(percent),
    }),
    processorNodes: list(closedObject({ node: integer, cpus: list(integer) })),
    memoryNodes: list(closedObject({ node: integer, totalBytes: decimal })),
    leftOut: list(closedObject({ node: integer, reason: { type: "string" } })),
    cells: list(closedObject({
      processorNode: integer,
      memoryNode: integer,
      threads: integer,
      latencyNs: orNull(spread),
      bandwidth: orNull(list(closedObject({ readPercent: percent, bytesPerSecond: spread }))),
      cpuShare: orNull({ type: "number", minimum: 0, maximum: 1 }),
      reason: { type: ["string", "null"] },
    })),
  })], "matrix");
}

function matrixCharts(report: MatrixReport): Chart[] {
  const { processors, memories } = report.nodes;
  return quantities(report).map(({ title, of, text, unit }) => ({
    title,
    x: { title: "memory", scale: "band" },
    y: { title: "processors", scale: "band" },
    height: 84 + 40 * processors.length,
    layers: [{
      kind: "cells",
      title: title.split(", ").slice(0, 2).join(", "),
      cells: processors.flatMap(({ node }) =>
        memories.map((memory) => {
          const cell = cellAt(report, node, memory.node);
          const spread = cell === undefined ? null : of(cell);
          return {
            x: `node ${memory.node}`,
            y: `node ${node}`,
            value: spread === null ? null : spread.median / unit,
            text: spread === null ? "unknown" : text(spread.median),
          };
        })
      ),
    }],
  }));
}

/** A heat map for each quantity, one above the other. */
export async function matrixPicture(report: MatrixReport): Promise<string> {
  return await drawCharts(matrixCharts(report));
}

/** A page with machine, method, tables and heat maps. It needs nothing else. */
export async function matrixPage(report: MatrixReport): Promise<string> {
  const text = [...matrixMethodLines(report), "", ...nodeMatrixLines(report)];
  return await benchPage("membench matrix", text, matrixCharts(report));
}
