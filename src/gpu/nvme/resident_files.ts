/**
 * Runs of bytes and whole files by a kernel that stays: requests that are lists of segments.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { NamespaceGeometry } from "../../nvme/tables/identity.ts";
import type { CatResult, TakeBytes } from "../cat_file.ts";
import type { FileMap } from "../files/file_map.ts";
import type { Arena } from "./arena.ts";
import type { FileKernelOptions } from "./file_kernels.ts";
import { SEGMENT_BLOCK } from "./file_layout.ts";
import { BlockView } from "./layout.ts";
import type { ResidentMemories } from "./resident_memories.ts";
import { type ByteRun, planSegments, runsOf, type SegmentPlan } from "./segments.ts";

/** Segments that one request may have: 8 MiB of 128 KiB each. */
export const LIST_SEGMENTS = 64;
/** Pieces of a file that are read before they are taken. */
const MOST_AHEAD = 32;

/** A kernel that takes lists of segments. */
export interface ListRequests {
  /** The drive's name, for messages. */
  readonly name: string;
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** Bytes of a page of PRPs. */
  readonly pageBytes: number;
  /** Most bytes of one request's data area. */
  readonly dataBytes: number;
  /** Most bytes of one command. */
  readonly transferBytes: number;
  /** Requests that can be in flight. */
  readonly places: number;
  /** Whether a place is free. */
  hasRoom(): boolean;
  /** Waits until one is. */
  room(): Promise<void>;
  /**
   * Asks for a list.
   *
   * @param memory the row that its bytes go to; 0 is the data area of the request's place
   * @param collect takes the data area before anybody else gets the place
   */
  list<T>(
    memory: number,
    segments: number,
    table: Uint8Array<ArrayBuffer>,
    collect: (data: Uint8Array<ArrayBuffer>) => T,
  ): Promise<T>;
}

/** Rows of a plan's table. */
function rows({ table }: SegmentPlan, at: number, count: number): Uint8Array<ArrayBuffer> {
  return table.subarray(at * SEGMENT_BLOCK.sizeBytes, (at + count) * SEGMENT_BLOCK.sizeBytes);
}

/** Reads runs and files by requests for lists. */
export class ResidentFiles {
  readonly #kernel: ListRequests;

  /** Reads by a kernel. @param kernel what takes the requests */
  constructor(kernel: ListRequests) {
    this.#kernel = kernel;
  }

  /** As `ResidentKernel.gather` says. */
  async gather(
    runs: readonly ByteRun[],
    arena: Arena,
    memories: ResidentMemories,
    options: FileKernelOptions,
  ): Promise<SegmentPlan> {
    this.#checkRuns(runs, arena.sizeBytes);
    const plan = this.#plan(runs, arena.iova !== 0n);
    const memory = memories.use(arena);
    try {
      const posted: Promise<void>[] = [];
      let failed = false;
      for (let at = 0; at < plan.count && !failed && options.signal?.aborted !== true; at += LIST_SEGMENTS) {
        await this.#kernel.room();
        const count = Math.min(LIST_SEGMENTS, plan.count - at);
        const list = this.#kernel.list(memory, count, rows(plan, at, count), () => {});
        list.catch(() => failed = true);
        posted.push(list);
      }
      // The arena may go away when this returns: nothing may be on its way there.
      await Promise.allSettled(posted);
      await Promise.all(posted);
      options.signal?.throwIfAborted();
      return plan;
    } finally {
      memories.leave(memory);
    }
  }

  /** As `ResidentKernel.cat` says. */
  async cat(map: FileMap, take: TakeBytes, options: FileKernelOptions): Promise<CatResult> {
    const kernel = this.#kernel, { sizeBytes } = map.key;
    let commands = 0, zeroBytes = 0;
    const pieces: Promise<Uint8Array>[] = [];
    const post = (at: number): Promise<Uint8Array> => {
      const length = Math.min(kernel.dataBytes, sizeBytes - at);
      const runs = runsOf(map.extents, at, length, 0);
      this.#checkRuns(runs, length);
      const plan = this.#plan(runs, true);
      commands += plan.count;
      zeroBytes += plan.zeroBytes;
      return this.#toPlace(plan, length);
    };
    try {
      const ahead = Math.min(kernel.places, MOST_AHEAD);
      for (let at = 0; at < sizeBytes || pieces.length > 0;) {
        options.signal?.throwIfAborted();
        while (at < sizeBytes && pieces.length < ahead) {
          if (pieces.length > 0 && !kernel.hasRoom()) break;
          await kernel.room();
          const piece = post(at);
          piece.catch(() => {});
          pieces.push(piece);
          at += kernel.dataBytes;
        }
        const first = pieces.shift();
        if (first !== undefined) await take(await first);
      }
      return { sizeBytes, commands, zeroBytes, metadataReads: 0 };
    } finally {
      await Promise.allSettled(pieces);
    }
  }

  /** A data area takes as many segments as one request has: more come one request after the other. */
  async #toPlace(plan: SegmentPlan, sizeBytes: number): Promise<Uint8Array> {
    if (plan.count <= LIST_SEGMENTS) {
      return await this.#kernel.list(0, plan.count, plan.table, (data) => data.slice(0, sizeBytes));
    }
    const whole = new Uint8Array(sizeBytes);
    for (let at = 0; at < plan.count; at += LIST_SEGMENTS) {
      const count = Math.min(LIST_SEGMENTS, plan.count - at);
      const table = rows(plan, at, count);
      const first = new BlockView(SEGMENT_BLOCK, table);
      const last = new BlockView(SEGMENT_BLOCK, table, (count - 1) * SEGMENT_BLOCK.sizeBytes);
      const from = Number(first.get("destination"));
      const to = Number(last.get("destination")) + last.number("bytes");
      await this.#kernel.room();
      await this.#kernel.list(0, count, table, (data) => whole.set(data.subarray(from, to), from));
    }
    return whole;
  }

  #plan(runs: readonly ByteRun[], isReachable: boolean): SegmentPlan {
    const { namespace: { blockBytes }, pageBytes, transferBytes } = this.#kernel;
    return planSegments(runs, { blockBytes, pageBytes, transferBytes, isReachable });
  }

  #checkRuns(runs: readonly ByteRun[], arenaBytes: number): void {
    const { name, namespace: { blocks, blockBytes } } = this.#kernel;
    const capacity = Number(blocks) * blockBytes;
    for (const { offset, destination, sizeBytes } of runs) {
      const isInside = destination >= 0 && sizeBytes >= 0 && destination + sizeBytes <= arenaBytes &&
        (offset === null || (offset >= 0 && offset + sizeBytes <= capacity));
      if (!isInside) {
        throw new BusbarError("out-of-range", `${name}: ${sizeBytes} bytes at ${offset}`, {
          operation: "read runs of bytes by a kernel that stays",
          path: name,
        });
      }
    }
  }
}
