/**
 * A queue pair that kernels drive: its rings and doorbells, as the GPU reaches them, and the state that kernels keep.
 * @module
 */

import type { DirectQueue } from "./direct_job.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuBuffer } from "../memory.ts";
import type { DriveMemory } from "./drive_memory.ts";
import { BlockView, fieldNamed, QUEUE_BLOCK, SLOT_BLOCK, TIMES_BLOCK } from "./layout.ts";

/** Where the doorbells of a queue are written. */
export interface Doorbells {
  /** Device address of the tail doorbell. */
  readonly tail: bigint;
  /** Device address of the head doorbell. */
  readonly head: bigint;
  /** Device addresses of shadow doorbells and EventIdx, where the controller has them. */
  readonly shadow: {
    readonly tail: bigint;
    readonly head: bigint;
    readonly tailEvent: bigint;
    readonly headEvent: bigint;
  } | null;
}

/** A command that had not ended when the kernel did. */
export interface UnansweredCommand {
  /** Its command identifier. */
  readonly id: number;
  /** First block. */
  readonly lba: bigint;
  /** How many. */
  readonly blocks: number;
}

/** What a kernel left in the block of a queue. */
export interface QueueState {
  /** Commands that the controller was told of and that did not end. */
  readonly inFlight: number;
  /** `NVME_FAILURES`, and the identifier or SQHD that was wrong. */
  readonly failure: number;
  /** That identifier or SQHD. */
  readonly failureDetail: number;
  /** Commands that were submitted since the queue began, and how often each doorbell was written for them. */
  readonly submitted: number;
  /** Writes of the tail doorbell. */
  readonly tailRings: number;
  /** Writes of the head doorbell. */
  readonly headRings: number;
}

/** Sizes of a queue. */
export interface KernelQueueSizes {
  /** Entries of each ring, a power of two. */
  readonly entries: number;
  /** Slots, a power of two and at most half of the entries. */
  readonly slots: number;
  /** Records of times that are kept, a power of two. */
  readonly times: number;
}

/** The memory of a pair of rings. */
export interface RingMemory {
  /** Of commands. */
  readonly sq: DriveMemory;
  /** Of completions. */
  readonly cq: DriveMemory;
}

/** A lent queue pair in the hands of kernels. Dispose frees the state; the queue itself and its rings are their makers'. */
export class KernelQueue implements Disposable {
  readonly #queue: DirectQueue;
  readonly #sizes: KernelQueueSizes;
  readonly #slots: GpuBuffer;
  readonly #ready: GpuBuffer;
  readonly #times: GpuBuffer;
  readonly #block: Uint8Array<ArrayBuffer> = new Uint8Array(QUEUE_BLOCK.sizeBytes);
  readonly #memory: GpuBuffer[] = [];

  /** Makes the state. @param rings the memory of the queue's rings, which stays the caller's */
  constructor(gpu: Gpu, queue: DirectQueue, rings: RingMemory, sizes: KernelQueueSizes, doorbells: Doorbells) {
    this.#queue = queue;
    this.#sizes = sizes;
    try {
      this.#slots = this.#allocate(gpu, sizes.slots * SLOT_BLOCK.sizeBytes);
      this.#ready = this.#allocate(gpu, sizes.entries * 4);
      this.#times = this.#allocate(gpu, sizes.times * TIMES_BLOCK.sizeBytes);
      new BlockView(QUEUE_BLOCK, this.#block).set({
        submission: rings.sq.address,
        completion: rings.cq.address,
        tail_doorbell: doorbells.tail,
        head_doorbell: doorbells.head,
        tail_shadow: doorbells.shadow?.tail ?? 0n,
        head_shadow: doorbells.shadow?.head ?? 0n,
        tail_event: doorbells.shadow?.tailEvent ?? 0n,
        head_event: doorbells.shadow?.headEvent ?? 0n,
        slots: this.#slots.address,
        ready: this.#ready.address,
        times: this.#times.address,
        entry_mask: sizes.entries - 1,
        entry_shift: Math.log2(sizes.entries),
        slot_mask: sizes.slots - 1,
        times_mask: sizes.times - 1,
      });
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #allocate(gpu: Gpu, sizeBytes: number): GpuBuffer {
    const buffer = gpu.allocate(sizeBytes);
    this.#memory.push(buffer);
    return buffer;
  }

  /** The block, as a kernel left it and as the next one finds it. */
  get block(): Uint8Array<ArrayBuffer> {
    return this.#block;
  }

  /** Sets all state to that of a queue that the controller has just been told of. */
  async restart(): Promise<void> {
    if (!this.#queue.isLive) await this.#queue.renew();
    const view = new BlockView(QUEUE_BLOCK, this.#block);
    view.set({
      next_ticket: 0,
      rung: 0,
      ring_lock: 0,
      head: 0,
      head_lock: 0,
      fetched: 0,
      finished: 0,
      failure: 0,
      failure_detail: 0,
      tail_rings: 0,
      head_rings: 0,
    });
    const slots = new Uint8Array(this.#slots.sizeBytes);
    for (let i = 0; i < this.#sizes.slots; i++) {
      new BlockView(SLOT_BLOCK, slots, i * SLOT_BLOCK.sizeBytes).set({ turn: i });
    }
    await this.#slots.write(slots);
    this.#ready.fill(0);
    this.#times.fill(0);
  }

  /** What the block says. */
  get state(): QueueState {
    const view = new BlockView(QUEUE_BLOCK, this.#block);
    return {
      inFlight: (view.number("rung") - view.number("finished")) >>> 0,
      failure: view.number("failure"),
      failureDetail: view.number("failure_detail"),
      submitted: view.number("rung"),
      tailRings: view.number("tail_rings"),
      headRings: view.number("head_rings"),
    };
  }

  /** The commands that had not ended, oldest first. Empty where the memory cannot be read any more. */
  async unanswered(): Promise<UnansweredCommand[]> {
    const bytes = await this.#slots.read();
    const found: (UnansweredCommand & { readonly begunNs: bigint })[] = [];
    for (let i = 0; i < this.#sizes.slots; i++) {
      const slot = new BlockView(SLOT_BLOCK, bytes, i * SLOT_BLOCK.sizeBytes);
      if (slot.number("in_flight") === 0) continue;
      const id = slot.number("in_flight") & 0xffff;
      found.push({ id, lba: slot.get("lba"), blocks: slot.number("blocks"), begunNs: slot.get("begun_ns") });
    }
    return found.toSorted((a, b) => a.begunNs < b.begunNs ? -1 : 1);
  }

  /** The times that kernels wrote: of each command, in nanoseconds. At most as many as are kept. */
  async times(): Promise<{ readonly buildNs: number; readonly ringNs: number; readonly waitNs: number }[]> {
    const words = new Uint32Array((await this.#times.read()).buffer);
    const places = ["build_ns", "ring_ns", "wait_ns", "is_valid"].map((name) =>
      fieldNamed(TIMES_BLOCK, name).offset / 4
    );
    const found: { buildNs: number; ringNs: number; waitNs: number }[] = [];
    for (let at = 0; at < words.length; at += TIMES_BLOCK.sizeBytes / 4) {
      const [buildNs = 0, ringNs = 0, waitNs = 0, isValid = 0] = places.map((place) => words[at + place] ?? 0);
      if (isValid !== 0) found.push({ buildNs, ringNs, waitNs });
    }
    return found;
  }

  /** Forgets the times. */
  clearTimes(): void {
    this.#times.fill(0);
  }

  /** Frees the state. */
  [Symbol.dispose](): void {
    for (const one of this.#memory) one[Symbol.dispose]();
  }
}
