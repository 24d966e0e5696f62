/**
 * The calls of an open Oracle Data Analytics Accelerator. All must be made by the thread that opened it.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import type { OradaxTaken } from "../src/core/oradax_driver.ts";
import { check, cString, lazyLibrary } from "./library.ts";

/** Points at an open device. */
type Handle = Deno.PointerObject<"bb_oradax">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;

const SYMBOLS = {
  bb_oradax_open: { parameters: [/* const char *path */ "buffer", /* bb_oradax **out */ "buffer"], result: "i32" },
  bb_oradax_attach: {
    parameters: [/* const bb_oradax_file *file */ "buffer", /* bb_oradax **out */ "buffer"],
    result: "i32",
  },
  bb_oradax_close: { parameters: [HANDLE], result: "i32" },
  bb_oradax_submit: {
    parameters: [
      HANDLE,
      "u32", // index
      "buffer", // const void *ccbs
      "u32", // size
      "buffer", // bb_oradax_refusal *refusal
    ],
    result: "i32",
  },
  bb_oradax_wait: { parameters: [HANDLE, /* index */ "u32", /* limit_us */ "u32"], result: "i32" },
  bb_oradax_completion: { parameters: [HANDLE, /* index */ "u32", /* void *to */ "buffer"], result: "i32" },
  bb_oradax_info: { parameters: [HANDLE, /* index */ "u32", /* uint16_t out[4] */ "buffer"], result: "i32" },
  bb_oradax_kill: { parameters: [HANDLE, /* index */ "u32"], result: "i32" },
  bb_oradax_dequeue: { parameters: [HANDLE], result: "i32" },
  bb_oradax_copy_numbers: {
    parameters: [/* void *to */ "buffer", /* const void *from */ "buffer", /* size */ "u64", /* width */ "u32"],
    result: "i32",
  },
  bb_oradax_combine: {
    parameters: [
      "buffer", // void *to
      "buffer", // const void *a
      "buffer", // const void *b
      "u64", // size
      "u32", // how
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/** Size of a completion area in bytes. */
const AREA_BYTES = 128;
const EUSERS = 87;
const THREAD_HINT = "open, submit, poll and close it on one thread: a Worker needs a device of its own";

/** An open accelerator. Dispose waits for what is in flight, about a second, then kills it. */
export class OradaxHandle implements Disposable {
  /** The locator that it was opened by, for messages. */
  readonly name: string;
  readonly #refusal: BigUint64Array<ArrayBuffer> = new BigUint64Array(2);
  #handle: Handle | null;

  private constructor(name: string, handle: Handle) {
    this.name = name;
    this.#handle = handle;
  }

  /** Opens `/dev/oradax1` or `/dev/oradax2`. @throws {BusbarError} as open and mmap fail */
  static open(path: string): OradaxHandle {
    const out = new BigUint64Array(1);
    check(library().bb_oradax_open(cString(path), out), "open", { path });
    return new OradaxHandle(path, pointerFrom(out));
  }

  /** Takes over the calls that a software device filled in: a `bb_oradax_file` of csrc/busbar.h. */
  static attach(name: string, file: Uint8Array<ArrayBuffer>): OradaxHandle {
    const out = new BigUint64Array(1);
    check(library().bb_oradax_attach(file, out), "attach", { path: name });
    return new OradaxHandle(name, pointerFrom(out));
  }

  /** Hands over CCBs, a multiple of 64 bytes and at most 960; the first one completes in area `index`. */
  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxTaken {
    const handle = this.#open();
    const taken = this.#check(library().bb_oradax_submit(handle, index, ccbs, ccbs.length, this.#refusal), "submit");
    // status is the lower half of the second word on the little-endian machines that Deno runs on.
    const [statusData = 0n, status = 0n] = this.#refusal;
    return { takenBytes: taken, status: Number(status & 0xffff_ffffn), statusData };
  }

  /** Waits at most `limitUs` microseconds (50,000) and returns the status byte of area `index`; 0 while in flight. */
  wait(index: number, limitUs: number): number {
    return this.#check(library().bb_oradax_wait(this.#open(), index, limitUs), "poll");
  }

  /** The 128 bytes of a completion area that has completed. */
  completion(index: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(AREA_BYTES);
    this.#check(library().bb_oradax_completion(this.#open(), index, bytes), "read a completion");
    return bytes;
  }

  /** State, unit, queue and position of the CCB of area `index`. */
  info(index: number): readonly [state: number, unit: number, queue: number, position: number] {
    const out = new Uint16Array(4);
    this.#check(library().bb_oradax_info(this.#open(), index, out), "ask about a CCB");
    return [out[0] ?? 0, out[1] ?? 0, out[2] ?? 0, out[3] ?? 0];
  }

  /** Ends the CCB of area `index` and returns the action that it took. */
  kill(index: number): number {
    return this.#check(library().bb_oradax_kill(this.#open(), index), "kill a CCB");
  }

  /** Lets go of the memory of all CCBs that have completed. */
  dequeue(): void {
    this.#check(library().bb_oradax_dequeue(this.#open()), "dequeue");
  }

  /** Closes it. Calling it again does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#check(library().bb_oradax_close(handle), "close");
    this.#handle = null;
  }

  #check(result: number, operation: string): number {
    return check(result, operation, { path: this.name, hint: result === -EUSERS ? THREAD_HINT : undefined });
  }

  #open(): Handle {
    if (this.#handle === null) {
      throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    }
    return this.#handle;
  }
}

/**
 * Copies numbers of `width` bytes between the host's byte order and the coprocessor's, in either direction.
 *
 * @param to at least as long as `from`; the same memory, or memory that does not overlap it
 * @param from a whole number of numbers
 * @throws {BusbarError} `out-of-range` when `to` is too short
 */
export function copyNumbers(to: Uint8Array<ArrayBuffer>, from: Uint8Array, width: number): void {
  if (to.length < from.length) {
    throw new BusbarError("out-of-range", `${from.length} bytes of numbers do not fit in ${to.length}`);
  }
  if (from.length === 0) return; // An empty array has no address.
  const result = library().bb_oradax_copy_numbers(to, unshared(from), BigInt(from.length), width);
  check(result, `copy numbers of ${width} bytes`);
}

/** How two bit vectors become one: `BB_COMBINE_AND` and the others of csrc/busbar.h. */
const COMBINATIONS = { and: 0, or: 1, xor: 2 } as const;

/**
 * Combines two bit vectors.
 *
 * @throws {BusbarError} `out-of-range` when they differ in length
 */
export function combineBits(how: "and" | "or" | "xor", a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  if (a.length !== b.length) throw new BusbarError("out-of-range", `bit vectors of ${a.length} and ${b.length} bytes`);
  const to = new Uint8Array(a.length);
  if (a.length === 0) return to; // An empty array has no address.
  const result = library().bb_oradax_combine(to, unshared(a), unshared(b), BigInt(a.length), COMBINATIONS[how]);
  check(result, "combine bit vectors");
  return to;
}

/** The same bytes as C can be given them: the type of a call's buffer has no shared memory in it. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    : bytes.slice();
}

function pointerFrom(out: BigUint64Array): Handle {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw new BusbarError("bug", "a successful open gave address 0");
  return pointer as Handle;
}
