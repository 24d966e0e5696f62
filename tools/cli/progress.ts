/**
 * A progress line on standard error, for people at a terminal only.
 * @module
 */

import { formatBytes, formatDurationMs } from "../../src/core/units.ts";
import { noteInPlace } from "./output.ts";

/** Between two drawings. */
const REDRAW_MS = 100;
const BAR_WIDTH = 30;

/** A line that is drawn again and again. Dispose clears it. */
export class Progress implements Disposable {
  readonly #what: string;
  readonly #totalBytes: number;
  readonly #started: number = performance.now();
  readonly #shown: boolean = Deno.stderr.isTerminal();
  #drawnAt = -Infinity;

  /** @param totalBytes how much there is to do; 0 where the end is a time, not an amount */
  constructor(what: string, totalBytes: number) {
    this.#what = what;
    this.#totalBytes = totalBytes;
  }

  /** Shows how much is done. */
  update(doneBytes: number): void {
    const now = performance.now();
    if (!this.#shown || now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    const elapsedMs = now - this.#started;
    const rate = `${formatBytes(Math.round(doneBytes / elapsedMs * 1000))}/s`;
    if (this.#totalBytes === 0) {
      noteInPlace(`${this.#what}  ${formatDurationMs(Math.round(elapsedMs / 100) * 100)}  ${rate}`);
      return;
    }
    const share = Math.min(1, doneBytes / this.#totalBytes);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
    noteInPlace(`${this.#what}  ${bar} ${(100 * share).toFixed(0)} %  ${rate}`);
  }

  [Symbol.dispose](): void {
    if (this.#shown) noteInPlace("");
  }
}

/** A line that says what is going on. Dispose clears it. */
export class StepProgress implements Disposable {
  readonly #shown: boolean = Deno.stderr.isTerminal();
  readonly #totalSteps: number;
  #steps = 0;

  /** @param totalSteps how many there will be */
  constructor(totalSteps: number) {
    this.#totalSteps = totalSteps;
  }

  /** The next one begins. */
  step(what: string): void {
    if (!this.#shown) return;
    const share = Math.min(1, this.#steps++ / this.#totalSteps);
    const filled = Math.round(share * BAR_WIDTH);
    noteInPlace(`${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${(100 * share).toFixed(0)} %  ${what}`);
  }

  [Symbol.dispose](): void {
    if (this.#shown) noteInPlace("");
  }
}
