/**
 * Many transfers at once, at the speed of the queues. The loop is in C (csrc/nvme_job.c): places, patterns, times and checks
 * of each transfer; here it is set up, watched and stopped.
 * @module
 */

import { Deadline, yieldToEventLoop } from "../../core/deadline.ts";
import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import { Histogram } from "../../core/histogram.ts";
import {
  NVME_JOB_NONE,
  NVME_ORDERS,
  NvmeJob,
  type NvmeJobEnd,
  NvmeJobGroup,
  type NvmeJobState,
  type NvmeJobWords,
} from "../../../ffi/nvme_job.ts";
import { SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { NvmeDriver } from "../driver/driver.ts";
import { blockMemory, type NamespaceGeometry } from "../tables/identity.ts";
import { JobMemory, type MemoryPiece } from "./job_memory.ts";
import type { BlockPattern, Mismatch } from "./pattern.ts";
import type { QueuePair } from "../queue/queue_pair.ts";
import { prpEntries, prpListPages, writePrps } from "../queue/prp.ts";
import { statusError } from "../tables/status.ts";
import { planQueues } from "./transfer_plan.ts";

/** PRACT, bit 29 of command dword 12. */
const PROTECTION_ACTION = 1 << 29;

/** One call into C waits at most this long, so that signals and progress get their turn. */
const SLICE_US = 10_000;
const YIELD_MS = 20;
const USUAL_TIMEOUT_MS = 30_000;

/** What a job does. */
export interface IoJobOptions {
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** Read, write, or a share of reads between 0 and 1. */
  readonly readShare: number;
  /** First block of the range. */
  readonly lba: bigint;
  /** Blocks of the range. */
  readonly blocks: bigint;
  /** Blocks of one transfer. */
  readonly transferBlocks: number;
  /** Transfers in flight, over all queues. */
  readonly depth: number;
  /** How many of the driver's I/O queues. */
  readonly queues: number;
  /** Random places in the range, from this seed; in order when null. */
  readonly randomSeed: number | null;
  /** With a seed: some places more often than others, by Zipf's law with this exponent, 0 to 1, both excluded. */
  readonly zipfTheta?: number;
  /** These places, in units of `transferBlocks` from the start of the range, over and over; in place of a seed. */
  readonly places?: BigUint64Array<ArrayBuffer>;
  /** Begins at most so many transfers in a second, over all queues; as many as there can be by default. */
  readonly ratePerSecond?: number;
  /**
   * On how many threads of Deno's pool the queues take turns, at most one for each; all on this one by default. Queues that wait
   * for interrupts have one each in any case, unless there is only one.
   */
  readonly threads?: number;
  /** Ends after this many transfers; the whole range once by default, when in order. */
  readonly transfers?: number;
  /** Ends after this time in milliseconds. */
  readonly durationMs?: number;
  /**
   * Waits for interrupts, after polling for so many microseconds since the last completion: 0 waits at once. Polls on by
   * default. The driver has to be opened with `wait: "interrupt"`.
   */
  readonly pollFirstUs?: number;
  /** Milliseconds after which a command that has not come back counts as lost; 30 s by default. */
  readonly timeoutMs?: number;
  /** Makes what is written, and checks what is read. */
  readonly pattern?: BlockPattern;
  /**
   * Gets the memory of the transfers' data before the first begins. What it returns is disposed of after the last, before
   * the memory is freed.
   */
  readonly holdMemory?: (buffers: readonly DmaBuffer[]) => Disposable;
  /** Gets what was read, block address and bytes; the memory is reused afterwards. */
  readonly onRead?: (lba: bigint, bytes: Uint8Array) => void;
  /** Fills what is written; in place of a pattern. */
  readonly fill?: (lba: bigint, bytes: Uint8Array) => void;
  /** Called now and then with how many transfers are done. */
  readonly onProgress?: (transfers: number) => void;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of a job. */
export interface IoJobResult {
  /** Transfers that ended well. */
  readonly transfers: number;
  /** Bytes of data that they moved. */
  readonly bytes: number;
  /** Wall time in milliseconds. */
  readonly elapsedMs: number;
  /** How often a queue slept until an interrupt came. */
  readonly waits: number;
  /** Nanoseconds from submission to completion. */
  readonly latency: Histogram;
  /** The first block that was not as the pattern says, or null. */
  readonly mismatch: Mismatch | null;
}

/** A transfer's memory, and its command. */
interface Slot {
  readonly data: MemoryPiece;
  readonly command: Uint32Array<ArrayBuffer>;
}

/** A queue, with its share of the transfers. */
interface Lane {
  readonly job: NvmeJob;
  readonly slots: readonly Slot[];
  isRunning: boolean;
  /** Where the loop stood when it returned last: while it runs on a thread, nobody may look. */
  state: NvmeJobState;
}

/**
 * Runs a job to its end. Nothing else may use the driver's I/O queues meanwhile.
 *
 * @throws {BusbarError} `device-failed` with the NVMe status of the first transfer that failed, `timeout` when completions
 * stop; the controller is reset then, so that nothing is left in flight
 */
export async function runIoJob(driver: NvmeDriver, options: IoJobOptions): Promise<IoJobResult> {
  const lanes: Lane[] = [];
  using memory = new TransferMemory(driver, options);
  try {
    makeLanes(driver, options, memory, lanes);
    using _held = options.holdMemory?.(memory.dataBuffers);
    return await new Job(driver, options, lanes).run();
  } catch (error) {
    // Transfers may still be under way into memory that is about to be freed.
    if (lanes.some(({ job }) => job.state().IN_FLIGHT > 0n)) await driver.reset().catch(() => {});
    throw error;
  } finally {
    for (const { job } of lanes) job[Symbol.dispose]();
  }
}

/** Adds to `lanes` as they are made, so that the caller frees what there is when one cannot be made. */
function makeLanes(driver: NvmeDriver, options: IoJobOptions, from: TransferMemory, lanes: Lane[]): void {
  const { queues, depth, places = null } = options;
  const pairs = driver.ioQueues.slice(0, queues);
  planQueues(driver, queues, depth);
  const words = jobWords(driver, options);
  for (const [index, pair] of pairs.entries()) {
    const share = Math.floor(depth / queues) + (index < depth % queues ? 1 : 0);
    const own = Array.from({ length: share }, () => from.slot());
    const commands = new Uint32Array(share * SQE_WORDS);
    for (const [id, slot] of own.entries()) commands.set(slot.command, id * SQE_WORDS);
    const memory = own.map(({ data }) => data.pointer);
    const job = new NvmeJob(
      driver.name,
      pair.raw,
      { ...words(index), ...interruptWords(pair, options) },
      commands,
      memory,
      places,
    );
    lanes.push({ job, slots: own, isRunning: true, state: job.state() });
  }
}

/** What each queue's loop is told, by the queue's index. */
function jobWords(driver: NvmeDriver, options: IoJobOptions): (index: number) => NvmeJobWords {
  const { namespace, lba, blocks, transferBlocks, queues, randomSeed, zipfTheta, pattern, ratePerSecond } = options;
  if (lba + blocks > 1n << 53n) {
    throw new BusbarError("out-of-range", `${driver.name}: blocks beyond 2^53`, {
      operation: "run I/O",
      path: driver.name,
    });
  }
  // The controller makes the protection information of what is written. With reads it only counts where it is all
  // that the metadata holds: then it is taken away again.
  const protection = namespace.protectionType !== 0;
  const { dataBytes, metadataBytes } = blockMemory(namespace);
  const isStripped = protection && metadataBytes === 0 && dataBytes === namespace.blockBytes;
  const chunks = (blocks + BigInt(transferBlocks) - 1n) / BigInt(transferBlocks);
  const order = options.places !== undefined
    ? "LIST"
    : randomSeed === null
    ? "SEQUENTIAL"
    : zipfTheta === undefined
    ? "RANDOM"
    : "ZIPF";
  const limit = options.transfers !== undefined
    ? BigInt(options.transfers)
    : options.durationMs === undefined
    ? chunks
    : null;
  const zipf = order === "ZIPF" && zipfTheta !== undefined ? zipfWords(Number(chunks), zipfTheta) : {};
  const lanes = BigInt(queues);
  return (index) => ({
    LBA: lba,
    BLOCKS: blocks,
    CHUNKS: chunks,
    TRANSFER_BLOCKS: BigInt(transferBlocks),
    LIMIT: limit === null ? NVME_JOB_NONE : limit / lanes + (BigInt(index) < limit % lanes ? 1n : 0n),
    ORDER: BigInt(NVME_ORDERS.indexOf(order)),
    FIRST_CHUNK: BigInt(index),
    CHUNK_STEP: lanes,
    SEED: laneSeed(randomSeed ?? 0, index),
    ...zipf,
    READ_SHARE: BigInt(Math.round(options.readShare * 2 ** 32)),
    READ_FLAGS: BigInt(isStripped ? PROTECTION_ACTION : 0),
    WRITE_FLAGS: BigInt(protection ? PROTECTION_ACTION : 0),
    BLOCK_BYTES: BigInt(pattern?.blockBytes ?? dataBytes),
    STRIDE_BYTES: BigInt(pattern?.strideBytes ?? dataBytes),
    HAS_PATTERN: pattern === undefined ? 0n : 1n,
    PATTERN_SEED: BigInt(pattern?.seed ?? 0),
    IS_HANDED: options.onRead === undefined && options.fill === undefined ? 0n : 1n,
    PERIOD_NS: ratePerSecond === undefined ? 0n : BigInt(Math.max(1, Math.round(1e9 * queues / ratePerSecond))),
  });
}

/** What a queue's loop is told of its interrupt. */
function interruptWords(pair: QueuePair, { pollFirstUs }: IoJobOptions): NvmeJobWords {
  if (pollFirstUs === undefined) return {};
  const counter = pair.interruptCounter;
  if (counter === null) {
    throw new BusbarError("unsupported", `queue ${pair.id} has no interrupt`, {
      operation: "run I/O",
      hint: "leave --interrupts out: then it is polled",
    });
  }
  return { INTERRUPT: BigInt(counter) + 1n, SPIN_NS: BigInt(Math.round(pollFirstUs * 1000)) };
}

/** Two numbers of 32 bits for a queue, from the seed of all: splitmix64. */
function laneSeed(seed: number, index: number): bigint {
  const mask = (1n << 64n) - 1n;
  let x = (BigInt(seed >>> 0) + BigInt(index + 1) * 0x9e37_79b9_7f4a_7c15n) & mask;
  x = ((x ^ x >> 30n) * 0xbf58_476d_1ce4_e5b9n) & mask;
  x = ((x ^ x >> 27n) * 0x94d0_49bb_1331_11ebn) & mask;
  return x ^ x >> 31n;
}

/** The constants of Zipf's law over so many places. Source: Gray et al., SIGMOD 1994. */
function zipfWords(count: number, theta: number): NvmeJobWords {
  // The first million terms are added up; the rest is their integral, which is closer than the law itself.
  const exact = Math.min(count, 1_000_000);
  let zeta = 0;
  for (let i = 1; i <= exact; i++) zeta += 1 / i ** theta;
  if (count > exact) zeta += (count ** (1 - theta) - exact ** (1 - theta)) / (1 - theta);
  const zeta2 = 1 + 1 / 2 ** theta;
  const eta = (1 - (2 / count) ** (1 - theta)) / (1 - zeta2 / zeta);
  const bits = new DataView(new ArrayBuffer(8));
  const word = (value: number): bigint => {
    bits.setFloat64(0, value);
    return bits.getBigUint64(0);
  };
  return { ZIPF_THETA: word(theta), ZIPF_ZETA: word(zeta), ZIPF_ETA: word(eta) };
}

/** What the transfers of a job need: data, PRP lists, metadata. */
class TransferMemory implements Disposable {
  readonly #driver: NvmeDriver;
  readonly #nsid: number;
  readonly #dataBytes: number;
  readonly #listPages: number;
  readonly #data: JobMemory;
  readonly #lists: JobMemory | null;
  readonly #metadata: JobMemory | null;

  constructor(driver: NvmeDriver, { namespace, transferBlocks, depth }: IoJobOptions) {
    const { dataBytes, metadataBytes } = blockMemory(namespace);
    const { pageBytes } = driver;
    this.#driver = driver;
    this.#nsid = namespace.id;
    this.#dataBytes = transferBlocks * dataBytes;
    // Each piece begins at a page.
    this.#listPages = prpListPages(Math.ceil(this.#dataBytes / pageBytes), pageBytes);
    const pieces = (sizeBytes: number): JobMemory | null =>
      sizeBytes === 0 ? null : new JobMemory((bytes) => driver.allocDma(bytes), sizeBytes, pageBytes, depth);
    this.#data = new JobMemory((bytes) => driver.allocDma(bytes), this.#dataBytes, pageBytes, depth);
    this.#lists = pieces(this.#listPages * pageBytes);
    this.#metadata = pieces(transferBlocks * metadataBytes);
  }

  slot(): Slot {
    const { pageBytes } = this.#driver;
    const data = this.#data.take();
    const entries = prpEntries([{ iova: data.iova, sizeBytes: this.#dataBytes }], pageBytes);
    const list = this.#lists?.take();
    const pages = list === undefined ? [] : Array.from({ length: this.#listPages }, (_, i) => ({
      iova: list.iova + BigInt(i * pageBytes),
      entries: new BigUint64Array(list.bytes.buffer, list.bytes.byteOffset + i * pageBytes, pageBytes / 8),
    }));
    const { prp1, prp2 } = writePrps(entries, pages, pageBytes);
    const metadata = this.#metadata?.take();
    const command = new Uint32Array(SQE_WORDS);
    command[1] = this.#nsid;
    for (const [at, value] of [[4, metadata?.iova ?? 0n], [6, prp1], [8, prp2]] as const) {
      command[at] = Number(value & 0xffff_ffffn);
      command[at + 1] = Number(value >> 32n);
    }
    return { data, command };
  }

  get dataBuffers(): readonly DmaBuffer[] {
    return this.#data.buffers;
  }

  [Symbol.dispose](): void {
    this.#data[Symbol.dispose]();
    this.#lists?.[Symbol.dispose]();
    this.#metadata?.[Symbol.dispose]();
  }
}

class Job {
  readonly #driver: NvmeDriver;
  readonly #options: IoJobOptions;
  readonly #lanes: readonly Lane[];
  readonly #bytesPerBlock: number;
  readonly #end: Deadline;
  /** Set when one queue's transfers failed: then all stop. */
  #isStopping = false;

  constructor(driver: NvmeDriver, options: IoJobOptions, lanes: readonly Lane[]) {
    this.#driver = driver;
    this.#options = options;
    this.#lanes = lanes;
    this.#bytesPerBlock = blockMemory(options.namespace).dataBytes;
    this.#end = Deadline.after(options.durationMs ?? Infinity);
  }

  async run(): Promise<IoJobResult> {
    const started = performance.now();
    // A queue that sleeps in C lets no other of this thread go on.
    const sleeps = this.#options.pollFirstUs !== undefined && this.#lanes.length > 1;
    const { threads = 0 } = this.#options;
    if (sleeps) await this.#runThreads(this.#lanes.length);
    else if (threads > 0) await this.#runThreads(Math.min(threads, this.#lanes.length));
    else await this.#runHere();
    const elapsedMs = performance.now() - started;
    const states = this.#lanes.map(({ job }) => job.state());
    this.#options.onProgress?.(Number(states.reduce((sum, { DONE }) => sum + DONE, 0n)));
    const failed = states.find(({ FAILED_STATUS }) => FAILED_STATUS !== 0n);
    if (failed !== undefined) {
      const kind = failed.FAILED_IS_READ === 1n ? "Read" : "Write";
      throw statusError(Number(failed.FAILED_STATUS), {
        operation: `${kind} of ${failed.FAILED_BLOCKS} blocks at ${failed.FAILED_LBA}`,
        path: `${this.#driver.name}, namespace ${this.#options.namespace.id}`,
      });
    }
    const latency = new Histogram();
    for (const { job } of this.#lanes) latency.addBins(job.histogram());
    return {
      transfers: Number(states.reduce((sum, { DONE }) => sum + DONE, 0n)),
      bytes: Number(states.reduce((sum, { BLOCKS }) => sum + BLOCKS, 0n)) * this.#options.namespace.blockBytes,
      elapsedMs,
      waits: Number(states.reduce((sum, { WAITS }) => sum + WAITS, 0n)),
      latency,
      mismatch: this.#mismatch(),
    };
  }

  /** All queues in turn; a single one may wait in C. */
  async #runHere(): Promise<void> {
    let lastTurn = performance.now();
    const sliceUs = this.#lanes.length === 1 ? SLICE_US : 0;
    while (this.#lanes.some(({ isRunning }) => isRunning)) {
      for (const lane of this.#lanes) {
        if (lane.isRunning) this.#after(lane, lane.job.run(this.#slice(sliceUs), this.#stops));
      }
      if (performance.now() - lastTurn < YIELD_MS) continue;
      for (const lane of this.#lanes) this.#look(lane);
      await this.#turn();
      lastTurn = performance.now();
    }
  }

  /** Queues in turns on threads of Deno's pool, a slice at a time. */
  async #runThreads(count: number): Promise<void> {
    const groups = Array.from({ length: count }, (_, i) => this.#lanes.filter((_, lane) => lane % count === i));
    const results = await Promise.allSettled(groups.map(async (lanes) => {
      const group = new NvmeJobGroup(lanes.map(({ job }) => job));
      try {
        while (lanes.some(({ isRunning }) => isRunning)) {
          const ends = await group.run(this.#slice(SLICE_US), this.#stops);
          for (const [i, lane] of lanes.entries()) {
            if (!lane.isRunning) continue;
            this.#after(lane, ends[i] ?? "runs");
            this.#look(lane);
          }
          await this.#turn();
        }
      } catch (error) {
        // The others end by themselves; only then may their memory go.
        this.#isStopping = true;
        throw error;
      }
    }));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  get #stops(): boolean {
    return this.#isStopping || this.#end.expired;
  }

  /** A slice that ends with the job's time. */
  #slice(sliceUs: number): number {
    const leftMs = this.#end.remainingMs;
    return leftMs > 0 && leftMs * 1000 < sliceUs ? Math.ceil(leftMs * 1000) : sliceUs;
  }

  async #turn(): Promise<void> {
    await yieldToEventLoop(this.#options.signal);
    this.#driver.checkAlive();
    this.#options.onProgress?.(Number(this.#lanes.reduce((sum, { state }) => sum + state.DONE, 0n)));
  }

  /** Notes how far a queue has come, and that all are to stop. */
  #look(lane: Lane): void {
    const state = lane.job.state();
    if (state.FAILED_STATUS !== 0n || state.WRONG_SLOT !== NVME_JOB_NONE) this.#isStopping = true;
    lane.state = state;
    if (lane.isRunning && Number(state.OLDEST_NS) > this.#timeoutMs * 1e6) throw this.#lost();
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? USUAL_TIMEOUT_MS;
  }

  #lost(): BusbarError {
    return new BusbarError(
      "timeout",
      `${this.#driver.name}: a command did not come back within ${this.#timeoutMs / 1000} s`,
      {
        operation: "run I/O",
        path: this.#driver.name,
        hint: "the controller was reset; its error log may say why",
      },
    );
  }

  /** What is to be done after a slice: fill what will be written, look at what was read. */
  #after(lane: Lane, end: NvmeJobEnd): void {
    if (end === "ended") lane.isRunning = false;
    if (end !== "handed") return;
    for (const id of lane.job.handed()) {
      const { lba, blocks, isRead } = lane.job.slot(id);
      const bytes = lane.slots[id]?.data.bytes.subarray(0, blocks * this.#bytesPerBlock);
      if (bytes === undefined) throw new BusbarError("bug", "a transfer has no slot");
      if (isRead) this.#options.onRead?.(lba, bytes);
      else this.#options.fill?.(lba, bytes);
    }
  }

  /** What is wrong with the first block that was not as the pattern says. */
  #mismatch(): Mismatch | null {
    for (const { job, slots } of this.#lanes) {
      const { WRONG_SLOT } = job.state();
      if (WRONG_SLOT === NVME_JOB_NONE) continue;
      const { lba, blocks } = job.slot(Number(WRONG_SLOT));
      const bytes = slots[Number(WRONG_SLOT)]?.data.bytes.subarray(0, blocks * this.#bytesPerBlock);
      const found = bytes === undefined ? null : this.#options.pattern?.check(bytes, lba);
      if (found) return found;
      throw new BusbarError("bug", "the loops in C and here disagree about a pattern");
    }
    return null;
  }
}
