/**
 * The C ring of a queue pair over memory that the test owns: the test is the controller. What a broken one can write into a
 * completion is written here.
 */

import { assertEquals, assertThrows } from "@std/assert";

import { Mapping } from "../../ffi/memory.ts";
import { MappedMmio, type RegisterPointer } from "../../ffi/mmio.ts";
import { NVME_JOB_NONE, NvmeJob } from "../../ffi/nvme_job.ts";
import { NvmeQueue } from "../../ffi/nvme_queue.ts";
import { BusbarError } from "../../src/core/error.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

const ENTRIES = 8;
const [SQ, CQ, REGISTERS] = [0, 16 << 10, 32 << 10];
const [CSTS, SQ_DOORBELL, CQ_DOORBELL] = [0x1c, 0x1008, 0x100c];

/** A queue pair, and the controller's side of it. */
class Ring implements Disposable {
  readonly #memory = Mapping.anonymous(64 << 10);
  readonly registers = new MappedMmio("registers of the test", this.#at(REGISTERS) as RegisterPointer, 0x2000);
  readonly queue = new NvmeQueue({
    ...{ name: "test", sq: this.#at(SQ), cq: this.#at(CQ), entries: ENTRIES, registers: this.registers },
    ...{ sqDoorbell: SQ_DOORBELL, cqDoorbell: CQ_DOORBELL },
  });
  readonly #submissions = new Uint32Array(this.#memory.bytes().buffer, SQ, ENTRIES * 16);
  readonly #completions = new Uint32Array(this.#memory.bytes().buffer, CQ, ENTRIES * 4);
  readonly #came = new Uint32Array(ENTRIES * 4);
  #completed = 0;

  #at(offset: number): Deno.PointerObject {
    return Deno.UnsafePointer.offset(this.#memory.pointer, offset) ?? this.#memory.pointer;
  }

  /** Hands commands in, numbered from 1, and returns how many were taken. */
  submit(count: number): number {
    const commands = Uint32Array.from({ length: count * 16 }, (_, i) => i % 16 === 0 ? 1 + i / 16 : 0);
    this.queue.exchange(commands, count, new Uint32Array(0), 0, 0);
    return this.queue.submitted;
  }

  /** The identifier of the command in a place of the submission queue. */
  identifierAt(place: number): number {
    return (this.#submissions[place * 16] ?? 0) >>> 16;
  }

  /** Writes a completion as a controller does. */
  complete(id: number, sqHead: number): void {
    const [place, phase] = [this.#completed % ENTRIES, Math.floor(this.#completed / ENTRIES) % 2 === 0 ? 1 : 0];
    this.#completions.set([0, 0, sqHead, id | phase << 16], place * 4);
    this.#completed++;
  }

  /** Writes a completion with an error: Invalid Field in Command. */
  fail(id: number, sqHead: number): void {
    this.complete(id, sqHead);
    const at = ((this.#completed - 1) % ENTRIES) * 4 + 3;
    this.#completions[at] = ((this.#completions[at] ?? 0) | 0x0002 << 17) >>> 0;
  }

  /** Takes what has come: the identifiers. */
  reap(): number[] {
    const count = this.queue.exchange(new Uint32Array(0), 0, this.#came, 0, 0);
    return Array.from({ length: count }, (_, i) => (this.#came[i * 4 + 3] ?? 0) & 0xffff);
  }

  /** Forgets what was in flight, as after a reset of the controller, whose side begins anew too. */
  reset(): void {
    this.#completions.fill(0);
    this.#completed = 0;
    this.queue.reset();
  }

  /** Memory that a command's data may lie in. */
  get data(): Deno.PointerObject {
    return this.#at(48 << 10);
  }

  get tail(): number {
    return this.registers.read32(SQ_DOORBELL);
  }

  [Symbol.dispose](): void {
    this.queue[Symbol.dispose]();
    this.registers[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}

Deno.test.beforeAll(() => {
  using ring = new Ring();
  jobOf(ring, 1)[Symbol.dispose]();
});

Deno.test("a full ring keeps one place free: it takes one command fewer than it has entries, then none", () => {
  using ring = new Ring();
  assertEquals([ring.submit(ENTRIES + 3), ring.tail], [ENTRIES - 1, ENTRIES - 1]);
  assertEquals([ring.submit(1), ring.tail], [0, ENTRIES - 1]);
});

Deno.test("places become free as far as the controller says that it has read, around the end too", () => {
  using ring = new Ring();
  ring.submit(ENTRIES - 1);
  ring.complete(1, 3);
  assertEquals(ring.reap(), [1]);
  // Places 0 to 2 were read; place 7 was free; so 7, 0 and 1 can be filled, and 2 stays free.
  assertEquals([ring.submit(ENTRIES), ring.tail], [3, 2]);
  ring.complete(2, 2);
  assertEquals(ring.reap(), [2]);
  assertEquals([ring.submit(ENTRIES), ring.tail], [ENTRIES - 1, 1]);
});

Deno.test("a head that no queue of this size has is not believed: nothing becomes free by it", () => {
  for (const head of [65535, ENTRIES, ENTRIES + 1, 0x8000]) {
    using ring = new Ring();
    assertEquals(ring.submit(5), 5);
    ring.complete(1, head);
    assertEquals(ring.reap(), [1], "the completion itself counts");
    // Believed, it would make room for thousands, and commands that were not read yet would be overwritten.
    assertEquals([ring.submit(ENTRIES), ring.tail], [2, ENTRIES - 1], `head ${head}`);
    ring.complete(2, 5);
    assertEquals(ring.reap(), [2]);
    assertEquals(ring.submit(ENTRIES), 5, "a right head is believed again");
  }
});

Deno.test("completions are new by their phase, which turns at the end of the ring; the doorbell follows", () => {
  using ring = new Ring();
  for (let round = 0; round < 5 * ENTRIES; round++) {
    assertEquals(ring.reap(), [], `nothing new before round ${round}`);
    ring.complete(round, 0);
    assertEquals(ring.reap(), [round]);
    assertEquals(ring.registers.read32(CQ_DOORBELL), (round + 1) % ENTRIES);
  }
  for (let n = 0; n < ENTRIES - 1; n++) ring.complete(n, 0);
  assertEquals(ring.reap(), Array.from({ length: ENTRIES - 1 }, (_, n) => n), "a batch across the end");
});

Deno.test("a wait for completions ends with a fatal status and with a device that is gone", () => {
  using ring = new Ring();
  // The second is over before the status is looked at for the first time on the way, as one is that the machine had no time for.
  for (const limitUs of [5000, 1]) {
    const wait = (): number => ring.queue.exchange(new Uint32Array(0), 0, new Uint32Array(4), 1, limitUs);
    ring.registers.write32(CSTS, 1);
    assertEquals(wait(), 0);
    ring.registers.write32(CSTS, 1 | 2);
    assertEquals(assertThrows(wait, BusbarError).code, "device-failed");
    ring.registers.write32(CSTS, 0xffff_ffff);
    assertEquals(assertThrows(wait, BusbarError).code, "device-gone");
    ring.registers.write32(CSTS, 1);
    assertEquals(wait(), 0);
  }
});

Deno.test("a queue that was reset begins anew, and its first phase is 1 again", () => {
  using ring = new Ring();
  ring.submit(5);
  for (let n = 0; n < ENTRIES + 2; n++) {
    ring.complete(n, 5);
    ring.reap();
  }
  ring.reset();
  assertEquals([ring.submit(ENTRIES), ring.tail], [ENTRIES - 1, ENTRIES - 1]);
  ring.complete(7, 1);
  assertEquals(ring.reap(), [7]);
});

/** A job of reads over a ring, as many in flight as it has depth. */
function jobOf(ring: Ring, depth: number): NvmeJob {
  const words = { BLOCKS: 1n, CHUNKS: 1n, TRANSFER_BLOCKS: 1n, BLOCK_BYTES: 512n, STRIDE_BYTES: 512n };
  const endless = { LIMIT: NVME_JOB_NONE, READ_SHARE: 1n << 32n };
  const slots = Array.from({ length: depth }, () => ring.data);
  return new NvmeJob("test", ring.queue, { ...words, ...endless }, new Uint32Array(depth * 16), slots);
}

Deno.test("a completion that comes twice, or belongs to nothing, ends a job", () => {
  for (const isStopping of [true, false]) {
    for (const second of ["twice", "of nothing"]) {
      using ring = new Ring();
      using job = jobOf(ring, 2);
      job.run(0, false);
      assertEquals(ring.tail, 2);
      const id = ring.identifierAt(0);
      // A stopping job issues nothing again; one that goes on gives the place to the next command, whose identifier is another.
      ring.complete(id, 1);
      if (!isStopping) job.run(0, false);
      ring.complete(second === "twice" ? id : 0xffff, 1);
      assertEquals(assertThrows(() => job.run(0, isStopping), BusbarError).code, "device-failed");
    }
  }
});

Deno.test("after a failed command a job issues nothing more by itself", () => {
  using ring = new Ring();
  using job = jobOf(ring, 4);
  job.run(0, false);
  assertEquals(ring.tail, 4);
  const ids = [0, 1, 2].map((place) => ring.identifierAt(place));
  ring.complete(ids[0] ?? 0, 1);
  job.run(0, false);
  job.run(0, false);
  assertEquals(ring.tail, 5, "a good one makes room for the next");
  ring.fail(ids[1] ?? 0, 2);
  ring.complete(ids[2] ?? 0, 3);
  job.run(0, false);
  job.run(0, false);
  assertEquals(ring.tail, 5);
});
