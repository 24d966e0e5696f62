/** The loop of I/O jobs in C: where transfers go, what they carry, how long each took, and what ends them. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { Mapping } from "../../ffi/memory.ts";
import { MappedMmio, type RegisterPointer } from "../../ffi/mmio.ts";
import { NVME_JOB_NONE, NvmeJob } from "../../ffi/nvme_job.ts";
import { NvmeQueue } from "../../ffi/nvme_queue.ts";
import { pause } from "../../src/core/deadline.ts";
import type { ErrorCode } from "../../src/core/error.ts";
import type { IoJobOptions } from "../../src/nvme/jobs/io_job.ts";
import { runIoJob } from "../../src/nvme/jobs/io_job.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { failsWith, openController, type SoftController, withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

async function jobOn(one: SoftController, more: Partial<IoJobOptions> = {}): Promise<IoJobOptions> {
  const namespace = await one.controller.namespace(1).geometry();
  return {
    namespace,
    readShare: 1,
    lba: 0n,
    blocks: namespace.blocks,
    transferBlocks: 1,
    depth: 32,
    queues: 1,
    randomSeed: null,
    ...more,
  };
}

/** The places that a job reads, in the order in which they were looked at. */
async function places(one: SoftController, more: Partial<IoJobOptions>): Promise<number[]> {
  const found: number[] = [];
  await runIoJob(one.driver, await jobOn(one, { ...more, onRead: (lba) => void found.push(Number(lba)) }));
  return found;
}

Deno.test("each command has its own latency: of two planted ones a histogram at depth 32 shows both", async () => {
  await using one = await openController("size=4MiB");
  // Every second command comes 200 ms after the others: a time stamp for a batch would give all of them the same.
  one.soft.fault("late=200000,opcode=2,every=2");
  const { latency } = await runIoJob(one.driver, await jobOn(one, { transfers: 128 }));
  assertEquals(latency.count, 128);
  const between = (from: number, to: number): number =>
    latency.bins().filter((bin) => bin.from >= from && bin.from < to).reduce((sum, { count }) => sum + count, 0);
  // A busy machine may make some of the quick ones slow.
  assert(between(198e6, Infinity) >= 64, `${between(198e6, Infinity)} late`);
  assert(between(0, 100e6) >= 32, `${between(0, 100e6)} quick`);
});

Deno.test("in order every chunk is read once, over one queue, over three, and over three queues on two threads and on three", async () => {
  await using one = await openController("size=1MiB", { ioQueues: 3 });
  const all = Array.from({ length: 2048 }, (_, i) => i);
  for (const [queues, threads] of [[1, 0], [3, 0], [3, 2], [3, 3]] as const) {
    const found = await places(one, { queues, threads });
    assertEquals(found.toSorted((a, b) => a - b), all, `${queues} queues on ${threads} threads`);
  }
  assertEquals(await places(one, { blocks: 10n, transferBlocks: 4, depth: 1 }), [0, 4, 8]);
});

Deno.test("random places reach the whole range evenly, and are the same for the same seed", async () => {
  await using one = await openController("size=1MiB");
  const wanted = { randomSeed: 7, transfers: 4096, blocks: 64n, depth: 1 };
  const found = await places(one, wanted);
  const counts = Map.groupBy(found, (lba) => lba);
  assertEquals(counts.size, 64);
  // 64 expected each; 5 standard deviations are 40.
  for (const [lba, hits] of counts) assert(Math.abs(hits.length - 64) < 40, `${lba}: ${hits.length}`);
  assertEquals(await places(one, wanted), found);
  assert((await places(one, { ...wanted, randomSeed: 8 })).some((lba, i) => lba !== found[i]));
});

