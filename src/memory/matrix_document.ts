/**
 * Reads what `membench matrix --json` printed, for weights.
 * @module
 */

import { parseJson } from "../core/documents.ts";
import { BusbarError, type ErrorCode, isBusbarError } from "../core/error.ts";
import { readInputText } from "../core/input.ts";
import type { BandwidthCell } from "./interleave_weights.ts";

/** More than a matrix of 64 nodes takes. */
const LIMIT_BYTES = 16 << 20;
const MOST_NODES = 1024;

/** A matrix, as far as weights need it. */
export interface BandwidthMatrix {
  /** Nodes with memory. */
  readonly nodes: readonly number[];
  /** What was measured. */
  readonly cells: readonly BandwidthCell[];
}

/** Reads a file of `membench matrix --json`. @throws {BusbarError} `absent`, `malformed` */
export function readMatrixFile(path: string): BandwidthMatrix {
  try {
    const text = readInputText(path, { limitBytes: LIMIT_BYTES, what: "a matrix", operation: "read a matrix" });
    return matrixFrom(parseJson(text, path), path);
  } catch (error) {
    if (!isBusbarError(error) || error.hint !== null) throw error;
    throw matrixError(error.code, error.message, path, error);
  }
}

function matrixError(code: ErrorCode, message: string, path: string, cause?: unknown): BusbarError {
  const hint = "membench matrix --json >matrix.json makes one";
  return new BusbarError(code, message, { operation: "read a matrix", path, hint, cause });
}

/** Checks a document of `membench matrix --json`. @throws {BusbarError} `malformed` with the first mistake */
export function matrixFrom(document: unknown, path: string): BandwidthMatrix {
  const wrong = (what: string): never => {
    throw matrixError("malformed", `${path}: ${what}`, path);
  };
  const object = (value: unknown, what: string): Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : wrong(`${what} is no object`);
  const list = (value: unknown, what: string): readonly unknown[] =>
    Array.isArray(value) ? value : wrong(`${what} is no list`);
  const whole = (value: unknown, limit: number, what: string): number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < limit
      ? Number(value)
      : wrong(`${what} is not right`);
  const rate = (value: unknown, what: string): number =>
    typeof value === "number" && value > 0 && Number.isFinite(value) ? value : wrong(`${what} is no bandwidth`);

  const top = object(document, "it");
  if (top["schema"] !== "membench-matrix/1") wrong("it is no document of membench matrix");
  const nodes = list(top["memoryNodes"], "memoryNodes").map((one, i) =>
    whole(object(one, `memoryNodes[${i}]`)["node"], MOST_NODES, `memoryNodes[${i}].node`)
  );
  if (nodes.length === 0 || new Set(nodes).size !== nodes.length) wrong("memoryNodes is empty, or names a node twice");
  const cells = list(top["cells"], "cells").map((one, i): BandwidthCell => {
    const cell = object(one, `cells[${i}]`);
    const bandwidth = cell["bandwidth"] === null ? null : list(cell["bandwidth"], `cells[${i}].bandwidth`);
    const reason = cell["reason"];
    return {
      processorNode: whole(cell["processorNode"], MOST_NODES, `cells[${i}].processorNode`),
      memoryNode: whole(cell["memoryNode"], MOST_NODES, `cells[${i}].memoryNode`),
      byReadPercent: bandwidth === null ? null : new Map(bandwidth.map((value, j) => {
        const what = `cells[${i}].bandwidth[${j}]`;
        const { readPercent, bytesPerSecond } = object(value, what);
        return [
          whole(readPercent, 101, `${what}.readPercent`),
          rate(object(bytesPerSecond, `${what}.bytesPerSecond`)["median"], `${what}.bytesPerSecond.median`),
        ];
      })),
      reason: reason === null || typeof reason === "string" ? reason : wrong(`cells[${i}].reason is no text`),
    };
  });
  return { nodes, cells };
}
