/**
 * Epochs: windows of trace time. At the end of each its counts are handed on.
 * @module
 */

/** What one epoch counted. */
export interface EpochCounts {
  /** Its number: trace time / length. */
  readonly index: number;
  /** Ticks from its start to its end; the last one ends with its last event. */
  readonly lengthTicks: number;
  /** Trace time of its first and last event. */
  readonly firstTicks: number;
  /** Time of its last access. */
  readonly lastTicks: number;
  /** By route: lines moved, and accesses that somebody waits for. Valid until the next epoch. */
  readonly moved: Float64Array;
  /** Accesses that somebody waits for, by route. */
  readonly stalled: Float64Array;
  /** By node: trace time of the first and last access; only with {@linkcode Epochs.timed}. */
  readonly nodeFirst: Float64Array;
  /** Time of the last access, by node. */
  readonly nodeLast: Float64Array;
}

/** The shortest last epoch: 1000 ns. */
const LEAST_TICKS = 1000 * 1024;

/** Counts of the epoch that is under way. */
export class Epochs {
  /** By route: lines moved. */
  readonly moved: Float64Array<ArrayBuffer>;
  /** By route: accesses that somebody waits for. */
  readonly stalled: Float64Array<ArrayBuffer>;
  /** Epochs that held an event. */
  count = 0;
  /** True when first and last times are kept by node. */
  readonly timed: boolean;
  readonly #length: number;
  readonly #close: (epoch: EpochCounts) => void;
  readonly #nodeFirst: Float64Array<ArrayBuffer>;
  readonly #nodeLast: Float64Array<ArrayBuffer>;
  /** End of the epoch, times of its first event and the last event, its number, its start: in an array, to stay float64. */
  readonly #times: Float64Array<ArrayBuffer> = Float64Array.of(-Infinity, 0, 0, 0, 0);
  #open = false;

  /**
   * Begins before the first event.
   *
   * @param lengthTicks length of an epoch
   * @param close takes each epoch that held an event
   */
  constructor(nodes: number, lengthTicks: number, timed: boolean, close: (epoch: EpochCounts) => void) {
    this.moved = new Float64Array(nodes * 2);
    this.stalled = new Float64Array(nodes * 2);
    this.#nodeFirst = new Float64Array(nodes).fill(Infinity);
    this.#nodeLast = new Float64Array(nodes).fill(-Infinity);
    this.timed = timed;
    this.#length = lengthTicks;
    this.#close = close;
  }

  /** Trace time at which the epoch ends; -Infinity before the first event. */
  get end(): number {
    return this.#times[0] as number;
  }

  /** Trace time of the last event seen by {@linkcode Epochs.begin} or {@linkcode Epochs.touch}. */
  get last(): number {
    return this.#times[2] as number;
  }

  /** Notes an access to a node. */
  touch(node: number, time: number): void {
    if (time < (this.#nodeFirst[node] as number)) this.#nodeFirst[node] = time;
    if (time > (this.#nodeLast[node] as number)) this.#nodeLast[node] = time;
  }

  /** Notes that the trace has got to a time. */
  see(time: number): void {
    this.#times[2] = time;
  }

  /** Trace time at which the epoch begins that holds a time. */
  startOf(time: number): number {
    return Math.floor(time / this.#length) * this.#length;
  }

  /** Ends the epoch; true when it held an event. */
  close(now: number, last: boolean): boolean {
    if (!this.#open) return false;
    this.#open = false;
    const start = this.#times[4] as number;
    const lastTicks = this.#times[2] as number;
    const whole = !last && now >= (this.#times[0] as number);
    this.#close({
      index: this.#times[3] as number,
      lengthTicks: whole ? (this.#times[0] as number) - start : Math.max(LEAST_TICKS, Math.min(now, lastTicks) - start),
      firstTicks: this.#times[1] as number,
      lastTicks,
      moved: this.moved,
      stalled: this.stalled,
      nodeFirst: this.#nodeFirst,
      nodeLast: this.#nodeLast,
    });
    this.count++;
    this.moved.fill(0);
    this.stalled.fill(0);
    this.#nodeFirst.fill(Infinity);
    this.#nodeLast.fill(-Infinity);
    return true;
  }

  /** Begins the epoch that holds a time; at `start` when that is given, as after a barrier. */
  begin(now: number, start: number): void {
    const index = Math.floor(now / this.#length);
    this.#times[3] = index;
    this.#times[0] = (index + 1) * this.#length;
    this.#times[1] = now;
    this.#times[2] = now;
    this.#times[4] = start < 0 ? index * this.#length : start;
    this.#open = true;
  }
}
