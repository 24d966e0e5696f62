/**
 * Many transfers at once, at the speed of the queues: no promise and no allocation for each.
 * @module
 */

import { Deadline, yieldToEventLoop } from "../../core/deadline.ts";
import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import { Histogram } from "../../core/histogram.ts";
import { CQE_WORDS, type NvmeQueue, SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { NvmeDriver } from "../driver/driver.ts";
import { blockMemory, type NamespaceGeometry } from "../tables/identity.ts";
import type { BlockPattern, Mismatch } from "./pattern.ts";
import { prpEntries, prpListPages, writePrps } from "../queue/prp.ts";
import { statusError } from "../tables/status.ts";

const OPC_WRITE = 0x01;
const OPC_READ = 0x02;
/** PRACT, bit 29 of command dword 12. */
const PROTECTION_ACTION = 1 << 29;

/** One call into C waits at most this long, so that signals and progress get their turn. */
const SLICE_US = 10_000;
const YIELD_MS = 20;
const LOST_MS = 30_000;

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
  /** Ends after this many transfers; the whole range once by default, when in order. */
  readonly transfers?: number;
  /** Ends after this time in milliseconds. */
  readonly durationMs?: number;
  /** Makes what is written, and checks what is read. */
  readonly pattern?: BlockPattern;
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
  /** Nanoseconds from submission to completion. */
  readonly latency: Histogram;
  /** The first block that was not as the pattern says, or null. */
  readonly mismatch: Mismatch | null;
}

/** A transfer's memory and its place in a queue. */
interface Slot {
  readonly buffer: DmaBuffer;
  readonly list: DmaBuffer | null;
  readonly metadata: DmaBuffer | null;
  readonly command: Uint32Array<ArrayBuffer>;
  lba: number;
  blocks: number;
  isRead: boolean;
  submittedAt: number;
}

interface Lane {
  readonly queue: NvmeQueue;
  readonly slots: readonly Slot[];
  readonly free: number[];
  readonly commands: Uint32Array<ArrayBuffer>;
  readonly completions: Uint32Array<ArrayBuffer>;
  inFlight: number;
}

/**
 * Runs a job to its end. Nothing else may use the driver's I/O queues meanwhile.
 *
 * @throws {BusbarError} `device-failed` with the NVMe status of the first transfer that failed, `timeout` when completions
 * stop; the controller is reset then, so that nothing is left in flight
 */
export async function runIoJob(driver: NvmeDriver, options: IoJobOptions): Promise<IoJobResult> {
  const lanes = makeLanes(driver, options);
  try {
    return await new Job(driver, options, lanes).run();
  } catch (error) {
    // Transfers may still be under way into memory that is about to be freed.
    if (lanes.some((lane) => lane.inFlight > 0)) await driver.reset().catch(() => {});
    throw error;
  } finally {
    for (const lane of lanes) {
      for (const slot of lane.slots) {
        slot.buffer[Symbol.dispose]();
        slot.list?.[Symbol.dispose]();
        slot.metadata?.[Symbol.dispose]();
      }
    }
  }
}

function makeLanes(driver: NvmeDriver, options: IoJobOptions): Lane[] {
  const { queues, depth } = options;
  const pairs = driver.ioQueues.slice(0, queues);
  if (pairs.length < queues || depth < queues || depth > queues * Math.min(...pairs.map((pair) => pair.depth))) {
    throw new BusbarError("usage", `${depth} transfers at once on ${queues} queues: there are ${pairs.length} queues`, {
      operation: "run I/O",
      path: driver.name,
    });
  }
  return pairs.map((pair, index): Lane => {
    const share = Math.floor(depth / queues) + (index < depth % queues ? 1 : 0);
    const slots = Array.from({ length: share }, () => makeSlot(driver, options));
    return {
      queue: pair.raw,
      slots,
      free: slots.map((_, id) => share - 1 - id),
      commands: new Uint32Array(share * SQE_WORDS),
      completions: new Uint32Array((share + 1) * CQE_WORDS),
      inFlight: 0,
    };
  });
}

