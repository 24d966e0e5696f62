/**
 * Queues of numbers that grow: rings of typed arrays, nothing allocated for an entry.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Entries that any queue of a run may hold. */
const QUEUE_LIMIT = 1 << 26;

/** The next capacity of a full queue. */
function grown(capacity: number, what: string): number {
  if (capacity * 2 <= QUEUE_LIMIT) return capacity * 2;
  throw new BusbarError("out-of-range", `${what}: more than ${QUEUE_LIMIT} entries wait`, {
    operation: "replay",
    hint: "the load is far above what the links carry, or one host is far behind the others",
  });
}

/** A queue of slots with the time of each. */
export class SlotQueue {
  /** Slots, by place. */
  slots: Int32Array<ArrayBuffer> = new Int32Array(16);
  /** Times in ticks, by place. */
  times: Float64Array<ArrayBuffer> = new Float64Array(16);
  /** Place of the first entry. */
  head = 0;
  /** Entries. */
  length = 0;

  /** Appends an entry. */
  push(slot: number, time: number): void {
    if (this.length === this.slots.length) this.#grow();
    const at = (this.head + this.length++) & (this.slots.length - 1);
    this.slots[at] = slot;
    this.times[at] = time;
  }

  /** Removes and returns the first slot. There is one. */
  shift(): number {
    const slot = this.slots[this.head] as number;
    this.head = (this.head + 1) & (this.slots.length - 1);
    this.length--;
    return slot;
  }

  #grow(): void {
    const capacity = grown(this.slots.length, "a link");
    const slots = new Int32Array(capacity);
    const times = new Float64Array(capacity);
    for (let i = 0; i < this.length; i++) {
      const at = (this.head + i) & (this.slots.length - 1);
      slots[i] = this.slots[at] as number;
      times[i] = this.times[at] as number;
    }
    this.slots = slots;
    this.times = times;
    this.head = 0;
  }
}

/** Requests of one stream that have not been issued. */
export class RequestQueue {
  /** Trace time in ticks. */
  time: Float64Array<ArrayBuffer> = new Float64Array(16);
  /** Number of the request in the whole run: the order among equal times. */
  order: Float64Array<ArrayBuffer> = new Float64Array(16);
  /** Ticks beyond the path: coherence, walks, moves; of a join the number of the prefetch. */
  extra: Float64Array<ArrayBuffer> = new Float64Array(16);
  /** Route, flags and lines: `route << 8 | flags`. */
  word: Int32Array<ArrayBuffer> = new Int32Array(16);
  /** Lines moved at once: 1, more for a page move. */
  lines: Uint32Array<ArrayBuffer> = new Uint32Array(16);
  /** Place of the first entry. */
  head = 0;
  /** Entries. */
  length = 0;

  /** Appends a request. */
  push(time: number, order: number, extra: number, word: number, lines: number): void {
    if (this.length === this.time.length) this.#grow();
    const at = (this.head + this.length++) & (this.time.length - 1);
    this.time[at] = time;
    this.order[at] = order;
    this.extra[at] = extra;
    this.word[at] = word;
    this.lines[at] = lines;
  }

  /** Removes the first request. There is one. */
  drop(): void {
    this.head = (this.head + 1) & (this.time.length - 1);
    this.length--;
  }

  #grow(): void {
    const old = this.time.length;
    const capacity = grown(old, "a host");
    const move = <T extends Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>(
      from: T,
      to: T,
    ): T => {
      to.set(from.subarray(this.head), 0);
      to.set(from.subarray(0, this.head), old - this.head);
      return to;
    };
    this.time = move(this.time, new Float64Array(capacity));
    this.order = move(this.order, new Float64Array(capacity));
    this.extra = move(this.extra, new Float64Array(capacity));
    this.word = move(this.word, new Int32Array(capacity));
    this.lines = move(this.lines, new Uint32Array(capacity));
    this.head = 0;
  }
}
