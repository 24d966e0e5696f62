/**
 * Counters that somebody saved: a copy of /proc/vmstat, or a table with a column for each run, as numa_stats and guides
 * print it (Markdown, CSV, or columns of text).
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import type { CounterValues } from "./counters.ts";

/** A column of a file. */
export interface SavedColumn {
  /** What it is of: the head of the column; the file, for a copy of /proc/vmstat. */
  readonly title: string;
  /** Its counters. */
  readonly values: CounterValues;
}

const MAX_FILE_BYTES = 4 << 20;

/**
 * Reads counters from a file.
 *
 * @throws {BusbarError} `absent`, `permission`, or `malformed` with the line that is neither
 */
export function readCounterFile(path: string): SavedColumn[] {
  try {
    const { size } = Deno.statSync(path);
    if (size > MAX_FILE_BYTES) throw malformed(path, 0, `${size} bytes are no counters`);
    return parseCounters(Deno.readTextFileSync(path), path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}

/** As {@linkcode readCounterFile}, from text. A line that is not understood is an error: nothing is left out. */
export function parseCounters(text: string, path: string): SavedColumn[] {
  const lines = text.split("\n").map((line, i) => ({ number: i + 1, cells: cellsOf(line) }))
    .filter(({ cells }) => cells.length > 0 && !cells.every((cell) => /^:?-{2,}:?$/.test(cell)));
  const [first, ...rest] = lines;
  if (first === undefined) throw malformed(path, 0, "it is empty");
  const isTable = first.cells.slice(1).some((cell) => counter(cell) === undefined) || first.cells.length > 2;
  const titles = isTable ? first.cells.slice(1) : [path];
  const columns = titles.map((title) => ({ title, values: new Map<string, bigint | null>() }));
  for (const { number, cells } of isTable ? rest : lines) {
    const [name = "", ...values] = cells;
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw malformed(path, number, `'${name.slice(0, 40)}' is no counter`);
    if (values.length !== columns.length) {
      throw malformed(path, number, `${name} has ${values.length} values, and there are ${columns.length} columns`);
    }
    for (const [i, cell] of values.entries()) {
      const value = counter(cell);
      if (value === undefined) throw malformed(path, number, `'${cell.slice(0, 40)}' is no value of ${name}`);
      if (columns[i]?.values.has(name)) throw malformed(path, number, `${name} stands there twice`);
      columns[i]?.values.set(name, value);
    }
  }
  if (columns.some(({ values }) => values.size === 0)) throw malformed(path, 0, "it has no counters");
  return columns;
}

/** Cells of a line: between bars, between commas, or between runs of spaces. Emphasis of Markdown is taken off. */
function cellsOf(line: string): string[] {
  const text = line.trim();
  if (text === "") return [];
  const cells = text.startsWith("|")
    ? text.replace(/^\||\|$/g, "").split("|")
    : text.includes(",") && !text.includes("  ")
    ? text.split(",")
    : text.split(/\s{2,}|\t/).length > 1
    ? text.split(/\s{2,}|\t/)
    : text.split(" ");
  return cells.map((cell) => cell.trim().replace(/^\*\*(.*)\*\*$/, "$1").replaceAll("\\_", "_"));
}

/** A count, null for `-`, undefined for what is neither. */
function counter(cell: string): bigint | null | undefined {
  if (cell === "-") return null;
  return /^\d{1,20}$/.test(cell) ? BigInt(cell) : undefined;
}

function malformed(path: string, line: number, what: string): BusbarError {
  return new BusbarError("malformed", `${path}${line === 0 ? "" : `:${line}`}: ${what}`, {
    operation: "read counters",
    path,
    hint: "a copy of /proc/vmstat, or a table with a column for each run",
  });
}
