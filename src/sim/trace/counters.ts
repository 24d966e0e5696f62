/**
 * The counters of a program by epoch, as CSV: the input of the counter mode.
 *
 * The first line names the columns: stallCycles, llcHits, llcMisses, socketReads, socketWritebacks, and for every
 * endpoint n `r<n>` and `w<n>`, the share of reads and writes that go to it (0 to 1). A row is an epoch.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { EpochCounters } from "../models/counters.ts";
import { decimalNumber, quoted } from "./format.ts";
import { LineError } from "./line_error.ts";

const COUNTERS = ["stallCycles", "llcHits", "llcMisses", "socketReads", "socketWritebacks"] as const;

/** More rows are no counters of a program: 5 ms each, they would be 14 hours. */
const ROW_LIMIT = 10_000_000;

/** What a header says: which column holds what. */
interface Columns {
  readonly counters: ReadonlyMap<string, number>;
  readonly reads: readonly (number | null)[];
  readonly writes: readonly (number | null)[];
  readonly width: number;
}

function readHeader(line: string): Columns {
  const names = line.split(",").map((name) => name.trim());
  const counters = new Map<string, number>();
  const reads: (number | null)[] = [];
  const writes: (number | null)[] = [];
  for (const [at, name] of names.entries()) {
    const share = /^([rw])([1-9]\d{0,2})$/.exec(name);
    const shares = share?.[1] === "r" ? reads : writes;
    const endpoint = Number(share?.[2]) - 1;
    const twice = share === null ? counters.has(name) : (shares[endpoint] ?? null) !== null;
    if (twice) throw new LineError(`column ${quoted(name)} stands there twice`);
    if (share !== null) shares[endpoint] = at;
    else if ((COUNTERS as readonly string[]).includes(name)) counters.set(name, at);
    else throw new LineError(`column ${quoted(name)} is unknown`, `${COUNTERS.join(",")},r1,w1,…`);
  }
  const missing = COUNTERS.find((name) => !counters.has(name));
  if (missing !== undefined) throw new LineError(`column ${missing} is missing`, `${COUNTERS.join(",")},r1,w1,…`);
  return {
    counters,
    reads: Array.from(reads, (at) => at ?? null),
    writes: Array.from(writes, (at) => at ?? null),
    width: names.length,
  };
}

function readRow(line: string, columns: Columns): EpochCounters {
  const fields = line.split(",").map((field) => field.trim());
  if (fields.length !== columns.width) {
    throw new LineError(`${fields.length} fields`, `the first line names ${columns.width} columns`);
  }
  const counter = (name: typeof COUNTERS[number]): number =>
    decimalNumber(fields[columns.counters.get(name) ?? -1] ?? "", name);
  const shares = (places: readonly (number | null)[], letter: string): number[] => {
    const values = places.map((at, i) => at === null ? 0 : decimalNumber(fields[at] ?? "", `${letter}${i + 1}`));
    const sum = values.reduce((total, value) => total + value, 0);
    if (sum > 1 + 1e-9) throw new LineError(`the shares ${letter}1, … add up to ${sum}`, "they are parts of 1");
    return values;
  };
  return {
    stallCycles: counter("stallCycles"),
    llcHits: counter("llcHits"),
    llcMisses: counter("llcMisses"),
    socketReads: counter("socketReads"),
    socketWritebacks: counter("socketWritebacks"),
    readShare: shares(columns.reads, "r"),
    writeShare: shares(columns.writes, "w"),
  };
}

/**
 * Reads counters.
 *
 * @param path for errors
 * @throws {BusbarError} `malformed`, with the number of the line
 */
export function readCounters(text: string, path: string): EpochCounters[] {
  const rows: EpochCounters[] = [];
  let columns: Columns | null = null;
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    try {
      if (columns === null) columns = readHeader(line);
      else rows.push(readRow(line, columns));
      if (rows.length > ROW_LIMIT) throw new LineError(`more than ${ROW_LIMIT} epochs`);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      throw new BusbarError("malformed", `${path}:${i + 1}: ${error.message}`, {
        operation: "read counters",
        path,
        hint: error.hint ?? undefined,
      });
    }
  }
  if (columns === null) {
    throw new BusbarError("malformed", `${path}: holds no counters`, {
      operation: "read counters",
      path,
      hint: `the first line names the columns: ${COUNTERS.join(",")},r1,w1,…`,
    });
  }
  return rows;
}
