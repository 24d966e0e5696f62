/**
 * Latencies: how often each length of time was seen, in bins that grow with the time.
 * @module
 */

/** Bins in each doubling: a value is known to 1 part in 32. */
const BINS_PER_OCTAVE = 32;
const OCTAVES = 40;

/** Counts values above zero, and tells percentiles of them. Unit and meaning are the caller's. */
export class Histogram {
  readonly #bins: Float64Array<ArrayBuffer> = new Float64Array(BINS_PER_OCTAVE * OCTAVES);
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = 0;

  /** How many values were counted. */
  get count(): number {
    return this.#count;
  }

  /** The smallest value; 0 when there is none. */
  get min(): number {
    return this.#count === 0 ? 0 : this.#min;
  }

  /** The largest value. */
  get max(): number {
    return this.#max;
  }

  /** The arithmetic mean. */
  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /** Counts a value. */
  add(value: number): void {
    this.#count++;
    this.#sum += value;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
    const index = Math.floor(Math.log2(Math.max(value, 2 ** -8)) * BINS_PER_OCTAVE) + 8 * BINS_PER_OCTAVE;
    const bin = Math.min(this.#bins.length - 1, Math.max(0, index));
    this.#bins[bin] = (this.#bins[bin] ?? 0) + 1;
  }

  /** The value that `percent` of all values do not exceed, to the width of a bin. */
  percentile(percent: number): number {
    const wanted = Math.ceil(this.#count * percent / 100);
    let seen = 0;
    for (const [bin, count] of this.#bins.entries()) {
      seen += count;
      if (seen >= wanted && count > 0) return Math.min(this.#max, Math.max(this.#min, edge(bin + 1)));
    }
    return this.#max;
  }

  /** The occupied bins: lower edge, upper edge and count of each, merged to whole doublings. */
  octaves(): { readonly from: number; readonly to: number; readonly count: number }[] {
    const found: { from: number; to: number; count: number }[] = [];
    for (let octave = 0; octave < OCTAVES; octave++) {
      const first = octave * BINS_PER_OCTAVE;
      const count = this.#bins.subarray(first, first + BINS_PER_OCTAVE).reduce((sum, one) => sum + one, 0);
      if (count > 0) found.push({ from: edge(first), to: edge(first + BINS_PER_OCTAVE), count });
    }
    return found;
  }
}

function edge(bin: number): number {
  return 2 ** (bin / BINS_PER_OCTAVE - 8);
}
