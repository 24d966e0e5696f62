/**
 * A command that runs beside another one until that ends.
 * @module
 */

import { Deadline, waitFor } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";

/** How long a command beside another one may take to end, in milliseconds; then it is killed. */
const END_LIMIT_MS = 2000;

/** How long a hog may take to touch its memory, in milliseconds: 1 TiB at 2 GB/s. */
const READY_LIMIT_MS = 600_000;

/** A command that runs beside another one, until that ends. */
export class Beside implements AsyncDisposable {
  readonly #child: Deno.ChildProcess | null;
  readonly #isPiped: boolean;

  /** Starts it; null for none. @param isAwaited whether {@linkcode Beside.isReady} will be called */
  constructor(beside: readonly string[] | null, isAwaited: boolean) {
    const [program, ...args] = beside ?? [];
    const streams = { stdin: "null", stdout: isAwaited ? "piped" : "null", stderr: "inherit" } as const;
    this.#isPiped = isAwaited;
    this.#child = program === undefined ? null : new Deno.Command(program, { args, ...streams }).spawn();
  }

  /**
   * Waits for its first output.
   *
   * @throws {BusbarError} `io` when it ended before, `timeout`
   */
  async isReady(signal: AbortSignal | undefined): Promise<void> {
    if (this.#child === null) return;
    const reader = this.#child.stdout.getReader();
    let first: { readonly done: boolean } | undefined;
    // Cancelled at the end: it then reads as done.
    reader.read().then((result) => void (first = result), () => void (first = { done: true }));
    try {
      const deadline = Deadline.after(READY_LIMIT_MS);
      const { done } = await waitFor(() => first, { deadline, what: "the workload beside", signal, intervalMs: 20 });
      if (!done) return;
      throw new BusbarError("io", "the workload beside ended before it was ready", {
        operation: "run an experiment",
        hint: "it may have more memory than there is: look at the kernel's log (dmesg)",
      });
    } finally {
      reader.releaseLock();
    }
  }

  /** Ends it: with SIGTERM, and soon after with SIGKILL. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child?.kill("SIGTERM");
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
    if (this.#child === null) return;
    const child = this.#child;
    // What it writes is nobody's; without a reader it would wait for one.
    if (this.#isPiped) await child.stdout.cancel();
    const timer = setTimeout(() => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }, END_LIMIT_MS);
    await child.status;
    clearTimeout(timer);
  }
}
