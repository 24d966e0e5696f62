/**
 * Programs that are talked to over pipes by code that waits: what Deno's own subprocesses cannot do, because theirs are
 * read by the event loop.
 * @module
 */

import { check, cString, lazyLibrary } from "./library.ts";

const SYMBOLS = {
  bb_process_start: {
    parameters: [/* char *words */ "buffer", /* size */ "u64", /* count */ "u32", /* int32_t *out */ "buffer"],
    result: "i32",
  },
  bb_process_exchange: {
    parameters: [
      "i32", // in
      "i32", // out
      "buffer", // const void *from
      "u32", // size
      "buffer", // uint32_t *sent
      "buffer", // void *to
      "u32", // room
      "u32", // limit_ms
    ],
    result: "i32",
  },
  bb_process_wait: {
    parameters: [/* pid */ "i32", /* limit_ms */ "u32", /* int32_t *status */ "buffer"],
    result: "i32",
  },
  bb_process_kill: { parameters: [/* pid */ "i32"], result: "i32" },
  bb_close: { parameters: [/* fd */ "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/** The longest that one call waits, in milliseconds. */
export const EXCHANGE_LIMIT_MS = 50;
const EPIPE = 32;
const KEPT_ERROR_BYTES = 16_384;

/** What came of an exchange: bytes, `null` when the program has closed its output or its input. */
export type Exchanged = Uint8Array<ArrayBuffer> | null;

/** A program that runs in a process group of its own. Dispose closes its input, waits, and kills it if it goes on. */
export class PipedProcess implements Disposable {
  /** Its number. */
  readonly pid: number;
  readonly #input: number;
  readonly #output: number;
  readonly #errors: number;
  readonly #room: Uint8Array<ArrayBuffer> = new Uint8Array(256 * 1024);
  #errorBytes: Uint8Array = new Uint8Array(0);
  #isInputOpen = true;
  #status: number | null = null;
  #isClosed = false;

  private constructor(pid: number, input: number, output: number, errors: number) {
    this.pid = pid;
    this.#input = input;
    this.#output = output;
    this.#errors = errors;
  }

  /**
   * Starts a program, looked for in PATH.
   *
   * @throws {BusbarError} as starting it fails: `absent` where there is no such program
   */
  static start(program: string, args: readonly string[]): PipedProcess {
    const words = [program, ...args].map((word) => cString(word));
    const joined = new Uint8Array(words.reduce((sum, word) => sum + word.length, 0));
    let at = 0;
    for (const word of words) {
      joined.set(word, at);
      at += word.length;
    }
    const out = new Int32Array(4);
    check(
      library().bb_process_start(joined, BigInt(joined.length), words.length, new Uint8Array(out.buffer)),
      `start ${program}`,
      { path: program },
    );
    const [pid = 0, input = -1, output = -1, errors = -1] = out;
    return new PipedProcess(pid, input, output, errors);
  }

  /**
   * Sends what of `bytes` was not sent, and reads what comes, for at most `limitMs` (50).
   *
   * @param sent how many of them were sent; a number in place 0 that this raises
   * @returns what came, empty when the time is over; null when the program has gone
   */
  exchange(bytes: Uint8Array<ArrayBuffer>, sent: Uint32Array<ArrayBuffer>, limitMs: number): Exchanged {
    const got = library().bb_process_exchange(
      this.#input,
      this.#output,
      bytes,
      bytes.length,
      sent,
      this.#room,
      this.#room.length,
      Math.max(0, Math.min(EXCHANGE_LIMIT_MS, Math.floor(limitMs))),
    );
    this.#keepErrors();
    if (got === -EPIPE) return null;
    return this.#room.slice(0, check(got, "talk to a program"));
  }

  /** What it wrote to its error output, the last 16 KiB, as text. */
  get errorText(): string {
    this.#keepErrors();
    return new TextDecoder().decode(this.#errorBytes);
  }

  /** Its exit status after at most `limitMs`, 128 + the signal that ended it; null while it runs. */
  status(limitMs: number): number | null {
    const end = performance.now() + limitMs;
    while (this.#status === null) {
      const out = new Int32Array(1);
      const left = Math.max(0, Math.min(EXCHANGE_LIMIT_MS, end - performance.now()));
      const ended = library().bb_process_wait(this.pid, Math.floor(left), new Uint8Array(out.buffer));
      if (ended === 1) this.#status = out[0] ?? 0;
      // Somebody else waited for it: it has ended.
      else if (ended < 0) this.#status = -1;
      else if (left === 0) break;
    }
    return this.#status;
  }

  /** Closes its input: for most programs the sign to end. */
  endInput(): void {
    if (!this.#isInputOpen) return;
    this.#isInputOpen = false;
    library().bb_close(this.#input);
  }

  /** Kills it and what it started. */
  kill(): void {
    if (this.#status === null) library().bb_process_kill(this.pid);
  }

  /** Ends it where it still runs, and waits at most so long for that. */
  [Symbol.dispose](limitMs: number = 1000): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.endInput();
    if (this.status(limitMs) === null) {
      this.kill();
      this.status(1000);
    }
    this.#keepErrors();
    library().bb_close(this.#output);
    library().bb_close(this.#errors);
  }

  /** A program whose error output nobody reads stands still when the pipe is full. */
  #keepErrors(): void {
    if (this.#isClosed) return;
    const room = new Uint8Array(4096);
    for (let i = 0; i < 64; i++) {
      const got = library().bb_process_exchange(-1, this.#errors, null, 0, new Uint32Array(1), room, room.length, 0);
      if (got <= 0) return;
      const all = new Uint8Array(this.#errorBytes.length + got);
      all.set(this.#errorBytes);
      all.set(room.subarray(0, got), this.#errorBytes.length);
      this.#errorBytes = all.subarray(Math.max(0, all.length - KEPT_ERROR_BYTES));
    }
  }
}
