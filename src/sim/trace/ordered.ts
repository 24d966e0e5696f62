/**
 * Gives the accesses of a file in trace order, whatever order the file has.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { AccessBatch, TraceSource } from "./batch.ts";
import { BatchSource, orderAccesses, OrderCheck } from "./order.ts";

/** Accesses that are read ahead to see whether they are in order: 29 bytes each, so 120 MB. */
export const LOOKAHEAD: number = 1 << 22;

/** Gives batches of a file, in the file's order; null at its end. */
export type BatchStream = () => Promise<readonly AccessBatch[] | null>;

/**
 * The error for a file that is out of order where that cannot be mended.
 *
 * @param path the file
 */
export function outOfOrder(path: string): BusbarError {
  return new BusbarError("malformed", `${path}: hosts or threads are not merged by time`, {
    operation: "read a trace",
    path,
    hint: `only text of up to ${LOOKAHEAD} accesses is brought into order: sort the file by time, then host`,
  });
}

/**
 * A source over the batches of a file. A file that fits into {@linkcode LOOKAHEAD} is ordered in memory; a longer one
 * has to be in order, or to say beforehand that it is not (`unmerged`), and is then held whole up to the limit of
 * {@linkcode orderAccesses}.
 */
export class OrderedSource implements TraceSource {
  readonly #next: BatchStream;
  readonly #path: string;
  readonly #unmerged: boolean;
  readonly #check: OrderCheck = new OrderCheck();
  #source: BatchSource | null = null;
  #ended = false;

  /** @param path the file, for errors */
  constructor(next: BatchStream, path: string, unmerged: boolean) {
    this.#next = next;
    this.#path = path;
    this.#unmerged = unmerged;
  }

  /** {@inheritDoc TraceSource.read} */
  async read(batch: AccessBatch): Promise<number> {
    this.#source ??= await this.#lookAhead();
    while (this.#source.read(batch) === 0) {
      const more = this.#ended ? null : await this.#next();
      if (more === null) return 0;
      for (const one of more) if (this.#check.check(one) >= 0) throw outOfOrder(this.#path);
      this.#source = new BatchSource(more);
    }
    return batch.count;
  }

  async #lookAhead(): Promise<BatchSource> {
    const held: AccessBatch[] = [];
    let count = 0;
    let ordered = true;
    while (count < LOOKAHEAD || this.#unmerged) {
      const more = await this.#next();
      if (more === null) {
        this.#ended = true;
        break;
      }
      for (const one of more) {
        held.push(one);
        count += one.count;
        ordered = ordered && this.#check.check(one) < 0;
      }
      // Throws, so a stream without end ends here.
      if (this.#unmerged && count > ORDER_LIMIT) orderAccesses(held);
    }
    if (!ordered && !this.#ended) throw outOfOrder(this.#path);
    return new BatchSource(ordered ? held : orderAccesses(held));
  }
}

/** As in order.ts: what is held in memory at most. */
const ORDER_LIMIT = 1 << 25;
