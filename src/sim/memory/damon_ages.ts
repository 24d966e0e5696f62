/**
 * For how long DAMON has seen a page accessed about as often as now: the age of its region.
 *
 * An epoch is an aggregation interval. As in `damon_merge_regions_of` of the kernel's `mm/damon/core.c`, a count that
 * differs from the last one by more than a tenth of the greatest makes the age 0, and so does a first access or none.
 * @module
 */

import type { PageTable } from "./pages.ts";

/** Looks of DAMON at a page in an aggregation interval: a page touched n times is seen in at most n of them. */
export const DAMON_LOOKS = 20;

const THRESHOLD = DAMON_LOOKS / 10;

/** Looks of a DAMON interval that find so many accesses of a page. */
export function looksOf(heat: number): number {
  return Math.min(DAMON_LOOKS, heat);
}

/** The ages of all pages. */
export class DamonAges {
  #key: Float64Array<ArrayBuffer> = new Float64Array(0);
  #looks: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #since: Float64Array<ArrayBuffer> = new Float64Array(0);

  /** An interval ends at `now`, in ticks; the heat of the pages is what it counted. */
  see({ key, heat, length }: PageTable, now: number): void {
    if (length > this.#key.length) this.#grow(key.length);
    for (let entry = 0; entry < length; entry++) {
      const looks = looksOf(heat[entry] as number);
      const last = this.#looks[entry] as number;
      const isOther = (this.#key[entry] as number) !== (key[entry] as number);
      if (isOther || Math.abs(looks - last) > THRESHOLD || (looks === 0) !== (last === 0)) this.#since[entry] = now;
      this.#looks[entry] = looks;
      this.#key[entry] = key[entry] as number;
    }
  }

  /** When the age of an entry was 0, in ticks. */
  since(entry: number): number {
    return this.#since[entry] as number;
  }

  #grow(count: number): void {
    const grow = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#key = grow(this.#key, new Float64Array(count).fill(-1));
    this.#looks = grow(this.#looks, new Uint8Array(count));
    this.#since = grow(this.#since, new Float64Array(count));
  }
}
