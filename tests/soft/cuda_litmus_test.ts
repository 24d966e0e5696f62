/** Weak-memory mode: programs that lack a fence fail in some seed, and those that have it never do. */

import { assert, assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { firstSeed, LITMUS, messagePassing, overSeeds, weakDevice } from "./ptx/litmus.ts";

/** Of the thousand seeds that `cuda_litmus.full_test.ts` tries. */
const SEEDS = 40;

Deno.test.beforeAll(() => {
  using _gpu = weakDevice(null);
});
Deno.test.afterAll(closeAll);

for (const { name, isSeen, run } of LITMUS) {
  if (isSeen) {
    Deno.test(`${name}: an old value is seen in some of 1,000 seeds`, async () => {
      assert(await firstSeed(1000, run) !== null);
    });
  } else {
    Deno.test(`${name}: an old value is seen in none of ${SEEDS} seeds`, async () => {
      assertEquals((await overSeeds(1, SEEDS, run)).times, 0);
    });
  }
}

Deno.test("the same seed and one thread: the same outcome", async () => {
  const outcomes = async (): Promise<number[]> => {
    const counts: number[] = [];
    for (let seed = 1; seed <= 5; seed++) counts.push(await messagePassing(seed, {}, 1));
    return counts;
  };
  assertEquals(await outcomes(), await outcomes());
});

Deno.test("without the mode, what has a fence works as it does with it", async () => {
  for (const { isSeen, run } of LITMUS) if (!isSeen) assertEquals(await run(null), 0);
});
