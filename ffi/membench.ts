/**
 * The loops that measure memory: each call runs for a part of a second on a thread of its own, so that the caller's goes on.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import type {
  HotSet,
  MemoryLoop,
  MemoryLoops,
  MemoryPart,
  Persistence,
  Slice,
  StreamKind,
  UpdateLoop,
} from "../src/core/memory_loops.ts";
import { check, lazyLibrary } from "./library.ts";
import { Mapping } from "./memory.ts";

const SYMBOLS = {
  bb_chase_prepare: {
    parameters: [
      "pointer", // void *base
      "u64", // size
      "u32", // stride
      "u64", // seed
      "u32", // limit_us
      "buffer", // uint64_t *done
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_chase: {
    parameters: [/* void **position */ "buffer", /* cpu */ "i32", /* limit_us */ "u32", /* uint64_t *out */ "buffer"],
    result: "i32",
    nonblocking: true,
  },
  bb_stream: {
    parameters: [
      "u32", // kind
      "pointer", // void *to
      "pointer", // const void *from
      "u64", // size
      "buffer", // uint64_t *position
      "u32", // delay
      "i32", // cpu
      "u32", // limit_us
      "buffer", // uint64_t *out
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_mixed_stream: {
    parameters: [
      "pointer", // void *base
      "u64", // size
      "u32", // reads_percent
      "buffer", // uint64_t *position
      "i32", // cpu
      "u32", // limit_us
      "buffer", // uint64_t *out
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_persist_blocks: {
    parameters: [
      "pointer", // void *base
      "u64", // size
      "u32", // block
      "u32", // how
      "buffer", // uint64_t *position
      "i32", // cpu
      "u32", // limit_us
      "buffer", // uint64_t *out
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_gups: {
    parameters: [
      "pointer", // uint64_t *table
      "u64", // words
      "u64", // hot_start
      "u64", // hot_words
      "u32", // hot_share
      "buffer", // uint64_t *state
      "u64", // updates
      "i32", // cpu
      "u32", // limit_us
      "buffer", // uint64_t *out
    ],
    result: "i32",
    nonblocking: true,
  },
  bb_gups_prepare: {
    parameters: [/* uint64_t *table */ "pointer", /* first */ "u64", /* words */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  bb_gups_errors: {
    parameters: [
      "pointer", // const uint64_t *table
      "u64", // first
      "u64", // words
      "buffer", // uint64_t *errors
    ],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/** How long one call runs, in microseconds: long against what a call costs, short against what a person waits. */
const SLICE_US = 100_000;

/** Their numbers, as in csrc/busbar.h. */
export const STREAM_KINDS: Readonly<Record<StreamKind, number>> = {
  read: 0,
  write: 1,
  copy: 2,
  "write-nt": 3,
  "copy-nt": 4,
};

/** How blocks are made permanent, as in csrc/busbar.h. */
const PERSIST = { "none": 0, "cache flush": 1, "msync": 2 } as const satisfies Record<Persistence, number>;

function pointerTo({ memory, offset, sizeBytes }: MemoryPart): Deno.PointerValue {
  if (!(memory instanceof Mapping)) throw new BusbarError("bug", `${memory.name}: not memory of this process`);
  memory.checkRange(offset, sizeBytes);
  return Deno.UnsafePointer.offset(memory.pointer, offset);
}

const ENXIO = 6;

/**
 * What a loop returned. @param cpu the processor that it was to run on
 *
 * @throws {BusbarError} `usage` for a processor that this process cannot have, else the system's error
 */
function checkLoop(result: number, cpu: number, operation: string, path?: string): number {
  if (result === -ENXIO) {
    throw new BusbarError("usage", `processor ${cpu} is offline, or this process may not use it`, {
      operation,
      hint: "/sys/devices/system/cpu/online and Cpus_allowed_list in /proc/self/status list them",
    });
  }
  return check(result, operation, path === undefined ? {} : { path });
}

function sliceFrom(out: BigUint64Array): Slice {
  const [count = 0n, nanoseconds = 0n, cpu = 0n, system = 0n] = out;
  return {
    count: Number(count),
    nanoseconds: Number(nanoseconds),
    cpuNanoseconds: Number(cpu),
    systemNanoseconds: Number(system),
  };
}

/** A random cycle through memory, and where on it one is. */
export class Chase implements MemoryLoop {
  readonly #position: BigUint64Array<ArrayBuffer>;

  private constructor(start: bigint) {
    this.#position = BigUint64Array.of(start);
  }

  /**
   * Makes one random cycle through every slot of `strideBytes` (a multiple of 8). The memory's contents are lost.
   *
   * @param yieldToEventLoop called between parts of the work; may throw to end it
   */
  static async prepare(
    part: MemoryPart,
    strideBytes: number,
    seed: bigint,
    yieldToEventLoop: () => void,
  ): Promise<Chase> {
    const done = new BigUint64Array(1);
    const base = pointerTo(part);
    for (;;) {
      const result = await library().bb_chase_prepare(base, BigInt(part.sizeBytes), strideBytes, seed, SLICE_US, done);
      if (check(result, "prepare a chase", { path: part.memory.name }) === 1) break;
      yieldToEventLoop();
    }
    return new Chase(Deno.UnsafePointer.value(base));
  }

  /** Follows it for a part of a second. @param cpu the processor; -1 is any */
  async slice(cpu: number): Promise<Slice> {
    const out = new BigUint64Array(4);
    checkLoop(await library().bb_chase(this.#position, cpu, SLICE_US, out), cpu, "follow a chase");
    return sliceFrom(out);
  }
}

/** Reads, writes or copies over and over: state that goes from one call to the next. */
export class Stream implements MemoryLoop {
  readonly #kind: StreamKind;
  readonly #to: MemoryPart;
  readonly #from: MemoryPart;
  readonly #position: BigUint64Array<ArrayBuffer> = new BigUint64Array(1);

  /**
   * @param to what is written; of `read`, what is read
   * @param from what a copy reads; as long as `to`
   */
  /** A loop over memory. @param from where a copy reads; the same memory by default */
  constructor(kind: StreamKind, to: MemoryPart, from: MemoryPart = to) {
    if (to.sizeBytes !== from.sizeBytes) throw new BusbarError("bug", "a copy needs two parts of equal size");
    this.#kind = kind;
    this.#to = to;
    this.#from = from;
  }

  /**
   * Runs for a part of a second.
   *
   * @param cpu the processor; -1 is any
   * @param delay how often it waits a moment between two pieces of 4 KiB
   */
  async slice(cpu: number, delay: number = 0): Promise<Slice> {
    const out = new BigUint64Array(4);
    const result = await library().bb_stream(
      STREAM_KINDS[this.#kind],
      pointerTo(this.#to),
      pointerTo(this.#from),
      BigInt(this.#to.sizeBytes),
      this.#position,
      delay,
      cpu,
      SLICE_US,
      out,
    );
    checkLoop(result, cpu, this.#kind, this.#to.memory.name);
    return sliceFrom(out);
  }
}

/** Bytes that a mixed stream reads or writes before it turns to the other, as in csrc/membench.c. */
export const MIXED_PIECE_BYTES = 1024;

/** Reads some pieces of memory and writes the others, over and over. */
export class MixedStream implements MemoryLoop {
  readonly #part: MemoryPart;
  readonly #readsPercent: number;
  readonly #position: BigUint64Array<ArrayBuffer> = new BigUint64Array(1);

  /**
   * A loop over memory, whose contents are lost.
   *
   * @param part a multiple of {@linkcode MIXED_PIECE_BYTES} long
   * @param readsPercent of its pieces so many are read, 0 to 100
   */
  constructor(part: MemoryPart, readsPercent: number) {
    this.#part = part;
    this.#readsPercent = readsPercent;
  }

  /** Runs for a part of a second; a step is a byte. @param cpu the processor; -1 is any */
  async slice(cpu: number): Promise<Slice> {
    const out = new BigUint64Array(4);
    const result = await library().bb_mixed_stream(
      pointerTo(this.#part),
      BigInt(this.#part.sizeBytes),
      this.#readsPercent,
      this.#position,
      cpu,
      SLICE_US,
      out,
    );
    checkLoop(result, cpu, "read and write", this.#part.memory.name);
    return sliceFrom(out);
  }
}

/** Writes blocks, each made permanent before the next. */
export class PersistentWriter implements MemoryLoop {
  readonly #part: MemoryPart;
  readonly #blockBytes: number;
  readonly #how: Persistence;
  readonly #position: BigUint64Array<ArrayBuffer> = new BigUint64Array(1);

  /** A loop of writes that are made permanent. @param blockBytes a multiple of 64 that divides the part; with msync of the page size too */
  constructor(part: MemoryPart, blockBytes: number, how: Persistence) {
    this.#part = part;
    this.#blockBytes = blockBytes;
    this.#how = how;
  }

  /** Runs for a part of a second; a step is a block. @param cpu the processor; -1 is any */
  async slice(cpu: number): Promise<Slice> {
    const out = new BigUint64Array(4);
    const result = await library().bb_persist_blocks(
      pointerTo(this.#part),
      BigInt(this.#part.sizeBytes),
      this.#blockBytes,
      PERSIST[this.#how],
      this.#position,
      cpu,
      SLICE_US,
      out,
    );
    checkLoop(result, cpu, "write and persist", this.#part.memory.name);
    return sliceFrom(out);
  }
}

/** One stream of updates of a RandomAccess table. */
export class UpdateStream implements UpdateLoop {
  readonly #table: MemoryPart;
  readonly #hot: HotSet | null;
  readonly #state: BigUint64Array<ArrayBuffer>;

  /** A loop of updates at random places. @param start the number of the stream that the first update follows */
  constructor(table: MemoryPart, start: bigint, hot: HotSet | null) {
    this.#table = table;
    this.#hot = hot;
    this.#state = BigUint64Array.of(start);
  }

  /** Makes at most `updates` of them in a part of a second. @param cpu the processor; -1 is any */
  async slice(updates: number, cpu: number): Promise<Slice> {
    const out = new BigUint64Array(4);
    const hot = this.#hot;
    const result = await library().bb_gups(
      pointerTo(this.#table),
      BigInt(this.#table.sizeBytes / 8),
      BigInt(hot?.startWord ?? 0),
      BigInt(hot?.words ?? 0),
      hot === null ? 0 : Math.min(0xffff_ffff, Math.round(hot.share * 2 ** 32)),
      this.#state,
      BigInt(updates),
      cpu,
      SLICE_US,
      out,
    );
    checkLoop(result, cpu, "update at random", this.#table.memory.name);
    return sliceFrom(out);
  }
}

/** Words that one call goes through: 64 MiB of them, some hundredths of a second. */
const WORDS_AT_ONCE = 2 ** 23;

/**
 * Sets every word of a RandomAccess table to its own index.
 *
 * @param yieldToEventLoop called between parts of the work; may throw to end it
 */
export async function prepareTable(table: MemoryPart, yieldToEventLoop: () => void = () => {}): Promise<void> {
  for (const [first, words] of partsOf(table)) {
    const result = await library().bb_gups_prepare(pointerTo(table), first, words);
    check(result, "prepare a table", { path: table.memory.name });
    yieldToEventLoop();
  }
}

/**
 * How many words of a RandomAccess table are not their own index.
 *
 * @param yieldToEventLoop called between parts of the work; may throw to end it
 */
export async function tableErrors(table: MemoryPart, yieldToEventLoop: () => void = () => {}): Promise<number> {
  const errors = new BigUint64Array(1);
  for (const [first, words] of partsOf(table)) {
    const result = await library().bb_gups_errors(pointerTo(table), first, words, errors);
    check(result, "check a table", { path: table.memory.name });
    yieldToEventLoop();
  }
  return Number(errors[0]);
}

function* partsOf({ sizeBytes }: MemoryPart): Generator<[first: bigint, words: bigint]> {
  const words = sizeBytes / 8;
  for (let first = 0; first < words; first += WORDS_AT_ONCE) {
    yield [BigInt(first), BigInt(Math.min(WORDS_AT_ONCE, words - first))];
  }
}

/** The loops of libbusbar, on memory of this process. */
export const localLoops: MemoryLoops = {
  chase: (part, strideBytes, seed, yieldToEventLoop) => Chase.prepare(part, strideBytes, seed, yieldToEventLoop),
  stream: (kind, to, from) => new Stream(kind, to, from),
  persistentWrites: (part, blockBytes, how) => new PersistentWriter(part, blockBytes, how),
  updates: (table, start, hot) => new UpdateStream(table, start, hot),
  prepareTable,
  tableErrors,
};
