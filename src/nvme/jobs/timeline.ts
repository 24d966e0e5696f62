/**
 * Bandwidth over time: a row for each interval, given away as soon as it is over, so that a job of any length takes no more
 * memory.
 * @module
 */

/** What was moved in an interval. */
export interface TimelineRow {
  /** Seconds from the start of the timeline to the end of the interval. */
  readonly seconds: number;
  /** How long the interval was, in seconds. */
  readonly lengthSeconds: number;
  /** Transfers that ended in it. */
  readonly transfers: number;
}

/** The timeline of one job. */
export class Timeline {
  readonly #startMs: number;
  readonly #intervalMs: number;
  readonly #onRow: (row: TimelineRow) => void;
  #fromMs: number;
  #before = 0;

  /**
   * Begins at `nowMs`.
   *
   * @param startMs where its seconds are counted from
   */
  constructor(startMs: number, nowMs: number, intervalMs: number, onRow: (row: TimelineRow) => void) {
    this.#startMs = startMs;
    this.#fromMs = nowMs;
    this.#intervalMs = intervalMs;
    this.#onRow = onRow;
  }

  /** Takes note of how many transfers have ended so far. */
  update(transfers: number, nowMs: number): void {
    if (nowMs - this.#fromMs >= this.#intervalMs) this.#close(transfers, nowMs);
  }

  /** Ends the last interval. */
  end(transfers: number, nowMs: number): void {
    if (nowMs > this.#fromMs) this.#close(transfers, nowMs);
  }

  #close(transfers: number, nowMs: number): void {
    this.#onRow({
      seconds: (nowMs - this.#startMs) / 1000,
      lengthSeconds: (nowMs - this.#fromMs) / 1000,
      transfers: transfers - this.#before,
    });
    this.#before = transfers;
    this.#fromMs = nowMs;
  }
}
