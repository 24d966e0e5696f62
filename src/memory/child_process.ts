/**
 * Running somebody's command while something is measured or set.
 * @module
 */

import { systemError } from "../core/error.ts";

/** How a command ended. */
export interface CommandResult {
  /** Its exit status; 128 and the signal's number when one ended it. */
  readonly exitStatus: number;
  /** How long it took in milliseconds. */
  readonly durationMs: number;
}

/**
 * Runs a command with this process's standard input and error, and its output on standard error, and waits for its end.
 * An interruption is passed on to it.
 *
 * @param argv program and arguments
 * @throws {BusbarError} `absent` when there is no such program; the reason of `signal` when that was aborted
 */
export async function runCommand(argv: readonly string[], signal?: AbortSignal): Promise<CommandResult> {
  const [program = "", ...args] = argv;
  const started = performance.now();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args, stdin: "inherit", stdout: "piped", stderr: "inherit" }).spawn();
  } catch (cause) {
    throw systemError(cause, "run", program, "the program is looked for in PATH; a pipeline needs sh -c '…'");
  }
  const stop = (): void => child.kill("SIGTERM");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    // Standard output belongs to the table.
    await child.stdout.pipeTo(Deno.stderr.writable, { preventClose: true });
    const { code } = await child.status;
    signal?.throwIfAborted();
    return { exitStatus: code, durationMs: performance.now() - started };
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
