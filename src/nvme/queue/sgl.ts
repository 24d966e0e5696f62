/**
 * Scatter gather lists: the other way to say where data lies, for controllers that take it.
 *
 * Source: NVM Express Base 2.0 §4.1.2.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { DmaSegment } from "./prp.ts";

/** Bytes of a descriptor. */
export const SGL_DESCRIPTOR_BYTES = 16;

const DATA_BLOCK = 0x00;
const LAST_SEGMENT = 0x30;

/** What a command's data pointer holds: 16 bytes as two 64-bit words. */
export type SglDescriptor = readonly [address: bigint, lengthAndType: bigint];

function descriptor(type: number, address: bigint, sizeBytes: number): SglDescriptor {
  if (address === 0n || !Number.isInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > 0xffff_ffff) {
    throw new BusbarError("out-of-range", `SGL: ${sizeBytes} bytes at 0x${address.toString(16)}`, {
      operation: "describe data for a command",
    });
  }
  return [address, BigInt(sizeBytes) | BigInt(type) << 56n];
}

/**
 * The descriptor for a command's data pointer. One piece stands in it directly; several are written into `list`, to
 * which it then points.
 *
 * @param list room for 16 bytes for each piece, where there are several
 */
export function writeSgl(
  segments: readonly DmaSegment[],
  list: { readonly iova: bigint; readonly entries: BigUint64Array<ArrayBuffer> } | null,
): SglDescriptor {
  const [first] = segments;
  if (first === undefined) throw new BusbarError("bug", "an SGL of nothing");
  if (segments.length === 1) return descriptor(DATA_BLOCK, first.iova, first.sizeBytes);
  if (list === null || list.entries.length < 2 * segments.length) {
    throw new BusbarError("bug", `an SGL of ${segments.length} pieces has no room`);
  }
  for (const [index, segment] of segments.entries()) {
    const [address, rest] = descriptor(DATA_BLOCK, segment.iova, segment.sizeBytes);
    list.entries[2 * index] = address;
    list.entries[2 * index + 1] = rest;
  }
  return descriptor(LAST_SEGMENT, list.iova, segments.length * SGL_DESCRIPTOR_BYTES);
}
