/**
 * Running somebody's command while something is measured or set.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";

/** How a command ended. */
export interface CommandResult {
  /** Its exit status; 128 and the signal's number when one ended it. */
  readonly exitStatus: number;
  /** How long it took in milliseconds. */
  readonly durationMs: number;
}

/**
 * Checks that a program is there and may be run.
 *
 * @throws {BusbarError} `absent`, `permission`
 */
export function checkProgram(program: string): void {
  const folders = program.includes("/") ? [""] : (Deno.env.get("PATH") ?? "").split(":").map((one) => `${one}/`);
  let found: Deno.FileInfo | null = null;
  for (const folder of folders) {
    try {
      const info = Deno.statSync(`${folder}${program}`);
      if (info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return;
      found ??= info;
    } catch {
      // Not in this folder.
    }
  }
  throw new BusbarError(
    found === null ? "absent" : "permission",
    found === null ? `there is no program '${program}'` : `${program}: is no program that may be run`,
    { operation: "run", path: program, hint: "the program is looked for in PATH; a pipeline needs sh -c '…'" },
  );
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
  const stop = (): void => endQuietly(child, "SIGTERM");
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

/** How long a child may take to end after SIGTERM, in milliseconds; then it is killed. */
const END_LIMIT_MS = 2000;

/** Ends a child: with SIGTERM, and soon after with SIGKILL. Its streams must have a reader, or none. */
export async function endChild(child: Deno.ChildProcess): Promise<void> {
  endQuietly(child, "SIGTERM");
  const timer = setTimeout(() => endQuietly(child, "SIGKILL"), END_LIMIT_MS);
  await child.status;
  clearTimeout(timer);
}

/** Sends a signal to a child that may have ended. */
export function endQuietly(child: Deno.ChildProcess, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    child.kill(signal);
  } catch (error) {
    // It has ended meanwhile.
    if (!(error instanceof TypeError)) throw error;
  }
}
