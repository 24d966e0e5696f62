/**
 * A lab guest: booted, obeyed, ended.
 * @module
 */

import { pause } from "../core/deadline.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type GuestCommand, GuestControl, type GuestProcess, type GuestTerminal, type Running } from "./control.ts";
import { runsLabGuest } from "./description.ts";
import { EmulatorFault, hasStalled, keepLog, lastKernelLines, timerNeverCame, whyEnded } from "./guest_log.ts";
import { guestEnvironment, shareAttributes } from "./guest_environment.ts";
import { findInitramfs } from "./initramfs.ts";
import type { NamedMachine } from "./machine_file.ts";
import type { Image } from "./image.ts";
import { findParts } from "./parts.ts";
import { Qmp } from "./qmp.ts";
import { type Places, planMachine, type QemuDevice } from "./qemu.ts";
import { QemuProcess } from "./qemu_process.ts";
import {
  type GuestRecord,
  isAlive,
  makeBackingFiles,
  makeRunFolder,
  removeQuietly,
  writeGuestRecord,
} from "./run_folder.ts";

/** Booting with emulation takes about seven seconds; a busy machine needs several times that. */
const BOOT_LIMIT_MS = 180_000;

/** A machine is booted this often at most when faults of the emulator end its boots. */
const MAX_BOOT_ATTEMPTS = 3;

/** Powering off takes a third of a second. */
const POWER_OFF_LIMIT_MS = 10_000;

/** A killed command has this long to end. */
const KILL_LIMIT_MS = 2_000;

/** An attached guest is looked at this often, because it is not our child. */
const LOOK_INTERVAL_MS = 200;

/** What all boots of a machine share. */
type BootImage = Image & Pick<Places, "initramfs" | "tools">;

/** How a guest is started. */
export interface BootOptions {
  /** Folder that the guest may write to; a temporary one by default. */
  readonly share?: string;
  /** Further environment of all commands. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called with a line for people when something takes time. */
  readonly onProgress?: (line: string) => void;
  /** Ends the boot early. */
  readonly signal?: AbortSignal | undefined;
}

/** How a command runs in a guest. */
export interface RunOptions {
  /** The folder it runs in; the host's current one by default. */
  readonly cwd?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a command in a guest did. */
export interface RunResult {
  /** Exit status: 128 and the signal's number when a signal ended it. */
  readonly code: number;
  /** What it wrote to standard output. */
  readonly stdout: string;
  /** What it wrote to standard error. */
  readonly stderr: string;
}

/**
 * A running guest. Dispose ends it, unless it is kept.
 *
 * @example
 * ```ts ignore
 * const machine = await loadMachine("nvme");
 * await using guest = await Guest.boot(machine);
 * const { stdout } = await guest.run(["lspci"]);
 * ```
 */
export class Guest implements AsyncDisposable {
  /** What is known about it. */
  readonly record: GuestRecord;
  /** Rejects when it ends, with the reason. */
  readonly ended: Promise<never>;
  readonly #process: QemuProcess | null;
  readonly #removable: ReadonlyMap<string, QemuDevice>;
  readonly #control: GuestControl | null;
  readonly #release: () => void;
  #qmp: Qmp | null = null;
  #running = true;

