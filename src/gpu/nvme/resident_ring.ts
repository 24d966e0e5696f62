/**
 * The ring of one warp of a kernel that stays: requests, completions and segments in pinned host memory, and data areas.
 * @module
 */

import type { Gpu } from "../gpu.ts";
import type { GpuBuffer, PinnedBuffer } from "../memory.ts";
import { Arena } from "./arena.ts";
import type { DirectDriver } from "./direct_job.ts";
import { SEGMENT_BLOCK } from "./file_layout.ts";
import { BlockView, fieldNamed } from "./layout.ts";
import { COMPLETION_BLOCK, PLACE_BLOCK, REQUEST_BLOCK, RING_BLOCK } from "./resident_layout.ts";

/** Sizes of a ring. */
export interface ResidentRingSizes {
  /** Requests in flight at most, a power of two. */
  readonly places: number;
  /** Bytes of a data area, a power of two. */
  readonly dataBytes: number;
  /** Most segments of a list. */
  readonly listSegments: number;
}

/** A request as it stands in the ring. The kernel checks it. */
export interface ResidentRequest {
  /** `RESIDENT_OPERATIONS`. */
  readonly operation: number;
  /** Read and write: first block. */
  readonly lba?: bigint;
  /** Read and write: how many. */
  readonly blocks?: number;
  /** List: the row of the table of memories; 0 for the data area of the request. */
  readonly memory?: number;
  /** List: how many segments. */
  readonly segments?: number;
}

/** What came of a request. */
export interface ResidentCompletion {
  /** `RESIDENT_OUTCOMES`. */
  readonly outcome: number;
  /** Status field of the command that failed first. */
  readonly status: number;
  /** First block of that command. */
  readonly failedLba: bigint;
  /** How many. */
  readonly failedBlocks: number;
  /** Bytes that were moved. */
  readonly bytes: number;
}

const REQUEST = {
  number: fieldNamed(REQUEST_BLOCK, "number").offset,
  operation: fieldNamed(REQUEST_BLOCK, "operation").offset,
  lba: fieldNamed(REQUEST_BLOCK, "lba").offset,
  blocks: fieldNamed(REQUEST_BLOCK, "blocks").offset,
  memory: fieldNamed(REQUEST_BLOCK, "memory").offset,
  segments: fieldNamed(REQUEST_BLOCK, "segments").offset,
  place: fieldNamed(REQUEST_BLOCK, "place").offset,
} as const;

const COMPLETION = {
  number: fieldNamed(COMPLETION_BLOCK, "number").offset,
  outcome: fieldNamed(COMPLETION_BLOCK, "outcome").offset,
  status: fieldNamed(COMPLETION_BLOCK, "status").offset,
  failedBlocks: fieldNamed(COMPLETION_BLOCK, "failed_blocks").offset,
  failedLba: fieldNamed(COMPLETION_BLOCK, "failed_lba").offset,
  bytes: fieldNamed(COMPLETION_BLOCK, "bytes").offset,
} as const;

/** A ring. Dispose frees it: by then no kernel may run and no command may be in flight. */
export class ResidentRing implements Disposable {
  readonly #sizes: ResidentRingSizes;
  readonly #shared: PinnedBuffer;
  readonly #data: Arena;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  /** The same memory in words: numbers are stored and loaded by atomics, so that nothing else moves past them. */
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #completions: number;
  readonly #segments: number;
  readonly #places: GpuBuffer;
  readonly #dataBytes: Uint8Array<ArrayBuffer>;
  #next = 0;

  private constructor(
    sizes: ResidentRingSizes,
    shared: PinnedBuffer,
    places: GpuBuffer,
    data: Arena,
    dataBytes: Uint8Array<ArrayBuffer>,
  ) {
    this.#sizes = sizes;
    this.#shared = shared;
    this.#places = places;
    this.#data = data;
    this.#dataBytes = dataBytes;
    this.#bytes = shared.bytes;
    this.#bytes.fill(0);
    this.#view = new DataView(this.#bytes.buffer);
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#completions = sizes.places * REQUEST_BLOCK.sizeBytes;
    this.#segments = this.#completions + sizes.places * COMPLETION_BLOCK.sizeBytes;
  }

