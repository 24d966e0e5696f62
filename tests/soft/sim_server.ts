/**
 * A memory server as a process, and the client in Python that was written from the protocol's table alone.
 * @module
 */

import { CLEAN_ENV } from "./sim_recorder.ts";
import { toolArgs } from "./tool.ts";

/** A running `cxl_sim serve`. */
export interface ServerProcess {
  readonly port: number;
  readonly child: Deno.ChildProcess;
  /** What it said after the line with its address. */
  readonly rest: Promise<string>;
}

/** Starts a server on a port that the kernel chooses, and waits until it listens. */
export async function startServer(args: readonly string[] = []): Promise<ServerProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs("cxl_sim", ["serve", "--port", "0", ...args]),
    env: CLEAN_ENV,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const reader = child.stdout.getReader();
  let text = "";
  for (;;) {
    const port = /:(\d+)\n/.exec(text)?.[1];
    if (port !== undefined) {
      reader.releaseLock();
      return { port: Number(port), child, rest: errors };
    }
    const { value, done } = await reader.read();
    if (done) throw new Error(`the server ended: ${await errors}`);
    text += new TextDecoder().decode(value);
  }
}

/** Ends a server with SIGTERM; its exit status and what it said. */
export async function stopServer(server: ServerProcess): Promise<{ readonly code: number; readonly stderr: string }> {
  server.child.kill("SIGTERM");
  await server.child.stdout.cancel();
  const { code } = await server.child.status;
  return { code, stderr: await server.rest };
}

/** Runs the Python client; what it printed. */
export async function runPython(port: number, operations: number, seed: number, base: number): Promise<string> {
  const script = new URL("./python/memory_client.py", import.meta.url).pathname;
  const words = [port, operations, seed, base, 65536].map(String);
  const output = await new Deno.Command("python3", { args: [script, ...words], env: CLEAN_ENV }).output();
  return new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
}
