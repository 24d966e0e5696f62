/** A promise for each command: given up, out of time, issued again, and many at once. */

import { assert, assertEquals, assertRejects } from "@std/assert";

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { openController, withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

const BLOCK_BYTES = 512;

Deno.test("a read that was given up leaves the memory of whoever asked alone when the controller answers", async () => {
  await using one = await openController("size=1MiB");
  const namespace = one.controller.namespace(1);
  await namespace.write(0, new Uint8Array(BLOCK_BYTES).fill(7));
  one.soft.fault("latency=50000,opcode=2,times=1");
  const stop = new AbortController();
  const into = new Uint8Array(BLOCK_BYTES).fill(1);
  const read = namespace.read(0, into, { signal: stop.signal });
  const reason = new Error("given up");
  setTimeout(() => stop.abort(reason), 5);
  assertEquals(await assertRejects(() => read), reason);
  assertEquals(one.driver.ioQueues[0]?.outstanding, 1, "the controller still has it");
  await pause(150);
  assertEquals(one.driver.ioQueues[0]?.outstanding, 0, "the controller answered");
  assert(into.every((byte) => byte === 1));
  await namespace.read(0, into);
  assert(into.every((byte) => byte === 7), "the next one brings the data");
});

Deno.test("a signal that was aborted before, or a limit that is none, sends nothing", async () => {
  await using one = await openController("size=1MiB");
  const namespace = one.controller.namespace(1);
  const data = new Uint8Array(BLOCK_BYTES);
  await namespace.read(0, data);
  const reason = new Error("before");
  assertEquals(
    await assertRejects(() => namespace.write(0, data.fill(9), { signal: AbortSignal.abort(reason) })),
    reason,
  );
  for (const timeoutMs of [NaN, -1]) {
    const error = await assertRejects(() => namespace.write(0, data.fill(9), { timeoutMs }), BusbarError);
    assertEquals(error.code, "usage");
  }
  await namespace.read(0, data);
  assert(data.every((byte) => byte === 0));
});

Deno.test("each command has a time limit of its own: the short one ends by Abort, those beside it bring their data", async () => {
  await using one = await openController("size=1MiB");
  const namespace = one.controller.namespace(1);
  await namespace.write(0, new Uint8Array(8 * BLOCK_BYTES).map((_, i) => i / BLOCK_BYTES));
  one.soft.fault("latency=100000,opcode=2,times=8");
  const blocks = Array.from({ length: 8 }, () => new Uint8Array(BLOCK_BYTES));
  const ends = await Promise.allSettled(
    blocks.map((block, lba) => namespace.read(lba, block, lba === 3 ? { timeoutMs: 20 } : { timeoutMs: 5000 + lba })),
  );
  assertEquals(ends.map(({ status }) => status === "fulfilled"), blocks.map((_, lba) => lba !== 3));
  const [late] = ends.filter((end) => end.status === "rejected");
  assert(late?.reason instanceof BusbarError && late.reason.code === "timeout", String(late?.reason));
  for (const [lba, block] of blocks.entries()) {
    if (lba !== 3) assert(block.every((byte) => byte === lba), `block ${lba}`);
  }
});

Deno.test("4,000 reads that are issued at once, through helpers of several depths, each bring their own block", async () => {
  await using one = await openController("size=1MiB", { ioEntries: 16 });
  const namespace = one.controller.namespace(1);
  const { blocks } = await namespace.geometry();
  const count = Number(blocks);
  const all = new Uint32Array(count * BLOCK_BYTES / 4).map((_, i) => Math.floor(i * 4 / BLOCK_BYTES));
  await namespace.write(0n, new Uint8Array(all.buffer));
  const deeper = async (lba: number | bigint, into: Uint8Array<ArrayBuffer>, depth: number): Promise<void> => {
    if (depth > 0) await deeper(lba, into, depth - 1);
    else await namespace.read(lba, into);
  };
  let wrong = 0;
  await Promise.all(Array.from({ length: 4000 }, async (_, i) => {
    const lba = i * 7919 % count;
    const block = new Uint32Array(BLOCK_BYTES / 4);
    await deeper(i % 2 === 0 ? lba : BigInt(lba), new Uint8Array(block.buffer), i % 12);
    if (!block.every((word) => word === lba)) wrong++;
  }));
  assertEquals(wrong, 0);
});

Deno.test("the block after the last one is refused with the same error, however it is named", async () => {
  await using one = await openController("size=1MiB");
  const namespace = one.controller.namespace(1);
  const block = new Uint8Array(BLOCK_BYTES);
  const { blocks } = await namespace.geometry();
  await namespace.read(blocks - 1n, block);
  const errors: BusbarError[] = [];
  for (const lba of [blocks, Number(blocks), -1, 2n ** 64n]) {
    errors.push(await assertRejects(() => namespace.read(lba, block), BusbarError));
  }
  assertEquals(errors.map(({ code }) => code), Array.from({ length: 4 }, () => "out-of-range"));
  assertEquals(errors[0]?.message, errors[1]?.message);
  await assertRejects(
    () => namespace.read(0, new Uint8Array(BLOCK_BYTES + 4)),
    BusbarError,
    "no whole number of blocks",
  );
});
