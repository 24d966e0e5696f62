/**
 * Prefetches whose completion a later access waits for.
 * @module
 */

import { PREFETCH_MEMORY, UNKNOWN } from "./request.ts";

/** The last {@linkcode PREFETCH_MEMORY} prefetches, by number. */
export class PrefetchTable {
  readonly #done: Float64Array<ArrayBuffer> = new Float64Array(PREFETCH_MEMORY);
  readonly #waiter: Int32Array<ArrayBuffer> = new Int32Array(PREFETCH_MEMORY).fill(UNKNOWN);

  /** A prefetch is issued. */
  begin(number: number): void {
    this.#done[number & (PREFETCH_MEMORY - 1)] = UNKNOWN;
  }

  /** When it completed, in ticks, or UNKNOWN. */
  completion(number: number): number {
    return this.#done[number & (PREFETCH_MEMORY - 1)] as number;
  }

  /** A slot waits for it. */
  wait(number: number, slot: number): void {
    this.#waiter[number & (PREFETCH_MEMORY - 1)] = slot;
  }

  /** It completes: the slot that waited, or UNKNOWN. */
  complete(number: number, ticks: number): number {
    const at = number & (PREFETCH_MEMORY - 1);
    this.#done[at] = ticks;
    const waiter = this.#waiter[at] as number;
    this.#waiter[at] = UNKNOWN;
    return waiter;
  }
}
