/**
 * Processes that run built-in workloads one after the other. A size is a line on standard input, and is answered by a line once
 * its updates are made or its memory is held; 0 lets go of everything. Starting a process takes longer than a small workload,
 * and would be counted with it.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { enterCgroup } from "./cgroup.ts";
import { endChild, endQuietly } from "./child_process.ts";

/** Takes nothing, and is answered by a process that is ready. */
const NOTHING = "0B";

/** One process, started when it is first needed, and again when it has ended. Dispose ends it. */
export class WorkloadProcess implements AsyncDisposable {
  readonly #argv: readonly string[];
  #cgroup: string | null = null;
  #child: Deno.ChildProcess | null = null;
  #input: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #output: ReadableStreamDefaultReader<Uint8Array> | null = null;

  /** Nothing is started yet. */
  constructor(argv: readonly string[]) {
    this.#argv = argv;
  }

  /**
   * Starts it unless it runs, and waits until it takes sizes.
   *
   * @throws {BusbarError} `io` when it ends before; the reason of `signal`
   */
  async ready(signal: AbortSignal | undefined): Promise<void> {
    if (this.#child !== null) return;
    const [program = "", ...args] = this.#argv;
    try {
      this.#child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    } catch (cause) {
      throw systemError(cause, "run", program);
    }
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.getReader();
    if (await this.#answer(NOTHING, signal) !== 0) {
      throw new BusbarError("io", "a built-in workload ended before it was ready", {
        operation: "run an experiment",
        path: program,
      });
    }
    if (this.#cgroup !== null) await enterCgroup(this.#cgroup, this.#child.pid);
  }

  /**
   * Moves the process into a cgroup, and each that is started in its place; dispose moves it to another.
   *
   * @param folder the cgroup's
   * @param home where it is moved afterwards: an empty cgroup can be removed
   */
  async inside(folder: string, home: string): Promise<AsyncDisposable> {
    this.#cgroup = folder;
    if (this.#child !== null) await enterCgroup(folder, this.#child.pid);
    return {
      [Symbol.asyncDispose]: async () => {
        this.#cgroup = null;
        // One that has ended, unnoticed so far, is in no cgroup.
        if (this.#child !== null) await enterCgroup(home, this.#child.pid).catch(() => {});
      },
    };
  }

  /** Runs the workload of a size. @returns 0, or the status that the process ended with meanwhile */
  async run(sizeBytes: bigint, signal: AbortSignal | undefined): Promise<number> {
    await this.ready(signal);
    return await this.#answer(`${sizeBytes}B`, signal);
  }

  /** Makes it hold memory. @throws {BusbarError} `io` when it ends before it does */
  async hold(sizeBytes: bigint, signal: AbortSignal | undefined): Promise<void> {
    if (await this.run(sizeBytes, signal) === 0) return;
    throw new BusbarError("io", "the workload beside ended before it was ready", {
      operation: "run an experiment",
      hint: "it may have more memory than there is: look at the kernel's log (dmesg)",
    });
  }

  /** Lets go of what {@linkcode hold} made it hold. @throws {BusbarError} `io` when it no longer held it */
  async release(signal: AbortSignal | undefined): Promise<void> {
    if (this.#child !== null && await this.#answer(NOTHING, signal) === 0) return;
    throw new BusbarError("io", "the workload beside ended before the counted one", {
      operation: "run an experiment",
      hint: "it may have more memory than there is: look at the kernel's log (dmesg)",
    });
  }

  async #answer(line: string, signal: AbortSignal | undefined): Promise<number> {
    const child = this.#child;
    signal?.throwIfAborted();
    if (child === null || this.#input === null || this.#output === null) return 1;
    const stop = (): void => endQuietly(child, "SIGTERM");
    signal?.addEventListener("abort", stop, { once: true });
    try {
      // It may have ended: reading says so.
      await this.#input.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
      for (;;) {
        const { done, value } = await this.#output.read();
        if (done) break;
        if (value.includes(10)) return 0;
      }
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    const { code } = await child.status;
    await this.#forget();
    signal?.throwIfAborted();
    return code === 0 ? 1 : code;
  }

  async #forget(): Promise<void> {
    const input = this.#input, output = this.#output;
    this.#child = null;
    this.#input = null;
    this.#output = null;
    await input?.abort().catch(() => {});
    await output?.cancel().catch(() => {});
  }

  /** Ends it, if it runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    await this.#forget();
    await endChild(child);
  }
}

/** A workload that is built in. */
export interface BuiltInTask {
  /** The command line of the process that runs it: it takes sizes, a line each. */
  readonly process: readonly string[];
  /** Bytes of the table that is updated, or that are held. */
  readonly sizeBytes: bigint;
}

/** The processes of an experiment, by their command lines. Dispose ends them. */
export class WorkloadProcesses implements AsyncDisposable {
  readonly #processes = new Map<string, WorkloadProcess>();

  /** The process of a workload. */
  of({ process: argv }: BuiltInTask): WorkloadProcess {
    const key = argv.join("\0");
    const found = this.#processes.get(key) ?? new WorkloadProcess(argv);
    this.#processes.set(key, found);
    return found;
  }

  /** Ends all. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes.values()) await process[Symbol.asyncDispose]();
  }
}
