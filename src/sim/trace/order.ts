/**
 * Trace order: by time, then host, then thread, then place in the file. Result: the same run whatever the file's order.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { AccessBatch, Op, OP_MASK, THREAD_LIMIT, type TraceSource } from "./batch.ts";

/** Accesses that may be held in memory to bring them into order: 29 bytes each. */
const ORDER_LIMIT = 1 << 25;

/** Tells whether accesses, batch after batch, are in trace order. */
export class OrderCheck {
  #time = 0;
  #stream = 0;

  /** The first entry of the batch that is out of order, or -1. */
  check(batch: AccessBatch): number {
    const { time, host, thread, count } = batch;
    let before = this.#time;
    let stream = this.#stream;
    for (let i = 0; i < count; i++) {
      const now = time[i] as number;
      const who = (host[i] as number) * THREAD_LIMIT + (thread[i] as number);
      if (now < before || (now === before && who < stream)) return i;
      before = now;
      stream = who;
    }
    this.#time = before;
    this.#stream = stream;
    return -1;
  }
}

/** Copies entry `i` of one batch to the end of another. */
export function copyEntry(from: AccessBatch, i: number, to: AccessBatch): void {
  to.append(
    from.time[i] as number,
    from.host[i] as number,
    from.thread[i] as number,
    from.op[i] as number,
    from.address[i] as number,
    from.bytes[i] as number,
  );
}

/** A source that gives the entries of batches that are already in memory and in order. */
export class BatchSource implements TraceSource {
  readonly #batches: readonly AccessBatch[];
  #batch = 0;
  #entry = 0;

  /** A source over `batches`; they are read, not changed. */
  constructor(batches: readonly AccessBatch[]) {
    this.#batches = batches;
  }

  /** {@inheritDoc TraceSource.read} */
  read(batch: AccessBatch): number {
    batch.count = 0;
    while (this.#batch < this.#batches.length) {
      const from = this.#batches[this.#batch] as AccessBatch;
      for (; this.#entry < from.count; this.#entry++) {
        const isAllocation = ((from.op[this.#entry] as number) & OP_MASK) === Op.Allocate;
        if (batch.count + (isAllocation ? 2 : 1) > batch.capacity) return batch.count;
        copyEntry(from, this.#entry, batch);
      }
      this.#batch++;
      this.#entry = 0;
    }
    return batch.count;
  }
}

/**
 * Brings accesses into trace order, in memory: for files whose hosts or threads are not merged.
 * Within one host and thread the order given is kept, so time must not go back there (the reader checks that).
 *
 * @throws {BusbarError} `out-of-range` beyond 33 million accesses
 */
export function orderAccesses(batches: readonly AccessBatch[]): AccessBatch[] {
  const total = batches.reduce((sum, batch) => sum + batch.count, 0);
  if (total > ORDER_LIMIT) {
    throw new BusbarError("out-of-range", `${total} accesses of several streams are not in order of time`, {
      operation: "order a trace",
      hint: `at most ${ORDER_LIMIT} are ordered in memory: sort the file by time first`,
    });
  }
  const all = new AccessBatch(total);
  for (const batch of batches) for (let i = 0; i < batch.count; i++) copyEntry(batch, i, all);
  const { time, host, thread } = all;
  const order = new Uint32Array(total).map((_, i) => i).sort((a, b) =>
    (time[a] as number) - (time[b] as number) || (host[a] as number) - (host[b] as number) ||
    (thread[a] as number) - (thread[b] as number) || a - b
  );
  const sorted = new AccessBatch(total);
  for (const i of order) copyEntry(all, i, sorted);
  return [sorted];
}