Deno.test("Zipf's law: the most frequent places have the shares that it says", async () => {
  await using one = await openController("size=1MiB");
  const theta = 0.9;
  const found = await places(one, { randomSeed: 3, zipfTheta: theta, transfers: 20_000, blocks: 1000n, depth: 8 });
  const counts = [...Map.groupBy(found, (lba) => lba).values()].map((hits) => hits.length).sort((a, b) => b - a);
  let zeta = 0;
  for (let i = 1; i <= 1000; i++) zeta += 1 / i ** theta;
  for (const [rank, tolerance] of [[1, 0.08], [2, 0.12]] as const) {
    const share = (counts[rank - 1] ?? 0) / found.length;
    const expected = 1 / rank ** theta / zeta;
    assert(Math.abs(share / expected - 1) < tolerance, `rank ${rank}: ${share}, expected ${expected}`);
  }
});

Deno.test("a list of places is followed, over and over", async () => {
  await using one = await openController("size=1MiB");
  const list = BigUint64Array.of(9n, 3n, 3n, 100n);
  assertEquals(await places(one, { places: list, transfers: 6, depth: 1 }), [9, 3, 3, 100, 9, 3]);
});

Deno.test("a share of reads is kept, and what is written by C is what the pattern here says", async () => {
  await using one = await openController("size=4MiB");
  const pattern = new BlockPattern(5, 512);
  await runIoJob(one.driver, await jobOn(one, { readShare: 0, pattern, transferBlocks: 8 }));
  const bytes = new Uint8Array(8 * 512);
  await one.controller.namespace(1).read(4000, bytes);
  assertEquals(pattern.check(bytes, 4000n), null);
  const before = await countsOf(one);
  const { mismatch } = await runIoJob(
    one.driver,
    await jobOn(one, { readShare: 0.7, pattern, randomSeed: 1, transfers: 4000, transferBlocks: 8 }),
  );
  assertEquals(mismatch, null);
  const after = await countsOf(one);
  const share = (after.reads - before.reads) / 4000;
  assert(Math.abs(share - 0.7) < 0.04, `${share}`);
});

async function countsOf(one: SoftController): Promise<{ reads: number }> {
  const log = await one.controller.getLog({ id: 2, sizeBytes: 512 });
  return { reads: Number(new DataView(log.buffer, log.byteOffset).getBigUint64(64, true)) };
}

Deno.test("a rate is kept to: no more transfers begin than it allows", async () => {
  await using one = await openController("size=4MiB", { ioQueues: 2 });
  const { transfers, elapsedMs } = await runIoJob(
    one.driver,
    await jobOn(one, { transfers: 300, queues: 2, ratePerSecond: 1000 }),
  );
  assertEquals(transfers, 300);
  // One is due at once in each queue. How many a busy machine manages below the rate is not judged.
  assert(transfers <= elapsedMs + 2, `${transfers} in ${elapsedMs} ms`);
});

Deno.test("a doorbell that waits leaves room for every completion that may come before the next look", () => {
  // The test is the controller: it completes some commands at a time, and looks how much room it was given.
  for (const depth of [1, 32, 100, 150, 200, 254, 255]) {
    using memory = Mapping.anonymous(64 << 10);
    const at = (offset: number): Deno.PointerObject =>
      Deno.UnsafePointer.offset(memory.pointer, offset) ?? memory.pointer;
    const [sqAt, cqAt, entries] = [0, 16 << 10, 256];
    using registers = new MappedMmio("registers of the test", at(32 << 10) as RegisterPointer, 0x2000);
    const [sqDoorbell, cqDoorbell] = [0x1008, 0x100c];
    using queue = new NvmeQueue({
      name: "test",
      sq: at(sqAt),
      cq: at(cqAt),
      entries,
      registers,
      sqDoorbell,
      cqDoorbell,
    });
    const words = { BLOCKS: 1n, CHUNKS: 1n, TRANSFER_BLOCKS: 1n, BLOCK_BYTES: 512n, STRIDE_BYTES: 512n };
    const endless = { LIMIT: NVME_JOB_NONE, READ_SHARE: 1n << 32n };
    const slots = Array.from({ length: depth }, () => memory.pointer);
    using job = new NvmeJob("test", queue, { ...words, ...endless }, new Uint32Array(depth * 16), slots);
    const cq = new Uint32Array(memory.bytes().buffer, cqAt, entries * 4);
    const commands = new Uint32Array(memory.bytes().buffer, sqAt, entries * 16);
    let [taken, completed] = [0, 0];
    for (let round = 0; round < 300; round++) {
      // The first takes what came, the second fills the places again.
      job.run(0, false);
      job.run(0, false);
      const tail = registers.read32(sqDoorbell);
      const submitted = taken + (tail - taken % entries + entries) % entries;
      const unread = completed - (Math.floor(completed / entries) * entries + registers.read32(cqDoorbell));
      const room = entries - 1 - (unread + entries) % entries;
      assert(room >= submitted - completed, `depth ${depth}: ${submitted - completed} in flight, room for ${room}`);
      taken = submitted;
      // Commands are completed in order, so the identifiers are those in the submission queue.
      for (let n = 1 + round * 37 % depth; n > 0 && completed < submitted; n--) {
        const [place, phase] = [completed % entries, Math.floor(completed / entries) % 2 === 0 ? 1 : 0];
        const id = (commands[place * 16] ?? 0) >>> 16;
        cq.set([0, 0, (completed + 1) % entries, id | phase << 16], place * 4);
        completed++;
      }
    }
    assert(completed >= 300, `${completed}`);
  }
});