  private constructor(
    record: GuestRecord,
    process: QemuProcess | null,
    ended: Promise<never>,
    control: GuestControl | null,
    removable: ReadonlyMap<string, QemuDevice>,
    release: () => void,
  ) {
    this.record = record;
    this.#process = process;
    this.ended = ended;
    this.#control = control;
    this.#removable = removable;
    this.#release = release;
    ended.catch(() => this.#running = false);
  }

  /** False when it has ended. */
  get isRunning(): boolean {
    return this.#running;
  }

  /**
   * Boots a machine and waits until it takes commands; boots again when a fault of the emulator ended it before that.
   *
   * @throws {BusbarError} as fetching the image does; `unreachable` when the guest ended; `timeout`
   */
  static async boot(named: NamedMachine, options: BootOptions = {}): Promise<Guest> {
    const { signal } = options;
    const { kernel = null, gpu = null } = named.machine;
    const parts = await findParts(kernel, options, gpu);
    const initramfs = runsLabGuest(named.machine) ? await findInitramfs(parts, signal) : "";
    const image = { ...parts, initramfs, tools: parts.root };
    for (let attempt = 1;; attempt++) {
      signal?.throwIfAborted();
      try {
        return await Guest.#bootOnce(named, image, options);
      } catch (error) {
        if (!(error instanceof EmulatorFault) || attempt === MAX_BOOT_ATTEMPTS) throw error;
        options.onProgress?.(`${error.message}; boot ${attempt + 1} of at most ${MAX_BOOT_ATTEMPTS}`);
      }
    }
  }

  static async #bootOnce({ name, machine }: NamedMachine, image: BootImage, options: BootOptions): Promise<Guest> {
    const { signal } = options;
    const takesCommands = runsLabGuest(machine);
    const { id, folder, sockets } = makeRunFolder(name);
    await using unfinished = new AsyncDisposableStack();
    unfinished.defer(() => removeQuietly(folder, sockets));
    const share = options.share ?? `${folder}/share`;
    const places = { ...image, name, folder, sockets, share };
    const plan = planMachine(machine, { ...places, shareAttributes: shareAttributes(share) });
    makeBackingFiles(plan.files);
    const process = unfinished.use(await QemuProcess.start(plan.argv, folder, sockets));
    const env = { ...guestEnvironment(share), ...options.env };
    const known = { id, machine: name, pid: process.pid, folder, sockets, share, takesCommands, env };
    const record = writeGuestRecord({ ...known, kept: false, startedAt: new Date().toISOString() });
    const ended = endOf(process, folder, signal);
    try {
      const control = takesCommands ? await openControl(record, ended) : null;
      unfinished.move();
      return new Guest(record, process, ended, control, plan.removable, () => {});
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof EmulatorFault) throw error;
      // Before it takes commands a stall does not end it yet.
      if (isBusbarError(error, "timeout") && hasStalled(folder)) throw timerNeverCame();
      throw withKernelLog(error, record);
    }
  }

