/**
 * A running QEMU that ends with the process that started it, also when that one is killed.
 * @module
 */

import supervisorScript from "./supervisor.sh" with { type: "text" };

import { Deadline, pause } from "../core/deadline.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { LineReader } from "./line_reader.ts";
import { removeQuietly } from "./run_folder.ts";

/** QEMU says what is wrong with its arguments within this time, or has started. */
const START_LIMIT_MS = 20_000;

const STOP_LIMIT_MS = 10_000;

/** A running QEMU. */
export class QemuProcess implements AsyncDisposable {
  /** QEMU's process number. */
  readonly pid: number;
  /** Settles with the exit status when QEMU has ended: 128 and the signal's number when a signal ended it. */
  readonly exited: Promise<number>;
  readonly #supervisor: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #said: LineReader;
  readonly #folders: readonly string[];
  #kept = false;
  #stopped: Promise<void> | null = null;

  private constructor(supervisor: Deno.ChildProcess, said: LineReader, pid: number, folders: readonly string[]) {
    this.#folders = folders;
    this.#supervisor = supervisor;
    this.#said = said;
    this.#input = supervisor.stdin.getWriter();
    this.pid = pid;
    this.exited = this.#exitStatus();
  }

  /**
   * Starts QEMU in a session of its own, so that Ctrl-C at the terminal reaches only the process that waits for it.
   *
   * @param argv QEMU's command line
   * @param folder the run's folder, removed at the end; gets `qemu.log`
   * @param sockets the folder for sockets, removed at the end
   */
  static async start(argv: readonly string[], folder: string, sockets: string): Promise<QemuProcess> {
    const supervisor = new Deno.Command("/bin/sh", {
      args: ["-c", supervisorScript, "lab", folder, sockets, ...argv],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      detached: true,
    }).spawn();
    const said = new LineReader(supervisor.stdout);
    const pid = Number(await said.next());
    if (pid === 0) throw new BusbarError("bug", "the supervisor of QEMU ended at once");
    return new QemuProcess(supervisor, said, pid, [folder, sockets]);
  }

  async #exitStatus(): Promise<number> {
    const status = await this.#said.next();
    if (status !== null) return Number(status);
    // Nobody listens any more to what a supervisor says that keeps QEMU; it ends after it.
    if (this.#kept) await this.#supervisor.status;
    // Somebody killed the supervisor. Without it nobody would end QEMU.
    else killQuietly(this.pid);
    return 137;
  }

  /** Lets QEMU go on when this process ends. From now on {@linkcode QemuProcess.stop} leaves it alone. */
  async keep(): Promise<void> {
    this.#kept = true;
    this.#stopped = Promise.resolve();
    await this.#input.write(new TextEncoder().encode("keep\n"));
    await this.#closeInput();
    await this.#said.cancel();
    this.#supervisor.unref();
  }

  /** Kills QEMU if it still runs, and removes the run's folders. */
  stop(): Promise<void> {
    this.#stopped ??= (async (): Promise<void> => {
      await this.#closeInput();
      const timer = setTimeout(() => {
        killQuietly(this.pid);
        killQuietly(this.#supervisor.pid);
      }, STOP_LIMIT_MS);
      await this.#supervisor.status;
      await this.exited;
      clearTimeout(timer);
      await this.#said.cancel();
      // Done already, unless the supervisor was killed.
      removeQuietly(...this.#folders);
    })();
    return this.#stopped;
  }

  /** As {@linkcode QemuProcess.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #closeInput(): Promise<void> {
    try {
      await this.#input.close();
    } catch {
      // The supervisor is gone already.
    }
  }
}

/** Kills a process unless it is gone. */
function killQuietly(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw systemError(error, "kill", String(pid));
  }
}

/**
 * Connects to one of QEMU's sockets as soon as it is there.
 *
 * @param ended rejects when QEMU ends, which ends the wait
 * @throws {BusbarError} `timeout`, or what `ended` rejects with
 */
export async function connect(path: string, ended: Promise<never>): Promise<Deno.UnixConn> {
  const deadline = Deadline.after(START_LIMIT_MS);
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (cause) {
      // The file appears a moment after QEMU has started, and a moment before QEMU listens.
      if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.ConnectionRefused)) {
        throw systemError(cause, "connect to", path);
      }
    }
    deadline.check("QEMU's socket", path);
    await Promise.race([pause(5), ended]);
  }
}
