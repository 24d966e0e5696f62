/**
 * A pattern that says of each word of memory where it is, and finding the pages that hold it. `kernels/stamp.cu` writes it.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Bytes of a page of GPU memory, the smallest that BAR1 maps as one. */
export const STAMP_PAGE_BYTES = 65_536;
const PAGE_WORDS = STAMP_PAGE_BYTES / 4;
/** Words that are compared before all of a page is. */
const FIRST_WORDS = 4;

/** The word at an index, from a seed of 32 bits. */
export function stampWord(index: number, seed: number): number {
  let x = Math.imul(index, 0x9e3779b1) ^ seed;
  x = Math.imul(x ^ x >>> 16, 0x85ebca6b);
  x = Math.imul(x ^ x >>> 13, 0xc2b2ae35);
  return (x ^ x >>> 16) >>> 0;
}

/** The words of a page of the stamped memory. */
function isPage(words: Uint32Array, page: number, seed: number): boolean {
  return words.every((word, i) => word === stampWord(page * PAGE_WORDS + i, seed));
}

/** A BAR that is read a piece at a time. */
export interface BarWindow {
  /** Its size in bytes. */
  readonly sizeBytes: number;
  /** Words from `offset` on, as they are now. */
  words(offset: number, count: number): Uint32Array;
}

/**
 * Finds each page of memory that was stamped with a seed.
 *
 * @param pages how many the memory has
 * @returns where each begins in the BAR, in the order of the memory
 * @throws {BusbarError} `unsupported` unless every page is there, whole and once
 */
export function findStampedPages(bar: BarWindow, pages: number, seed: number): number[] {
  const byFirst = new Map(Array.from({ length: pages }, (_, page) => [stampWord(page * PAGE_WORDS, seed), page]));
  const found = new Map<number, number>();
  for (let offset = 0; offset + STAMP_PAGE_BYTES <= bar.sizeBytes; offset += STAMP_PAGE_BYTES) {
    const first = bar.words(offset, FIRST_WORDS);
    const page = byFirst.get(first[0] ?? 0);
    if (page === undefined) continue;
    if (first.some((word, i) => word !== stampWord(page * PAGE_WORDS + i, seed))) continue;
    if (!isPage(bar.words(offset, PAGE_WORDS), page, seed)) {
      throw refused(`page ${page} is only in part at 0x${offset.toString(16)}`);
    }
    const before = found.get(page);
    if (before !== undefined) {
      throw refused(`page ${page} is at 0x${before.toString(16)} and at 0x${offset.toString(16)}`);
    }
    found.set(page, offset);
  }
  return Array.from({ length: pages }, (_, page) => {
    const offset = found.get(page);
    if (offset === undefined) throw refused(`page ${page} of ${pages} is not in it`);
    return offset;
  });
}

/** Whether the pages still hold the memory, after it was stamped anew: what was found is no copy of earlier. */
export function areStampedPages(bar: BarWindow, places: readonly number[], seed: number): boolean {
  return places.every((offset, page) => isPage(bar.words(offset, PAGE_WORDS), page, seed));
}

function refused(what: string): BusbarError {
  return new BusbarError("unsupported", `the GPU's memory cannot be placed in its BAR1: ${what}`, {
    operation: "find device memory in BAR1",
    hint: "BAR1 must map all of the memory (resizable BAR), each page once; --tier 1 does without",
  });
}
