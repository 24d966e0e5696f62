/**
 * Weights of weighted interleave, as a table and as JSON.
 * @module
 */

import { bold, dim } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import type { InterleaveState, NodeWeight } from "../../../src/memory/interleave_weights.ts";
import { WEIGHT_SUM } from "../../../src/memory/interleave_weights.ts";
import { columns } from "../../cli/table.ts";

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function gigabytes(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`;
}

/** The weights, what they stand for, how far off they are, and those of the kernel by now. */
export function weightLines(weights: readonly NodeWeight[], current: InterleaveState): string[] {
  const head = ["", "reads", "writes", "from", "weight", "share of pages", "of bandwidth", "error", "weight now"];
  const rows = weights.map((one) => [
    `node ${one.node}`,
    gigabytes(one.readBytesPerSecond),
    gigabytes(one.writeBytesPerSecond),
    `node ${one.fromNode}`,
    bold(String(one.weight)),
    percent(one.share),
    percent(one.wantedShare),
    signed(100 * (one.share - one.wantedShare)),
    current.weights.get(one.node) ?? "unknown",
  ]);
  return [
    ...columns([head.map((word) => word === "" ? word : dim(word)), ...rows]),
    `weight: ${WEIGHT_SUM} × the share of the bandwidth, the smaller of reads and writes, rounded down, at least 1; then`,
    "divided by what all weights have in common, as Linux 6.16 makes its own",
    currentLine(current),
    ...weights.length === 1 ? ["one node has memory: there is nothing to interleave"] : [],
  ];
}

function signed(points: number): string {
  const text = points.toFixed(1);
  return `${Number(text) > 0 ? "+" : ""}${text} points`;
}

function currentLine({ reason, auto }: InterleaveState): string {
  if (reason !== null) return reason;
  if (auto === null) return "this kernel makes no weights itself (Linux 6.16)";
  return auto.value === "true"
    ? "the kernel makes its weights itself now: automatic mode"
    : `automatic mode of the kernel: ${auto.value}`;
}

/** Everything for programs. */
export function weightsJson(
  weights: readonly NodeWeight[],
  current: InterleaveState,
  changed: readonly number[] | null,
): JsonObject {
  return {
    schema: "tiering_weights/1",
    nodes: weights.map((one) => ({ ...one, current: current.weights.get(one.node) ?? null })),
    auto: current.auto?.value ?? null,
    reason: current.reason,
    changed: changed === null ? null : [...changed],
  };
}

/** The schema of {@linkcode weightsJson}. */
export const WEIGHTS_SCHEMA: JsonObject = closedObject({
  schema: { const: "tiering_weights/1" },
  nodes: {
    type: "array",
    items: closedObject({
      node: { type: "integer", minimum: 0 },
      fromNode: { type: "integer", minimum: 0 },
      readBytesPerSecond: { type: "number", exclusiveMinimum: 0 },
      writeBytesPerSecond: { type: "number", exclusiveMinimum: 0 },
      bytesPerSecond: { type: "number", exclusiveMinimum: 0 },
      weight: { type: "integer", minimum: 1, maximum: 255 },
      share: { type: "number", minimum: 0, maximum: 1 },
      wantedShare: { type: "number", minimum: 0, maximum: 1 },
      current: { type: ["string", "null"] },
    }),
  },
  auto: { type: ["string", "null"] },
  reason: { type: ["string", "null"] },
  changed: { anyOf: [{ type: "null" }, { type: "array", items: { type: "integer", minimum: 0 } }] },
});
