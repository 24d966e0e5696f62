/** A queue pair that somebody else than the driver drives, from nothing but its rings and doorbells. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { yieldToEventLoop } from "../../src/core/deadline.ts";
import type { DmaBuffer } from "../../src/core/dma.ts";
import { BusbarError } from "../../src/core/error.ts";
import { makeRings, type QueueRings } from "../../src/nvme/queue/rings.ts";
import { failsWith, noise, openController, withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

const WRITE = 1, READ = 2;
const LBA_OUT_OF_RANGE = 0x80;

/**
 * An owner in plain TypeScript: it has what a kernel on a GPU would have, memory and the places of two doorbells, and no
 * code of the driver's.
 */
class PlainOwner {
  readonly #rings: QueueRings;
  readonly #commands: Uint32Array;
  readonly #completions: Uint32Array;
  #tail = 0;
  #head = 0;
  #phase = 1;
  #nextId = 0;

  constructor(rings: QueueRings) {
    this.#rings = rings;
    this.#commands = words(rings.submission.memory);
    this.#completions = words(rings.completion.memory);
  }

  /** Puts commands for one block each into the ring and rings once. Returns their identifiers. */
  submit(opcode: number, lbas: readonly number[], data: readonly bigint[]): number[] {
    const { entries, submission, registers, tailDoorbell } = this.#rings;
    const ids = lbas.map((lba, i) => {
      const id = this.#nextId++ & 0xffff;
      const at = this.#tail * submission.entryBytes / 4;
      const address = data[i] ?? 0n;
      this.#commands.fill(0, at, at + submission.entryBytes / 4);
      this.#commands.set([opcode | id << 16, 1], at);
      this.#commands.set([Number(address & 0xffff_ffffn), Number(address >> 32n)], at + 6);
      this.#commands[at + 10] = lba;
      this.#tail = (this.#tail + 1) % entries;
      return id;
    });
    registers.write32(tailDoorbell, this.#tail);
    return ids;
  }

  /** Takes so many completions, as identifiers and statuses in the order in which they came. */
  async take(count: number): Promise<[number, number][]> {
    const { entries, completion, registers, headDoorbell } = this.#rings;
    const taken: [number, number][] = [];
    const end = performance.now() + 5000;
    while (taken.length < count) {
      assert(performance.now() < end, `${taken.length} of ${count} completions came`);
      const last = Atomics.load(this.#completions, this.#head * completion.entryBytes / 4 + 3);
      if ((last >>> 16 & 1) !== this.#phase) {
        await yieldToEventLoop();
        continue;
      }
      taken.push([last & 0xffff, last >>> 17]);
      this.#head = (this.#head + 1) % entries;
      if (this.#head === 0) this.#phase ^= 1;
      registers.write32(headDoorbell, this.#head);
    }
    return taken;
  }
}

function words({ bytes }: DmaBuffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

for (const settings of ["size=1MiB", "size=1MiB&dstrd=2"]) {
  Deno.test(`another owner drives a queue pair around its rings, while the driver uses its own (${settings})`, async () => {
    await using one = await openController(settings, { lentQueues: 1 });
    const namespace = one.controller.namespace(1);
    await using queue = await one.driver.lendQueue({ entries: 5 });
    const owner = new PlainOwner(queue.rings);
    using memory = one.driver.allocDma(4 * 512);
    const places = [0, 1, 2, 3].map((i) => memory.iova + BigInt(i * 512));
    // 40 rounds of 4 commands: the rings of 5 wrap 32 times, and the phase changes as often.
    for (let round = 0; round < 40; round++) {
      const lbas = [0, 1, 2, 3].map((i) => 4 * round + i);
      const written = noise(4 * 512, round);
      memory.bytes.set(written);
      const ids = owner.submit(WRITE, lbas, places);
      const driven = namespace.read(lbas[0] ?? 0, new Uint8Array(512));
      const done = await owner.take(4);
      assertEquals(done.map(([id]) => id).toSorted((a, b) => a - b), ids);
      assertEquals(done.map(([, status]) => status), [0, 0, 0, 0]);
      await driven;
      const seen = new Uint8Array(4 * 512);
      await namespace.read(lbas[0] ?? 0, seen);
      assertEquals(seen, written);
      memory.bytes.fill(0);
      owner.submit(READ, lbas, places);
      await owner.take(4);
      assertEquals(memory.bytes, written);
    }
    assertEquals(one.soft.counter("doorbell_errors"), 0n);
    assertEquals(one.soft.counter("dma_errors"), 0n);
    assertEquals(one.driver.ioQueues.map((pair) => pair.strayCompletions), [0]);
  });
}

Deno.test("an error of a command is the owner's to see, and rings may lie in the owner's memory", async () => {
  await using one = await openController("size=1MiB", { lentQueues: 1 });
  using sq = one.driver.allocDma(4096);
  using cq = one.driver.allocDma(4096);
  await using queue = await one.driver.lendQueue({ entries: 64, memory: { sq, cq } });
  assertEquals([queue.rings.submission.iova, queue.rings.completion.iova], [sq.iova, cq.iova]);
  const owner = new PlainOwner(queue.rings);
  using data = one.driver.allocDma(512);
  const [id = -1] = owner.submit(READ, [2048], [data.iova]);
  assertEquals((await owner.take(1)).map(([which, status]) => [which, status & 0x7ff]), [[id, LBA_OUT_OF_RANGE]]);
});

Deno.test("a reset takes a lent queue away; renewed it begins anew", async () => {
  await using one = await openController("size=1MiB", { lentQueues: 2 });
  await using queue = await one.driver.lendQueue({ entries: 4 });
  using data = one.driver.allocDma(512);
  const before = new PlainOwner(queue.rings);
  for (let i = 0; i < 5; i++) {
    before.submit(READ, [i], [data.iova]);
    await before.take(1);
  }
  await one.driver.reset();
  assertEquals(queue.isLive, false);
  await queue.renew();
  assertEquals(queue.isLive, true);
  const after = new PlainOwner(queue.rings);
  after.submit(READ, [2048], [data.iova]);
  assertEquals((await after.take(1)).map(([, status]) => status & 0x7ff), [LBA_OUT_OF_RANGE]);
  // What is left of before would be taken for completions of this round.
  assertEquals(words(queue.rings.completion.memory).slice(4, 16), new Uint32Array(12));
  await one.controller.namespace(1).read(0, new Uint8Array(512));
});

Deno.test("what cannot be lent is refused, and leaves nothing behind", async () => {
  await using one = await openController("size=1MiB&mqes=255", { lentQueues: 1 });
  const { driver } = one;
  using small = driver.allocDma(4096);
  await failsWith("out-of-range", "more entries than MQES", driver.lendQueue({ entries: 257 }));
  await failsWith("out-of-range", "one entry", driver.lendQueue({ entries: 1 }));
  await failsWith(
    "out-of-range",
    "memory for 64 commands",
    driver.lendQueue({ entries: 65, memory: { sq: small, cq: small } }),
  );
  const queue = await driver.lendQueue({ entries: 256 });
  await failsWith("usage", "a second one", driver.lendQueue());
  await queue[Symbol.asyncDispose]();
  await failsWith("closed", "after it was given back", queue.renew());
  await using again = await driver.lendQueue();
  assertEquals(again.rings.id, queue.rings.id);
  await using none = await openController("size=1MiB");
  await failsWith("usage", "none was reserved", none.driver.lendQueue());
});

Deno.test("a driver that ends takes what is still lent with it", async () => {
  const one = await openController("size=1MiB", { lentQueues: 1 });
  const queue = await one.driver.lendQueue();
  await one[Symbol.asyncDispose]();
  assertEquals(queue.isLive, false);
  assertThrows(() => queue.rings.completion.memory.bytes, BusbarError, "after it was freed");
  await queue[Symbol.asyncDispose]();
});

Deno.test("doorbells lie where the transport specification has them", async () => {
  await using one = await openController("size=1MiB");
  const registers = one.driver.ioQueues[0]?.rings.registers;
  assert(registers !== undefined);
  using sq = one.driver.allocDma(4096);
  using cq = one.driver.allocDma(4096);
  const place = (id: number, strideBytes: number): number[] => {
    const rings = makeRings({ id, entries: 2, registers, strideBytes, sq, cq });
    return [rings.tailDoorbell, rings.headDoorbell];
  };
  // NVMe over PCIe Transport 1.0 §3.1.2.1: SQyTDBL at 1000h + 2y × (4 << DSTRD), CQyHDBL at 1000h + (2y + 1) × (4 << DSTRD).
  assertEquals(place(0, 4), [0x1000, 0x1004]);
  assertEquals(place(1, 4), [0x1008, 0x100c]);
  assertEquals(place(3, 16), [0x1060, 0x1070]);
});
