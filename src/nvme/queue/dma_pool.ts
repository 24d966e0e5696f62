/**
 * Memory for data in flight, kept for the next command.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";

const SMALLEST_BYTES = 4096;

/** Hands out DMA buffers by powers of two and takes them back. Dispose frees all. */
export class DmaPool implements Disposable {
  readonly #allocate: (sizeBytes: number) => DmaBuffer;
  readonly #free = new Map<number, DmaBuffer[]>();
  readonly #all = new Set<DmaBuffer>();

  /** A pool over a device's memory. @param allocate makes a buffer: the held device's */
  constructor(allocate: (sizeBytes: number) => DmaBuffer) {
    this.#allocate = allocate;
  }

  /** A buffer of at least `sizeBytes`. What it holds is left from its last use. */
  take(sizeBytes: number): DmaBuffer {
    const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(sizeBytes)));
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) return kept;
    const buffer = this.#allocate(size);
    this.#all.add(buffer);
    return buffer;
  }

  /** Gives a buffer back. The device must be done with it. */
  give(buffer: DmaBuffer): void {
    const kept = this.#free.get(buffer.sizeBytes) ?? [];
    kept.push(buffer);
    this.#free.set(buffer.sizeBytes, kept);
  }

  /** Frees all buffers, given back or not. The device must have been stopped. */
  [Symbol.dispose](): void {
    for (const buffer of this.#all) buffer[Symbol.dispose]();
    this.#all.clear();
    this.#free.clear();
  }
}
