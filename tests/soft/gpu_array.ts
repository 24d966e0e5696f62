/**
 * bb_array: blocks of a drive as an array for kernels, against a model.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { PagedArray } from "../../src/gpu/nvme/paged_array.ts";
import { Random } from "../unit/random.ts";
import { openDirect } from "./gpu_nvme_device.ts";

const PTX = Deno.readTextFileSync(new URL("../fixtures/gpu_nvme/array_kernel.ptx", import.meta.url));
/** Elements of each thread: with 1,024 threads they fill 64 pages of the drive, with 4,096 threads 256. */
const EACH = 64;

function step(x: number): number {
  x ^= x << 13;
  x ^= x >>> 17;
  return (x ^ x << 5) >>> 0;
}

/** What the kernel array_mix does, one thread after the other: each has elements of its own. */
function model(
  elements: Uint32Array,
  threads: number,
  seed: number,
  rounds: number,
): { readonly sums: Uint32Array; readonly accesses: number } {
  const sums = new Uint32Array(threads);
  let accesses = 0;
  for (let thread = 0; thread < threads; thread++) {
    let x = step((seed + Math.imul(thread, 0x9e3779b9) | 1) >>> 0), sum = 0;
    for (let round = 0; round < rounds; round++) {
      x = step(x);
      const index = x % EACH * threads + thread;
      if ((x >>> 20 & 7) === 0) continue;
      accesses++;
      if ((x >>> 16 & 1) !== 0) elements[index] = x;
      else sum = (Math.imul(sum, 31) + (elements[index] ?? 0)) >>> 0;
    }
    sums[thread] = sum;
  }
  return { sums, accesses };
}

/**
 * Registers the test.
 *
 * @param cachedPages fewer than the array has
 */
export function arrayTest(grid: number, block: number, cachedPages: number): void {
  const threads = grid * block;
  const title =
    `${threads} threads read and write at random through ${cachedPages} cached pages: equal to a model after the flush`;
  Deno.test(title, async () => {
    await using one = await openDirect("size=2MiB&lba=512", { mode: "grid", depth: 128 });
    const random = new Random("array"), seed = random.uint32(), rounds = 4;
    const elements = new Uint32Array(random.noise(4 * threads * EACH).buffer);
    const lba = 8n, pages = elements.byteLength / 4096;
    await one.controller.namespace(1).write(lba, new Uint8Array(elements.buffer.slice(0)));
    using array = await PagedArray.open(one.direct, one.geometry, { lba, pages, cachedPages, ways: 4 });
    using module = one.gpu.module(PTX);
    using sums = one.gpu.allocate(4 * threads);
    const kernel = module.function("array_mix");
    await array.run((stream) => {
      kernel.launch({ grid: grid, block, stream }, [array.address, seed, rounds, EACH, sums]);
    });
    const expected = model(elements, threads, seed, rounds);
    const found = new Uint32Array((await sums.read()).buffer);
    assertEquals(found.findIndex((sum, i) => sum !== expected.sums[i]), -1, "what was read");
    await array.flush();
    const seen = new Uint8Array(elements.byteLength);
    await one.controller.namespace(1).read(lba, seen);
    const words = new Uint32Array(seen.buffer);
    assertEquals(words.findIndex((word, i) => word !== elements[i]), -1, "what was written");
    const { hits, joins, misses, evictions, writeBacks } = await array.statistics();
    assertEquals(hits + joins + misses, expected.accesses);
    assert(
      hits > 0 && joins > 0 && evictions > cachedPages && writeBacks > cachedPages,
      JSON.stringify({ hits, joins, evictions, writeBacks }),
    );
    assertEquals(one.driver.resets, 0);
  });
}
