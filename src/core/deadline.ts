/**
 * Time limits and interruption. Every wait in busbar has both.
 *
 * Deno delivers a signal only when its event loop turns, so a wait is cut into slices: a C call blocks at most
 * {@linkcode SLICE_MS}, and between slices the loop awaits a macrotask (an already resolved promise is not enough).
 * @module
 */

import { BusbarError } from "./error.ts";
import { formatDurationMs } from "./units.ts";

/** The longest time in milliseconds that one blocking call may hold the thread. */
export const SLICE_MS = 50;

/** A point in time after which a wait is an error. */
export class Deadline {
  /** The limit that it was made with, in milliseconds. */
  readonly limitMs: number;
  readonly #endMs: number;

  private constructor(limitMs: number) {
    this.limitMs = limitMs;
    this.#endMs = performance.now() + limitMs;
  }

  /** A deadline `limitMs` milliseconds from now; `Infinity` never expires. */
  static after(limitMs: number): Deadline {
    return new Deadline(checkLimit(limitMs));
  }

  /** Milliseconds left, never below zero. */
  get remainingMs(): number {
    return Math.max(0, this.#endMs - performance.now());
  }

  /** True when no time is left. */
  get expired(): boolean {
    return this.remainingMs === 0;
  }

  /** The length of the next blocking call: the time left, at most {@linkcode SLICE_MS}. */
  get sliceMs(): number {
    return Math.min(SLICE_MS, this.remainingMs);
  }

  /**
   * Does nothing while there is time.
   *
   * @throws {BusbarError} `timeout` when none is left
   */
  check(waitedFor: string, path?: string, hint?: string): void {
    if (!this.expired) return;
    throw timeoutError(waitedFor, this.limitMs, path, hint);
  }
}

/** The limit itself, in milliseconds. @throws {BusbarError} `usage` for one that is negative or no number */
export function checkLimit(limitMs: number): number {
  if (limitMs >= 0) return limitMs;
  throw new BusbarError("usage", `${limitMs} ms is not a time limit`);
}

/** The error of a wait whose time of `limitMs` is over: `timeout`. */
export function timeoutError(waitedFor: string, limitMs: number, path?: string, hint?: string): BusbarError {
  const where = path === undefined ? "" : `${path}: `;
  return new BusbarError("timeout", `${where}${waitedFor} did not happen within ${formatDurationMs(limitMs)}`, {
    operation: `wait for ${waitedFor}`,
    path,
    hint,
  });
}

/** Lets the event loop turn once, so that signals, timers and I/O are served; then throws if `signal` was aborted. */
export async function yieldToEventLoop(signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  signal?.throwIfAborted();
}

/** Waits `durationMs`, or until `signal` is aborted, which throws its reason. */
export async function pause(durationMs: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, durationMs);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** What {@linkcode waitFor} waits for and how long. */
export interface WaitOptions {
  /** When to give up. */
  readonly deadline: Deadline;
  /** What is waited for, as the timeout error says it: `CSTS.RDY = 1`. */
  readonly what: string;
  /** Whose it is, for the error. */
  readonly path?: string | undefined;
  /** What to do about a timeout. */
  readonly hint?: string | undefined;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between two looks, 1 by default. */
  readonly intervalMs?: number;
}

/**
 * Looks again and again until `look` returns something other than undefined.
 * It looks once more after the deadline, so a slow machine does not fail a wait that has succeeded.
 *
 * @throws {BusbarError} `timeout`, saying what was waited for
 */
export async function waitFor<T>(look: () => T | undefined, options: WaitOptions): Promise<T> {
  for (;;) {
    const late = options.deadline.expired;
    const found = look();
    if (found !== undefined) return found;
    if (late) options.deadline.check(options.what, options.path, options.hint);
    await pause(Math.min(options.intervalMs ?? 1, options.deadline.remainingMs), options.signal);
  }
}
