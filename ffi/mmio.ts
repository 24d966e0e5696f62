/**
 * Registers behind a pointer: one machine access of exactly the named width for each call.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import {
  type AccessBytes,
  accessError,
  checkAccess,
  goneError,
  type PollResult,
  type WritableMmio,
} from "../src/core/mmio.ts";
import { check, lazyLibrary } from "./library.ts";

/** Points at device registers. A type of its own, so that no other pointer can take its place. */
export type RegisterPointer = Deno.PointerObject<"registers">;

const BASE = "pointer" as Deno.NativeTypedPointer<RegisterPointer>;

const SYMBOLS = {
  bb_guard_install: { parameters: [], result: "i32" },
  bb_take_fault: { parameters: [], result: "i32" },
  bb_read8: { parameters: [BASE, /* offset */ "u32"], result: "u32" },
  bb_read16: { parameters: [BASE, /* offset */ "u32"], result: "u32" },
  bb_read32: { parameters: [BASE, /* offset */ "u32"], result: "u32" },
  bb_read64: { parameters: [BASE, /* offset */ "u32"], result: "u64" },
  bb_write8: { parameters: [BASE, /* offset */ "u32", /* value */ "u32"], result: "i32" },
  bb_write16: { parameters: [BASE, /* offset */ "u32", /* value */ "u32"], result: "i32" },
  bb_write32: { parameters: [BASE, /* offset */ "u32", /* value */ "u32"], result: "i32" },
  bb_write64: { parameters: [BASE, /* offset */ "u32", /* value */ "u64"], result: "i32" },
  bb_read_block: {
    parameters: [BASE, /* offset */ "u32", /* void *to */ "buffer", /* size */ "u32", /* width */ "u32"],
    result: "i32",
  },
  bb_write_block: {
    parameters: [BASE, /* offset */ "u32", /* const void *from */ "buffer", /* size */ "u32", /* width */ "u32"],
    result: "i32",
  },
  bb_poll: {
    parameters: [
      BASE,
      "u32", // offset
      "u32", // width
      "u64", // mask
      "u64", // wanted
      "u32", // limit_us
      "buffer", // uint64_t *last
    ],
    result: "i32",
  },
  bb_read_barrier: { parameters: [], result: "void" },
  bb_write_barrier: { parameters: [], result: "void" },
  bb_full_barrier: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Opens the functions of this area. The first call also installs the guard that turns SIGBUS into an error. */
const library: () => Symbols = lazyLibrary(SYMBOLS, undefined, (symbols) => {
  check(symbols.bb_guard_install(), "install the SIGBUS handler");
});

const EFAULT = 14;
const ETIMEDOUT = 110;

/**
 * Registers in mapped memory: a BAR of a real device, or the memory of a software device.
 * Every access is checked for range, alignment and use after close, which costs nothing measurable.
 */
export class MappedMmio implements WritableMmio, Disposable {
  readonly name: string;
  readonly firstOffset: number;
  readonly endOffset: number;
  readonly #symbols: Symbols = library();
  readonly #release: (() => void) | null;
  #pointer: RegisterPointer | null;

  /**
   * Registers that somebody has mapped.
   *
   * @param name for messages: `BAR0 of 0000:01:00.0`
   * @param pointer the register at `firstOffset`
   * @param sizeBytes how much can be accessed from there, at most 4 GiB
   * @param release called once by dispose, to unmap
   * @param firstOffset where in its region the pointer is, when only a part was mapped
   */
  constructor(
    name: string,
    pointer: RegisterPointer,
    sizeBytes: number,
    release: (() => void) | null = null,
    firstOffset: number = 0,
  ) {
    if (!Number.isSafeInteger(firstOffset) || !Number.isInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > 2 ** 32) {
      throw new BusbarError("out-of-range", `${name}: a region of ${sizeBytes} bytes at ${firstOffset}`, {
        path: name,
      });
    }
    this.name = name;
    this.firstOffset = firstOffset;
    this.endOffset = firstOffset + sizeBytes;
    this.#pointer = pointer;
    this.#release = release;
  }

  /** The register at `firstOffset`, for C loops. Valid until dispose. */
  get pointer(): RegisterPointer {
    return this.#pointer ?? this.#closed();
  }

  read8(offset: number): number {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 1);
    const value = this.#symbols.bb_read8(pointer, at);
    if (value === 0xff) this.#checkFault(offset);
    return value;
  }

  read16(offset: number): number {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 2);
    const value = this.#symbols.bb_read16(pointer, at);
    if (value === 0xffff) this.#checkFault(offset);
    return value;
  }

  read32(offset: number): number {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 4);
    const value = this.#symbols.bb_read32(pointer, at);
    if (value === 0xffff_ffff) this.#checkFault(offset);
    return value;
  }

  read64(offset: number): bigint {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 8);
    const value = this.#symbols.bb_read64(pointer, at);
    if (value === 0xffff_ffff_ffff_ffffn) this.#checkFault(offset);
    return value;
  }

  write8(offset: number, value: number): void {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 1);
    this.#checkWrite(this.#symbols.bb_write8(pointer, at, checkValue(value, 0xff)), offset);
  }

  write16(offset: number, value: number): void {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 2);
    this.#checkWrite(this.#symbols.bb_write16(pointer, at, checkValue(value, 0xffff)), offset);
  }

  write32(offset: number, value: number): void {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 4);
    this.#checkWrite(this.#symbols.bb_write32(pointer, at, checkValue(value, 0xffff_ffff)), offset);
  }

  write64(offset: number, value: bigint): void {
    const pointer = this.#pointer ?? this.#closed();
    const at = this.#place(offset, 8);
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw badValue(value);
    this.#checkWrite(this.#symbols.bb_write64(pointer, at, value), offset);
  }

  readBlock(offset: number, sizeBytes: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    checkAccess(this, offset, sizeBytes, accessBytes);
    return this.readBlockInto(new Uint8Array(sizeBytes), offset, accessBytes);
  }

  readBlockInto(to: Uint8Array<ArrayBuffer>, offset: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    const pointer = this.#pointer ?? this.#closed();
    const sizeBytes = to.length;
    checkAccess(this, offset, sizeBytes, accessBytes);
    if (sizeBytes === 0) return to;
    const result = this.#symbols.bb_read_block(pointer, offset - this.firstOffset, to, sizeBytes, accessBytes);
    if (result !== 0) this.#checkWrite(result, offset);
    return to;
  }

  writeBlock(offset: number, bytes: Uint8Array<ArrayBuffer>, accessBytes: AccessBytes): void {
    const pointer = this.#pointer ?? this.#closed();
    const sizeBytes = bytes.length;
    checkAccess(this, offset, sizeBytes, accessBytes);
    if (sizeBytes === 0) return;
    const result = this.#symbols.bb_write_block(pointer, offset - this.firstOffset, bytes, sizeBytes, accessBytes);
    this.#checkWrite(result, offset);
  }

  pollSlice(offset: number, accessBytes: AccessBytes, mask: bigint, wanted: bigint, limitMs: number): PollResult {
    const pointer = this.#pointer ?? this.#closed();
    checkAccess(this, offset, accessBytes, accessBytes);
    const last = new BigUint64Array(1);
    const limitUs = Math.min(50_000, Math.max(0, Math.round(limitMs * 1000)));
    const result = this.#symbols.bb_poll(pointer, offset - this.firstOffset, accessBytes, mask, wanted, limitUs, last);
    if (result !== -ETIMEDOUT) this.#checkWrite(result, offset);
    return { matched: result === 0, last: last[0] ?? 0n };
  }

  /** Ends all access. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#pointer === null) return;
    this.#pointer = null;
    this.#release?.();
  }

  /** The distance from the pointer, once the access was checked. */
  #place(offset: number, accessBytes: number): number {
    if (!(offset >= this.firstOffset && offset <= this.endOffset - accessBytes && offset % accessBytes === 0)) {
      throw accessError(this, offset, accessBytes, accessBytes);
    }
    return offset - this.firstOffset;
  }

  #closed(): never {
    throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
  }

  /** All ones may be a value; it is a vanished device when the access faulted. */
  #checkFault(offset: number): void {
    if (this.#symbols.bb_take_fault() !== 0) throw this.#gone(offset);
  }

  #checkWrite(result: number, offset: number): void {
    if (result === 0) return;
    throw result === -EFAULT ? this.#gone(offset) : errnoError(-result, "access registers", { path: this.name });
  }

  #gone(offset: number): BusbarError {
    return goneError(this.name, `the access at 0x${offset.toString(16)} raised SIGBUS`);
  }
}

/** FFI cuts a number that does not fit without a word once a call is optimised, so it is checked before. */
function checkValue(value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw badValue(value);
}

function badValue(value: number | bigint): BusbarError {
  return new BusbarError("out-of-range", `${value} does not fit the register`, { operation: "write register" });
}

/** Orders earlier reads before later reads and writes, as devices see them. */
export function readBarrier(): void {
  library().bb_read_barrier();
}

/** Orders earlier writes before later writes, as devices see them. */
export function writeBarrier(): void {
  library().bb_write_barrier();
}

/** Orders all earlier accesses before all later ones, as devices see them. */
export function fullBarrier(): void {
  library().bb_full_barrier();
}
