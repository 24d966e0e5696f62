/**
 * Page walks: which accesses miss the TLB, and what a walk costs.
 * @module
 */

import { ticksOf } from "../units.ts";

/** Entries by page size: 4 KiB and whatever is smaller than 2 MiB, 2 MiB, 1 GiB. */
const ENTRIES: readonly (readonly [pageBytes: number, entries: number, factor: number])[] = [
  [2 ** 30, 4, 0.5],
  [2 ** 21, 32, 0.75],
  [0, 64, 1],
];

/** A walk whose upper levels were walked lately costs this share. */
const CACHED_SHARE = 0.2;

/** Regions of 512 pages whose upper levels are remembered. */
const REMEMBERED = 16;

/** The TLB of one host: fully associative, least recently used first. */
export class Tlb {
  /** Walks, and those of them whose upper levels were cached. */
  walks = 0;
  /** Walks of which the tables were cached. */
  cachedWalks = 0;
  readonly #pages: Float64Array<ArrayBuffer>;
  readonly #regions: Float64Array<ArrayBuffer> = new Float64Array(REMEMBERED).fill(-1);
  readonly #factor: number;

  /** An empty TLB for pages of one size. */
  constructor(pageBytes: number) {
    const [, entries, factor] = ENTRIES.find(([least]) => pageBytes >= least) ?? [0, 64, 1];
    this.#pages = new Float64Array(entries).fill(-1);
    this.#factor = factor;
  }

  /**
   * Looks a page up; a miss walks.
   *
   * @returns share of a whole walk: 0 for a hit
   */
  access(page: number): number {
    if (toFront(this.#pages, page)) return 0;
    this.walks++;
    if (!toFront(this.#regions, Math.floor(page / 512))) return this.#factor;
    this.cachedWalks++;
    return this.#factor * CACHED_SHARE;
  }
}

/** What a whole walk costs, in ticks: tables in local memory 100 ns, in remote memory 300 ns. */
export function walkTicks(tables: "local" | "remote"): number {
  return ticksOf(tables === "local" ? 100 : 300);
}

/** Moves a value to the front of a list ordered by use, or puts it there and drops the last; true when it was there. */
function toFront(list: Float64Array, value: number): boolean {
  let at = 0;
  while (at < list.length - 1 && (list[at] as number) !== value) at++;
  const found = (list[at] as number) === value;
  list.copyWithin(1, 0, at);
  list[0] = value;
  return found;
}
