/**
 * Commands in a lab guest: what `agent.sh` obeys, from the host's side.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { inputTo, outputOf } from "./command_streams.ts";
import { LineReader } from "./line_reader.ts";
import { CHANNELS } from "./qemu.ts";
import { connect } from "./qemu_process.ts";
import { quoteWord, quoteWords } from "./shell_words.ts";

/** Another client of the same guest is waited for this long. */
const HELLO_LIMIT_MS = 5_000;

/** How a command runs in the guest. */
export interface GuestCommand {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** The folder it runs in. */
  readonly cwd: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** True when it reads {@linkcode GuestProcess.stdin}; otherwise its input is empty. */
  readonly stdin?: boolean;
}

/** A command that runs in the guest. */
export interface GuestProcess {
  /** What it reads, when that was asked for. Closing it is the end of its input. */
  readonly stdin: WritableStream<Uint8Array> | null;
  /** What it writes to standard output, byte for byte. */
  readonly stdout: ReadableStream<Uint8Array>;
  /** What it writes to standard error, byte for byte. */
  readonly stderr: ReadableStream<Uint8Array>;
  /** Its process number in the guest. */
  readonly pid: Promise<number>;
  /** Its exit status: 128 and the signal's number when a signal ended it. */
  readonly status: Promise<number>;
  /** Sends it a signal. */
  kill(signal: string): Promise<void>;
}

/** A command that holds a channel. */
export interface Running {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Kills it and gives its channel up without reading the rest of its outputs. */
  readonly abandon: () => void;
}

/** A request that waits for answers with its id. */
interface Pending {
  readonly answer: (verb: string, value: string) => void;
  readonly fail: (error: unknown) => void;
}

/** The host's end of a guest's control port. One process at a time can hold it. */
export class GuestControl implements AsyncDisposable {
  readonly #sockets: string;
  readonly #ended: Promise<never>;
  readonly #port: Deno.UnixConn;
  readonly #lines: LineReader;
  readonly #pending = new Map<string, Pending>();
  /** What runs on each channel that is taken, and how to let go of it. */
  readonly #running = new Map<number, Running>();
  readonly #finished: Promise<void>;

