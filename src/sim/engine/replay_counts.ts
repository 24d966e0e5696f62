/**
 * What a replay counts.
 * @module
 */

import { Histogram } from "../../core/histogram.ts";

/** Entries of {@linkcode ReplayCounts.totals}. */
export const END = 0;
/** Sum of all waits: a statistic, never a delay. */
export const WAITS = 1;
/** The time of the last event at a link. */
export const CLOCK = 2;

/** Counts, and the columns that the hot loop writes. */
export class ReplayCounts {
  /** Latencies of the program's accesses. */
  readonly latencies: Histogram = new Histogram();
  /**
   * The last completion of the program's accesses, the sum of all waits, the time of the last event at a link, in ticks.
   * In an array: a field that changes between integer and float64 slows the hot loop.
   */
  readonly totals: Float64Array<ArrayBuffer> = new Float64Array(3);
  /** Program accesses by route, and the sum of their latencies. */
  readonly routeCount: Float64Array<ArrayBuffer>;
  /** Sum of the latencies of program accesses in ticks, by route. */
  readonly routeLatency: Float64Array<ArrayBuffer>;
  /** Joins, and those that waited for their prefetch. */
  joins = 0;
  /** Accesses that waited for a prefetch of their line. */
  lateJoins = 0;

  /**
   * Nothing is counted yet.
   *
   * @param routes how many routes there are
   */
  constructor(routes: number) {
    this.routeCount = new Float64Array(routes);
    this.routeLatency = new Float64Array(routes);
  }
}
