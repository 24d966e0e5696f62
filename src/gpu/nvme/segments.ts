/**
 * Cuts runs of bytes into commands, and what a warp copies after them.
 * @module
 */

import { BlockView } from "./layout.ts";
import { SEGMENT_BLOCK } from "./file_layout.ts";

/** Bytes to be brought to an arena. */
export interface ByteRun {
  /** First byte on the drive; null for zeros. */
  readonly offset: number | null;
  /** First byte in the arena. */
  readonly destination: number;
  /** Length in bytes. */
  readonly sizeBytes: number;
}

/** What commands are made for. */
export interface SegmentLimits {
  /** Bytes of a block of the drive. */
  readonly blockBytes: number;
  /** Bytes of a page of PRPs. */
  readonly pageBytes: number;
  /** Most bytes of one command, a multiple of blocks and pages. */
  readonly transferBytes: number;
  /** The drive reaches the arena. */
  readonly isReachable: boolean;
}

/** Commands for runs. */
export interface SegmentPlan {
  /** The array of `bb_nvme_segment`. */
  readonly table: Uint8Array<ArrayBuffer>;
  /** How many. */
  readonly count: number;
  /** Bytes that the drive writes to their place. */
  readonly directBytes: number;
  /** Bytes that a warp copies from a piece of its own. */
  readonly copiedBytes: number;
  /** Bytes that a warp fills with zeros. */
  readonly zeroBytes: number;
}

interface Segment {
  readonly lba: number;
  readonly destination: number;
  readonly blocks: number;
  readonly skip: number;
  readonly bytes: number;
  readonly is_direct: boolean;
}

/**
 * Where in an arena a command must end that begins at `destination`: the entries that it takes of the arena's PRP list lie
 * on one page of the list, because the last entry of a page would point to the next page.
 */
function endOfList(destination: number, pageBytes: number): number {
  const perList = pageBytes / 8;
  return (Math.floor((Math.floor(destination / pageBytes) + 1) / perList) + 1) * perList * pageBytes;
}

/** The next command of a run. */
function nextSegment(offset: number | null, destination: number, left: number, limits: SegmentLimits): Segment {
  const { blockBytes, pageBytes, transferBytes, isReachable } = limits;
  if (offset === null) {
    const bytes = Math.min(left, transferBytes);
    return { lba: 0, destination, blocks: 0, skip: 0, bytes, is_direct: false };
  }
  const skip = offset % blockBytes, lba = Math.floor(offset / blockBytes);
  // Source: NVM Express Base 2.0 §4.1.1: the first address is a multiple of 4.
  const fits = (at: number): boolean => isReachable && at % 4 === 0;
  if (skip === 0 && fits(destination)) {
    const most = Math.min(left, transferBytes, endOfList(destination, pageBytes) - destination);
    const bytes = Math.floor(most / blockBytes) * blockBytes;
    if (bytes > 0) return { lba, destination, blocks: bytes / blockBytes, skip: 0, bytes, is_direct: true };
  }
  const toBorder = blockBytes - skip;
  // The rest of a block comes alone where the drive can go on by itself behind it, but for one block and less.
  const goesOn = fits(destination + toBorder) && left > toBorder + blockBytes;
  const bytes = Math.min(left, skip > 0 && goesOn ? toBorder : transferBytes - skip);
  const blocks = Math.ceil((skip + bytes) / blockBytes);
  return { lba, destination, blocks, skip, bytes, is_direct: false };
}

/** Cuts runs into commands. Runs are bytes of the drive that exist; that they do, the caller has checked. */
export function planSegments(runs: readonly ByteRun[], limits: SegmentLimits): SegmentPlan {
  const segments: Segment[] = [];
  const sums = { directBytes: 0, copiedBytes: 0, zeroBytes: 0 };
  for (const { offset, destination, sizeBytes } of runs) {
    for (let done = 0; done < sizeBytes;) {
      const from = offset === null ? null : offset + done;
      const segment = nextSegment(from, destination + done, sizeBytes - done, limits);
      segments.push(segment);
      done += segment.bytes;
      sums[segment.is_direct ? "directBytes" : segment.blocks === 0 ? "zeroBytes" : "copiedBytes"] += segment.bytes;
    }
  }
  const table = new Uint8Array(segments.length * SEGMENT_BLOCK.sizeBytes);
  for (const [i, segment] of segments.entries()) {
    new BlockView(SEGMENT_BLOCK, table, i * SEGMENT_BLOCK.sizeBytes).set({ ...segment });
  }
  return { table, count: segments.length, ...sums };
}

/**
 * The runs that a part of a file is made of; holes become zeros.
 *
 * @param extents in the order of the file
 * @param destination where its first byte goes
 */
export function runsOf(
  extents: readonly { readonly fileOffset: number; readonly offset: number; readonly sizeBytes: number }[],
  from: number,
  sizeBytes: number,
  destination: number,
): ByteRun[] {
  const runs: ByteRun[] = [];
  const end = from + sizeBytes;
  let at = from;
  const zeros = (to: number): void => {
    if (to > at) runs.push({ offset: null, destination: destination + at - from, sizeBytes: to - at });
  };
  for (const extent of extents.slice(firstBehind(extents, from))) {
    const begin = Math.max(from, extent.fileOffset), stop = Math.min(end, extent.fileOffset + extent.sizeBytes);
    if (begin >= end) break;
    if (begin >= stop) continue;
    zeros(begin);
    runs.push({
      offset: extent.offset + begin - extent.fileOffset,
      destination: destination + begin - from,
      sizeBytes: stop - begin,
    });
    at = stop;
  }
  zeros(end);
  return runs;
}

/** The first extent that ends behind a place: a file may have very many. */
function firstBehind(
  extents: readonly { readonly fileOffset: number; readonly sizeBytes: number }[],
  place: number,
): number {
  let low = 0, high = extents.length;
  while (low < high) {
    const middle = (low + high) >> 1, extent = extents[middle];
    if (extent !== undefined && extent.fileOffset + extent.sizeBytes <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}
