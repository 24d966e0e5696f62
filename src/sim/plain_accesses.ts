/**
 * The front end's shortest way, for what most traces hold most of: loads and stores of one line, no caches, nothing that
 * makes one longer than its path.
 * @module
 */

import { BATCH_REQUESTS, Flag, type RequestBatch } from "./engine/request.ts";
import type { FrontEndCounts, FrontEndParts } from "./frontend_parts.ts";
import type { StreamFacts } from "./stream_facts.ts";
import { type AccessBatch, DEPENDENT, Op, OP_MASK, THREAD_LIMIT } from "./trace/batch.ts";

/** Turns plain loads and stores into requests. */
export class PlainAccesses {
  readonly #lineBytes: number;
  readonly #storeFlags: number;
  readonly #parts: FrontEndParts;
  readonly #streams: StreamFacts;
  readonly #counts: FrontEndCounts;
  readonly #batch: RequestBatch;
  readonly #run: () => void;

  /**
   * Begins before the first access.
   *
   * @param storeFlags what a store is besides a use of its route
   * @param run replays the requests of `batch` and clears it
   */
  constructor(
    lineBytes: number,
    storeFlags: number,
    parts: FrontEndParts,
    streams: StreamFacts,
    counts: FrontEndCounts,
    batch: RequestBatch,
    run: () => void,
  ) {
    this.#lineBytes = lineBytes;
    this.#storeFlags = storeFlags;
    this.#parts = parts;
    this.#streams = streams;
    this.#counts = counts;
    this.#batch = batch;
    this.#run = run;
  }

  /**
   * Takes accesses in one loop without calls but for the node; it ends where there is something else.
   *
   * @returns the first access that it did not take
   */
  take(accesses: AccessBatch, from: number): number {
    const { time, address, bytes, op, host, thread, count } = accesses;
    const { epochs, pages } = this.#parts;
    const { end, moved, stalled } = epochs;
    const lineBytes = this.#lineBytes;
    const streamOf = this.#streams.numbers;
    const storeFlags = this.#storeFlags;
    const batch = this.#batch;
    const counts = this.#counts;
    let writes = 0;
    let refused = 0;
    let i = from;
    for (; i < count; i++) {
      const now = time[i] as number;
      const flag = op[i] as number;
      const code = flag & OP_MASK;
      const where = address[i] as number;
      const stream = streamOf[(host[i] as number) * THREAD_LIMIT + (thread[i] as number)] as number;
      if (now >= end || code > Op.Write || stream < 0) break;
      if (((where >>> 0) & (lineBytes - 1)) + (bytes[i] as number) > lineBytes) break;
      const node = pages.nodeOf(where, host[i] as number);
      if (node < 0) {
        refused++;
        continue;
      }
      const route = node * 2 + code;
      const flags = code === Op.Write
        ? storeFlags
        : (flag & DEPENDENT) === 0
        ? Flag.Program | Flag.Place | Flag.Load
        : Flag.Program | Flag.Place | Flag.Load | Flag.Depends;
      writes += code;
      moved[route] = (moved[route] as number) + 1;
      if ((flags & Flag.Place) !== 0) stalled[route] = (stalled[route] as number) + 1;
      if (batch.addPlain(now, stream, route, flags) === BATCH_REQUESTS) this.#run();
    }
    if (i > from) epochs.see(time[i - 1] as number);
    counts.accesses += i - from;
    counts.lines += i - from - refused;
    counts.writes += writes;
    counts.reads += i - from - refused - writes;
    return i;
  }
}
