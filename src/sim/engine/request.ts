/**
 * What is asked of the replay, and one access taken apart.
 * @module
 */

/** What a request does besides using its route. Bits. */
export const Flag = {
  /** Takes a place in the window. */
  Place: 1,
  /** A load: later dependent requests wait for it. */
  Load: 2,
  /** Waits for the last load. */
  Depends: 4,
  /** An access of the program: counts in latencies and in the end of the run. */
  Program: 8,
  /** Waits for a prefetch (its number stands in `extra`) and uses no link. */
  Join: 16,
  /** A prefetch (its number stands in `extra`). */
  Prefetch: 32,
} as const;

/** A time or place that is not known yet. */
export const UNKNOWN: number = -1;

/** Prefetches whose completion is remembered. */
export const PREFETCH_MEMORY: number = 1 << 12;

/** A step of one access, for `--explain`. */
export interface ExplainedHop {
  /** The link, by index. */
  readonly link: number;
  /** Ticks when it was reached, when it began to carry the access, and how long it was occupied. */
  readonly arrivalTicks: number;
  /** When the link began to serve it. */
  readonly startTicks: number;
  /** How long that took. */
  readonly serviceTicks: number;
}

/** One access, taken apart. */
export interface Explained {
  /** Its route: `node * 2 + (write ? 1 : 0)`. */
  readonly route: number;
  /** When it was issued. */
  readonly issueTicks: number;
  /** Unloaded latency of its way. */
  readonly pathTicks: number;
  /** Coherence, moves and walks. */
  readonly extraTicks: number;
  /** The links of its way. */
  readonly hops: readonly ExplainedHop[];
  /** When it was complete. */
  readonly completionTicks: number;
}

/** Requests in a {@linkcode RequestBatch}: replay moves on after so many, whatever the trace's batches are. */
export const BATCH_REQUESTS = 4096;

/** Requests in columns, in trace order. */
export class RequestBatch {
  /** Trace time in ticks. */
  readonly time: Float64Array<ArrayBuffer> = new Float64Array(BATCH_REQUESTS);
  /** Ticks beyond the path: coherence, walks, moves; of a join or prefetch the number of the prefetch. */
  readonly extra: Float64Array<ArrayBuffer> = new Float64Array(BATCH_REQUESTS);
  /** Ticks beyond the local latency when everything is local: walks. */
  readonly localExtra: Float64Array<ArrayBuffer> = new Float64Array(BATCH_REQUESTS);
  /** The same with what coherence takes. */
  readonly coherentExtra: Float64Array<ArrayBuffer> = new Float64Array(BATCH_REQUESTS);
  /** The stream that issues it. */
  readonly stream: Uint32Array<ArrayBuffer> = new Uint32Array(BATCH_REQUESTS);
  /** `node * 2 + (write ? 1 : 0)`. */
  readonly route: Uint16Array<ArrayBuffer> = new Uint16Array(BATCH_REQUESTS);
  /** Lines moved at once: 1, more for a page move. */
  readonly lines: Uint32Array<ArrayBuffer> = new Uint32Array(BATCH_REQUESTS);
  /** {@linkcode Flag} bits. */
  readonly flags: Uint8Array<ArrayBuffer> = new Uint8Array(BATCH_REQUESTS);
  /** The number of the first request: order among equal times. */
  firstOrder = 0;
  /** Valid entries. */
  count = 0;

  /** True when it must be run before more is added. */
  get full(): boolean {
    return this.count === BATCH_REQUESTS;
  }

  /** Appends a request. */
  add(
    time: number,
    stream: number,
    route: number,
    flags: number,
    extra: number,
    localExtra: number,
    coherentExtra: number,
    lines: number,
  ): void {
    const at = this.count++;
    this.time[at] = time;
    this.stream[at] = stream;
    this.route[at] = route;
    this.flags[at] = flags;
    this.extra[at] = extra;
    this.localExtra[at] = localExtra;
    this.coherentExtra[at] = coherentExtra;
    this.lines[at] = lines;
  }

  /** Appends a request of one line that takes nothing beyond its path; returns how many there are. */
  addPlain(time: number, stream: number, route: number, flags: number): number {
    const at = this.count++;
    this.time[at] = time;
    this.stream[at] = stream;
    this.route[at] = route;
    this.flags[at] = flags;
    this.extra[at] = 0;
    this.localExtra[at] = 0;
    this.coherentExtra[at] = 0;
    this.lines[at] = 1;
    return at + 1;
  }

  /** Empties it; the next request is the next in order. */
  clear(): void {
    this.firstOrder += this.count;
    this.count = 0;
  }
}
