/**
 * A histogram of latencies in ticks: 128 even steps in each power of two, integers only, nothing allocated.
 * @module
 */

import { HISTOGRAM_BINS, histogramBin, histogramBinStart } from "../../core/histogram.ts";

/** Steps in a power of two, as in core/histogram.ts, whose bins these are. */
const STEPS = 128;

/** Counts latencies; the least and the greatest are exact, the rest is known to 1 part in 128. */
export class LatencyHistogram {
  readonly #bins: Float64Array<ArrayBuffer> = new Float64Array(HISTOGRAM_BINS);
  /** Count, sum, least, greatest. In an array: a field that changes between integer and float64 slows the hot loop. */
  readonly #totals: Float64Array<ArrayBuffer> = Float64Array.of(0, 0, Infinity, 0);

  /** Latencies counted. */
  get count(): number {
    return this.#totals[0] as number;
  }

  /** Their sum in ticks, exact. */
  get sum(): number {
    return this.#totals[1] as number;
  }

  /** The least in ticks; Infinity when there is none. */
  get min(): number {
    return this.#totals[2] as number;
  }

  /** The greatest in ticks. */
  get max(): number {
    return this.#totals[3] as number;
  }

  /** Counts one latency. */
  add(ticks: number): void {
    const totals = this.#totals;
    totals[0] = (totals[0] as number) + 1;
    totals[1] = (totals[1] as number) + ticks;
    totals[2] = Math.min(totals[2] as number, ticks);
    totals[3] = Math.max(totals[3] as number, ticks);
    const bins = this.#bins;
    let bin: number;
    if (ticks < 0x40000000) {
      const value = ticks | 0;
      const shift = 24 - Math.clz32(value | STEPS);
      bin = shift * STEPS + (value >> shift);
    } else bin = histogramBin(ticks);
    bins[bin] = (bins[bin] as number) + 1;
  }

  /** Counts the first `count` latencies of a column. */
  addAll(column: Float64Array, count: number): void {
    const bins = this.#bins;
    const totals = this.#totals;
    let sum = totals[1] as number;
    let min = totals[2] as number;
    let max = totals[3] as number;
    for (let i = 0; i < count; i++) {
      const ticks = column[i] as number;
      sum += ticks;
      min = Math.min(min, ticks);
      max = Math.max(max, ticks);
      let bin: number;
      if (ticks < 0x40000000) {
        const value = ticks | 0;
        const shift = 24 - Math.clz32(value | STEPS);
        bin = shift * STEPS + (value >> shift);
      } else bin = histogramBin(ticks);
      bins[bin] = (bins[bin] as number) + 1;
    }
    totals[0] = (totals[0] as number) + count;
    totals[1] = sum;
    totals[2] = min;
    totals[3] = max;
  }

  /** The ticks that `share` (0…1) of the latencies do not exceed: the upper edge of a bin, within the extremes. */
  quantile(share: number): number {
    if (this.count === 0) return 0;
    const wanted = Math.max(1, Math.ceil(this.count * share));
    let seen = 0;
    for (let bin = 0; bin < this.#bins.length; bin++) {
      seen += this.#bins[bin] as number;
      if (seen >= wanted) return Math.min(this.max, Math.max(this.min, histogramBinStart(bin + 1) - 1));
    }
    return this.max;
  }

  /** Bins that are not empty: from, to (exclusive) and count; `merge` even steps of a power of two as one. */
  bins(merge = 16): { readonly fromTicks: number; readonly toTicks: number; readonly count: number }[] {
    const found: { fromTicks: number; toTicks: number; count: number }[] = [];
    for (let bin = 0; bin < this.#bins.length; bin += merge) {
      let count = 0;
      for (let i = bin; i < bin + merge; i++) count += this.#bins[i] ?? 0;
      if (count > 0) found.push({ fromTicks: histogramBinStart(bin), toTicks: histogramBinStart(bin + merge), count });
    }
    return found;
  }
}
