/**
 * Epochs as rows of the report: at most 1024, beyond that pairs of rows become one.
 * @module
 */

import type { EpochCounts } from "./epochs.ts";
import type { PageMap } from "./memory/page_map.ts";
import type { AnalyticDelay } from "./models/analytic.ts";
import { nsOf } from "./units.ts";

const ROW_LIMIT = 1024;

/** One row: an epoch, or some in a row. */
export interface EpochRow {
  /** Trace time of the first event in ns, and the length in ns. */
  startNs: number;
  /** Length. */
  lengthNs: number;
  /** Epochs in this row. */
  epochs: number;
  /** By node. */
  readLines: number[];
  /** Lines written, by node. */
  writeLines: number[];
  /** Bytes used at its end, by node. */
  usedBytes: number[];
  /** Pages that came, by node. */
  movedIn: number[];
  /** Pages that left, by node. */
  movedOut: number[];
  /** Delay of an analytic model in ns, 0 in a replay. */
  delayNs: number;
}

/** Collects rows. */
export class EpochRows {
  /** The rows so far. */
  readonly rows: EpochRow[] = [];
  readonly #nodes: number;
  #each = 1;
  #movedIn: number[] = [];
  #movedOut: number[] = [];

  /** No rows. */
  constructor(nodes: number) {
    this.#nodes = nodes;
  }

  /** Adds an epoch. */
  add(epoch: EpochCounts, delay: AnalyticDelay | null, pages: PageMap): void {
    const by = (write: number): number[] =>
      Array.from({ length: this.#nodes }, (_, node) => epoch.moved[node * 2 + write] as number);
    const movedIn = [...pages.movedIn];
    const movedOut = [...pages.movedOut];
    const row: EpochRow = {
      startNs: nsOf(epoch.firstTicks),
      lengthNs: nsOf(epoch.lengthTicks),
      epochs: 1,
      readLines: by(0),
      writeLines: by(1),
      usedBytes: [...pages.placement.used],
      movedIn: movedIn.map((count, node) => count - (this.#movedIn[node] ?? 0)),
      movedOut: movedOut.map((count, node) => count - (this.#movedOut[node] ?? 0)),
      delayNs: delay === null ? 0 : delay.latencyNs + delay.bandwidthNs + delay.loadedNs,
    };
    this.#movedIn = movedIn;
    this.#movedOut = movedOut;
    const last = this.rows[this.rows.length - 1];
    if (last !== undefined && last.epochs < this.#each) merge(last, row);
    else this.rows.push(row);
    if (this.rows.length > ROW_LIMIT) {
      for (let i = 0; i + 1 < this.rows.length; i++) {
        merge(this.rows[i] as EpochRow, this.rows.splice(i + 1, 1)[0] as EpochRow);
      }
      this.#each *= 2;
    }
  }
}

function merge(into: EpochRow, from: EpochRow): void {
  const sum = (a: number[], b: readonly number[]): number[] => a.map((value, node) => value + (b[node] ?? 0));
  into.lengthNs += from.lengthNs;
  into.epochs += from.epochs;
  into.readLines = sum(into.readLines, from.readLines);
  into.writeLines = sum(into.writeLines, from.writeLines);
  into.usedBytes = from.usedBytes;
  into.movedIn = sum(into.movedIn, from.movedIn);
  into.movedOut = sum(into.movedOut, from.movedOut);
  into.delayNs += from.delayNs;
}
