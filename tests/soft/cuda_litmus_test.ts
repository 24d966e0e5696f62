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

/** Counts in one word by plain loads and stores, with stores to other words between; what it counted goes to the second. */
const COUNTER = `.version 8.2
.target sm_75
.address_size 64
.visible .entry count(.param .u64 memory)
{
  .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<6>;
  ld.param.u64 %rd0, [memory];
  mov.u32 %r0, 0;
LOOP:
  ld.global.u32 %r1, [%rd0];
  add.u32 %r1, %r1, 1;
  st.global.u32 [%rd0], %r1;
  and.b32 %r2, %r0, 31;
  mad.wide.u32 %rd1, %r2, 8, %rd0;
  st.global.u32 [%rd1+16], %r1;
  add.u32 %r0, %r0, 1;
  setp.lt.u32 %p0, %r0, 500;
  @%p0 bra LOOP;
  ld.global.u32 %r3, [%rd0];
  st.global.u32 [%rd0+8], %r3;
  ret;
}
`;

Deno.test("a thread always reads what it stored last, under every seed", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    using gpu = weakDevice(seed);
    using module = gpu.module(COUNTER);
    using memory = gpu.allocate(4096);
    memory.fill(0);
    module.function("count").launch({ grid: 1, block: 1 }, [memory]);
    await gpu.synchronize();
    const words = new Uint32Array((await memory.read()).buffer);
    assertEquals([words[0], words[2]], [500, 500], `seed ${seed}`);
  }
});
