/**
 * Links while time goes on: when each is free, its credits, and what is counted.
 * @module
 */

import { SlotQueue } from "./fifo.ts";
import type { Link } from "./network.ts";

/** Every direction of every link: a single server, first come first served, with or without credits. */
export class LinkStates {
  /** Credits of each link, 0 for any number. */
  readonly credits: Int32Array<ArrayBuffer>;
  /** True when any link has credits. */
  readonly anyCredits: boolean;
  /** Accesses that wait for a credit, by link. */
  readonly waiting: readonly SlotQueue[];
  /** Ticks each link was occupied, without the epoch that has not ended. */
  readonly busy: Float64Array<ArrayBuffer>;
  /** Sum of waits in ticks. */
  readonly waits: Float64Array<ArrayBuffer>;
  /** The longest wait for the link itself, in ticks. */
  readonly longestWait: Float64Array<ArrayBuffer>;
  /** Accesses that found no credit. */
  readonly creditStalls: Float64Array<ArrayBuffer>;
  /** The greatest share of an epoch of simulated time that each link was given to carry. */
  readonly peak: Float64Array<ArrayBuffer>;

  /** When each link is free. */
  readonly free: Float64Array<ArrayBuffer>;
  readonly #inUse: Int32Array<ArrayBuffer>;
  readonly #epochTicks: number;
  /** When each link's epoch ends. */
  readonly epochEnd: Float64Array<ArrayBuffer>;
  /** Ticks given to each link in its epoch. */
  readonly epochBusy: Float64Array<ArrayBuffer>;
  #heapTime: Float64Array<ArrayBuffer> = new Float64Array(64);
  #heapLink: Int32Array<ArrayBuffer> = new Int32Array(64);
  #heapLength = 0;

  /** Idle links. */
  constructor(links: readonly Link[], epochTicks: number) {
    const count = links.length;
    this.credits = Int32Array.from(links, (link) => link.credits);
    this.anyCredits = links.some((link) => link.credits > 0);
    this.waiting = links.map(() => new SlotQueue());
    this.busy = new Float64Array(count);
    this.waits = new Float64Array(count);
    this.longestWait = new Float64Array(count);
    this.creditStalls = new Float64Array(count);
    this.peak = new Float64Array(count);
    this.free = new Float64Array(count);
    this.#inUse = new Int32Array(count);
    this.#epochTicks = epochTicks;
    this.epochEnd = new Float64Array(count).fill(epochTicks);
    this.epochBusy = new Float64Array(count);
  }

  /** Carries an access that entered at `entry`; returns how long it waits for the link to be free. */
  carry(link: number, entry: number, service: number): number {
    const free = this.free[link] as number;
    const start = free > entry ? free : entry;
    const wait = start - entry;
    this.free[link] = start + service;
    if (wait > 0) {
      this.waits[link] = (this.waits[link] as number) + wait;
      if (wait > (this.longestWait[link] as number)) this.longestWait[link] = wait;
    }
    if (start >= (this.epochEnd[link] as number)) this.nextEpoch(link, start);
    this.epochBusy[link] = (this.epochBusy[link] as number) + service;
    return wait;
  }

  /** Ends a link's epoch because an access begins after it. */
  nextEpoch(link: number, start: number): void {
    this.#closeEpoch(link, this.#epochTicks);
    this.epochEnd[link] = (Math.floor(start / this.#epochTicks) + 1) * this.#epochTicks;
  }

  #closeEpoch(link: number, lengthTicks: number): void {
    const busy = this.epochBusy[link] as number;
    this.busy[link] = (this.busy[link] as number) + busy;
    this.peak[link] = Math.max(this.peak[link] as number, Math.min(1, busy / lengthTicks));
    this.epochBusy[link] = 0;
  }

  /**
   * Ends every link's epoch, so that {@linkcode LinkStates.busy} and {@linkcode LinkStates.peak} are complete. The last
   * epoch counts for the peak as long as it is, and not as less than a tenth.
   *
   * @param end ticks at which the run ends
   */
  close(end: number): void {
    for (let link = 0; link < this.busy.length; link++) {
      const begun = (this.epochEnd[link] as number) - this.#epochTicks;
      const length = Math.min(this.#epochTicks, Math.max(end - begun, begun === 0 ? 1 : this.#epochTicks / 10));
      this.#closeEpoch(link, Math.max(1, length));
    }
  }

  /** Adds a wait for a credit to a link's waits. */
  waitedForCredit(link: number, ticks: number): void {
    this.waits[link] = (this.waits[link] as number) + ticks;
  }

  /** Takes a credit, or lets the access wait for one: then false. */
  enter(link: number, slot: number, time: number): boolean {
    if ((this.#inUse[link] as number) < (this.credits[link] as number)) {
      this.#inUse[link] = (this.#inUse[link] as number) + 1;
      return true;
    }
    this.creditStalls[link] = (this.creditStalls[link] as number) + 1;
    (this.waiting[link] as SlotQueue).push(slot, time);
    return false;
  }

  /** Takes a credit that has just come back. */
  useCredit(link: number): void {
    this.#inUse[link] = (this.#inUse[link] as number) + 1;
  }

  /** Time of the next credit that comes back; Infinity when none is out. */
  get nextRelease(): number {
    return this.#heapLength === 0 ? Infinity : this.#heapTime[0] as number;
  }

  /** A credit of the link comes back at `time`; links without credits are left alone. */
  releaseAt(link: number, time: number): void {
    if ((this.credits[link] as number) === 0) return;
    if (this.#heapLength === this.#heapTime.length) this.#grow();
    let at = this.#heapLength++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(time, link, parent)) break;
      this.#heapTime[at] = this.#heapTime[parent] as number;
      this.#heapLink[at] = this.#heapLink[parent] as number;
      at = parent;
    }
    this.#heapTime[at] = time;
    this.#heapLink[at] = link;
  }

  /** Lets the earliest credit come back and returns its link. There is one. */
  takeRelease(): number {
    const link = this.#heapLink[0] as number;
    this.#inUse[link] = (this.#inUse[link] as number) - 1;
    const last = --this.#heapLength;
    const time = this.#heapTime[last] as number;
    const moved = this.#heapLink[last] as number;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (
        child + 1 < last &&
        this.#before(this.#heapTime[child + 1] as number, this.#heapLink[child + 1] as number, child)
      ) {
        child++;
      }
      if (this.#before(time, moved, child)) break;
      this.#heapTime[at] = this.#heapTime[child] as number;
      this.#heapLink[at] = this.#heapLink[child] as number;
      at = child;
    }
    this.#heapTime[at] = time;
    this.#heapLink[at] = moved;
    return link;
  }

  #before(time: number, link: number, entry: number): boolean {
    const other = this.#heapTime[entry] as number;
    return time < other || (time === other && link < (this.#heapLink[entry] as number));
  }

  #grow(): void {
    const time = new Float64Array(this.#heapTime.length * 2);
    const link = new Int32Array(this.#heapTime.length * 2);
    time.set(this.#heapTime);
    link.set(this.#heapLink);
    this.#heapTime = time;
    this.#heapLink = link;
  }
}
