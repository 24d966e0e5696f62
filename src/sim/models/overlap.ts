/**
 * How many misses of a trace overlap: misses in flight while any is in flight.
 * @module
 */

import { Flag, type RequestBatch } from "../engine/request.ts";

/** Finds memory-level parallelism from time stamps, stream by stream. */
export class Overlap {
  readonly #path: Float64Array;
  readonly #most: number;
  #busyUntil: Float64Array<ArrayBuffer> = new Float64Array(64);
  /** Sum of paths, and ticks in which something was in flight. */
  readonly #sums: Float64Array<ArrayBuffer> = new Float64Array(2);

  /**
   * @param path latency by route in ticks
   * @param most no more than so many can be in flight
   */
  constructor(path: Float64Array, most: number) {
    this.#path = path;
    this.#most = most;
  }

  /** Misses that overlap on average, 1 or more. */
  get mlp(): number {
    const [path = 0, busy = 0] = this.#sums;
    return busy === 0 ? 1 : Math.min(this.#most, Math.max(1, path / busy));
  }

  /** Takes requests in trace order. */
  add(batch: RequestBatch): void {
    for (let i = 0; i < batch.count; i++) {
      if (((batch.flags[i] as number) & Flag.Place) === 0) continue;
      const stream = batch.stream[i] as number;
      if (stream >= this.#busyUntil.length) {
        const longer = new Float64Array(stream * 2);
        longer.set(this.#busyUntil);
        this.#busyUntil = longer;
      }
      const path = this.#path[batch.route[i] as number] as number;
      const time = batch.time[i] as number;
      const until = this.#busyUntil[stream] as number;
      this.#sums[0] = (this.#sums[0] as number) + path;
      this.#sums[1] = (this.#sums[1] as number) + Math.max(0, time + path - Math.max(time, until));
      this.#busyUntil[stream] = Math.max(until, time + path);
    }
  }
}
