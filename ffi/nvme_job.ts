/**
 * The loop of an I/O job in C: many transfers on one queue pair, with their places, data, times and checks.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import { HISTOGRAM_BINS } from "../src/core/histogram.ts";
import { check, lazyLibrary } from "./library.ts";
import { type NvmeQueue, queueError, SQE_BYTES } from "./nvme_queue.ts";

type Handle = Deno.PointerObject<"bb_nvme_job">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;

const SYMBOLS = {
  bb_nvme_job_open: {
    parameters: [
      "pointer", // bb_nvme_queue *queue
      "buffer", // const uint64_t *words
      "buffer", // const void *commands
      "buffer", // const uint64_t *memory
      "u32", // depth
      "buffer", // bb_nvme_job **out
    ],
    result: "i32",
  },
  bb_nvme_job_close: { parameters: [HANDLE], result: "void" },
  bb_nvme_job_run: { parameters: [HANDLE, /* limit_us */ "u32", /* is_stopping */ "u32"], result: "i32" },
  bb_nvme_jobs_run: {
    parameters: [
      "buffer", // bb_nvme_job *const *jobs
      "u32", // count
      "u32", // limit_us
      "u32", // is_stopping
      "buffer", // int32_t *ends
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_nvme_job_state: { parameters: [HANDLE, /* uint64_t *state */ "buffer"], result: "i32" },
  bb_nvme_job_handed: { parameters: [HANDLE, /* uint32_t *ids */ "buffer", /* room */ "u32"], result: "i32" },
  bb_nvme_job_slot: {
    parameters: [HANDLE, /* id */ "u32", /* uint64_t *lba */ "buffer", /* *blocks */ "buffer", /* *is_read */ "buffer"],
    result: "i32",
  },
  bb_nvme_job_histogram: { parameters: [HANDLE, /* uint64_t *bins */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const library: () => Symbols = lazyLibrary(SYMBOLS);

/** What a job does, a 64-bit word each, in the order of `enum bb_nvme_job_word`. */
export const NVME_JOB_WORDS = [
  "LBA",
  "BLOCKS",
  "CHUNKS",
  "TRANSFER_BLOCKS",
  "LIMIT",
  "ORDER",
  "FIRST_CHUNK",
  "CHUNK_STEP",
  "SEED",
  "ZIPF_THETA",
  "ZIPF_ZETA",
  "ZIPF_ETA",
  "LIST",
  "LIST_LENGTH",
  "READ_SHARE",
  "READ_FLAGS",
  "WRITE_FLAGS",
  "BLOCK_BYTES",
  "STRIDE_BYTES",
  "HAS_PATTERN",
  "PATTERN_SEED",
  "IS_HANDED",
  "PERIOD_NS",
  "INTERRUPT",
  "SPIN_NS",
] as const;

/** How the places of transfers follow one another, in the order of `enum bb_nvme_order`. */
export const NVME_ORDERS = ["SEQUENTIAL", "RANDOM", "ZIPF", "LIST"] as const;

/** Where a job stands, a 64-bit word each, in the order of `enum bb_nvme_state_word`. */
export const NVME_STATE_WORDS = [
  "ISSUED",
  "DONE",
  "BLOCKS",
  "IN_FLIGHT",
  "FAILED_STATUS",
  "FAILED_LBA",
  "FAILED_BLOCKS",
  "FAILED_IS_READ",
  "WRONG_SLOT",
  "OLDEST_NS",
  "WAITS",
] as const;

/** What a job does; words that are left out are 0. csrc/busbar.h says what each means. */
export type NvmeJobWords = Readonly<Partial<Record<typeof NVME_JOB_WORDS[number], bigint>>>;

/** Where a job stands. */
export type NvmeJobState = Readonly<Record<typeof NVME_STATE_WORDS[number], bigint>>;

/** No limit, and no such slot. */
export const NVME_JOB_NONE = 0xffff_ffff_ffff_ffffn;

/** Why {@linkcode NvmeJob.run} returned: the time is over, nothing is left to do, or slots wait for the caller. */
export type NvmeJobEnd = "runs" | "ended" | "handed";

const ENDS: readonly NvmeJobEnd[] = ["runs", "ended", "handed"];
const EPROTO = 71;

/** The transfer that a slot holds. */
export interface NvmeJobSlot {
  /** First block. */
  readonly lba: bigint;
  /** How many. */
  readonly blocks: number;
  /** A read, or a write. */
  readonly isRead: boolean;
}

/** A job on one queue pair, which nobody else may use until it has ended. */
export class NvmeJob implements Disposable {
  readonly #name: string;
  readonly #symbols: Symbols = library();
  readonly #state: BigUint64Array<ArrayBuffer> = new BigUint64Array(NVME_STATE_WORDS.length);
  readonly #ids: Uint32Array<ArrayBuffer>;
  readonly #lba: BigUint64Array<ArrayBuffer> = new BigUint64Array(1);
  readonly #blocks: Uint32Array<ArrayBuffer> = new Uint32Array(1);
  readonly #isRead: Uint32Array<ArrayBuffer> = new Uint32Array(1);
  // The list of places is read while the job runs.
  readonly #list: BigUint64Array<ArrayBuffer> | null;
  #handle: Handle | null;

  /**
   * Makes a job.
   *
   * @param commands a template of 64 bytes for each slot
   * @param memory the address of each slot's data
   * @param list chunk numbers, for the order `LIST`
   * @throws {BusbarError} `bug` for words that make no sense
   */
  constructor(
    name: string,
    queue: NvmeQueue,
    words: NvmeJobWords,
    commands: Uint32Array<ArrayBuffer>,
    memory: readonly Deno.PointerObject[],
    list: BigUint64Array<ArrayBuffer> | null = null,
  ) {
    this.#name = name;
    this.#list = list;
    if (commands.byteLength !== memory.length * SQE_BYTES) throw new BusbarError("bug", "a command for each slot");
    const values = BigUint64Array.from(NVME_JOB_WORDS, (word) => words[word] ?? 0n);
    if (list !== null) {
      values[NVME_JOB_WORDS.indexOf("LIST")] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(list)));
      values[NVME_JOB_WORDS.indexOf("LIST_LENGTH")] = BigInt(list.length);
    }
    const addresses = BigUint64Array.from(memory, (pointer) => BigInt(Deno.UnsafePointer.value(pointer)));
    this.#ids = new Uint32Array(memory.length);
    const out = new BigUint64Array(1);
    check(
      this.#symbols.bb_nvme_job_open(queue.pointer, values, commands, addresses, memory.length, out),
      "make an I/O job",
      { path: name },
    );
    this.#handle = Deno.UnsafePointer.create(out[0] ?? 0n) as Handle;
  }

  /**
   * Goes on for at most `limitUs` microseconds (up to 50,000). Slots that were handed out are taken back.
   *
   * @throws {BusbarError} `device-failed`, `device-gone`
   */
  run(limitUs: number, isStopping: boolean): NvmeJobEnd {
    return this.end(this.#symbols.bb_nvme_job_run(this.#open(), limitUs, isStopping ? 1 : 0));
  }

  /** What a call into C says of it. */
  end(result: number): NvmeJobEnd {
    const end = ENDS[result];
    if (end !== undefined) return end;
    if (result === -EPROTO) {
      throw new BusbarError("device-failed", `${this.#name}: a completion for a command that is not in flight`, {
        operation: "run I/O",
        path: this.#name,
      });
    }
    throw queueError(-result, this.#name);
  }

  /** Where it stands. */
  state(): NvmeJobState {
    check(this.#symbols.bb_nvme_job_state(this.#open(), this.#state), "read a job's state", { path: this.#name });
    const word = (name: typeof NVME_STATE_WORDS[number]): bigint => this.#state[NVME_STATE_WORDS.indexOf(name)] ?? 0n;
    return {
      ISSUED: word("ISSUED"),
      DONE: word("DONE"),
      BLOCKS: word("BLOCKS"),
      IN_FLIGHT: word("IN_FLIGHT"),
      FAILED_STATUS: word("FAILED_STATUS"),
      FAILED_LBA: word("FAILED_LBA"),
      FAILED_BLOCKS: word("FAILED_BLOCKS"),
      FAILED_IS_READ: word("FAILED_IS_READ"),
      WRONG_SLOT: word("WRONG_SLOT"),
      OLDEST_NS: word("OLDEST_NS"),
      WAITS: word("WAITS"),
    };
  }

  /** The slots that wait to be filled or looked at. The array is reused by the next call. */
  handed(): Uint32Array<ArrayBuffer> {
    const result = this.#symbols.bb_nvme_job_handed(this.#open(), this.#ids, this.#ids.length);
    if (result < 0) throw errnoError(-result, "ask a job for its slots", { path: this.#name });
    return this.#ids.subarray(0, result);
  }

  /** The transfer that a slot holds. */
  slot(id: number): NvmeJobSlot {
    const result = this.#symbols.bb_nvme_job_slot(this.#open(), id, this.#lba, this.#blocks, this.#isRead);
    check(result, "ask a job for a slot", { path: this.#name });
    return { lba: this.#lba[0] ?? 0n, blocks: this.#blocks[0] ?? 0, isRead: this.#isRead[0] === 1 };
  }

  /** How often each latency was seen, in nanoseconds: counts of the bins of `core/histogram.ts`. */
  histogram(): BigUint64Array<ArrayBuffer> {
    const bins = new BigUint64Array(HISTOGRAM_BINS);
    check(this.#symbols.bb_nvme_job_histogram(this.#open(), bins), "read a job's histogram", { path: this.#name });
    return bins;
  }

  /** Forgets it. The queue is as the job left it: with commands in flight, only a reset makes it usable. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    this.#symbols.bb_nvme_job_close(handle);
  }

  /** For C. */
  get pointer(): Deno.PointerObject {
    return this.#open();
  }

  #open(): Handle {
    if (this.#handle !== null) return this.#handle;
    throw new BusbarError("closed", `${this.#name}: used after it was closed`, { path: this.#name });
  }
}

/** Jobs that take turns on one thread of Deno's pool. */
export class NvmeJobGroup {
  readonly #symbols: Symbols = library();
  readonly #jobs: readonly NvmeJob[];
  readonly #handles: BigUint64Array<ArrayBuffer>;
  readonly #ends: Int32Array<ArrayBuffer>;

  /** A group of jobs; of several, none may wait for interrupts. */
  constructor(jobs: readonly NvmeJob[]) {
    this.#jobs = jobs;
    this.#handles = BigUint64Array.from(jobs, (job) => BigInt(Deno.UnsafePointer.value(job.pointer)));
    this.#ends = new Int32Array(jobs.length);
  }

  /**
   * Goes on for at most `limitUs` microseconds (up to 50,000), or until slots of one job are handed out. Nothing else of these
   * jobs may be called until it returns.
   *
   * @returns how each job ended
   * @throws {BusbarError} `device-failed`, `device-gone`
   */
  async run(limitUs: number, isStopping: boolean): Promise<NvmeJobEnd[]> {
    const { length } = this.#jobs;
    check(
      await this.#symbols.bb_nvme_jobs_run(this.#handles, length, limitUs, isStopping ? 1 : 0, this.#ends),
      "run I/O jobs",
    );
    return this.#jobs.map((job, i) => job.end(this.#ends[i] ?? 0));
  }
}
