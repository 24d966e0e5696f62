/**
 * A command that runs beside another one until that ends.
 * @module
 */

import { endChild } from "./child_process.ts";

/** A command that runs beside another one. Dispose ends it. */
export class Beside implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  /** Starts it. What it writes to standard output is nobody's. */
  constructor([program = "", ...args]: readonly string[]) {
    this.#child = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "inherit" }).spawn();
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await endChild(this.#child);
  }
}
