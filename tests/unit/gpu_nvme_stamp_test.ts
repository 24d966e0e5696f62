/** Pages of device memory, found in a BAR by what they hold. */

import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import {
  areStampedPages,
  type BarWindow,
  findStampedPages,
  STAMP_PAGE_BYTES,
  stampWord,
} from "../../src/gpu/nvme/stamp.ts";

const PAGE_WORDS = STAMP_PAGE_BYTES / 4;
const SEED = 0xc0ffee;

/** A BAR of pages: each the number of a page of the memory, or null for something else. */
function bar(pages: readonly (number | null)[]): BarWindow & { readonly memory: Uint32Array } {
  const memory = new Uint32Array(pages.length * PAGE_WORDS);
  for (const [place, page] of pages.entries()) {
    for (let i = 0; i < PAGE_WORDS; i++) {
      memory[place * PAGE_WORDS + i] = page === null ? i : stampWord(page * PAGE_WORDS + i, SEED);
    }
  }
  return {
    memory,
    sizeBytes: memory.byteLength,
    words: (offset, count) => memory.slice(offset / 4, offset / 4 + count),
  };
}

Deno.test("each page is found wherever it lies, and only while it holds the memory", () => {
  const window = bar([null, 2, null, 0, 1, null]);
  const places = findStampedPages(window, 3, SEED);
  assertEquals(places, [3, 4, 1].map((page) => page * STAMP_PAGE_BYTES));
  assertEquals(areStampedPages(window, places, SEED), true);
  assertEquals(areStampedPages(window, places, SEED + 1), false, "a copy of what was there before");
});

for (
  const [what, pages, change, words] of [
    ["a page that is nowhere", [null, 0, 2], null, /page 1 of 3 is not in it/],
    ["a page that is there twice", [0, 1, 2, 1], null, /page 1 is at 0x10000 and at 0x30000/],
    ["a page of which a word differs", [0, 1, 2], PAGE_WORDS + 12_345, /page 1 is only in part at 0x10000/],
    ["a page whose first words differ", [0, 1, 2], 2 * PAGE_WORDS + 2, /page 2 of 3 is not in it/],
  ] as const
) {
  Deno.test(`${what} is refused`, () => {
    const window = bar(pages);
    if (change !== null) window.memory[change] = (window.memory[change] ?? 0) ^ 1;
    const error = assertThrows(() => findStampedPages(window, 3, SEED), BusbarError);
    assertEquals([error.code, words.test(error.message)], ["unsupported", true], error.message);
  });
}
