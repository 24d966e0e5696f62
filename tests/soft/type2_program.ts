/**
 * The program of tests/c/type2_program.c, which knows no Type 2 GPU, on one: by the guest's library alone.
 * @module
 */

import { cudaShimFolder } from "../../ffi/build.ts";
import { type Outcome, run, Workshop } from "./ptx/programs.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** Builds it once. Dispose deletes it. */
export class GuestProgram implements Disposable {
  readonly #workshop = new Workshop();
  #path = "";

  static async build(): Promise<GuestProgram> {
    const program = new GuestProgram();
    const source = `${ROOT}tests/c/type2_program.c`;
    const flags = ["-Wall", "-Wextra", "-Werror", `-I${ROOT}csrc`, "-pthread"];
    program.#path = await program.#workshop.namedDriverProgram("program", source, ...flags);
    return program;
  }

  /** What leads a program to a device. */
  env(device: string): Record<string, string> {
    return { LD_LIBRARY_PATH: cudaShimFolder(), CXL_GPU: device };
  }

  /** Runs it to its end. */
  run(device: string, ...args: string[]): Promise<Outcome> {
    return run(this.#path, args, this.env(device));
  }

  /** Starts it, and waits for the first line that it prints. */
  async start(device: string, ...args: string[]): Promise<{ child: Deno.ChildProcess; rest: () => Promise<string> }> {
    const child = new Deno.Command(this.#path, { args, env: this.env(device), stdout: "piped", stderr: "null" })
      .spawn();
    const reader = child.stdout.getReader();
    const decoder = new TextDecoder();
    let text = "";
    const read = async (): Promise<boolean> => {
      const { value, done } = await reader.read();
      if (value !== undefined) text += decoder.decode(value, { stream: true });
      return !done;
    };
    while (!text.includes("\n") && await read());
    const rest = async (): Promise<string> => {
      while (await read());
      return text;
    };
    return { child, rest };
  }

  [Symbol.dispose](): void {
    this.#workshop[Symbol.dispose]();
  }
}