  /** Talks to a guest that another process started and kept. */
  static async attach(record: GuestRecord): Promise<Guest> {
    let timer: ReturnType<typeof setInterval> | undefined;
    const ended = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        if (!isAlive(record)) reject(new BusbarError("unreachable", `the guest ${record.id} ended`));
      }, LOOK_INTERVAL_MS);
    });
    ended.catch(() => {});
    const release = (): void => clearInterval(timer);
    try {
      const control = record.takesCommands ? await GuestControl.open(record.sockets, ended) : null;
      return new Guest(record, null, ended, control, new Map(), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Starts a command, by default in the host's current folder. */
  async spawn(argv: readonly string[], options: RunOptions & { readonly stdin?: boolean } = {}): Promise<GuestProcess> {
    return await this.#commands().spawn(this.#command(argv, options));
  }

  /**
   * Runs a command to its end.
   *
   * @param options.stdin what it reads; nothing by default
   * @param options.timeoutMs milliseconds after which it is killed
   * @throws {BusbarError} `timeout`; `unreachable` when the guest ends
   */
  async run(
    argv: readonly string[],
    options: RunOptions & { readonly stdin?: string | Uint8Array; readonly timeoutMs?: number } = {},
  ): Promise<RunResult> {
    const process = await this.spawn(argv, { ...options, stdin: options.stdin !== undefined });
    const all = Promise.all([
      process.status,
      new Response(process.stdout).text(),
      new Response(process.stderr).text(),
      options.stdin === undefined ? null : feed(process, options.stdin),
    ]);
    const [code, stdout, stderr] = await withTimeout(all, options.timeoutMs, async () => {
      await process.kill("KILL");
      // Its outputs end with it, unless it waits for a device in the kernel.
      await Promise.race([all, pause(KILL_LIMIT_MS)]);
      return new BusbarError("timeout", `${argv[0]} did not end within ${options.timeoutMs} ms in the guest`);
    });
    return { code, stdout, stderr };
  }

  /** The commands of this process that run in it now. */
  get running(): readonly Running[] {
    return this.#control?.running ?? [];
  }

  /** Starts a command on the guest's terminal. */
  async openTerminal(
    argv: readonly string[],
    size: { readonly rows: number; readonly columns: number },
    options: RunOptions = {},
  ): Promise<GuestTerminal> {
    return await this.#commands().openTerminal(this.#command(argv, options), size.rows, size.columns);
  }

  /** QEMU's machine protocol: unplug, plug, errors, reset. Opened at the first call. */
  async qmp(): Promise<Qmp> {
    this.#qmp ??= await Qmp.open(`${this.record.sockets}/qmp`, this.ended, this.#removable);
    return this.#qmp;
  }

  /** Presses the reset button and waits until it takes commands again. What is in its memory and overlay is lost. */
  async reset(): Promise<void> {
    const control = this.#commands();
    await (await this.qmp()).reset(() => control.waitForReboot(BOOT_LIMIT_MS));
    await control.mountShare(this.record.share);
  }

  /** Lets it go on when this process ends. */
  async keep(): Promise<void> {
    writeGuestRecord({ ...this.record, kept: true });
    await this.#process?.keep();
  }

  /** Writes back what is in its memory and turns it off; kills it when that takes too long. */
  async powerOff(): Promise<void> {
    if (this.#process === null || this.#control === null) return;
    await this.#control.powerOff();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, POWER_OFF_LIMIT_MS));
    await Promise.race([this.#process.exited, late]);
    clearTimeout(timer);
  }

  /** An error about this guest with the last lines of its kernel in it, and where the whole log is kept. */
  withKernelLog(error: unknown): unknown {
    return withKernelLog(error, this.record);
  }

  /** Ends it, or lets go of one that is kept or was only attached to. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#release();
    await this.#qmp?.[Symbol.asyncDispose]();
    await this.#control?.[Symbol.asyncDispose]();
    await this.#process?.stop();
  }

  #commands(): GuestControl {
    if (this.#control !== null) return this.#control;
    throw new BusbarError("unsupported", `${this.record.machine} boots a system of its own, which takes no commands`, {
      operation: "run a command",
      hint: `lab shell ${this.record.machine} shows its console`,
    });
  }

  #command(argv: readonly string[], options: RunOptions & { readonly stdin?: boolean }): GuestCommand {
    return {
      argv,
      cwd: options.cwd ?? Deno.cwd(),
      env: { ...this.record.env, ...options.env },
      stdin: options.stdin ?? false,
    };
  }
}

/** What a guest's kernel said last, as the `cause` of an error. */
export class KernelLog {
  /** The last lines. */
  readonly lines: readonly string[];
  /** Where the whole log is kept. */
  readonly path: string;

  /** Keeps the log of a guest before its folder goes. */
  constructor(record: GuestRecord) {
    this.lines = lastKernelLines(record.folder);
    this.path = keepLog(record.folder, record.machine);
  }
}

/** The same error with the guest's kernel log as its cause. */
function withKernelLog(error: unknown, record: GuestRecord): unknown {
  if (!(error instanceof BusbarError)) return error;
  return new BusbarError(error.code, error.message, {
    operation: error.operation ?? undefined,
    path: error.path ?? undefined,
    hint: error.hint ?? undefined,
    cause: new KernelLog(record),
  });
}

async function openControl(record: GuestRecord, ended: Promise<never>): Promise<GuestControl> {
  const control = await GuestControl.open(record.sockets, ended, BOOT_LIMIT_MS);
  await control.mountShare(record.share);
  return control;
}

/** Rejects with the reason when QEMU ends, or when `signal` is aborted. */
function endOf(process: QemuProcess, folder: string, signal: AbortSignal | undefined): Promise<never> {
  const ended = process.exited.then((status): never => {
    throw whyEnded(folder, status);
  });
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const either = Promise.race([ended, aborted]);
  // Whoever waits gets the reason; that nobody waits is no error.
  either.catch(() => {});
  return either;
}

/** What `promise` gives, unless `timeoutMs` pass first: then what `onTimeout` makes is thrown. */
async function withTimeout<T>(
  promise: Promise<T>,
  timeoutMs: number | undefined,
  onTimeout: () => Promise<BusbarError>,
): Promise<T> {
  if (timeoutMs === undefined) return await promise;
  const late = Symbol("late");
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<typeof late>((resolve) => timer = setTimeout(resolve, timeoutMs, late));
  const first = await Promise.race([promise, limit]).finally(() => clearTimeout(timer));
  if (first === late) throw await onTimeout();
  return first;
}

async function feed(process: GuestProcess, input: string | Uint8Array): Promise<void> {
  const writer = process.stdin?.getWriter();
  await writer?.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
  await writer?.close();
}
