/**
 * Closed replay without links: nobody waits for anybody else, so each stream is a recurrence by itself.
 * @module
 */

import { Flag, PREFETCH_MEMORY, type RequestBatch } from "./request.ts";

/** The same requests as a {@linkcode Replay} takes, with latencies alone. */
export class Recurrence {
  readonly #end: Float64Array<ArrayBuffer> = new Float64Array(1);
  readonly #window: number;
  readonly #startTicks: number;
  #streams = 0;
  #issued: Float64Array<ArrayBuffer> = new Float64Array(0);
  #traceTime: Float64Array<ArrayBuffer> = new Float64Array(0);
  #lastLoad: Float64Array<ArrayBuffer> = new Float64Array(0);
  #ring: Float64Array<ArrayBuffer> = new Float64Array(0);
  #ringAt: Int32Array<ArrayBuffer> = new Int32Array(0);
  readonly #prefetchDone: Float64Array<ArrayBuffer> = new Float64Array(PREFETCH_MEMORY);

  /**
   * @param window outstanding misses of each stream
   * @param startTicks trace time that is time 0 of the run
   */
  constructor(window: number, startTicks: number) {
    this.#window = window;
    this.#startTicks = startTicks;
  }

  /** The last completion of the program's accesses, in ticks. */
  get end(): number {
    return this.#end[0] as number;
  }

  /**
   * Replays the same requests twice, with less and with more latency: as `run` does for each, in one pass.
   *
   * @param extra ticks beyond the path, the same for both
   */
  static runBoth(
    one: Recurrence,
    two: Recurrence,
    batch: RequestBatch,
    pathOne: Float64Array,
    pathTwo: Float64Array,
    extra: Float64Array,
  ): void {
    const { time, stream, route, flags, count } = batch;
    let alike = one.#window === two.#window && one.#streams <= 1 && two.#streams <= 1;
    for (let i = 0; i < count; i++) {
      if ((stream[i] as number) === 0 && ((flags[i] as number) & (Flag.Join | Flag.Prefetch)) === 0) continue;
      alike = false;
      break;
    }
    if (!alike) {
      one.run(batch, pathOne, extra);
      two.run(batch, pathTwo, extra);
      return;
    }
    if (one.#streams === 0) one.#grow(1);
    if (two.#streams === 0) two.#grow(1);
    const window = one.#window;
    const ringOne = one.#ring;
    const ringTwo = two.#ring;
    // Of the only stream: what lies in arrays for many is in registers here.
    let issueOne = one.#issued[0] as number;
    let issueTwo = two.#issued[0] as number;
    let before = one.#traceTime[0] as number;
    let turn = one.#ringAt[0] as number;
    let loadOne = one.#lastLoad[1] as number;
    let loadTwo = two.#lastLoad[1] as number;
    let endOne = one.#end[0] as number;
    let endTwo = two.#end[0] as number;
    for (let i = 0; i < count; i++) {
      const flag = flags[i] as number;
      const now = time[i] as number;
      const gap = now - before;
      before = now;
      issueOne += gap;
      issueTwo += gap;
      const placed = (flag & Flag.Place) !== 0;
      if (placed) {
        issueOne = Math.max(issueOne, ringOne[turn] as number);
        issueTwo = Math.max(issueTwo, ringTwo[turn] as number);
      }
      if ((flag & Flag.Depends) !== 0) {
        issueOne = Math.max(issueOne, loadOne);
        issueTwo = Math.max(issueTwo, loadTwo);
      }
      const way = route[i] as number;
      const more = extra[i] as number;
      const doneOne = issueOne + (pathOne[way] as number) + more;
      const doneTwo = issueTwo + (pathTwo[way] as number) + more;
      if ((flag & Flag.Load) !== 0) {
        loadOne = doneOne;
        loadTwo = doneTwo;
      }
      if (placed) {
        ringOne[turn] = doneOne;
        ringTwo[turn] = doneTwo;
        turn = turn + 1 === window ? 0 : turn + 1;
      }
      if ((flag & Flag.Program) !== 0) {
        endOne = Math.max(endOne, doneOne);
        endTwo = Math.max(endTwo, doneTwo);
      }
    }
    one.#keep(issueOne, before, turn, loadOne, endOne);
    two.#keep(issueTwo, before, turn, loadTwo, endTwo);
  }

  #keep(issued: number, traceTime: number, turn: number, load: number, end: number): void {
    this.#issued[0] = issued;
    this.#traceTime[0] = traceTime;
    this.#ringAt[0] = turn;
    this.#lastLoad[1] = load;
    this.#end[0] = end;
  }

  /**
   * Replays requests.
   *
   * @param path latency by route, in ticks
   * @param extra ticks beyond it
   */
  run(batch: RequestBatch, path: Float64Array, extra: Float64Array): void {
    const { time, stream, route, flags, count } = batch;
    const window = this.#window;
    let streams = this.#streams;
    for (let i = 0; i < count; i++) if ((stream[i] as number) >= streams) streams = (stream[i] as number) + 1;
    if (streams > this.#streams) this.#grow(streams);
    const issued = this.#issued;
    const traceTime = this.#traceTime;
    const lastLoad = this.#lastLoad;
    const ring = this.#ring;
    const ringAt = this.#ringAt;
    let end = this.#end[0] as number;
    for (let i = 0; i < count; i++) {
      const s = stream[i] as number;
      const flag = flags[i] as number;
      const now = time[i] as number;
      let issue = (issued[s] as number) + now - (traceTime[s] as number);
      traceTime[s] = now;
      let at = 0;
      if ((flag & Flag.Place) !== 0) {
        const turn = ringAt[s] as number;
        at = s * window + turn;
        issue = Math.max(issue, ring[at] as number);
        ringAt[s] = turn + 1 === window ? 0 : turn + 1;
      }
      if ((flag & Flag.Depends) !== 0) issue = Math.max(issue, lastLoad[2 * s + 1] as number);
      issued[s] = issue;
      let completion = issue + (path[route[i] as number] as number);
      if ((flag & (Flag.Join | Flag.Prefetch)) === 0) completion += extra[i] as number;
      else {
        const entry = (batch.extra[i] as number) & (PREFETCH_MEMORY - 1);
        if ((flag & Flag.Prefetch) !== 0) this.#prefetchDone[entry] = completion;
        else completion = Math.max(issue, this.#prefetchDone[entry] as number);
      }
      // Entry 2s takes what is no load, so that there is no branch to guess.
      lastLoad[2 * s + ((flag & Flag.Load) >> 1)] = completion;
      if ((flag & Flag.Place) !== 0) ring[at] = completion;
      if ((flag & Flag.Program) !== 0) end = Math.max(end, completion);
    }
    this.#end[0] = end;
  }

  #grow(count: number): void {
    const floats = (from: Float64Array<ArrayBuffer>, length: number, fill: number): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(length).fill(fill);
      to.set(from);
      return to;
    };
    this.#issued = floats(this.#issued, count, 0);
    this.#traceTime = floats(this.#traceTime, count, this.#startTicks);
    this.#lastLoad = floats(this.#lastLoad, count * 2, 0);
    this.#ring = floats(this.#ring, count * this.#window, 0);
    const ringAt = new Int32Array(count);
    ringAt.set(this.#ringAt);
    this.#ringAt = ringAt;
    this.#streams = count;
  }
}