function makeSlot(driver: NvmeDriver, { namespace, transferBlocks }: IoJobOptions): Slot {
  const block = blockMemory(namespace);
  const sizeBytes = transferBlocks * block.dataBytes;
  const buffer = driver.allocDma(sizeBytes);
  const entries = prpEntries([{ iova: buffer.iova, sizeBytes }], driver.pageBytes);
  const listPages = prpListPages(entries.length, driver.pageBytes);
  const list = listPages === 0 ? null : driver.allocDma(listPages * driver.pageBytes);
  const pages = list === null ? [] : Array.from({ length: listPages }, (_, i) => ({
    iova: list.iova + BigInt(i * driver.pageBytes),
    entries: new BigUint64Array(list.bytes.buffer, list.bytes.byteOffset + i * driver.pageBytes, driver.pageBytes / 8),
  }));
  const { prp1, prp2 } = writePrps(entries, pages, driver.pageBytes);
  const metadata = block.metadataBytes === 0 ? null : driver.allocDma(transferBlocks * block.metadataBytes);
  const command = new Uint32Array(SQE_WORDS);
  command[1] = namespace.id;
  for (const [at, value] of [[4, metadata?.iova ?? 0n], [6, prp1], [8, prp2]] as const) {
    command[at] = Number(value & 0xffff_ffffn);
    command[at + 1] = Number(value >> 32n);
  }
  return { buffer, list, metadata, command, lba: 0, blocks: 0, isRead: true, submittedAt: 0 };
}

class Job {
  readonly #driver: NvmeDriver;
  readonly #options: IoJobOptions;
  readonly #lanes: readonly Lane[];
  readonly #latency: Histogram = new Histogram();
  readonly #limit: number;
  readonly #chunks: number;
  readonly #firstLba: number;
  readonly #blocks: number;
  readonly #bytesPerBlock: number;
  readonly #writeFlags: number;
  readonly #readFlags: number;
  #random: number;
  #issued = 0;
  #done = 0;
  #bytes = 0;
  #mismatch: Mismatch | null = null;

