/**
 * A progress line on standard error, for people at a terminal only.
 * @module
 */

import { formatBytes, formatDurationMs } from "../../src/core/units.ts";
import { noteInPlace } from "./output.ts";

/** Between two drawings. */
const REDRAW_MS = 100;
const BAR_WIDTH = 30;

/** Where a progress line is drawn. */
export interface ProgressScreen {
  /** False where nobody looks: nothing is drawn then. */
  readonly isShown: boolean;
  /** Puts a text in the place of the last one. */
  readonly draw: (text: string) => void;
}

const terminal = (): ProgressScreen => ({ isShown: Deno.stderr.isTerminal(), draw: noteInPlace });

/** A line that is drawn again and again. Dispose clears it. */
export class Progress implements Disposable {
  readonly #what: string;
  readonly #totalBytes: number;
  readonly #started: number = performance.now();
  readonly #screen: ProgressScreen;
  #drawnAt = -Infinity;

  /** @param totalBytes how much there is to do; 0 where the end is a time, not an amount */
  constructor(what: string, totalBytes: number, screen: ProgressScreen = terminal()) {
    this.#screen = screen;
    this.#what = what;
    this.#totalBytes = totalBytes;
  }

  /** Shows how much is done. */
  update(doneBytes: number): void {
    const now = performance.now();
    if (!this.#screen.isShown || now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    const elapsedMs = now - this.#started;
    const rate = `${formatBytes(Math.round(doneBytes / elapsedMs * 1000))}/s`;
    if (this.#totalBytes === 0) {
      this.#screen.draw(`${this.#what}  ${formatDurationMs(Math.round(elapsedMs / 100) * 100)}  ${rate}`);
      return;
    }
    const share = Math.min(1, doneBytes / this.#totalBytes);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
    this.#screen.draw(`${this.#what}  ${bar} ${(100 * share).toFixed(0)} %  ${rate}`);
  }

  [Symbol.dispose](): void {
    if (this.#screen.isShown) this.#screen.draw("");
  }
}

/** A line that says what is going on. Dispose clears it. */
export class StepProgress implements Disposable {
  readonly #screen: ProgressScreen;
  readonly #totalSteps: number;
  #steps = 0;

  /** @param totalSteps how many there will be */
  constructor(totalSteps: number, screen: ProgressScreen = terminal()) {
    this.#screen = screen;
    this.#totalSteps = totalSteps;
  }

  /** The next one begins. */
  step(what: string): void {
    if (!this.#screen.isShown) return;
    const share = Math.min(1, this.#steps++ / this.#totalSteps);
    const filled = Math.round(share * BAR_WIDTH);
    this.#screen.draw(`${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${(100 * share).toFixed(0)} %  ${what}`);
  }

  [Symbol.dispose](): void {
    if (this.#screen.isShown) this.#screen.draw("");
  }
}

/** What takes longer than this is said to be under way. */
const PATIENCE_MS = 2000;

/**
 * A line that says for how long something has been under way, where nothing tells how far it is. It appears after 2 s. Dispose
 * clears it.
 */
export class ElapsedProgress implements Disposable {
  readonly #screen: ProgressScreen;
  readonly #timer: ReturnType<typeof setInterval> | null;
  #isDrawn = false;

  /** @param patienceMs how long nothing is shown */
  constructor(what: string, screen: ProgressScreen = terminal(), patienceMs: number = PATIENCE_MS) {
    this.#screen = screen;
    const started = performance.now();
    const look = (): void => {
      const elapsedMs = performance.now() - started;
      if (elapsedMs < patienceMs) return;
      this.#isDrawn = true;
      screen.draw(`${what}  ${formatDurationMs(Math.round(elapsedMs / 100) * 100)}`);
    };
    this.#timer = screen.isShown ? setInterval(look, REDRAW_MS) : null;
    // It keeps no tool from ending.
    if (this.#timer !== null) Deno.unrefTimer(this.#timer);
  }

  [Symbol.dispose](): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#isDrawn) this.#screen.draw("");
    this.#isDrawn = false;
  }
}
