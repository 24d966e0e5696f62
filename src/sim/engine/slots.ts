/**
 * Accesses on their way: columns with a free list.
 * @module
 */

/** Accesses between their issue and their completion. */
export class Slots {
  /** Ticks of the issue. */
  issue: Float64Array<ArrayBuffer> = new Float64Array(64);
  /** Ticks beyond the path; the number of the prefetch. */
  extra: Float64Array<ArrayBuffer> = new Float64Array(64);
  /** Number of the request. */
  order: Float64Array<ArrayBuffer> = new Float64Array(64);
  /** Ticks waited so far. */
  wait: Float64Array<ArrayBuffer> = new Float64Array(64);
  /** The stream that waits for it. */
  stream: Int32Array<ArrayBuffer> = new Int32Array(64);
  /** Its route. */
  route: Int32Array<ArrayBuffer> = new Int32Array(64);
  /** The hop it is at. */
  hop: Int32Array<ArrayBuffer> = new Int32Array(64);
  /** Its place in the window's ring, or -1. */
  place: Int32Array<ArrayBuffer> = new Int32Array(64);
  /** Its flags. */
  flags: Int32Array<ArrayBuffer> = new Int32Array(64);
  /** Lines it moves. */
  lines: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  #free: Int32Array<ArrayBuffer> = new Int32Array(64).map((_, i) => i);
  #freeCount = 64;

  /** Takes a slot and fills it. */
  take(
    issue: number,
    extra: number,
    order: number,
    stream: number,
    route: number,
    hop: number,
    place: number,
    flags: number,
    lines: number,
  ): number {
    if (this.#freeCount === 0) this.#grow();
    const slot = this.#free[--this.#freeCount] as number;
    this.issue[slot] = issue;
    this.extra[slot] = extra;
    this.order[slot] = order;
    this.wait[slot] = 0;
    this.stream[slot] = stream;
    this.route[slot] = route;
    this.hop[slot] = hop;
    this.place[slot] = place;
    this.flags[slot] = flags;
    this.lines[slot] = lines;
    return slot;
  }

  /** Gives a slot back; its columns stay readable until the next {@linkcode Slots.take}. */
  give(slot: number): void {
    this.#free[this.#freeCount++] = slot;
  }

  #grow(): void {
    const old = this.issue.length;
    const floats = (from: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(old * 2);
      to.set(from);
      return to;
    };
    const integers = (from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(old * 2);
      to.set(from);
      return to;
    };
    this.issue = floats(this.issue);
    this.extra = floats(this.extra);
    this.order = floats(this.order);
    this.wait = floats(this.wait);
    this.stream = integers(this.stream);
    this.route = integers(this.route);
    this.hop = integers(this.hop);
    this.place = integers(this.place);
    this.flags = integers(this.flags);
    const lines = new Uint32Array(old * 2);
    lines.set(this.lines);
    this.lines = lines;
    this.#free = new Int32Array(old * 2);
    for (let i = 0; i < old; i++) this.#free[i] = old + i;
    this.#freeCount = old;
  }
}
