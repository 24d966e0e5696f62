/**
 * Memory that begins on a page of the controller's, which may be larger than this machine's.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";

/**
 * Memory that the device can reach, from the start of a page.
 *
 * @param allocate makes a buffer: the held device's
 */
export function allocateAligned(
  allocate: (sizeBytes: number) => DmaBuffer,
  sizeBytes: number,
  pageBytes: number,
): DmaBuffer {
  const buffer = allocate(sizeBytes);
  const page = BigInt(pageBytes);
  if (buffer.iova % page === 0n) return buffer;
  buffer[Symbol.dispose]();
  const larger = allocate(sizeBytes + pageBytes);
  return new AlignedDmaBuffer(larger, Number((page - larger.iova % page) % page), sizeBytes);
}

/** The part of a buffer that begins at an aligned address. */
class AlignedDmaBuffer implements DmaBuffer {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly #whole: DmaBuffer;
  readonly #offset: number;

  constructor(whole: DmaBuffer, offset: number, sizeBytes: number) {
    this.#whole = whole;
    this.#offset = offset;
    this.sizeBytes = sizeBytes;
    this.iova = whole.iova + BigInt(offset);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#whole.bytes.subarray(this.#offset, this.#offset + this.sizeBytes);
  }

  get pointer(): Deno.PointerObject {
    const pointer = Deno.UnsafePointer.offset(this.#whole.pointer, this.#offset);
    if (pointer === null) throw new BusbarError("bug", "a buffer at address 0");
    return pointer;
  }

  [Symbol.dispose](): void {
    this.#whole[Symbol.dispose]();
  }
}
