/**
 * Runs tools one after the other in one process, for shells in which they are words: starting a process for each takes
 * tens of milliseconds here, and many seconds in a lab machine. What a trial is told is what the tool printed and its
 * status; a tool that reads standard input or waits for a signal needs a process of its own.
 *
 * In the folder that is its argument a call is `args` (the shell's folder, the tool and its arguments, each ended by a NUL)
 * and `env`; a byte in the pipe `call` begins it. The answer is `stdout`, `stderr`, and the status in the pipe `status`.
 * @module
 */

import { run } from "../tools/cli/run.ts";
import { TOOLS } from "../tools/manual/catalog.ts";

/** What `Deno.exit` throws here. */
class Ended extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`ended with ${status}`);
    this.status = status;
  }
}

interface Stream {
  writeSync(bytes: Uint8Array): number;
}

/** What is written to the stream is kept in a file; null drops it. */
function keep(stream: Stream, file: Deno.FsFile | null): void {
  stream.writeSync = (bytes) => file?.writeSync(bytes) ?? bytes.length;
}

/** Makes the environment what the shell's is. */
function setEnvironment(text: string): void {
  const wanted = new Map(
    text.split("\0").filter((line) => line.includes("=")).map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)] as const;
    }),
  );
  for (const name of Object.keys(Deno.env.toObject())) if (!wanted.has(name)) Deno.env.delete(name);
  for (const [name, value] of wanted) Deno.env.set(name, value);
}

/** Runs one call. Returns the tool's status. */
async function call(folder: string): Promise<number> {
  const [cwd = "/", name = "", ...args] = (await Deno.readTextFile(`${folder}/args`)).split("\0").slice(0, -1);
  setEnvironment(await Deno.readTextFile(`${folder}/env`));
  Deno.chdir(cwd);
  using stdout = await Deno.open(`${folder}/stdout`, { write: true, create: true, truncate: true });
  using stderr = await Deno.open(`${folder}/stderr`, { write: true, create: true, truncate: true });
  keep(Deno.stdout, stdout);
  keep(Deno.stderr, stderr);
  Deno.exitCode = 0;
  try {
    const tool = TOOLS[name];
    if (tool === undefined) throw new Error(`there is no tool ${name}`);
    return await run((await tool.load()).command, args);
  } catch (error) {
    if (error instanceof Ended) return error.status;
    throw error;
  } finally {
    // What the runtime itself says between calls has no reader.
    keep(Deno.stdout, null);
    keep(Deno.stderr, null);
  }
}

async function serve(folder: string): Promise<void> {
  // deno-lint-ignore busbar/no-exit
  const exit = Deno.exit;
  // Whoever started this is gone when its end of standard input is.
  void Deno.stdin.read(new Uint8Array(1)).then(() => exit(0));
  // deno-lint-ignore busbar/no-exit
  Deno.exit = (status = Deno.exitCode): never => {
    throw new Ended(Number(status));
  };
  for (;;) {
    // The shell closes the pipe after each call.
    await Deno.readFile(`${folder}/call`);
    const status = await call(folder);
    await Deno.writeTextFile(`${folder}/status`, `${status}\n`);
  }
}

if (import.meta.main) await serve(Deno.args[0] ?? "");
