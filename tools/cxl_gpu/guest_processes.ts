/**
 * A process for each guest of `cxl_gpu serve`: what a driver without a limit of its own needs, and what keeps a driver that
 * crashes from taking the other guests with it.
 * @module
 */

import { LIMIT_STATUS } from "../../ffi/soft_type2.ts";
import { pause } from "../../src/core/deadline.ts";
import { BusbarError, systemError } from "../../src/core/error.ts";
import { formatDurationMs } from "../../src/core/units.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";

const START_MS = 30_000;
/** A device that ended this soon has served nobody; after so many of them in a row it is given up. */
const SHORT_LIFE_MS = 1_000;
const MOST_SHORT_LIVES = 3;
const END_MS = 5_000;

/** What a process of a guest says once its device is there. */
export const READY = "ready\n";

/** A guest's device in a process of its own. Dispose ends it, and waits. */
export class GuestProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #command: readonly string[];
  readonly #limitMs: number;
  #child: Deno.ChildProcess | null = null;
  #startedAt = 0;
  #shortLives = 0;

  /**
   * Nothing is started yet.
   *
   * @param name the guest's, for messages
   * @param command serves it while its standard input is open, and writes {@linkcode READY} when it does
   * @param limitMs how long a kernel may run, for messages
   */
  constructor(name: string, command: readonly string[], limitMs: number) {
    this.#name = name;
    this.#command = command;
    this.#limitMs = limitMs;
  }

  /**
   * Starts it and waits until it serves.
   *
   * @returns 0, or the status with which it ended; it has said why on standard error
   * @throws {BusbarError} `timeout` when it is not ready within 30 s
   */
  async start(): Promise<number> {
    const [program = "", ...args] = this.#command;
    let child: Deno.ChildProcess;
    try {
      // In a session of its own: Ctrl-C is for the server, which ends its guests and says so once.
      child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit", detached: true })
        .spawn();
    } catch (cause) {
      throw systemError(cause, "run", program);
    }
    this.#child = child;
    this.#startedAt = performance.now();
    const late = setTimeout(() => child.kill("SIGKILL"), START_MS);
    try {
      using output = new Lines(child.stdout);
      if (await output.has(READY)) return 0;
    } finally {
      clearTimeout(late);
    }
    const { code, signal } = await child.status;
    this.#child = null;
    if (performance.now() - this.#startedAt >= START_MS && signal === "SIGKILL") {
      throw new BusbarError("timeout", `${this.#name}: no device within ${formatDurationMs(START_MS)}`, {
        operation: "start a guest's process",
        hint: "look whether the driver answers: nvidia-smi",
      });
    }
    return code;
  }

  /** Starts it anew each time its device ends by a kernel over the limit, or by a crash. @returns why no more */
  async keep(): Promise<string> {
    while (this.#child !== null) {
      const { code, signal } = await this.#child.status;
      this.#child = null;
      if (interruption.aborted) break;
      // Its own words are on standard error.
      if (signal === null && code !== LIMIT_STATUS) return `its process ended with status ${code}`;
      const isShort = performance.now() - this.#startedAt < SHORT_LIFE_MS + (signal === null ? this.#limitMs : 0);
      this.#shortLives = isShort && signal !== null ? this.#shortLives + 1 : 0;
      const why = signal === null
        ? `a kernel ran longer than ${formatDurationMs(this.#limitMs)}`
        : `the driver's process was ended by ${signal}`;
      if (this.#shortLives === MOST_SHORT_LIVES) {
        return `${why}, ${MOST_SHORT_LIVES} times within a second of its start`;
      }
      note(`cxl_gpu: ${this.#name}: ${why}; its device starts anew, empty`);
      const status = await this.start();
      if (status !== 0) return `its device did not start again (status ${status})`;
    }
    return "it was ended";
  }

  /** Ends it: its input closes, which it takes for the sign; after 5 s it is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    await child.stdin.close().catch(() => {});
    const late = setTimeout(() => child.kill("SIGKILL"), END_MS);
    await child.status;
    clearTimeout(late);
  }
}

/** Serves until interrupted, or until no guest is left. */
export async function keepAll(guests: ReadonlyMap<string, GuestProcess>): Promise<void> {
  let left = guests.size;
  const watched = Array.from(guests, async ([name, guest]) => {
    const why = await guest.keep();
    if (interruption.aborted) return;
    left--;
    note(`cxl_gpu: ${name}: ${why}; its guest is not served any more`);
  });
  await Promise.race([Promise.all(watched), untilInterrupted()]);
  if (left === 0) throw new BusbarError("device-gone", "no guest is left to serve", { hint: "start it again" });
}

async function untilInterrupted(): Promise<void> {
  while (!interruption.aborted) await pause(60_000, interruption).catch(() => {});
}

/** Aborted when standard input ends: whoever started this process has ended, or wants it to. */
export function untilInputEnds(): AbortSignal {
  const ended = new AbortController();
  const read = async (): Promise<void> => {
    const room = new Uint8Array(64);
    while (await Deno.stdin.read(room).catch(() => null) !== null);
    ended.abort(new BusbarError("interrupted", "the server ended"));
  };
  void read();
  return ended.signal;
}

/** What a process writes. Dispose lets it write on, to nobody. */
class Lines implements Disposable {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** Whether a text comes before it ends. */
  async has(text: string): Promise<boolean> {
    const decoder = new TextDecoder();
    for (let got = ""; got.length < 4096;) {
      const { done, value } = await this.#reader.read();
      if (done) return false;
      got += decoder.decode(value, { stream: true });
      if (got.includes(text)) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    void this.#reader.cancel().catch(() => {});
  }
}
