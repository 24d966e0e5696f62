/**
 * Memory for data in flight, kept for the next command.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";

const SMALLEST_BYTES = 4096;

/** A buffer of the pool with its bytes at hand: some buffers make a new view at each look. */
export interface PooledBuffer {
  /** The buffer. */
  readonly buffer: DmaBuffer;
  /** All its bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Hands out DMA buffers by powers of two and takes them back. Dispose frees all. */
export class DmaPool implements Disposable {
  readonly #allocate: (sizeBytes: number) => DmaBuffer;
  readonly #free = new Map<number, PooledBuffer[]>();
  readonly #all = new Set<DmaBuffer>();

  /** A pool over a device's memory. @param allocate makes a buffer: the held device's */
  constructor(allocate: (sizeBytes: number) => DmaBuffer) {
    this.#allocate = allocate;
  }

  /** A buffer of at least `sizeBytes`. What it holds is left from its last use. */
  take(sizeBytes: number): PooledBuffer {
    const size = sizeBytes <= SMALLEST_BYTES ? SMALLEST_BYTES : 2 ** Math.ceil(Math.log2(sizeBytes));
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) return kept;
    const buffer = this.#allocate(size);
    this.#all.add(buffer);
    return { buffer, bytes: buffer.bytes };
  }

  /** Gives a buffer back. The device must be done with it. */
  give(pooled: PooledBuffer): void {
    const { sizeBytes } = pooled.buffer;
    const kept = this.#free.get(sizeBytes);
    if (kept === undefined) this.#free.set(sizeBytes, [pooled]);
    else kept.push(pooled);
  }

  /** Frees all buffers, given back or not. The device must have been stopped. */
  [Symbol.dispose](): void {
    for (const buffer of this.#all) buffer[Symbol.dispose]();
    this.#all.clear();
    this.#free.clear();
  }
}