  private constructor(sockets: string, ended: Promise<never>, port: Deno.UnixConn) {
    this.#sockets = sockets;
    this.#ended = ended;
    this.#port = port;
    this.#lines = new LineReader(port.readable);
    this.#finished = this.#dispatch();
    ended.catch((error) => this.#failAll(error));
  }

  /**
   * Connects and waits until the guest answers.
   *
   * @param ended rejects when QEMU ends
   * @param limitMs how long the guest may take, booting included
   * @throws {BusbarError} `timeout`
   */
  static async open(sockets: string, ended: Promise<never>, limitMs: number = HELLO_LIMIT_MS): Promise<GuestControl> {
    const control = new GuestControl(sockets, ended, await connect(`${sockets}/control`, ended));
    try {
      await control.#hello(limitMs);
      return control;
    } catch (error) {
      await control[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #hello(limitMs: number): Promise<void> {
    const id = newId();
    const deadline = Deadline.after(limitMs);
    const ready = new Promise<void>((resolve, reject) => {
      this.#pending.set(id, { answer: () => resolve(), fail: reject });
    });
    // A client that died in the middle of a line left the beginning of one.
    await this.#send("");
    await this.#send("hello", id);
    await withLimit(ready, deadline, "the guest's answer", "another lab command may be talking to it");
    this.#pending.delete(id);
  }

  /** Mounts the writable share at `path` in the guest. */
  async mountShare(path: string): Promise<void> {
    await this.#send("share", base64(path));
  }

  /** Waits for a guest that was reset. What ran in it is lost. */
  async waitForReboot(limitMs: number): Promise<void> {
    this.#failAll(new BusbarError("unreachable", "the guest was reset", { operation: "run a command" }));
    for (const { abandon } of this.running) abandon();
    await this.#hello(limitMs);
  }

  /** Powers the guest off. */
  async powerOff(): Promise<void> {
    await this.#send("off");
  }

  /**
   * Starts a command.
   *
   * @throws {BusbarError} `busy` when as many commands run as the guest has channels
   */
  async spawn(command: GuestCommand): Promise<GuestProcess> {
    for (let channel = 0; channel < CHANNELS; channel++) {
      if (this.#running.has(channel)) continue;
      this.#running.set(channel, { argv: command.argv, abandon: () => {} });
      const process = await this.#spawnOn(channel, command).catch((error) => {
        this.#running.delete(channel);
        throw error;
      });
      if (process !== null) return process;
      this.#running.delete(channel);
    }
    throw new BusbarError("busy", `${CHANNELS} commands already run in the guest`, {
      operation: "start a command",
      hint: "read the outputs of a command to their end: it holds its channel until then",
    });
  }

  /** The commands that run now, or whose outputs have not been read to their end. */
  get running(): readonly Running[] {
    return [...this.#running.values()];
  }

  /** Null when another client's command still runs on this channel. */
  async #spawnOn(channel: number, command: GuestCommand): Promise<GuestProcess | null> {
    const port = (name: string): Promise<Deno.UnixConn> => connect(`${this.#sockets}/${name}.${channel}`, this.#ended);
    using resources = new DisposableStack();
    const out = resources.use(await port("out"));
    const err = resources.use(await port("err"));
    const input = command.stdin ? resources.use(await port("in")) : null;
    const id = newId();
    const { pid, status } = this.#expect(id);
    await this.#send("run", channel, id, input === null ? "none" : "input", base64(scriptOf(command)));
    if (await Promise.race([pid, status]) === BUSY) return null;
    const open = resources.move();
    const stdout = outputOf(out, id, this.#ended);
    const stderr = outputOf(err, id, this.#ended);
    const release = (): void => {
      if (this.#running.get(channel) !== entry) return;
      this.#running.delete(channel);
      open.dispose();
    };
    const kill = async (signal: string): Promise<void> => {
      await this.#send("kill", await pid, signal.replace(/^SIG/, ""));
    };
    const entry: Running = {
      argv: command.argv,
      abandon: () => {
        kill("KILL").catch(() => {});
        release();
      },
    };
    this.#running.set(channel, entry);
    status.catch(release);
    Promise.allSettled([stdout.finished, stderr.finished, status]).then(release);
    return {
      stdin: input === null ? null : inputTo(input),
      stdout: stdout.stream,
      stderr: stderr.stream,
      pid,
      status,
      kill,
    };
  }

  /**
   * Starts a command on the guest's terminal.
   *
   * @returns the terminal's bytes in both directions, and the command's exit status
   * @throws {BusbarError} `busy` when somebody uses the terminal
   */
  async openTerminal(command: GuestCommand, rows: number, columns: number): Promise<GuestTerminal> {
    const port = await connect(`${this.#sockets}/shell`, this.#ended);
    const id = newId();
    const { pid, status } = this.#expect(id);
    await this.#send("shell", id, rows, columns, base64(scriptOf(command)));
    if (await Promise.race([pid, status]) === BUSY) {
      port.close();
      throw new BusbarError("busy", "the guest's terminal is in use", { operation: "open a shell" });
    }
    return {
      port,
      status,
      resize: async (rows: number, columns: number): Promise<void> => await this.#send("size", rows, columns),
    };
  }

  /** The answers to a request: its process number, then its exit status; {@linkcode BUSY} for a refused one. */
  #expect(id: string): { pid: Promise<number>; status: Promise<number> } {
    const pid = Promise.withResolvers<number>();
    const status = Promise.withResolvers<number>();
    this.#pending.set(id, {
      answer: (verb, value) => {
        if (verb === "pid") return pid.resolve(Number(value));
        this.#pending.delete(id);
        if (verb === "fail") {
          const error = new BusbarError("io", "the guest cannot start the command: its console log says why");
          status.reject(error);
          return pid.reject(error);
        }
        status.resolve(verb === "exit" ? Number(value) : BUSY);
        // A command whose script could not even be read has no number.
        pid.resolve(verb === "exit" ? 0 : BUSY);
      },
      fail: (error) => {
        pid.reject(error);
        status.reject(error);
      },
    });
    // Whoever waits gets the error; that nobody waits is no error.
    pid.promise.catch(() => {});
    status.promise.catch(() => {});
    return { pid: pid.promise, status: status.promise };
  }

  async #send(...words: readonly (string | number)[]): Promise<void> {
    const bytes = new TextEncoder().encode(words.join(" ") + "\n");
    for (let at = 0; at < bytes.length;) at += await this.#port.write(bytes.subarray(at));
  }

  async #dispatch(): Promise<void> {
    try {
      for (let line = await this.#lines.next(); line !== null; line = await this.#lines.next()) {
        const [verb = "", id = "", value = ""] = line.trim().split(" ");
        this.#pending.get(id)?.answer(verb, value);
      }
    } catch {
      // The connection broke. When QEMU ended, the reason follows below; else the wait's own limit says so.
    }
  }

  #failAll(error: unknown): void {
    for (const pending of this.#pending.values()) pending.fail(error);
    this.#pending.clear();
  }

  /** Lets go of the guest, which goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.cancel().catch(() => {});
    try {
      this.#port.close();
    } catch {
      // Cancelling the stream has closed it.
    }
    await this.#finished;
  }
}

/** A command on the guest's terminal. */
export interface GuestTerminal {
  /** What is typed, and what is shown. */
  readonly port: Deno.UnixConn;
  /** The command's exit status. */
  readonly status: Promise<number>;
  /** Tells the guest that the window has a new size. */
  resize(rows: number, columns: number): Promise<void>;
}

const BUSY = -1;

/** 128 random bits: an output ends with them, and nothing else in it does. */
function newId(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toHex();
}

function base64(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}

function scriptOf({ argv, cwd, env }: GuestCommand): string {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return `cd ${quoteWord(cwd)} || exit 125\nexec ${quoteWords(["/usr/bin/env", "-i", ...settings, ...argv])}\n`;
}

/** What `promise` gives, unless the deadline comes first. */
async function withLimit<T>(promise: Promise<T>, deadline: Deadline, what: string, hint?: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      try {
        deadline.check(what, undefined, hint);
      } catch (error) {
        reject(error);
      }
    }, deadline.remainingMs + 1);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
