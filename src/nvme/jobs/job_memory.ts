/**
 * The memory of a job's transfers: pieces of one size, many to a buffer, so that a job of 256 transfers asks the device for
 * memory once and not 256 times.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";

/** Without an IOMMU a buffer lies in one huge page, of which the queues have taken some. */
const BUFFER_BYTES = 1 << 20;

/** A part of a buffer. */
export interface MemoryPiece {
  /** The address the device uses. */
  readonly iova: bigint;
  /** The memory as this process sees it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The memory for C loops. */
  readonly pointer: Deno.PointerObject;
}

/** Pieces of one size, each at the start of a page. They live until dispose. */
export class JobMemory implements Disposable {
  readonly #allocate: (sizeBytes: number) => DmaBuffer;
  readonly #pieceBytes: number;
  readonly #strideBytes: number;
  readonly #buffers: DmaBuffer[] = [];
  #left: number;
  #at = 0;
  #free = 0;

  /**
   * Allocates as pieces are taken.
   *
   * @param allocate gives memory that begins at a page
   * @param count how many pieces will be taken
   */
  constructor(allocate: (sizeBytes: number) => DmaBuffer, pieceBytes: number, pageBytes: number, count: number) {
    this.#allocate = allocate;
    this.#pieceBytes = pieceBytes;
    this.#strideBytes = Math.ceil(pieceBytes / pageBytes) * pageBytes;
    this.#left = count;
  }

  /** The next piece. */
  take(): MemoryPiece {
    if (this.#free === 0) {
      const pieces = Math.max(1, Math.min(this.#left, Math.floor(BUFFER_BYTES / this.#strideBytes)));
      const buffer = this.#allocate(pieces * this.#strideBytes);
      this.#buffers.push(buffer);
      // Now, and not in the middle of what is measured, the kernel finds the pages.
      for (let at = 0; at < buffer.sizeBytes; at += 4096) buffer.bytes[at] = 0;
      this.#at = 0;
      this.#free = pieces;
    }
    const buffer = this.#buffers.at(-1);
    const pointer = buffer === undefined ? null : Deno.UnsafePointer.offset(buffer.pointer, this.#at);
    if (buffer === undefined || pointer === null) throw new BusbarError("bug", "a job's memory at address 0");
    const piece = {
      iova: buffer.iova + BigInt(this.#at),
      bytes: buffer.bytes.subarray(this.#at, this.#at + this.#pieceBytes),
      pointer,
    };
    this.#at += this.#strideBytes;
    this.#free--;
    this.#left--;
    return piece;
  }

  /** The buffers that the pieces lie in. */
  get buffers(): readonly DmaBuffer[] {
    return this.#buffers;
  }

  /** Gives all of it back. */
  [Symbol.dispose](): void {
    for (const buffer of this.#buffers.splice(0)) buffer[Symbol.dispose]();
  }
}
