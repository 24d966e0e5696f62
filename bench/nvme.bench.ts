/**
 * What a command costs in our driver, against the same loop in C on the same queue of the same software controller.
 *
 * Each benchmark reads 4 KiB blocks at random places. The software controller runs on a core of its own and copies the
 * data, so a figure is what one command takes from submission to completion, with the copy, at that depth.
 */

import { BUSBAR, BUSBAR_BENCH, findLibrary } from "../ffi/build.ts";
import { check, cString, lazyLibrary } from "../ffi/library.ts";
import { SQE_WORDS } from "../ffi/nvme_queue.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { runIoJob } from "../src/nvme/jobs/io_job.ts";

const BLOCK_BYTES = 4096;
const READS = 20_000;
const DEPTHS = [1, 32, 256];

const SYMBOLS = {
  bb_bench_open: { parameters: [/* const char *libbusbar */ "buffer"], result: "i32" },
  bb_bench_nvme_reads: {
    parameters: ["pointer", /* const void *templates */ "buffer", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const controller = await NvmeController.open(`soft:nvme?lba=${BLOCK_BYTES}&size=64MiB`, { ioEntries: 512 });
const { driver } = controller;
const library = lazyLibrary(SYMBOLS, BUSBAR_BENCH)();
check(library.bb_bench_open(cString(findLibrary(BUSBAR))), "find libbusbar");

const namespace = await controller.namespace(1).geometry();
const [pair] = driver.ioQueues;
if (pair === undefined) throw new Error("no I/O queue");
const queue = pair.raw;

/** A Read command for each identifier, with memory of its own. */
function templates(depth: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(depth * SQE_WORDS);
  for (let id = 0; id < depth; id++) {
    const { iova } = controller.allocDma(BLOCK_BYTES);
    words.set([2, 1, 0, 0, 0, 0, Number(iova & 0xffff_ffffn), Number(iova >> 32n)], id * SQE_WORDS);
  }
  return words;
}

for (const depth of DEPTHS) {
  const group = `${READS} reads of 4 KiB, depth ${depth}`;
  const commands = templates(depth);
  const chunks = Number(namespace.blocks);

  Deno.bench({ name: `C, depth ${depth}`, group, baseline: true }, () => {
    check(library.bb_bench_nvme_reads(queue.pointer, commands, depth, READS, chunks, 1), "read");
  });

  Deno.bench({ name: `runIoJob, depth ${depth}`, group }, async () => {
    const job = { namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 1, depth, queues: 1 };
    await runIoJob(driver, { ...job, readShare: 1, randomSeed: 1, transfers: READS });
  });

  Deno.bench({ name: `namespace.read, depth ${depth}`, group }, async () => {
    const reader = controller.namespace(1);
    let left = READS;
    const one = async (): Promise<void> => {
      using buffer = controller.allocDma(BLOCK_BYTES);
      while (left-- > 0) await reader.read(left % chunks, { buffer });
    };
    await Promise.all(Array.from({ length: depth }, one));
  });
}

addEventListener("unload", () => void controller[Symbol.asyncDispose]());
