/**
 * A CXL Type 2 GPU, whatever the way to it: its registers, and its commands as methods.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { hex } from "../core/units.ts";
import { type KernelArgument, packArguments, parsePtxKernels, type PtxKernel } from "../gpu/ptx.ts";
import { launchParams, type LaunchShape, slotsOf } from "./arguments.ts";
import { commandNamed, type CommandRow, RESULT } from "./commands.ts";
import { codeIn, findGeneration, type Generation, hasFeature, newerVersion } from "./generation.ts";
import { BULK_MOST_BYTES, COMMON_SLOTS, DEV_NAME, MOST_SLOTS, registerOffset } from "./registers.ts";
import type { Completion, Type2Transport } from "./transport.ts";
import { Type2Error } from "./type2_error.ts";

/** How long commands may take, in milliseconds. */
export interface Type2Limits {
  /** A command, 10 s by default. */
  readonly commandMs?: number;
  /** A launch, or a wait for kernels, 60 s by default. */
  readonly launchMs?: number;
  /** Ends waits early. */
  readonly signal?: AbortSignal | undefined;
}

/** What a command is given beside its PARAMs. */
export interface CommandOptions {
  /** Goes to DATA before. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /** Bytes of DATA that are read after. */
  readonly readBytes?: number;
  /** Results that are no error. */
  readonly accepts?: readonly number[];
  /** The time limit in milliseconds, when it is not the usual one. */
  readonly limitMs?: number;
}

/** A kernel that was found in a module. */
export interface Type2Function {
  /** Its index in the device. */
  readonly index: number;
  /** Its name and parameters, from the PTX. */
  readonly kernel: PtxKernel;
}

/** A module that was loaded. */
export interface Type2Module {
  /** Its index in the device. */
  readonly index: number;
  /** Its kernels, from the PTX. */
  readonly kernels: readonly PtxKernel[];
}

/** What a device says it is. */
export interface Type2Info {
  /** DEV_NAME. */
  readonly name: string;
  /** Device memory in bytes. */
  readonly totalBytes: bigint;
  /** Of that free. */
  readonly freeBytes: bigint;
  /** Compute capability, 10 × major + minor. */
  readonly capability: number;
  /** Multiprocessors. */
  readonly multiprocessors: number;
  /** Threads of a block, at most. */
  readonly mostThreads: number;
  /** Threads of a warp. */
  readonly warp: number;
  /** STATUS. */
  readonly status: number;
}

/** An open Type 2 GPU. Dispose ends its session and closes the way to it. */
export class Type2Gpu implements Disposable, AsyncDisposable {
  /** The locator, for messages. */
  readonly name: string;
  /** What kind of device it is. */
  readonly generation: Generation;
  /** The way to it. */
  readonly transport: Type2Transport;
  readonly #limits: Type2Limits;
  readonly #functions = new Map<string, Promise<Type2Function>>();
  #session = 0;

  /**
   * Takes over a way to a device.
   *
   * @throws {BusbarError} as {@linkcode findGeneration}, when there is no such device at its end
   */
  constructor(transport: Type2Transport, limits: Type2Limits = {}) {
    this.name = transport.name;
    this.transport = transport;
    this.#limits = limits;
    this.generation = findGeneration((offset) => transport.read32(offset), transport.windowBytes, transport.name);
  }

  /** Bytes that one command can carry in DATA. */
  get dataBytes(): number {
    return this.generation.profile.dataBytes;
  }

  /** The session that commands belong to; 0 is the guest's own. */
  get session(): number {
    return this.#session;
  }

  /** What the device says it is, from its registers. */
  info(): Type2Info {
    const { transport } = this;
    const read = (name: string): number => transport.read32(registerOffset(name));
    return {
      name: this.#deviceName(),
      totalBytes: transport.read64(registerOffset("TOTAL_MEM")),
      freeBytes: transport.read64(registerOffset("FREE_MEM")),
      capability: 10 * read("CC_MAJOR") + read("CC_MINOR"),
      multiprocessors: read("MP_COUNT"),
      mostThreads: read("MAX_THREADS"),
      warp: read("WARP_SIZE"),
      status: read("STATUS"),
    };
  }

