/**
 * Tests of memory order, run on a device whose ordinary stores arrive late: how often an outcome was seen that order forbids.
 * @module
 */

import { openCudaDriver } from "../../../src/gpu/driver.ts";
import { Cuda } from "../../../src/gpu/cuda.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";

/** Fences by the word behind FENCE in a fixture, or "" for the only one. */
export type Fences = Readonly<Record<string, string>>;

/** A fixture with fences in their places. */
export function withFences(file: string, fences: Fences): string {
  const text = Deno.readTextFileSync(new URL(`../../fixtures/ptx/${file}.ptx`, import.meta.url));
  return Object.entries(fences).reduce((program, [where, fence]) => {
    const mark = `// FENCE${where === "" ? "" : ` ${where}`}`;
    if (!program.includes(mark)) throw new Error(`${file} has no '${mark}'`);
    return program.replace(mark, fence);
  }, text);
}

export function weakDevice(seed: number | null, threads: number = 2): Gpu {
  const weak = seed === null ? "" : `&weak=${seed}`;
  return Cuda.open(0, openCudaDriver(`soft:cuda?memory=16MiB&threads=${threads}${weak}`));
}

const PAIRS = 8, ROUNDS = 4;
const CELL_BYTES = 384;

/** How often a reader that saw the flag saw an old number. */
export async function messagePassing(seed: number | null, fences: Fences, threads: number = 2): Promise<number> {
  using gpu = weakDevice(seed, threads);
  using module = gpu.module(withFences("litmus_message_passing", fences));
  using cells = gpu.allocate(PAIRS * CELL_BYTES);
  using failures = gpu.allocate(PAIRS * 4);
  cells.fill(0);
  failures.fill(0xff);
  module.function("message_passing").launch({ grid: 2 * PAIRS, block: 32 }, [cells, failures, ROUNDS]);
  await gpu.synchronize();
  return new Uint32Array((await failures.read()).buffer).reduce((sum, count) => sum + count, 0);
}

/** How often both blocks of a pair read what was there before the other's store. */
export async function storeBuffering(seed: number | null, fence: string): Promise<number> {
  using gpu = weakDevice(seed);
  using module = gpu.module(withFences("litmus_store_buffering", { "": fence }));
  using cells = gpu.allocate(PAIRS * CELL_BYTES);
  using results = gpu.allocate(PAIRS * ROUNDS * 8);
  cells.fill(0);
  results.fill(0xff);
  module.function("store_buffering").launch({ grid: 2 * PAIRS, block: 32 }, [cells, results, ROUNDS]);
  await gpu.synchronize();
  const seen = new Uint32Array((await results.read()).buffer);
  let count = 0;
  for (let pair = 0; pair < PAIRS; pair++) {
    for (let round = 1; round <= ROUNDS; round++) {
      const at = 2 * (pair * ROUNDS + round - 1);
      const [first = 0, second = 0] = seen.subarray(at, at + 2);
      if (first < round && second < round) count++;
    }
  }
  return count;
}

/** How often the host saw the flag, and an old number. */
export async function hostMessage(seed: number | null, fence: string): Promise<number> {
  using gpu = weakDevice(seed);
  using module = gpu.module(withFences("litmus_host_message", { "": fence }));
  using cells = gpu.allocatePinned(CELL_BYTES);
  const words = new Int32Array(cells.bytes.buffer, cells.bytes.byteOffset, CELL_BYTES / 4);
  words.fill(0);
  module.function("host_message").launch({ grid: 1, block: 1 }, [cells, ROUNDS]);
  let count = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    await until(() => Atomics.load(words, 32) === round);
    if (Atomics.load(words, 0) !== round) count++;
    Atomics.store(words, 64, round);
  }
  await gpu.synchronize();
  return count;
}

/** Gives the event loop a turn now and then; five seconds at most. */
async function until(isReached: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  for (let tries = 1; !isReached(); tries++) {
    if (tries % 1000 !== 0) continue;
    if (performance.now() > end) throw new Error("the kernel raised no flag in five seconds");
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** The first of some seeds that shows an outcome, or null. */
export async function firstSeed(count: number, run: (seed: number) => Promise<number>): Promise<number | null> {
  for (let seed = 1; seed <= count; seed++) if (await run(seed) > 0) return seed;
  return null;
}

/** How many of some seeds show an outcome, and how many times in all. */
export async function overSeeds(
  first: number,
  count: number,
  run: (seed: number) => Promise<number>,
): Promise<{ seeds: number; times: number }> {
  let seeds = 0, times = 0;
  for (let seed = first; seed < first + count; seed++) {
    const seen = await run(seed);
    times += seen;
    if (seen > 0) seeds++;
  }
  return { seeds, times };
}

/** What order allows and forbids: fences, and whether the outcome must be seen in some seed or in none. */
export const LITMUS: readonly {
  readonly name: string;
  readonly isSeen: boolean;
  run(seed: number | null): Promise<number>;
}[] = [
  { name: "message passing without a fence", isSeen: true, run: (seed) => messagePassing(seed, {}) },
  {
    name: "message passing with fence.acq_rel.gpu",
    isSeen: false,
    run: (seed) => messagePassing(seed, { WRITER: "fence.acq_rel.gpu;", READER: "fence.acq_rel.gpu;" }),
  },
  {
    name: "message passing with fence.sc.sys and membar.gl",
    isSeen: false,
    run: (seed) => messagePassing(seed, { WRITER: "fence.sc.sys;", READER: "membar.gl;" }),
  },
  {
    name: "message passing with st.release and ld.acquire of the flag",
    isSeen: false,
    run: (seed) =>
      messagePassing(seed, {
        WRITER: "st.release.gpu.global.u32 [%rd1+128], %r5;",
        READER: "ld.acquire.gpu.global.u32 %r7, [%rd1+128];",
      }),
  },
  {
    name: "message passing with a fence whose scope is the block",
    isSeen: true,
    run: (seed) => messagePassing(seed, { WRITER: "fence.acq_rel.cta;", READER: "fence.acq_rel.gpu;" }),
  },
  { name: "store buffering without a fence", isSeen: true, run: (seed) => storeBuffering(seed, "") },
  { name: "store buffering with fence.sc.gpu", isSeen: false, run: (seed) => storeBuffering(seed, "fence.sc.gpu;") },
  { name: "store buffering with membar.sys", isSeen: false, run: (seed) => storeBuffering(seed, "membar.sys;") },
  {
    name: "store buffering with a fence whose scope is the block",
    isSeen: true,
    run: (seed) => storeBuffering(seed, "fence.sc.cta;"),
  },
  { name: "a message to the host without a fence", isSeen: true, run: (seed) => hostMessage(seed, "") },
  { name: "a message to the host with fence.sc.sys", isSeen: false, run: (seed) => hostMessage(seed, "fence.sc.sys;") },
  {
    name: "a message to the host with a fence whose scope is the GPU",
    isSeen: true,
    run: (seed) => hostMessage(seed, "fence.sc.gpu;"),
  },
];
