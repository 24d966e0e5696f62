/**
 * Programs of the host that the lab calls: started, limited in time, read to the end.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { formatDurationMs } from "../core/units.ts";

/** How a program is run. */
export interface ToolOptions {
  /** Milliseconds after which it is killed. */
  readonly limitMs: number;
  /** Kills it early. */
  readonly signal?: AbortSignal | undefined;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a program said. */
export interface ToolResult {
  /** Exit code. */
  readonly code: number;
  /** Standard output. */
  readonly stdout: Uint8Array;
  /** Standard error. */
  readonly stderr: string;
}

/**
 * Runs a program of the host to its end, without input.
 *
 * @throws {BusbarError} `absent` when it is not installed, `timeout` after the limit; an aborted signal throws its reason
 */
export async function runTool(program: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), options.limitMs);
  const signal = options.signal === undefined ? limit.signal : AbortSignal.any([limit.signal, options.signal]);
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal,
      ...(options.env === undefined ? {} : { env: { ...options.env } }),
    }).output();
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new BusbarError("absent", `${program} is not installed`, { operation: `run ${program}`, cause });
    }
    options.signal?.throwIfAborted();
    throw systemError(cause, `run ${program}`, program);
  } finally {
    clearTimeout(timer);
  }
  options.signal?.throwIfAborted();
  if (limit.signal.aborted) {
    throw new BusbarError("timeout", `${program} did not end within ${formatDurationMs(options.limitMs)}`, {
      operation: `run ${program}`,
    });
  }
  const decoder = new TextDecoder();
  return { code: output.code, stdout: output.stdout, stderr: decoder.decode(output.stderr) };
}
