/**
 * Starting a program on a CUDA driver library of ours.
 * @module
 */

import { systemError } from "../../src/core/error.ts";

/**
 * Runs a program to its end, with this process's standard streams. An interruption is passed on to it.
 *
 * @param folder what holds libcuda.so.1 and the runtimes
 * @param settings environment variables that the library reads
 * @returns its exit status; 128 and the signal's number when one ended it
 */
export async function runOnDriver(
  argv: readonly string[],
  folder: string,
  settings: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<number> {
  const [program = "", ...args] = argv;
  const before = Deno.env.get("LD_LIBRARY_PATH");
  const env = {
    LD_LIBRARY_PATH: before === undefined || before === "" ? folder : `${folder}:${before}`,
    ...settings,
  };
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args, env, stdin: "inherit", stdout: "inherit", stderr: "inherit" }).spawn();
  } catch (cause) {
    throw systemError(cause, "run", program, "the program is looked for in PATH; a pipeline needs sh -c '…'");
  }
  const stop = (): void => child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  try {
    return (await child.status).code;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