  /** Takes memory. @throws {CudaError} where the GPU has none, or cannot reach it */
  static async allocate(driver: DirectDriver, gpu: Gpu, sizes: ResidentRingSizes): Promise<ResidentRing> {
    const { places, listSegments, dataBytes } = sizes;
    const each = REQUEST_BLOCK.sizeBytes + COMPLETION_BLOCK.sizeBytes + listSegments * SEGMENT_BLOCK.sizeBytes;
    using resources = new DisposableStack();
    const shared = resources.use(gpu.allocatePinned(places * each));
    const kept = resources.use(gpu.allocate(places * PLACE_BLOCK.sizeBytes));
    const data = resources.use(Arena.allocate(driver, gpu, "pinned", places * dataBytes));
    const ring = new ResidentRing(sizes, shared, kept, data, await data.read(0, places * dataBytes));
    resources.move();
    return ring;
  }

  /** The bytes of `bb_resident_ring`. */
  get block(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(RING_BLOCK.sizeBytes);
    const { address } = this.#shared;
    new BlockView(RING_BLOCK, bytes).set({
      requests: address,
      completions: address + BigInt(this.#completions),
      segments: address + BigInt(this.#segments),
      places: this.#places.address,
      data: this.#data.address,
      data_iova: this.#data.iova,
      data_list: this.#data.list,
      mask: this.#sizes.places - 1,
    });
    return bytes;
  }

  /** The data area of a place. */
  dataOf(place: number): Uint8Array<ArrayBuffer> {
    const { dataBytes } = this.#sizes;
    return this.#dataBytes.subarray(place * dataBytes, (place + 1) * dataBytes);
  }

  /** The segments of a place. */
  segmentsOf(place: number): Uint8Array<ArrayBuffer> {
    const sizeBytes = this.#sizes.listSegments * SEGMENT_BLOCK.sizeBytes;
    const at = this.#segments + place * sizeBytes;
    return this.#bytes.subarray(at, at + sizeBytes);
  }

  /** Writes a request, whose place has its data and segments and is free. Returns its number. */
  post(place: number, { operation, lba = 0n, blocks = 0, memory = 0, segments = 0 }: ResidentRequest): number {
    const number = this.#next, at = (number & (this.#sizes.places - 1)) * REQUEST_BLOCK.sizeBytes;
    this.#next = number + 1 >>> 0;
    this.#view.setUint32(at + REQUEST.operation, operation, true);
    this.#view.setBigUint64(at + REQUEST.lba, lba, true);
    this.#view.setUint32(at + REQUEST.blocks, blocks, true);
    this.#view.setUint32(at + REQUEST.memory, memory, true);
    this.#view.setUint32(at + REQUEST.segments, segments, true);
    this.#view.setUint32(at + REQUEST.place, place, true);
    // Sequentially consistent: the kernel, which loads it with acquire, sees what was written before.
    Atomics.store(this.#words, (at + REQUEST.number) / 4, number + 1);
    return number;
  }

  /** What came of the request with this number at a place; null while it is in flight. */
  completionOf(place: number, number: number): ResidentCompletion | null {
    const at = this.#completions + place * COMPLETION_BLOCK.sizeBytes;
    if (Atomics.load(this.#words, (at + COMPLETION.number) / 4) >>> 0 !== number + 1 >>> 0) return null;
    return {
      outcome: this.#view.getUint32(at + COMPLETION.outcome, true),
      status: this.#view.getUint32(at + COMPLETION.status, true),
      failedBlocks: this.#view.getUint32(at + COMPLETION.failedBlocks, true),
      failedLba: this.#view.getBigUint64(at + COMPLETION.failedLba, true),
      bytes: Number(this.#view.getBigUint64(at + COMPLETION.bytes, true)),
    };
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    this.#data[Symbol.dispose]();
    this.#places[Symbol.dispose]();
    this.#shared[Symbol.dispose]();
  }
}
