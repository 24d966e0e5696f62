/**
 * The batch loop of an NVMe queue pair: one call submits any number of commands and takes any number of completions.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import { goneError } from "../src/core/mmio.ts";
import { check, lazyLibrary } from "./library.ts";
import type { MappedMmio, RegisterPointer } from "./mmio.ts";

/** Points at the state of a queue pair. */
type Handle = Deno.PointerObject<"bb_nvme_queue">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;
const REGISTERS = "pointer" as Deno.NativeTypedPointer<RegisterPointer>;

const SYMBOLS = {
  bb_nvme_queue_open: {
    parameters: [
      "pointer", // void *sq
      "pointer", // void *cq
      "u32", // entries
      REGISTERS, // void *registers
      "u32", // sq_doorbell
      "u32", // cq_doorbell
      "buffer", // bb_nvme_queue **out
    ],
    result: "i32",
  },
  bb_nvme_queue_in_device: { parameters: [HANDLE], result: "void" },
  bb_nvme_queue_close: { parameters: [HANDLE], result: "void" },
  bb_nvme_queue_reset: { parameters: [HANDLE], result: "void" },
  bb_nvme_forward: {
    parameters: [
      REGISTERS, // void *registers
      "pointer", // const uint32_t *words
      "buffer", // const uint32_t *offsets
      "buffer", // uint32_t *known
      "u32", // count
      "u32", // limit_us
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_nvme_submit_and_reap: {
    parameters: [
      HANDLE,
      "buffer", // const void *commands
      "u32", // count
      "buffer", // uint32_t *submitted
      "buffer", // void *completions
      "u32", // room
      "u32", // wanted
      "u32", // limit_us
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const library: () => Symbols = lazyLibrary(SYMBOLS);

/** Bytes of a command. */
export const SQE_BYTES = 64;
/** Bytes of a completion. */
export const CQE_BYTES = 16;
/** 32-bit words of a command. */
export const SQE_WORDS = 16;
/** 32-bit words of a completion. */
export const CQE_WORDS = 4;

const EFAULT = 14;
const ENODEV = 19;
const EIO = 5;

/** Where a queue pair lies. */
export interface NvmeQueuePlace {
  /** For messages: `admin queue of 0000:01:00.0`. */
  readonly name: string;
  /** Memory of the submission queue, `entries` × 64 bytes. */
  readonly sq: Deno.PointerObject;
  /** True when that memory is the device's. */
  readonly isSqInDevice?: boolean;
  /** Memory of the completion queue, `entries` × 16 bytes, zeroed. */
  readonly cq: Deno.PointerObject;
  /** Entries of both, 2 to 65536. One fewer commands can be in flight. */
  readonly entries: number;
  /** BAR0. */
  readonly registers: MappedMmio;
  /** Offset of the submission queue's tail doorbell. */
  readonly sqDoorbell: number;
  /** Offset of the completion queue's head doorbell. */
  readonly cqDoorbell: number;
}

/** A queue pair. Commands and completions pass as 32-bit words, little-endian, in arrays that the caller keeps. */
export class NvmeQueue implements Disposable {
  readonly #place: NvmeQueuePlace;
  readonly #symbols: Symbols = library();
  readonly #submitted: Uint32Array<ArrayBuffer> = new Uint32Array(1);
  #handle: Handle | null;

  /** Makes a queue pair out of memory. The controller is told of it by its own commands. */
  constructor(place: NvmeQueuePlace) {
    this.#place = place;
    const out = new BigUint64Array(1);
    const { sq, cq, entries, registers, sqDoorbell, cqDoorbell } = place;
    const end = Math.max(sqDoorbell, cqDoorbell) + 4;
    if (end > registers.endOffset) {
      throw new BusbarError("out-of-range", `${place.name}: its doorbells lie outside ${registers.name}`, {
        path: place.name,
      });
    }
    const result = this.#symbols.bb_nvme_queue_open(sq, cq, entries, registers.pointer, sqDoorbell, cqDoorbell, out);
    check(result, "make a queue pair", { path: place.name });
    const handle = Deno.UnsafePointer.create(out[0] ?? 0n) as Handle;
    if (place.isSqInDevice === true) this.#symbols.bb_nvme_queue_in_device(handle);
    this.#handle = handle;
  }

  /** The queue pair's state, for loops in C. Valid until dispose. */
  get pointer(): Deno.PointerObject {
    return this.#handle ?? this.#closed();
  }

  /** How many of the commands of the last call were taken; the others found the queue full. */
  get submitted(): number {
    return this.#submitted[0] ?? 0;
  }

  /**
   * Submits `count` commands from `commands` and takes completions into `completions`, as many as there are, waiting for
   * `wanted` of them at most `limitUs` microseconds (up to 50,000). Returns how many came.
   *
   * @throws {BusbarError} `device-failed` when the controller reports a fatal status, `device-gone`
   */
  exchange(
    commands: Uint32Array<ArrayBuffer>,
    count: number,
    completions: Uint32Array<ArrayBuffer>,
    wanted: number,
    limitUs: number,
  ): number {
    const handle = this.#handle ?? this.#closed();
    const room = completions.length / CQE_WORDS;
    const result = this.#symbols.bb_nvme_submit_and_reap(
      handle,
      commands,
      count,
      this.#submitted,
      completions,
      room,
      wanted,
      limitUs,
    );
    if (result < 0) throw queueError(-result, this.#place.name);
    return result;
  }

  /** Forgets what was in flight, for a controller that was reset. The caller zeroes the completion queue's memory. */
  reset(): void {
    this.#symbols.bb_nvme_queue_reset(this.#handle ?? this.#closed());
  }

  /** Ends all use. The memory is the caller's. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    this.#symbols.bb_nvme_queue_close(handle);
  }

  #closed(): never {
    throw new BusbarError("closed", `${this.#place.name}: used after it was closed`, { path: this.#place.name });
  }
}

/** What an error of a loop over a queue means: `device-failed` for a fatal status, `device-gone`. */
export function queueError(errno: number, name: string): BusbarError {
  if (errno === EIO) {
    return new BusbarError("device-failed", `${name}: the controller reports a fatal status (CSTS.CFS)`, {
      operation: "wait for completions",
      path: name,
      hint: "only a reset helps; the controller's error log may say why",
    });
  }
  if (errno === EFAULT || errno === ENODEV) {
    return goneError(name, errno === EFAULT ? "an access to its registers raised SIGBUS" : "CSTS reads all ones");
  }
  return errnoError(errno, "exchange commands and completions", { path: name });
}

/** Most doorbells that one call forwards. */
export const MOST_FORWARDED = 256;

/**
 * Forwards doorbells on a thread of the pool: each word of memory that changes is written to its register.
 *
 * @param words 32-bit words, one for each doorbell, which must stay until this returns
 * @param offsets of the registers, in BAR0
 * @param known what was written last, which is brought up to date
 * @param limitMs for how long, up to 50; 0 looks once
 * @returns how many were written
 * @throws {BusbarError} `device-gone` when the registers do not answer
 */
export async function forwardDoorbells(
  registers: MappedMmio,
  words: Deno.PointerObject,
  offsets: Uint32Array<ArrayBuffer>,
  known: Uint32Array<ArrayBuffer>,
  limitMs: number,
): Promise<number> {
  const limitUs = Math.min(50_000, Math.max(0, Math.round(limitMs * 1000)));
  const { pointer } = registers;
  const result = await library().bb_nvme_forward(pointer, words, offsets, known, offsets.length, limitUs);
  if (result === -EFAULT) throw goneError(registers.name, "a doorbell could not be written");
  return check(result, "forward doorbells", { path: registers.name });
}
