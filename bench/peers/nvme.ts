/**
 * What `runIoJob` costs beside a loop in C over the calls of libbusbar, on the same queue of the same software controller.
 * Many short rounds in turn, and the fastest of each: other work on the machine spoils some rounds, not all.
 * @module
 */

import { BUSBAR, BUSBAR_BENCH, findLibrary } from "../../ffi/build.ts";
import { check, cString, lazyLibrary } from "../../ffi/library.ts";
import { SQE_WORDS } from "../../ffi/nvme_queue.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { runIoJob } from "../../src/nvme/jobs/io_job.ts";

/** What a depth costs. */
export interface NvmeResult {
  /** Transfers in flight. */
  readonly depth: number;
  /** Nanoseconds for each read by the loop in C: one clock reading for each batch. */
  readonly cNs: number;
  /** By `runIoJob`: one for each completion, and a histogram. */
  readonly jobNs: number;
  /** By `namespace.read`, a promise each. */
  readonly promiseNs: number;
}

const BLOCK_BYTES = 4096;
/** Enough that what a job costs once, some 80 µs at depth 256, does not count. */
const READS = 20_000;
const ROUNDS = 100;
/** A depth takes no longer, however busy the machine is. */
const LIMIT_MS = 15_000;
const DEPTHS = [1, 32, 256];

const SYMBOLS = {
  bb_bench_open: { parameters: [/* const char *libbusbar */ "buffer"], result: "i32" },
  bb_bench_nvme_reads: {
    parameters: ["pointer", /* const void *templates */ "buffer", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Measures each depth. Buffers are made before the clock starts, on both sides. */
export async function measureNvme(onProgress: (line: string) => void): Promise<NvmeResult[]> {
  await using controller = await NvmeController.open(`soft:nvme?lba=${BLOCK_BYTES}&size=64MiB`, { ioEntries: 512 });
  const library = lazyLibrary(SYMBOLS, BUSBAR_BENCH)();
  check(library.bb_bench_open(cString(findLibrary(BUSBAR))), "find libbusbar");
  const { driver } = controller;
  const namespace = await controller.namespace(1).geometry();
  const chunks = Number(namespace.blocks);
  const results: NvmeResult[] = [];
  for (const depth of DEPTHS) {
    onProgress(`NVMe reads, depth ${depth}`);
    using memory = controller.allocDma(depth * BLOCK_BYTES);
    memory.bytes.fill(1);
    const commands = new Uint32Array(depth * SQE_WORDS);
    for (let id = 0; id < depth; id++) {
      const iova = memory.iova + BigInt(id * BLOCK_BYTES);
      commands.set([2, 1, 0, 0, 0, 0, Number(iova & 0xffff_ffffn), Number(iova >> 32n)], id * SQE_WORDS);
    }
    const fastest = { c: Infinity, job: Infinity, promise: Infinity };
    const begun = performance.now();
    for (let round = 0; round < ROUNDS && performance.now() - begun < LIMIT_MS; round++) {
      const started = performance.now();
      const queue = driver.ioQueues[0]?.raw.pointer ?? null;
      check(library.bb_bench_nvme_reads(queue, commands, depth, READS, chunks, 1), "read");
      fastest.c = Math.min(fastest.c, performance.now() - started);
      const job = { namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 1, depth, queues: 1 };
      const { elapsedMs } = await runIoJob(driver, { ...job, readShare: 1, randomSeed: 1, transfers: READS });
      fastest.job = Math.min(fastest.job, elapsedMs);
      fastest.promise = Math.min(fastest.promise, await readByPromises(controller, depth, chunks));
    }
    const each = (ms: number): number => ms * 1e6 / READS;
    results.push({ depth, cNs: each(fastest.c), jobNs: each(fastest.job), promiseNs: each(fastest.promise) });
  }
  return results;
}

async function readByPromises(controller: NvmeController, depth: number, chunks: number): Promise<number> {
  const reader = controller.namespace(1);
  using buffer = controller.allocDma(depth * BLOCK_BYTES);
  let left = READS;
  const one = async (_: unknown, id: number): Promise<void> => {
    while (left-- > 0) await reader.read(left % chunks, { buffer, offset: id * BLOCK_BYTES, sizeBytes: BLOCK_BYTES });
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: depth }, one));
  return performance.now() - started;
}