  #deviceName(): string {
    const words = new BigUint64Array(DEV_NAME.sizeBytes / 8);
    for (const i of words.keys()) words[i] = this.transport.read64(DEV_NAME.offset + 8 * i);
    const bytes = new Uint8Array(words.buffer);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(bytes.subarray(0, end < 0 ? bytes.length : end));
  }

  /** Whether it has a command. */
  has(name: string): boolean {
    return hasFeature(this.generation, commandNamed(name).feature);
  }

  /**
   * Runs a command by its name in `COMMANDS`.
   *
   * @throws {Type2Error} for a result other than 0 and those in `accepts`
   * @throws {BusbarError} `unsupported` for a command that this generation has not; `timeout`; `device-gone`
   */
  async command(name: string, params: readonly bigint[] = [], options: CommandOptions = {}): Promise<Completion> {
    const row = commandNamed(name);
    const code = hasFeature(this.generation, row.feature) ? codeIn(this.generation, row.code) : null;
    if (code === null) {
      throw new BusbarError("unsupported", `${this.name}: a device of this generation has no ${name}`, {
        operation: name,
        path: this.name,
        hint: newerVersion(this.generation) ??
          (row.feature === "EXTENSION"
            ? "devices of cxl_gpu serve have it"
            : `CAPS is ${hex(this.generation.caps)}: it lacks ${row.feature}`),
      });
    }
    const { data = null, readBytes = 0, accepts = [] } = options;
    if (Math.max(data?.length ?? 0, readBytes) > this.dataBytes) {
      throw new BusbarError("out-of-range", `${this.name}: ${name} with more than DATA's ${this.dataBytes} bytes`);
    }
    const completion = await this.transport.submit(
      { code, params, session: this.#session, data, readBytes },
      Deadline.after(options.limitMs ?? this.#limitMs(row)),
      this.#limits.signal,
    );
    if (completion.result !== 0 && !accepts.includes(completion.result)) {
      const log = completion.result === RESULT.invalidPtx ? await this.#loadLog() : undefined;
      throw new Type2Error(this.name, row, params, completion.result, log);
    }
    return completion;
  }

  #limitMs(row: CommandRow): number {
    const isLong = row.code === commandNamed("LAUNCH_KERNEL").code || row.errors.includes(RESULT.launchFailed);
    return isLong ? this.#limits.launchMs ?? 60_000 : this.#limits.commandMs ?? 10_000;
  }

  async #loadLog(): Promise<string> {
    return this.generation.hasExtension ? (await this.#readLog(1n)).trim().split("\n")[0] ?? "" : "";
  }

  async #readLog(kind: bigint): Promise<string> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const { results, data } = await this.command("LOG_READ", [kind], { readBytes: this.dataBytes });
      const size = Number(results[0] ?? 0n);
      if (size === 0) break;
      parts.push(data.slice(0, size));
      if (size < this.dataBytes) break;
    }
    return new TextDecoder().decode(concatenate(parts));
  }

  /** Begins a session where the device has them, so that what this program makes is its own. INIT and CTX_CREATE come with it. */
  async begin(): Promise<void> {
    await this.command("INIT");
    if (this.has("SESSION_BEGIN")) {
      const { results } = await this.command("SESSION_BEGIN");
      this.#session = Number(results[0] ?? 0n);
    }
    await this.command("CTX_CREATE");
  }

  /** Ends the session and frees what it has; of the guest's own session, destroys the context. */
  async end(): Promise<void> {
    if (this.#session === 0) {
      await this.command("CTX_DESTROY", [], { accepts: [RESULT.invalidContext] });
      return;
    }
    const session = this.#session;
    this.#session = 0;
    this.#functions.clear();
    await this.command("SESSION_END", [BigInt(session)]);
  }

  /** Allocates device memory. Returns the device pointer. */
  async allocate(sizeBytes: number | bigint): Promise<bigint> {
    return first(await this.command("MEM_ALLOC", [BigInt(sizeBytes)]));
  }

  /** Frees device memory. */
  async free(pointer: bigint): Promise<void> {
    await this.command("MEM_FREE", [pointer]);
  }

  /** Free and total device memory in bytes. */
  async memory(): Promise<{ freeBytes: bigint; totalBytes: bigint }> {
    // The public device does not know the command.
    const { result, results } = await this.command("MEM_GET_INFO", [], { accepts: [RESULT.invalidValue] });
    if (result === RESULT.invalidValue) {
      const { freeBytes, totalBytes } = this.info();
      return { freeBytes, totalBytes };
    }
    return { freeBytes: results[0] ?? 0n, totalBytes: results[1] ?? 0n };
  }

  /**
   * Copies to the device: through BAR4 where that is offered and the bytes do not fit DATA, else in pieces.
   *
   * @param progress told the bytes done so far
   */
  async write(to: bigint, bytes: Uint8Array<ArrayBuffer>, progress?: (doneBytes: number) => void): Promise<void> {
    const { piece, bulk } = this.#pieces(bytes.length);
    for (let at = 0; at < bytes.length; at += piece) {
      const part = bytes.subarray(at, at + piece);
      const pointer = to + BigInt(at);
      const size = BigInt(part.length);
      if (bulk === null) await this.command("MEM_COPY_HTOD", [pointer, size], { data: part });
      else {
        bulk.set(part);
        await this.command("BULK_HTOD", [0n, pointer, size, 0n, 0n]);
      }
      progress?.(at + part.length);
    }
  }

  /** Copies from the device, as {@linkcode write}. */
  async read(
    from: bigint,
    sizeBytes: number,
    progress?: (doneBytes: number) => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(sizeBytes);
    const { piece, bulk } = this.#pieces(sizeBytes);
    for (let at = 0; at < sizeBytes; at += piece) {
      const size = Math.min(piece, sizeBytes - at);
      const pointer = from + BigInt(at);
      if (bulk === null) {
        bytes.set((await this.command("MEM_COPY_DTOH", [pointer, BigInt(size)], { readBytes: size })).data, at);
      } else {
        await this.command("BULK_DTOH", [pointer, 0n, BigInt(size), 0n, 0n]);
        bytes.set(bulk.subarray(0, size), at);
      }
      progress?.(at + size);
    }
    return bytes;
  }

  /** How a copy is cut, and the part of BAR4 that it goes through, if it does. */
  #pieces(sizeBytes: number): { piece: number; bulk: Uint8Array<ArrayBuffer> | null } {
    const { bar4 } = this.transport;
    if (bar4 === null || !this.has("BULK_HTOD") || sizeBytes <= this.dataBytes) {
      return { piece: this.dataBytes, bulk: null };
    }
    const pool = this.has("COHERENT_ALLOC")
      ? Number(this.transport.read64(registerOffset("COH_POOL_BASE")))
      : bar4.length;
    const piece = Math.min(BULK_MOST_BYTES, pool === 0 ? bar4.length : Math.min(pool, bar4.length));
    return piece <= this.dataBytes ? { piece: this.dataBytes, bulk: null } : { piece, bulk: bar4 };
  }

  /** Copies on the device. */
  async copy(to: bigint, from: bigint, sizeBytes: number | bigint): Promise<void> {
    const size = BigInt(sizeBytes);
    const { result } = await this.command("MEM_COPY_DTOD", [to, from, size], {
      accepts: this.generation.hasExtension ? [] : [RESULT.invalidValue],
    });
    if (result === 0) return;
    if (this.has("BULK_DTOD")) await this.command("BULK_DTOD", [from, to, size]);
    else await this.write(to, await this.read(from, Number(size)));
  }

  /** Fills device memory with elements of 1, 2 or 4 bytes. */
  async fill(to: bigint, value: number, count: number, elementBytes: 1 | 2 | 4 = 1): Promise<void> {
    const params = [to, BigInt(value), BigInt(count), BigInt(elementBytes), 0n];
    const { result } = await this.command("MEM_SET", params, {
      accepts: this.generation.hasExtension ? [] : [RESULT.invalidValue],
    });
    if (result === 0) return;
    const bytes = new Uint8Array(count * elementBytes);
    for (const i of bytes.keys()) bytes[i] = value >> 8 * (i % elementBytes);
    await this.write(to, bytes);
  }

  /**
   * Loads PTX text.
   *
   * @throws {BusbarError} `unsupported` when it is longer than DATA and the device has no other way
   */
  async load(ptx: string): Promise<Type2Module> {
    const kernels = parsePtxKernels(ptx);
    const text = new TextEncoder().encode(`${ptx}\0`);
    if (text.length <= this.dataBytes) {
      return { index: Number(first(await this.command("MODULE_LOAD_PTX", [], { data: text }))), kernels };
    }
    const { bar4 } = this.transport;
    if (!this.has("MODULE_LOAD_BULK") || bar4 === null || text.length > Math.min(BULK_MOST_BYTES, bar4.length)) {
      throw new BusbarError(
        "unsupported",
        `${this.name}: the PTX has ${text.length} bytes, and DATA takes ${this.dataBytes}`,
        {
          operation: "load a module",
          path: this.name,
          hint: "a device of cxl_gpu serve with BAR4 takes longer ones; or build fewer kernels into a module",
        },
      );
    }
    bar4.set(text);
    const loaded = await this.command("MODULE_LOAD_BULK", [0n, BigInt(text.length)]);
    return { index: Number(first(loaded)), kernels };
  }

  /** Unloads a module. A public device cannot, and keeps it. */
  async unload(module: Type2Module): Promise<void> {
    await this.command("MODULE_UNLOAD", [BigInt(module.index)], {
      accepts: this.generation.hasExtension ? [] : [RESULT.invalidValue],
    });
    for (const key of this.#functions.keys()) if (key.startsWith(`${module.index}:`)) this.#functions.delete(key);
  }

  /**
   * Finds a kernel. Asked once: every question takes a place in a public device.
   *
   * @throws {BusbarError} `absent` when the PTX has no such kernel, with those it has
   */
  function(module: Type2Module, name: string): Promise<Type2Function> {
    const key = `${module.index}:${name}`;
    let found = this.#functions.get(key);
    if (found === undefined) {
      found = this.#find(module, name);
      this.#functions.set(key, found);
    }
    return found;
  }

  async #find(module: Type2Module, name: string): Promise<Type2Function> {
    const kernel = module.kernels.find((one) => one.name === name);
    if (kernel === undefined) {
      throw new BusbarError("absent", `${this.name}: the PTX has no kernel '${name}'`, {
        operation: "find a kernel",
        path: name,
        hint: `it has ${module.kernels.map((one) => one.name).join(", ") || "none"}`,
      });
    }
    const found = await this.command("FUNC_GET", [BigInt(module.index)], {
      data: new TextEncoder().encode(`${name}\0`),
    });
    return { index: Number(first(found)), kernel };
  }

  /**
   * Launches a kernel. Its arguments are checked against the PTX.
   *
   * @throws {BusbarError} `usage` for arguments that do not fit; `unsupported` for more than the device takes
   */
  async launch(fn: Type2Function, shape: LaunchShape, values: readonly KernelArgument[]): Promise<void> {
    const slots = slotsOf(fn.kernel, packArguments(fn.kernel, values));
    const most = this.generation.hasExtension ? MOST_SLOTS : COMMON_SLOTS;
    if (slots.length > 8 * most) {
      throw new BusbarError(
        "unsupported",
        `${fn.kernel.name} takes ${slots.length / 8} slots of arguments, and this device ${most}`,
        { operation: "launch kernel", path: this.name, hint: "pass a pointer to them instead" },
      );
    }
    const params = [...launchParams(fn.index, shape, slots.length / 8), 0n];
    const deadline = Deadline.after(this.#limits.launchMs ?? 60_000);
    for (;;) {
      const { result } = await this.command("LAUNCH_KERNEL", params, { data: slots, accepts: [RESULT.notReady] });
      if (result !== RESULT.notReady) return;
      deadline.check("room in the queue of launches", this.name);
    }
  }

  /**
   * Waits until all that was launched is done.
   *
   * @throws {Type2Error} 700 when a kernel failed
   */
  async synchronize(): Promise<void> {
    const deadline = Deadline.after(this.#limits.launchMs ?? 60_000);
    for (;;) {
      const { result } = await this.command("CTX_SYNC", [], { accepts: [RESULT.notReady] });
      if (result !== RESULT.notReady) return;
      deadline.check("kernels to finish", this.name);
    }
  }

  /** What kernels printed since it was last read; empty where the device cannot say. */
  async printed(): Promise<string> {
    return this.has("LOG_READ") ? await this.#readLog(0n) : "";
  }

  /** Closes the way to the device, without ending the session: {@linkcode end} does that. */
  [Symbol.dispose](): void {
    this.transport[Symbol.dispose]();
  }

  /** Ends the session, if the device still answers, and closes the way to it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#session !== 0) await this.end();
    } catch (error) {
      if (!(error instanceof BusbarError)) throw error;
      // A device that is gone has no sessions; whatever went wrong was told by the call that met it.
    } finally {
      this.transport[Symbol.dispose]();
    }
  }
}

function first(completion: Completion): bigint {
  return completion.results[0] ?? 0n;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
