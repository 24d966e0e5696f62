/**
 * Reading bytes at any place of a drive, and checked access to what was read.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Reads `sizeBytes` bytes at `offset` of a drive, a partition or a file, wherever they begin. */
export type ReadBytes = (offset: number, sizeBytes: number) => Promise<Uint8Array>;

/** An error for what lies on a drive and cannot be so. */
export function malformed(what: string, path: string, operation: string = "read a file system"): BusbarError {
  return new BusbarError("malformed", `${path}: ${what}`, { operation, path });
}

/**
 * A reader of any bytes over one of whole blocks.
 *
 * @param read takes offsets and lengths that are multiples of `blockBytes`
 * @param sizeBytes the size of the whole; reads beyond it are `malformed`
 */
export function bytesOver(
  read: (offset: bigint, sizeBytes: number) => Promise<Uint8Array>,
  blockBytes: number,
  sizeBytes: number,
  path: string,
): ReadBytes {
  return async (offset, length) => {
    if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > sizeBytes) {
      throw malformed(`${length} bytes at ${offset} lie beyond its end`, path);
    }
    const begin = offset - offset % blockBytes;
    const end = Math.ceil((offset + length) / blockBytes) * blockBytes;
    if (end === begin) return new Uint8Array(0);
    const bytes = await read(BigInt(begin), end - begin);
    return bytes.subarray(offset - begin, offset - begin + length);
  };
}

/** A view of some bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