Deno.test("a failed transfer stops all queues, and names the command; the controller is of use afterwards", async () => {
  for (const threads of [0, 1, 2]) {
    await using one = await openController("size=4MiB", { ioQueues: 2 });
    one.soft.fault("status=0x281,opcode=2,lba=1000");
    const job = await jobOn(one, { queues: 2, threads });
    const error = await failsWith("device-failed", "a read", runIoJob(one.driver, job));
    assertStringIncludes(`${error.message} ${error.operation}`, "1000");
    one.soft.fault("clear");
    assertEquals((await runIoJob(one.driver, job)).transfers, 8192);
  }
});

Deno.test("a broken controller ends a job: fatal status, gone, a completion that belongs to nothing", async () => {
  for (
    const [fault, code] of [["cfs,after=100", "device-failed"], ["gone,after=100", "device-gone"], [
      "cid=777,after=100,times=1",
      "device-failed",
    ]] as const
  ) {
    for (const threads of [0, 1, 2]) {
      await using one = await openController("size=4MiB", { ioQueues: 2 });
      one.soft.fault(fault);
      await failsWith(code, fault, runIoJob(one.driver, await jobOn(one, { queues: 2, threads })));
    }
  }
});

/** Each fault that happens to commands, and how a job that meets it once ends; null when it does not mind. */
const FAULTS: readonly (readonly [fault: string, code: ErrorCode | null])[] = [
  ["drop", "timeout"],
  ["hang", "timeout"],
  ["phase", "timeout"],
  ["late=3000000", "timeout"],
  ["cid=7777", "device-failed"],
  // The identifier of the first command: of one that has ended long before.
  ["cid=1,after=500", "device-failed"],
  ["duplicate", "device-failed"],
  ["sqhd=65535", null],
  ["latency=20000", null],
  ["no_interrupt", null],
  ["status=0x281", "device-failed"],
  ["status=0x4082", "device-failed"],
  ["cfs", "device-failed"],
  ["gone", "device-gone"],
  ["gone=bar", "device-gone"],
  ["gone=config", "device-gone"],
  ["gone=sigbus", "device-gone"],
];

for (const [fault, code] of FAULTS) {
  Deno.test(`a job that meets '${fault}' ends in ${code ?? "success"}, in bounded time`, async () => {
    // A queue that was closed while it waited ends its wait, of at most 10 ms.
    await using _ended = { [Symbol.asyncDispose]: () => pause(20) };
    await using one = await openController("size=4MiB");
    const pattern = new BlockPattern(9, 512);
    const job = await jobOn(one, { pattern, transferBlocks: 4 });
    await runIoJob(one.driver, { ...job, readShare: 0 });
    one.soft.fault(`${fault.includes("after") ? fault : `${fault},after=100`},times=1,opcode=2`);
    const started = performance.now();
    // The fault ends the job, or so many transfers do, of which the fault is one: however slow the machine.
    const limit = code === null ? { transfers: 1024 } : { durationMs: 60_000 };
    // On a busy machine a command that is not lost takes longer than one should wait here for one that is.
    const timeoutMs = code === "timeout" ? 200 : 30_000;
    const reads = runIoJob(one.driver, { ...job, ...limit, timeoutMs });
    if (code === null) assertEquals((await reads).mismatch, null);
    else await failsWith(code, fault, reads);
    // 200 ms to notice, and a reset: the rest is for slow machines.
    assert(performance.now() - started < 10_000, `took ${performance.now() - started} ms`);
    assert(one.soft.counter("faults") > 0n, "the fault happened");
    if (code === "device-gone") return;
    if (fault === "cfs") await one.controller.reset();
    const { transfers, mismatch } = await runIoJob(one.driver, { ...job, transfers: 2048 });
    assertEquals([transfers, mismatch], [2048, null]);
  });
}

