/**
 * How often each value was seen, in bins that grow with the value: latencies above all.
 *
 * The bins need integers only, so C and GPU kernels fill the same ones: values below 256 have a bin each, and every power of
 * two above is cut into 128 even steps, so a bin is narrower than 1 part in 128 of its values. With `e` the position of the
 * highest set bit less 7 (0 for values below 256), the bin of `value` is `e * 128 + (value >> e)`.
 * @module
 */

import { BusbarError } from "./error.ts";

/** Even steps in each power of two, as a power of two. */
const STEP_BITS = 7;
const STEPS = 1 << STEP_BITS;
/** Below this, integers of 32 bits do. */
const SMALL = 2 ** 30;

/** Bins that hold every unsigned value of 64 bits. */
export const HISTOGRAM_BINS: number = (64 - STEP_BITS - 1) * STEPS + 2 * STEPS;

/**
 * The bin of a value.
 *
 * @param value an integer from 0 to 2^53 - 1
 */
export function histogramBin(value: number): number {
  if (value < 2 * STEPS) return value;
  const high = Math.floor(value / 2 ** 32);
  const bits = high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value);
  const exponent = bits - 1 - STEP_BITS;
  return exponent * STEPS + Math.floor(value / 2 ** exponent);
}

/** The smallest value of a bin. Above bin 5,887 it is rounded to what a number holds. */
export function histogramBinStart(bin: number): number {
  if (bin < 2 * STEPS) return bin;
  const exponent = Math.floor(bin / STEPS) - 1;
  return (bin - exponent * STEPS) * 2 ** exponent;
}

/** How many values a percentile needs: `valuesForPercentile(99.9)` is 1000. */
export function valuesForPercentile(percent: number): number {
  // In ten thousandths, so that 99.9 does not become 99.90000000000001.
  return Math.ceil(1_000_000 / (1_000_000 - Math.round(percent * 10_000)));
}

/** Counts integers, and tells percentiles of them. Unit and meaning are the caller's. */
export class Histogram {
  readonly #bins: Float64Array<ArrayBuffer> = new Float64Array(HISTOGRAM_BINS);
  /** Count, sum, least, greatest. In an array: a field that changes between integer and float64 slows hot loops. */
  readonly #totals: Float64Array<ArrayBuffer> = Float64Array.of(0, 0, Infinity, 0);

  /** How many values were counted. */
  get count(): number {
    return this.#totals[0] as number;
  }

  /** Their sum; exact below 2^53. */
  get sum(): number {
    return this.#totals[1] as number;
  }

  /** The smallest value; 0 when there is none. */
  get min(): number {
    return this.count === 0 ? 0 : this.#totals[2] as number;
  }

  /** The largest value. */
  get max(): number {
    return this.#totals[3] as number;
  }

  /** The arithmetic mean. */
  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }

  /**
   * Counts a value.
   *
   * @param value an integer from 0 to 2^53 - 1
   * @throws {BusbarError} `bug` for anything else
   */
  add(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new BusbarError("bug", `a histogram counts integers from 0 on, not ${value}`);
    }
    this.#counted(1, value, value, value);
    const bin = histogramBin(value);
    this.#bins[bin] = (this.#bins[bin] ?? 0) + 1;
  }

  /**
   * Counts a column of values at once.
   *
   * @param column integers from 0 to 2^53 - 1, which are not checked
   * @param count how many of them, from the first
   */
  addAll(column: Float64Array, count: number): void {
    const bins = this.#bins;
    let sum = 0;
    let min = Infinity;
    let max = 0;
    for (let i = 0; i < count; i++) {
      const value = column[i] as number;
      sum += value;
      min = Math.min(min, value);
      max = Math.max(max, value);
      let bin: number;
      // The rule of histogramBin in integers of 32 bits.
      if (value < SMALL) {
        const integer = value | 0;
        const exponent = 31 - STEP_BITS - Math.clz32(integer | STEPS);
        bin = exponent * STEPS + (integer >> exponent);
      } else bin = histogramBin(value);
      bins[bin] = (bins[bin] as number) + 1;
    }
    this.#counted(count, sum, min, max);
  }

  #counted(count: number, sum: number, min: number, max: number): void {
    const totals = this.#totals;
    totals[0] = (totals[0] as number) + count;
    totals[1] = (totals[1] as number) + sum;
    totals[2] = Math.min(totals[2] as number, min);
    totals[3] = Math.max(totals[3] as number, max);
  }

  /**
   * Adds what a loop elsewhere counted in the same bins. Smallest, largest and sum are then known to the width of a bin.
   *
   * @param counts a count for each bin
   */
  addBins(counts: BigUint64Array): void {
    for (const [bin, count] of counts.entries()) {
      if (count === 0n) continue;
      const values = Number(count);
      const [low, high] = [histogramBinStart(bin), histogramBinStart(bin + 1) - 1];
      this.#counted(values, values * (low + high) / 2, low, high);
      this.#bins[bin] = (this.#bins[bin] ?? 0) + values;
    }
  }

  /**
   * Whether so many values can tell a percentile: at least one of them has to lie beyond it. 99 % needs 100 values.
   *
   * @param percent from 0 to below 100, with at most four decimals
   */
  hasPercentile(percent: number): boolean {
    return this.count >= valuesForPercentile(percent);
  }

  /** The value that `percent` of all values do not exceed: the highest of its bin, never beyond the largest seen. */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil(this.count * percent / 100));
    let seen = 0;
    for (const [bin, count] of this.#bins.entries()) {
      seen += count;
      if (seen >= wanted) return Math.min(this.max, histogramBinStart(bin + 1) - 1);
    }
    return this.max;
  }

  /**
   * The occupied bins: the smallest value of each, the smallest beyond it, and how many values it has.
   *
   * @param merge so many bins as one: a power of two, 128 at most
   */
  bins(merge = 1): { readonly from: number; readonly to: number; readonly count: number }[] {
    const found: { from: number; to: number; count: number }[] = [];
    for (let bin = 0; bin < this.#bins.length; bin += merge) {
      let count = 0;
      for (let i = bin; i < bin + merge; i++) count += this.#bins[i] ?? 0;
      if (count > 0) found.push({ from: histogramBinStart(bin), to: histogramBinStart(bin + merge), count });
    }
    return found;
  }

  /** The occupied powers of two: each with the values from `from` up to, but not including, `to`. */
  octaves(): { readonly from: number; readonly to: number; readonly count: number }[] {
    const found: { from: number; to: number; count: number }[] = [];
    for (const { from, count } of this.bins()) {
      const start = from === 0 ? 0 : 2 ** Math.floor(Math.log2(from));
      const last = found.at(-1);
      if (last?.from === start) last.count += count;
      else found.push({ from: start, to: Math.max(1, 2 * start), count });
    }
    return found;
  }
}
