/**
 * What a GPU is asked to do with a controller, and what comes of it.
 * @module
 */

import type { Histogram } from "../../core/histogram.ts";
import type { NvmeDriver } from "../../nvme/driver/driver.ts";
import type { LendOptions, LentQueue } from "../../nvme/driver/lent_queue.ts";
import type { BlockPattern, Mismatch } from "../../nvme/jobs/pattern.ts";
import type { NamespaceGeometry } from "../../nvme/tables/identity.ts";

/** What kernels need of a queue pair that was made for them. */
export type DirectQueue = Pick<LentQueue, "rings" | "isLive" | "renew"> & AsyncDisposable;

/** What is needed of the driver of a controller: {@linkcode NvmeDriver} is one. */
export interface DirectDriver
  extends
    Pick<NvmeDriver, "name" | "maxEntries" | "pageBytes" | "allocDma" | "mapDma" | "execute" | "reset" | "checkAlive"> {
  /** Makes a queue pair for kernels. */
  lendQueue(options: LendOptions): Promise<DirectQueue>;
}

/** Who submits: one thread, one warp, or many warps on one pair of queues. */
export type DirectMode = "thread" | "warp" | "grid";

/**
 * How kernels tell the controller of new tails and heads: registers, shadow doorbells, or words that a thread of the host
 * forwards. The last one puts the CPU into the data path.
 */
export type DirectDoorbells = "mmio" | "shadow" | "proxy";

/** What lies in device memory: nothing, data, data and queues. */
export type DirectTier = 1 | 2 | 3;

/** How a controller is driven by a GPU. */
export interface DirectOptions {
  /** Who submits; `warp` by default. */
  readonly mode?: DirectMode;
  /** Commands in flight, over all queues; 32 by default. */
  readonly depth?: number;
  /** Queue pairs, each with threads of its own; 1 by default. The driver has to have as many to lend. */
  readonly queues?: number;
  /** `mmio` by default. With `shadow`, the driver's own I/O queues must rest until this is disposed of. */
  readonly doorbells?: DirectDoorbells;
  /** 1: queues and data in pinned host memory. 2: data in device memory. 3: queues too. 1 by default. */
  readonly tier?: DirectTier;
  /** Take memory of the GPU through its BAR1, for tiers 2 and 3, once every page was found there. False by default. */
  readonly vramThroughBar1?: boolean;
  /** The file of the GPU's BAR1, in place of its `resource1`. */
  readonly bar1?: string;
  /** The registers are ordinary memory: those of a software controller, for a GPU of silicon. False by default. */
  readonly registersAreMemory?: boolean;
  /** The PTX of the kernels, for tests that change it. */
  readonly ptx?: string;
}

/** What a kernel is to do. */
export interface DirectJob {
  /** What to do with each transfer. */
  readonly operation: "read" | "write" | "flush";
  /** The namespace. It must have no metadata beside its blocks. */
  readonly namespace: NamespaceGeometry;
  /** First block. */
  readonly lba: bigint;
  /** How many. */
  readonly blocks: bigint;
  /** Blocks of one transfer, as the controller allows. */
  readonly transferBlocks: number;
  /** Write: the kernel fills blocks with this pattern. Read: it checks each block. */
  readonly pattern?: BlockPattern | undefined;
  /** Random places in the range, from this seed, other than 0; in order by default. */
  readonly randomSeed?: number | undefined;
  /** Ends after so many transfers; by default the range once, or without end where there is a duration. */
  readonly transfers?: number | undefined;
  /** Ends after this time in milliseconds. */
  readonly durationMs?: number | undefined;
  /** How long a command may take, in milliseconds; 10 s by default. */
  readonly timeoutMs?: number | undefined;
  /** Gets what was read, in order; the memory is reused afterwards. */
  readonly onRead?: ((lba: bigint, bytes: Uint8Array) => void) | undefined;
  /** Fills what is written; in place of a pattern. */
  readonly fill?: ((lba: bigint, bytes: Uint8Array) => void) | undefined;
  /** Called now and then with how many transfers are done. */
  readonly onProgress?: ((transfers: number) => void) | undefined;
  /** Ends it early: no more commands begin, those in flight are waited for. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface DirectResult {
  /** Transfers that ended well. */
  readonly transfers: number;
  /** Bytes of data that they moved. */
  readonly bytes: number;
  /** Wall time in milliseconds, of the kernels. */
  readonly elapsedMs: number;
  /** Times of a command, in nanoseconds by the GPU's timer, of at most the last 65,536 of each queue. */
  readonly times: { readonly build: Histogram; readonly ring: Histogram; readonly wait: Histogram };
  /** Commands submitted, and how often the doorbells were written for them. */
  readonly submitted: number;
  /** Writes of tail doorbells. */
  readonly tailRings: number;
  /** Writes of head doorbells. */
  readonly headRings: number;
  /** The first block that was not as the pattern says, or null. */
  readonly mismatch: Mismatch | null;
}