  constructor(driver: NvmeDriver, options: IoJobOptions, lanes: readonly Lane[]) {
    this.#driver = driver;
    this.#options = options;
    this.#lanes = lanes;
    this.#random = options.randomSeed ?? 0;
    const { namespace } = options;
    this.#firstLba = Number(options.lba);
    this.#blocks = Number(options.blocks);
    if (!Number.isSafeInteger(this.#firstLba + this.#blocks)) {
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
    this.#bytesPerBlock = dataBytes;
    this.#writeFlags = protection ? PROTECTION_ACTION : 0;
    this.#readFlags = isStripped ? PROTECTION_ACTION : 0;
    this.#chunks = Math.ceil(this.#blocks / options.transferBlocks);
    this.#limit = options.transfers ?? (options.durationMs === undefined ? this.#chunks : Infinity);
  }

  async run(): Promise<IoJobResult> {
    const { durationMs, signal, onProgress } = this.#options;
    const started = performance.now();
    const end = Deadline.after(durationMs ?? Infinity);
    let lastTurn = started;
    let lastCompletion = started;
    for (;;) {
      const stop = end.expired || this.#mismatch !== null;
      let moved = false;
      let busy = false;
      for (const lane of this.#lanes) {
        moved = this.#turn(lane, stop) || moved;
        busy ||= lane.inFlight > 0;
      }
      if (!busy && (stop || this.#issued >= this.#limit)) break;
      const now = performance.now();
      if (moved) lastCompletion = now;
      else if (now - lastCompletion > LOST_MS) throw this.#lost();
      if (now - lastTurn < YIELD_MS) continue;
      await yieldToEventLoop(signal);
      this.#driver.checkAlive();
      onProgress?.(this.#done);
      lastTurn = performance.now();
    }
    onProgress?.(this.#done);
    const elapsedMs = performance.now() - started;
    return { transfers: this.#done, bytes: this.#bytes, elapsedMs, latency: this.#latency, mismatch: this.#mismatch };
  }

  #lost(): BusbarError {
    return new BusbarError("timeout", `${this.#driver.name}: no completion within ${LOST_MS / 1000} s`, {
      operation: "run I/O",
      path: this.#driver.name,
      hint: "the controller was reset; its error log may say why",
    });
  }

  /** Fills a queue with new transfers and takes what has come. True when anything came. */
  #turn(lane: Lane, stop: boolean): boolean {
    let count = 0;
    if (!stop && lane.free.length > 0) {
      // Commands of one call begin together.
      const now = performance.now();
      while (this.#issued < this.#limit) {
        const id = lane.free.pop();
        if (id === undefined) break;
        this.#prepare(lane, id, count++, now);
      }
    }
    if (count === 0 && lane.inFlight === 0) return false;
    const single = this.#lanes.length === 1;
    const taken = lane.queue.exchange(lane.commands, count, lane.completions, single ? 1 : 0, single ? SLICE_US : 0);
    lane.inFlight += count;
    const now = performance.now();
    for (let i = 0; i < taken; i++) this.#complete(lane, i * CQE_WORDS, now);
    return taken > 0;
  }

  #prepare(lane: Lane, id: number, place: number, now: number): void {
    const slot = lane.slots[id];
    if (slot === undefined) throw new BusbarError("bug", "a transfer has no slot");
    const { transferBlocks, readShare, randomSeed } = this.#options;
    const chunk = (randomSeed === null ? this.#issued : this.#next()) % this.#chunks;
    const first = chunk * transferBlocks;
    const lba = this.#firstLba + first;
    slot.lba = lba;
    slot.blocks = Math.min(transferBlocks, this.#blocks - first);
    slot.isRead = readShare === 1 || (readShare > 0 && this.#next() / 2 ** 32 < readShare);
    const { command } = slot;
    command[0] = (slot.isRead ? OPC_READ : OPC_WRITE) | id << 16;
    command[10] = lba;
    command[11] = lba / 2 ** 32;
    command[12] = slot.blocks - 1 | (slot.isRead ? this.#readFlags : this.#writeFlags);
    command[14] = lba;
    if (!slot.isRead) this.#fill(slot);
    lane.commands.set(command, place * SQE_WORDS);
    this.#issued++;
    slot.submittedAt = now;
  }

  #fill(slot: Slot): void {
    const { pattern, fill } = this.#options;
    if (pattern === undefined && fill === undefined) return;
    const bytes = slot.buffer.bytes.subarray(0, slot.blocks * this.#bytesPerBlock);
    if (fill !== undefined) fill(BigInt(slot.lba), bytes);
    else pattern?.fill(bytes, BigInt(slot.lba));
  }

  #complete(lane: Lane, at: number, now: number): void {
    const last = lane.completions[at + 3] ?? 0;
    const id = last & 0xffff;
    const slot = lane.slots[id];
    if (slot === undefined || slot.submittedAt === 0) {
      throw new BusbarError(
        "device-failed",
        `${this.#driver.name}: a completion for a command (${id}) that is not in flight`,
        {
          operation: "run I/O",
          path: this.#driver.name,
        },
      );
    }
    lane.inFlight--;
    const status = last >>> 17;
    if (status !== 0) {
      const what = `${slot.isRead ? "Read" : "Write"} of ${slot.blocks} blocks at ${slot.lba}`;
      throw statusError(status, {
        operation: what,
        path: `${this.#driver.name}, namespace ${this.#options.namespace.id}`,
      });
    }
    this.#latency.add(Math.max(0, Math.round((now - slot.submittedAt) * 1e6)));
    slot.submittedAt = 0;
    if (slot.isRead) this.#look(slot);
    lane.free.push(id);
    this.#done++;
    this.#bytes += slot.blocks * this.#options.namespace.blockBytes;
  }

  #look(slot: Slot): void {
    const { pattern, onRead } = this.#options;
    if (pattern === undefined && onRead === undefined) return;
    const bytes = slot.buffer.bytes.subarray(0, slot.blocks * this.#bytesPerBlock);
    onRead?.(BigInt(slot.lba), bytes);
    this.#mismatch ??= pattern?.check(bytes, BigInt(slot.lba)) ?? null;
  }

  /** xorshift32. */
  #next(): number {
    let x = this.#random || 0x9e3779b9;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random;
  }
}
