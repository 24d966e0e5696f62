/**
 * Child processes of a sweep: what they print, with a limit, and how they ended.
 * @module
 */

import { systemError } from "../core/error.ts";
import type { Failure } from "./results.ts";

/** Bytes of one document. */
export const DOCUMENT_LIMIT: number = 256 * 2 ** 20;
/** What is kept of standard error. */
const ERROR_TAIL = 4096;
/** From the polite signal to the other. */
const KILL_AFTER_MS = 3000;

/** Exit statuses of a run that was ended from outside, so that nothing is known of it. */
const ENDED_BY_SIGNAL = new Set([129, 130, 143]);

/** How a process ended. */
export interface Ending {
  /** True when somebody ended it: it has no result. */
  readonly interrupted: boolean;
  readonly success: boolean;
  /** `exit status 3`, `SIGKILL`. */
  readonly text: string;
}

/** A process that a worker started. */
export interface Child {
  readonly process: Deno.ChildProcess;
  /** Resolves when it ended. */
  readonly ended: Promise<Ending>;
  /** The last of what it wrote to standard error. */
  errorText(): string;
  /** Ends it: SIGTERM, and SIGKILL where that does not help. Resolves when it ended. */
  end(): Promise<void>;
}

/**
 * Starts a process.
 *
 * @throws {BusbarError} as starting fails
 */
export function startChild(command: readonly string[], stdin: "null" | "piped"): Child {
  const [program = "", ...args] = command;
  let process: Deno.ChildProcess;
  try {
    process = new Deno.Command(program, { args, stdin, stdout: "piped", stderr: "piped" }).spawn();
  } catch (cause) {
    throw systemError(cause, "start a worker", program);
  }
  let tail = new Uint8Array();
  const read = (async (): Promise<void> => {
    for await (const bytes of process.stderr) {
      const joined = new Uint8Array(tail.length + bytes.length);
      joined.set(tail);
      joined.set(bytes, tail.length);
      tail = joined.slice(-ERROR_TAIL);
    }
  })();
  const ended = (async (): Promise<Ending> => {
    const { success, code, signal } = await process.status;
    await read;
    const interrupted = signal === null ? ENDED_BY_SIGNAL.has(code) : ["SIGINT", "SIGTERM", "SIGHUP"].includes(signal);
    return { interrupted, success, text: signal ?? `exit status ${code}` };
  })();
  const signal = (name: Deno.Signal): void => {
    try {
      process.kill(name);
    } catch {
      // It has ended by itself.
    }
  };
  return {
    process,
    ended,
    errorText: () => new TextDecoder().decode(tail).trim(),
    async end(): Promise<void> {
      signal("SIGTERM");
      const timer = setTimeout(() => signal("SIGKILL"), KILL_AFTER_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The failure of a process that ended without saying why. */
export function endedFailure({ text }: Ending, errorText: string): Failure {
  const [line = ""] = errorText.split("\n");
  return { code: "device-failed", message: line === "" ? `the run ended: ${text}` : line, hint: null };
}

/** The failure of a run that took too long. */
export function timeoutFailure(limitMs: number): Failure {
  return {
    code: "timeout",
    message: `the run took more than ${limitMs / 1000} s`,
    hint: "give it more with --timeout",
  };
}

/** Runs work, and ends the child when the time is over or somebody aborts. */
export async function watched<T>(
  child: Child,
  limitMs: number,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly timedOut: boolean }> {
  let timedOut = false;
  const end = (): void => {
    child.end();
  };
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, limitMs);
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  try {
    return { value: await work(), timedOut };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
