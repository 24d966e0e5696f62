/**
 * Memory of a machine, and the loops that measure it: what they are asked for and what they say, wherever they run.
 * @module
 */

/** Memory that is mapped on a machine. Dispose unmaps it; after that every method throws `closed`. */
export interface MappedMemory extends Disposable {
  /** What is mapped, for messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly sizeBytes: number;
  /**
   * The memory as bytes, whole or in part. The view is empty after dispose.
   *
   * @throws {BusbarError} `unsupported` where the memory is another machine's; `out-of-range`
   */
  bytes(offset?: number, sizeBytes?: number): Uint8Array<ArrayBuffer>;
  /** Writes changed pages of a file back to it and waits (msync). */
  sync(offset?: number, sizeBytes?: number): void;
  /** Writes the cache lines of a range back to memory and waits until they are there. */
  flush(offset?: number, sizeBytes?: number): void;
  /** Lets pages that are touched from now on come from one NUMA node only. @throws {BusbarError} `io` without memory there */
  bindNode(node: number): void;
  /** Does nothing for a range inside. @throws {BusbarError} `out-of-range` */
  checkRange(offset: number, sizeBytes: number): void;
}

/** A part of mapped memory. */
export interface MemoryPart {
  /** The memory. */
  readonly memory: MappedMemory;
  /** The first byte, a multiple of 64. */
  readonly offset: number;
  /** Bytes, a multiple of 64. */
  readonly sizeBytes: number;
}

/**
 * How stores become permanent. `cache flush`: writing the lines back is enough. `msync`: the kernel has to write pages.
 * `none`: the memory forgets with the power, and stores are seen by everybody who shares it as they are made.
 */
export type Persistence = "cache flush" | "msync" | "none";

/** What a loop did in one call, which takes a part of a second. */
export interface Slice {
  /** Steps: hops, bytes, blocks or updates. */
  readonly count: number;
  /** How long it took. */
  readonly nanoseconds: number;
  /** Processor time, user and kernel. */
  readonly cpuNanoseconds: number;
  /** The kernel's part of it. */
  readonly systemNanoseconds: number;
}

/** A kind of stream; `-nt` stores past the cache. */
export type StreamKind = "read" | "write" | "copy" | "write-nt" | "copy-nt";

/** A part of a GUPS table that gets more than its share of the updates. */
export interface HotSet {
  /** Its first word. */
  readonly startWord: number;
  /** How many words, a power of two. */
  readonly words: number;
  /** The share of the updates that fall on it, 0 to 1. */
  readonly share: number;
}

/** A loop that goes on where it stopped, each call for a part of a second on a thread of its own. */
export interface MemoryLoop {
  /**
   * Goes on.
   *
   * @param cpu the processor that it runs on; -1 is any
   * @param delay of a stream: how often it waits a moment between two pieces of 4 KiB; 0 by default
   */
  slice(cpu: number, delay?: number): Promise<Slice>;
}

/** Random updates of a table. */
export interface UpdateLoop {
  /** Makes at most `updates` of them in a part of a second. @param cpu the processor; -1 is any */
  slice(updates: number, cpu: number): Promise<Slice>;
}

/** The loops that measure memory of one machine. What they write over is lost. */
export interface MemoryLoops {
  /**
   * Makes one random cycle through every slot of `strideBytes` (a multiple of 8) and follows it.
   *
   * @param yieldToEventLoop called between parts of the work; may throw to end it
   */
  chase(part: MemoryPart, strideBytes: number, seed: bigint, yieldToEventLoop: () => void): Promise<MemoryLoop>;
  /**
   * Reads, writes or copies over and over.
   *
   * @param to what is written; of `read`, what is read
   * @param from what a copy reads, as long as `to`
   */
  stream(kind: StreamKind, to: MemoryPart, from?: MemoryPart): MemoryLoop;
  /**
   * Writes blocks, each made permanent before the next; a step is a block.
   *
   * @param blockBytes a multiple of 64 that divides the part; with msync of the page size too
   */
  persistentWrites(part: MemoryPart, blockBytes: number, how: Persistence): MemoryLoop;
  /** RandomAccess updates. @param start the number of the stream that the first update follows */
  updates(table: MemoryPart, start: bigint, hot: HotSet | null): UpdateLoop;
  /** Sets every word of a RandomAccess table to its own index. @param yieldToEventLoop called between parts of the work */
  prepareTable(table: MemoryPart, yieldToEventLoop?: () => void): Promise<void>;
  /** How many words of a RandomAccess table are not their own index. @param yieldToEventLoop called between parts */
  tableErrors(table: MemoryPart, yieldToEventLoop?: () => void): Promise<number>;
}

/** How a file or device is mapped. */
export interface FileMappingOptions {
  /** First byte; a multiple of the page size. */
  readonly offset?: bigint;
  /** Writable too. */
  readonly writable?: boolean;
  /** `MAP_SYNC`: only on files with direct access, else `unsupported`. */
  readonly sync?: boolean;
}

/** Memory of one machine. */
export interface MachineMemory {
  /** Size of its usual pages in bytes. */
  readonly pageBytes: number;
  /** Its loops. */
  readonly loops: MemoryLoops;
  /** Maps a file or device, shared. @throws {BusbarError} as open and mmap fail */
  mapFile(path: string, sizeBytes: number, options?: FileMappingOptions): MappedMemory;
  /** Maps zeroed memory. @throws {BusbarError} `io` with too few huge pages or too little memory */
  mapAnonymous(sizeBytes: number, pages: "base" | "2MiB" | "1GiB"): MappedMemory;
}
