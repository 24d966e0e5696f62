/**
 * A stream prefetcher: two misses on neighbouring lines start a stream; it runs ahead within the page.
 * @module
 */

import { PREFETCH_MEMORY } from "../engine/request.ts";

const STREAMS = 16;
const DEGREE = 2;
const DISTANCE = 4;
const PAGE_BYTES = 4096;
/** Prefetched lines that wait for a demand access. */
const WAITING = 64;

/** The prefetcher of one stream of accesses. */
export class Prefetcher {
  /** Prefetches, and those that a demand access met. */
  issued = 0;
  /** Prefetched lines that were used. */
  useful = 0;
  /** Lines to prefetch after the last access. */
  readonly lines: number[] = [];
  readonly #last: Float64Array<ArrayBuffer> = new Float64Array(STREAMS).fill(-1);
  readonly #direction: Int8Array<ArrayBuffer> = new Int8Array(STREAMS);
  readonly #ahead: Float64Array<ArrayBuffer> = new Float64Array(STREAMS);
  readonly #used: Float64Array<ArrayBuffer> = new Float64Array(STREAMS);
  readonly #waitingLine: Float64Array<ArrayBuffer> = new Float64Array(WAITING).fill(-1);
  readonly #waitingNumber: Float64Array<ArrayBuffer> = new Float64Array(WAITING);
  readonly #linesPerPage: number;
  #next = 0;
  #clock = 0;

  /** A prefetcher without streams. */
  constructor(lineBytes: number) {
    this.#linesPerPage = PAGE_BYTES / lineBytes;
  }

  /**
   * The number of the prefetch that fetched a line, or is fetching it; -1 when none does. The line stops waiting.
   *
   * @param newest the newest prefetch of the run: those too old to be remembered have long completed
   */
  take(line: number, newest: number): number {
    const at = this.#waitingLine.indexOf(line);
    if (at < 0) return -1;
    this.#waitingLine[at] = -1;
    const number = this.#waitingNumber[at] as number;
    if (newest - number >= PREFETCH_MEMORY) return -1;
    this.useful++;
    return number;
  }

  /** Remembers that a prefetch of this number fetches a line. */
  remember(line: number, number: number): void {
    this.#waitingLine[this.#next] = line;
    this.#waitingNumber[this.#next] = number;
    this.#next = (this.#next + 1) % WAITING;
    this.issued++;
  }

  /** Learns from a demand access that missed or met a prefetch; {@linkcode Prefetcher.lines} says what to prefetch. */
  learn(line: number): void {
    this.lines.length = 0;
    this.#clock++;
    for (let i = 0; i < STREAMS; i++) {
      const step = line - (this.#last[i] as number);
      const direction = this.#direction[i] as number;
      if ((step !== 1 && step !== -1) || (direction !== 0 && direction !== step)) continue;
      if (direction === 0) this.#ahead[i] = line;
      this.#direction[i] = step;
      this.#last[i] = line;
      this.#used[i] = this.#clock;
      this.#runAhead(i, line, step);
      return;
    }
    let oldest = 0;
    for (let i = 1; i < STREAMS; i++) if ((this.#used[i] as number) < (this.#used[oldest] as number)) oldest = i;
    this.#last[oldest] = line;
    this.#direction[oldest] = 0;
    this.#used[oldest] = this.#clock;
  }

  #runAhead(i: number, line: number, step: number): void {
    const page = Math.floor(line / this.#linesPerPage);
    let next = (this.#ahead[i] as number) + step;
    if ((next - line) * step <= 0) next = line + step;
    while (this.lines.length < DEGREE && (next - line) * step <= DISTANCE) {
      if (next < 0 || Math.floor(next / this.#linesPerPage) !== page) break;
      this.lines.push(next);
      this.#ahead[i] = next;
      next += step;
    }
  }
}
