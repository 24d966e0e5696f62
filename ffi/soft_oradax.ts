/**
 * The software Data Analytics Accelerator of `libbusbar_soft`: what only a software device has. Its driver's calls are in
 * `ffi/oradax.ts`, the same as those of hardware.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import { BUSBAR_SOFT } from "./build.ts";
import { check, cString, lazyLibrary } from "./library.ts";
import { OradaxHandle } from "./oradax.ts";

/** Points at a running software device. */
type Handle = Deno.PointerObject<"bb_soft_oradax">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;

const SYMBOLS = {
  bb_soft_oradax_open: {
    parameters: [/* settings */ "buffer", /* bb_soft_oradax **out */ "buffer", /* bb_oradax_file *file */ "buffer"],
    result: "i32",
  },
  bb_soft_oradax_allocate: {
    parameters: [HANDLE, /* size */ "u64", /* page_size */ "u64", /* void **base */ "buffer"],
    result: "i32",
  },
  bb_soft_oradax_free: { parameters: [HANDLE, /* base */ "pointer"], result: "i32" },
  bb_soft_oradax_protect: { parameters: [HANDLE, /* base */ "pointer"], result: "i32" },
  bb_soft_oradax_refuse: { parameters: [HANDLE, /* hypervisor_error */ "u32", /* data */ "u64"], result: "i32" },
  bb_soft_oradax_sum: {
    parameters: [/* from */ "pointer", /* size */ "u64", /* uint64_t *sum */ "buffer"],
    result: "u64",
  },
  bb_soft_oradax_loops: { parameters: [HANDLE], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, BUSBAR_SOFT);

/** Six pointers: `bb_oradax_file`. */
const FILE_BYTES = 48;
const ENOENT = 2;

/** A software accelerator. Dispose ends it, as closing the file does, and frees its memory. */
export class SoftOradax implements Disposable {
  /** The calls of its driver. */
  readonly handle: OradaxHandle;
  readonly #name: string;
  readonly #memories = new Set<SoftOradaxMemory>();
  #pointer: Handle | null;

  private constructor(name: string, pointer: Handle, handle: OradaxHandle) {
    this.#name = name;
    this.#pointer = pointer;
    this.handle = handle;
  }

  /**
   * Starts one.
   *
   * @param name the locator, for messages
   * @param settings checked already; a key that the device does not know is an error
   */
  static open(name: string, settings: ReadonlyMap<string, string>): SoftOradax {
    const out = new BigUint64Array(1);
    const file = new Uint8Array(FILE_BYTES);
    const lines = Array.from(settings, ([key, value]) => `${key}=${value}\n`).join("");
    check(library().bb_soft_oradax_open(cString(lines), out, file), "start the software device", {
      path: name,
      hint: "loops= must name what this processor has: avx512, avx2, neon or portable",
    });
    return new SoftOradax(name, pointerFrom(out) as Handle, OradaxHandle.attach(name, file));
  }

  /** The name of the loops that carry out CCBs: `avx512`, `avx2`, `neon` or `portable`. */
  get loops(): string {
    const pointer = library().bb_soft_oradax_loops(this.#open());
    return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
  }

  /** Zeroed memory in simulated pages of `pageBytes`, a power of two from 8 KiB to 1 GiB. */
  allocate(sizeBytes: number, pageBytes: number): SoftOradaxMemory {
    const base = new BigUint64Array(1);
    const result = library().bb_soft_oradax_allocate(this.#open(), BigInt(sizeBytes), BigInt(pageBytes), base);
    check(result, `allocate ${sizeBytes} bytes in pages of ${pageBytes}`, { path: this.#name });
    const memory = new SoftOradaxMemory(pointerFrom(base), sizeBytes, (self) => {
      if (this.#pointer === null) return;
      const freed = library().bb_soft_oradax_free(this.#pointer, self.pointer);
      if (freed < 0 && freed !== -ENOENT) throw errnoError(-freed, "free memory", { path: this.#name });
      this.#memories.delete(self);
    });
    this.#memories.add(memory);
    return memory;
  }

  /** Makes memory read-only: no CCB may use it any more. */
  protect(memory: SoftOradaxMemory): void {
    check(library().bb_soft_oradax_protect(this.#open(), memory.pointer), "protect memory", { path: this.#name });
  }

  /** The hypervisor answers the next CCB that passes the driver's checks with this error code and status data. */
  refuseNext(hypervisorError: number, statusData: bigint): void {
    check(library().bb_soft_oradax_refuse(this.#open(), hypervisorError, statusData), "set a refusal");
  }

  /** Nanoseconds of processor time that reading memory once takes: a yardstick. Run times count the same. */
  readNs(memory: SoftOradaxMemory, sizeBytes: number): number {
    return Number(library().bb_soft_oradax_sum(memory.pointer, BigInt(sizeBytes), new BigUint64Array(1)));
  }

  /** Ends the device. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#pointer === null) return;
    // Views first: closing frees the memory behind them.
    for (const memory of this.#memories) memory.detach();
    this.handle[Symbol.dispose]();
    this.#pointer = null;
  }

  #open(): Handle {
    if (this.#pointer === null) {
      throw new BusbarError("closed", `${this.#name}: used after it was closed`, { path: this.#name });
    }
    return this.#pointer;
  }
}

/** Memory of a software accelerator. */
export class SoftOradaxMemory implements Disposable {
  /** The first byte. */
  readonly pointer: Deno.PointerObject;
  /** As a number, for CCBs. */
  readonly address: bigint;
  readonly #release: (self: SoftOradaxMemory) => void;
  #buffer: ArrayBuffer | null;

  /** For {@linkcode SoftOradax.allocate}. */
  constructor(pointer: Deno.PointerObject, sizeBytes: number, release: (self: SoftOradaxMemory) => void) {
    this.pointer = pointer;
    this.address = Deno.UnsafePointer.value(pointer);
    this.#release = release;
    this.#buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, sizeBytes);
  }

  /** All of it. @throws {BusbarError} `closed` after dispose */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#buffer === null) throw new BusbarError("closed", "memory of an accelerator was used after it was freed");
    return new Uint8Array(this.#buffer);
  }

  /** Empties all views of it. */
  detach(): void {
    this.#buffer?.transfer(0);
    this.#buffer = null;
  }

  /** Frees it. @throws {BusbarError} `busy` while a CCB in flight uses it; then nothing has changed */
  [Symbol.dispose](): void {
    if (this.#buffer === null) return;
    this.#release(this);
    this.detach();
  }
}

function pointerFrom(out: BigUint64Array): Deno.PointerObject {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw new BusbarError("bug", "a software device gave address 0");
  return pointer;
}