Deno.test("data that a controller changes on its way is found, and the block is named", async () => {
  await using one = await openController("size=4MiB");
  const pattern = new BlockPattern(9, 512);
  const job = await jobOn(one, { pattern });
  await runIoJob(one.driver, { ...job, readShare: 0 });
  one.soft.fault("corrupt=3,lba=777,opcode=2");
  const { mismatch } = await runIoJob(one.driver, job);
  assertEquals(mismatch?.lba, 777n);
});

Deno.test("with interrupts a job sleeps until a completion comes; with polling first it does when that is in vain", async () => {
  await using one = await openController("size=4MiB", { wait: "interrupt", ioQueues: 2 });
  const pattern = new BlockPattern(4, 512);
  await runIoJob(one.driver, await jobOn(one, { pattern, readShare: 0, transferBlocks: 8 }));
  const reads = { pattern, transferBlocks: 8, transfers: 64, depth: 2 };
  one.soft.fault("latency=3000,opcode=2");
  for (const more of [{ pollFirstUs: 0 }, { pollFirstUs: 200 }, { pollFirstUs: 0, queues: 2 }]) {
    const { transfers, mismatch, waits } = await runIoJob(one.driver, await jobOn(one, { ...reads, ...more }));
    assertEquals([transfers, mismatch], [64, null]);
    // 32 rounds of 3 ms, in which it looks at the controller every millisecond.
    assert(waits >= 32, `${waits} waits`);
  }
  assertEquals((await runIoJob(one.driver, await jobOn(one, reads))).waits, 0);
  one.soft.fault("clear;no_interrupt");
  // Interrupts that do not come cost time, not the job.
  assertEquals((await runIoJob(one.driver, await jobOn(one, { ...reads, pollFirstUs: 0 }))).transfers, 64);
});

Deno.test("a controller without interrupts refuses a job that waits for them", async () => {
  await using one = await openController();
  await failsWith("unsupported", "interrupts", runIoJob(one.driver, await jobOn(one, { pollFirstUs: 0 })));
});

Deno.test("an interruption ends a job within a slice, and nothing is left in flight", async () => {
  await using one = await openController("size=4MiB", { ioQueues: 2 });
  for (const threads of [0, 1, 2]) {
    const stop = new AbortController();
    const reason = new Error("stop");
    setTimeout(() => stop.abort(reason), 100);
    const job = await jobOn(one, { durationMs: 60_000, queues: 2, threads, signal: stop.signal });
    const thrown = await runIoJob(one.driver, job).catch((error) => error);
    assertEquals(thrown, reason);
    assertEquals((await runIoJob(one.driver, await jobOn(one, { transfers: 64 }))).transfers, 64);
  }
});

Deno.test("four queues on four threads, and on two, wait side by side: four commands that take 1 s each do not take 4", async () => {
  await using one = await openController("size=4MiB", { ioQueues: 4 });
  one.soft.fault("latency=1000000,opcode=2");
  for (const threads of [4, 2]) {
    const job = { queues: 4, depth: 4, threads, transfers: 4 };
    const { transfers, elapsedMs, latency } = await runIoJob(one.driver, await jobOn(one, job));
    assertEquals(transfers, 4);
    assert(latency.min >= 0.9e9 && elapsedMs < 3900, `${threads} threads: ${elapsedMs} ms`);
  }
});
