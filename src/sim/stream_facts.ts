/**
 * What the front end knows of each stream: one thread of one host.
 * @module
 */

import { HOST_LIMIT, THREAD_LIMIT } from "./trace/batch.ts";

/** Streams, numbered as they are first seen. */
export class StreamFacts {
  /** The number of a stream by `host * THREAD_LIMIT + thread`; -1 before it is seen. */
  readonly numbers: Int32Array<ArrayBuffer> = new Int32Array(HOST_LIMIT * THREAD_LIMIT).fill(-1);
  /** `host * THREAD_LIMIT + thread` by number. */
  readonly ids: number[] = [];
  /** By number: ticks of walks that the next request takes along. */
  readonly walkShare: number[] = [];
  /** By number: the last load hit a cache and depended on nothing, so nobody has to wait for it. */
  readonly freeLoad: boolean[] = [];
  readonly #measuredTicks: number;
  readonly #adjusted: number[] = [];
  readonly #lastTime: number[] = [];

  /** @param measuredTicks the stall of local memory that each gap holds already; negative: gaps are the program's alone */
  constructor(measuredTicks: number) {
    this.#measuredTicks = measuredTicks;
  }

  /** Numbers a stream that is first seen at `now`, in ticks. */
  add(id: number, now: number): number {
    const stream = this.ids.length;
    this.ids.push(id);
    this.numbers[id] = stream;
    this.walkShare[stream] = 0;
    this.freeLoad[stream] = false;
    this.#adjusted[stream] = now;
    this.#lastTime[stream] = now;
    return stream;
  }

  /** The host of a stream. */
  hostOf(stream: number): number {
    return Math.floor((this.ids[stream] as number) / THREAD_LIMIT);
  }

  /** The time of an access: a gap that was measured holds the stall of local memory already, which is taken off by a guess. */
  adjusted(stream: number, time: number): number {
    if (this.#measuredTicks < 0) return time;
    const gap = time - (this.#lastTime[stream] as number);
    this.#lastTime[stream] = time;
    const adjusted = (this.#adjusted[stream] as number) + Math.max(0, gap - this.#measuredTicks);
    this.#adjusted[stream] = adjusted;
    return adjusted;
  }
}
