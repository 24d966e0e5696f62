/**
 * Streams: the accesses of each thread of each host, in order, with their window.
 * @module
 */

import { RequestQueue } from "./fifo.ts";
import { Flag, UNKNOWN } from "./request.ts";
import type { Tournament } from "./tournament.ts";

/**
 * A stream that was silent for so many requests does not hold the others back. When it comes back, it goes on no earlier
 * than the links have got to: its thread began or woke after what the others did meanwhile.
 */
export const SILENCE: number = 1 << 16;

/** All streams of a run. A stream's first request stands in the tournament when the time of its issue is known. */
export class Streams {
  /** Of the request taken last: its number, ticks beyond the path, lines, and `route << 8 | flags`. */
  readonly taken: Float64Array<ArrayBuffer> = new Float64Array(4);

  readonly #tournament: Tournament;
  readonly #firstSource: number;
  /** Places of each stream. */
  readonly window: number;
  readonly #startTicks: number;
  readonly #holds: boolean;
  readonly #queues: RequestQueue[] = [];
  #now = 0;
  /** When each stream issued its last request. */
  issued: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** Trace time of that request. */
  traceTime: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** Completion of each stream's last load, or UNKNOWN; and the number of that request. */
  lastLoad: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** Order of the last load, by stream. */
  lastLoadOrder: Float64Array<ArrayBuffer> = new Float64Array(0);
  #lastOrder: Float64Array<ArrayBuffer> = new Float64Array(0);
  #blocked: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Completions of the last accesses of each stream, as many as its window has places. */
  ring: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** The place that each stream's next request takes. */
  ringAt: Int32Array<ArrayBuffer> = new Int32Array(0);

  /**
   * Begins without streams.
   *
   * @param firstSource the source of stream 0 in the tournament
   * @param window places of each stream
   * @param startTicks trace time that is time 0 of the run
   * @param holds streams that have not been seen yet may begin at any time, so others wait for them
   */
  constructor(tournament: Tournament, firstSource: number, window: number, startTicks: number, holds: boolean) {
    this.#tournament = tournament;
    this.#firstSource = firstSource;
    this.window = window;
    this.#startTicks = startTicks;
    this.#holds = holds;
  }

  /** Streams seen so far. */
  get count(): number {
    return this.#queues.length;
  }

