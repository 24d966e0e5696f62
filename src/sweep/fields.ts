/**
 * Fields of a result by path: `time.slowdown`, `nodes.1.GBs`.
 * @module
 */

import type { Options } from "./grid.ts";

/** Bytes of a column's text. */
export type Field = number | string | boolean | null;

/**
 * The value at a path in a document: null when there is none, or when it is no single value.
 *
 * @param path names and indexes of lists, separated by dots
 */
export function fieldOf(document: unknown, path: string): Field {
  let value = document;
  for (const key of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return null;
    value = (value as Record<string, unknown>)[key];
  }
  return typeof value === "number" || typeof value === "string" || typeof value === "boolean" ? value : null;
}

/** The value of a column: of a parameter with this name, else at this path in the result. */
export function columnOf(parameters: Options, result: unknown, column: string): Field {
  if (!Object.hasOwn(parameters, column)) return fieldOf(result, column);
  const value = parameters[column] ?? null;
  return Array.isArray(value) ? value.join(",") : value as Field;
}

/** A value as a number, also where JSON has it as decimal text; null for what is none. */
export function numberOf(field: Field): number | null {
  if (typeof field === "number") return field;
  if (typeof field !== "string" || !/^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(field)) return null;
  return Number(field);
}
