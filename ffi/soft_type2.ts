/**
 * The software Type 2 GPU: `libbusbar_type2`, in this process or serving a shared file.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import { BUSBAR, findLibrary, SOFT_CUDA, SOFT_TYPE2 } from "./build.ts";
import { check, cString, lazyLibrary } from "./library.ts";

type Handle = Deno.PointerObject<"type2">;
type EngineHandle = Deno.PointerObject<"coherency">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;
const ENGINE = "pointer" as Deno.NativeTypedPointer<EngineHandle>;

const SYMBOLS = {
  bb_type2_open: {
    parameters: [
      /* settings */ "buffer",
      /* path */ "buffer",
      /* size */ "u64",
      /* why */ "buffer",
      /* why_size */ "u32",
      /* out */ "buffer",
    ],
    result: "i32",
  },
  bb_type2_close: { parameters: [HANDLE], result: "void" },
  bb_type2_reset: { parameters: [HANDLE], result: "i32" },
  bb_type2_read: { parameters: [HANDLE, /* offset */ "u64", /* width */ "u32"], result: "u64" },
  bb_type2_write: { parameters: [HANDLE, /* offset */ "u64", /* width */ "u32", /* value */ "u64"], result: "void" },
  run: {
    name: "bb_type2_write",
    parameters: [HANDLE, /* offset */ "u64", /* width */ "u32", /* value */ "u64"],
    result: "void",
    nonblocking: true,
  },
  bb_type2_read_data: { parameters: [HANDLE, /* offset */ "u64", /* to */ "buffer", /* size */ "u64"], result: "i32" },
  bb_type2_write_data: {
    parameters: [HANDLE, /* offset */ "u64", /* from */ "buffer", /* size */ "u64"],
    result: "i32",
  },
  bb_type2_bar4: { parameters: [HANDLE, /* base */ "buffer", /* size */ "buffer"], result: "i32" },
  bb_type2_count: { parameters: [HANDLE, /* code */ "u32"], result: "u64" },
  bb_type2_state: { parameters: [HANDLE], result: "i32" },
  bb_type2_engine_open: { parameters: [/* lines */ "u32"], result: ENGINE },
  bb_type2_engine_close: { parameters: [ENGINE], result: "void" },
  bb_type2_engine_run: {
    parameters: [ENGINE, /* requests */ "buffer", /* lines */ "buffer", /* count */ "u32", /* responses */ "buffer"],
    result: "void",
  },
  bb_type2_engine_line: { parameters: [ENGINE, /* line */ "u64"], result: "u32" },
  bb_type2_engine_counters: { parameters: [ENGINE, /* out */ "buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, SOFT_TYPE2);

const WHY_BYTES = 512;

/** The exit status of a process with `ends_at_limit=1` after a kernel ran longer than its limit. */
export const LIMIT_STATUS = 124;

/** The library of the software CUDA driver, which a device may work with. */
export function softCudaLibrary(): string {
  return findLibrary(SOFT_CUDA);
}

/** What a device serves, and where. */
export interface SharedFile {
  /** The file. */
  readonly path: string;
  /** Its size in bytes: a power of two, at least 16 MiB. */
  readonly sizeBytes: number;
}

/** A software Type 2 GPU. Dispose ends what runs on it, and deletes its file. */
export class SoftType2 implements Disposable {
  /** Its locator, or its file, for messages. */
  readonly name: string;
  #handle: Handle | null;
  #bar4: ArrayBuffer | null = null;

  private constructor(name: string, handle: Handle) {
    this.name = name;
    this.#handle = handle;
  }

  /**
   * Opens a device.
   *
   * @param settings as csrc/soft/type2/type2.h lists them, already checked
   * @param file where its registers lie; null keeps them in this process
   * @throws {BusbarError} `busy` when another server has the file, `library`, `io`, `absent` as the driver fails
   */
  static open(name: string, settings: ReadonlyMap<string, string>, file: SharedFile | null = null): SoftType2 {
    const out = new BigUint64Array(1);
    const why = new Uint8Array(WHY_BYTES);
    const lines = Array.from(settings, ([key, value]) => `${key}=${value}\n`).join("");
    const path = file === null ? null : cString(file.path);
    const size = BigInt(file?.sizeBytes ?? 0);
    const result = library().bb_type2_open(cString(lines), path, size, why, WHY_BYTES, out);
    if (result < 0) {
      const words = new TextDecoder().decode(why.subarray(0, why.indexOf(0)));
      const error = errnoError(-result, "start the software Type 2 GPU", { path: file?.path ?? name });
      if (words === "") throw error;
      throw new BusbarError(
        result === -ELIBACC || result === -ENOSYS ? "library" : error.code,
        `${file?.path ?? name}: ${words}`,
        {
          operation: "start the software Type 2 GPU",
          path: file?.path ?? name,
          hint: result === -EBUSY
            ? "end that server, or serve another file or socket"
            : result === -EEXIST
            ? "delete it if nobody needs it, or serve another file"
            : result === -EACCES
            ? "chmod 0700 the folder of a socket, 0600 a file, or serve another place"
            : undefined,
        },
      );
    }
    return new SoftType2(name, pointerFrom(out) as Handle);
  }

  /** Reads 1, 2, 4 or 8 bytes of BAR2 at any offset, as a guest does. */
  read(offset: number, widthBytes: 1 | 2 | 4 | 8): bigint {
    return library().bb_type2_read(this.#open(), BigInt(offset), widthBytes);
  }

  /** Writes to BAR2. A write to CMD runs the command before it returns, on this thread. */
  write(offset: number, widthBytes: 1 | 2 | 4 | 8, value: bigint): void {
    library().bb_type2_write(this.#open(), BigInt(offset), widthBytes, value);
  }

  /** The same on a thread of the pool: for commands that take long. The device must stay open meanwhile. */
  async run(offset: number, value: bigint): Promise<void> {
    await library().run(this.#open(), BigInt(offset), 4, value);
  }

  /** Reads DATA. @throws {BusbarError} `out-of-range` */
  readData(offset: number, to: Uint8Array<ArrayBuffer>): void {
    const result = library().bb_type2_read_data(this.#open(), BigInt(offset), to, BigInt(to.length));
    check(result, "read DATA", { path: this.name });
  }

  /** Writes DATA. @throws {BusbarError} `out-of-range` */
  writeData(offset: number, from: Uint8Array<ArrayBuffer>): void {
    const result = library().bb_type2_write_data(this.#open(), BigInt(offset), from, BigInt(from.length));
    check(result, "write DATA", { path: this.name });
  }

  /** BAR4 as bytes; empty after dispose. */
  get bar4(): Uint8Array<ArrayBuffer> {
    if (this.#bar4 === null) {
      const base = new BigUint64Array(1);
      const size = new BigUint64Array(1);
      check(library().bb_type2_bar4(this.#open(), base, size), "map BAR4", { path: this.name });
      this.#bar4 = Deno.UnsafePointerView.getArrayBuffer(pointerFrom(base), Number(size[0] ?? 0n));
    }
    return new Uint8Array(this.#bar4);
  }

  /** How many commands of a code it ran; without a code, how many in all. */
  count(code: number = 0xffff_ffff): number {
    return Number(library().bb_type2_count(this.#open(), code));
  }

  /** Drops all that guests made; the next epoch. */
  reset(): void {
    check(library().bb_type2_reset(this.#open()), "reset", { path: this.name });
  }

  /** What is wrong with its file; null while nothing is. */
  get problem(): string | null {
    const state = library().bb_type2_state(this.#open());
    if (state === 0) return null;
    return state === -ENOENT ? "the file was deleted" : "the file was cut short";
  }

  #open(): Handle {
    if (this.#handle === null) {
      throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    }
    return this.#handle;
  }

  /** Ends what runs and frees all. Calling it again does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    if (this.#bar4 !== null && !this.#bar4.detached) this.#bar4.transfer(0);
    library().bb_type2_close(handle);
  }
}

/** The coherency engine in C, by itself. */
export class SoftCoherency implements Disposable {
  #handle: EngineHandle | null;

  /** An engine without lines in use. @param lines the snoop filter's limit */
  constructor(lines: number) {
    this.#handle = library().bb_type2_engine_open(lines);
    if (this.#handle === null) throw new BusbarError("out-of-range", `a snoop filter of ${lines} lines`);
  }

  /** Runs requests, each `domain << 8 | request`, on lines. Returns the responses. */
  run(requests: Uint16Array<ArrayBuffer>, lines: BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (requests.length !== lines.length) throw new BusbarError("out-of-range", "a line for each request");
    const responses = new Uint8Array(requests.length);
    library().bb_type2_engine_run(this.#open(), requests, lines, requests.length, responses);
    return responses;
  }

  /** State << 16 | owner << 8 | holders of a line; 0 when it is not tracked. */
  line(line: bigint): number {
    return library().bb_type2_engine_line(this.#open(), line);
  }

  /** The counters, in the order of `enum coherency_counter` of csrc/soft/type2/coherency.h. */
  counters(): BigUint64Array<ArrayBuffer> {
    const out = new BigUint64Array(11);
    library().bb_type2_engine_counters(this.#open(), out);
    return out;
  }

  #open(): EngineHandle {
    if (this.#handle === null) throw new BusbarError("closed", "the engine was closed");
    return this.#handle;
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    if (this.#handle !== null) library().bb_type2_engine_close(this.#handle);
    this.#handle = null;
  }
}

const ENOENT = 2, EACCES = 13, EBUSY = 16, EEXIST = 17, ENOSYS = 38, ELIBACC = 79;

function pointerFrom(out: BigUint64Array): Deno.PointerObject {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw new BusbarError("bug", `lib${BUSBAR.name}: a null pointer`);
  return pointer;
}