  /** Makes room for streams below `count`. */
  reserve(count: number): void {
    if (count > this.#queues.length) this.#grow(count);
  }

  /**
   * The time at which a stream without a queue issues a request, or UNKNOWN when it waits for something that is not
   * known yet.
   */
  issueTime(stream: number, time: number, flags: number): number {
    let issue = (this.issued[stream] as number) + time - (this.traceTime[stream] as number);
    if ((flags & Flag.Place) !== 0) {
      const place = this.ring[stream * this.window + (this.ringAt[stream] as number)] as number;
      if (place < 0) return UNKNOWN;
      if (place > issue) issue = place;
    }
    if ((flags & Flag.Depends) !== 0) {
      const load = this.lastLoad[stream] as number;
      if (load < 0) return UNKNOWN;
      if (load > issue) issue = load;
    }
    return issue;
  }

  /** Records an issue; returns the place in the window, or -1. */
  issue(stream: number, time: number, order: number, flags: number, issue: number): number {
    this.issued[stream] = issue;
    this.traceTime[stream] = time;
    if ((flags & Flag.Load) !== 0) {
      this.lastLoad[stream] = UNKNOWN;
      this.lastLoadOrder[stream] = order;
    }
    if ((flags & Flag.Place) === 0) return UNKNOWN;
    const at = this.ringAt[stream] as number;
    const place = stream * this.window + at;
    this.ring[place] = UNKNOWN;
    this.ringAt[stream] = at + 1 === this.window ? 0 : at + 1;
    return place;
  }

  /**
   * Appends a request.
   *
   * @param clock the time that the links have got to
   */
  push(stream: number, time: number, order: number, extra: number, word: number, lines: number, clock: number): void {
    const fresh = stream >= this.#queues.length;
    if (fresh) this.#grow(stream + 1);
    const queue = this.#queues[stream] as RequestQueue;
    const silent = order - (this.#lastOrder[stream] as number);
    if (queue.length === 0 && (fresh && !this.#holds || silent > SILENCE)) {
      const latest = clock - (time - (this.traceTime[stream] as number));
      if (latest > (this.issued[stream] as number)) this.issued[stream] = latest;
    }
    this.#lastOrder[stream] = order;
    this.#now = order;
    queue.push(time, order, extra, word, lines);
    if (queue.length === 1) this.look(stream);
  }

  /** True when a stream has no request that was not issued. */
  empty(stream: number): boolean {
    return (this.#queues[stream] as RequestQueue).length === 0;
  }

  /** No later request of this stream, with at least this trace time, is issued before. */
  earliest(stream: number, traceTicks: number): number {
    return (this.issued[stream] as number) + traceTicks - (this.traceTime[stream] as number);
  }

  /** No later request, of a stream without requests or a new one, is issued before. */
  bound(traceTicks: number): number {
    let bound = this.#holds && this.#now <= SILENCE ? traceTicks - this.#startTicks : Infinity;
    for (let stream = 0; stream < this.#queues.length; stream++) {
      if (!this.empty(stream) || this.#now - (this.#lastOrder[stream] as number) > SILENCE) continue;
      bound = Math.min(bound, this.earliest(stream, traceTicks));
    }
    return bound;
  }

  /** Finds when a stream's first request is issued, or that this is not known yet. */
  look(stream: number): void {
    const queue = this.#queues[stream] as RequestQueue;
    const tournament = this.#tournament;
    const source = this.#firstSource + stream;
    if (queue.length === 0) {
      tournament.time[source] = Infinity;
      tournament.update(source);
      return;
    }
    const head = queue.head;
    const flags = queue.word[head] as number;
    const issue = this.issueTime(stream, queue.time[head] as number, flags);
    const known = issue >= 0;
    this.#blocked[stream] = known ? 0 : 1;
    tournament.time[source] = known ? issue : Infinity;
    tournament.order[source] = queue.order[head] as number;
    tournament.update(source);
  }

  /** The same, where the stream waited for something to become known. */
  lookAgain(stream: number): void {
    if ((this.#blocked[stream] as number) !== 0) this.look(stream);
  }

  /**
   * Takes a stream's first request, which is issued now.
   *
   * @returns its place in the window, or -1
   */
  take(stream: number, issue: number): number {
    const queue = this.#queues[stream] as RequestQueue;
    const head = queue.head;
    const order = queue.order[head] as number;
    const word = queue.word[head] as number;
    this.taken[0] = order;
    this.taken[1] = queue.extra[head] as number;
    this.taken[2] = queue.lines[head] as number;
    this.taken[3] = word;
    const time = queue.time[head] as number;
    queue.drop();
    return this.issue(stream, time, order, word, issue);
  }

  /** A request's completion is known. */
  completed(stream: number, place: number, order: number, flags: number, completion: number): void {
    if (place >= 0) this.ring[place] = completion;
    if ((flags & Flag.Load) !== 0 && (this.lastLoadOrder[stream] as number) === order) {
      this.lastLoad[stream] = completion;
    }
  }

  #grow(count: number): void {
    const grow = <T extends Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
      from: T,
      to: T,
      fill = 0,
    ): T => {
      to.fill(fill).set(from);
      return to;
    };
    this.issued = grow(this.issued, new Float64Array(count));
    this.traceTime = grow(this.traceTime, new Float64Array(count), this.#startTicks);
    this.lastLoad = grow(this.lastLoad, new Float64Array(count));
    this.lastLoadOrder = grow(this.lastLoadOrder, new Float64Array(count), UNKNOWN);
    this.#lastOrder = grow(this.#lastOrder, new Float64Array(count));
    this.#blocked = grow(this.#blocked, new Uint8Array(count));
    this.ringAt = grow(this.ringAt, new Int32Array(count));
    this.ring = grow(this.ring, new Float64Array(count * this.window));
    while (this.#queues.length < count) this.#queues.push(new RequestQueue());
    this.#tournament.grow(this.#firstSource + count);
  }
}
