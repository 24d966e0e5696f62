/**
 * Where the bytes of a file lie on a drive, and what tells that the file is still the one that was mapped.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { malformed } from "./bytes.ts";

/** A run of a file's bytes. What no extent covers is a hole, and reads as zeros. */
export interface FileExtent {
  /** First byte in the file. */
  readonly fileOffset: number;
  /** First byte on the drive, from the start of the namespace. */
  readonly offset: number;
  /** Length in bytes. The last one may reach beyond the end of the file, to the end of its block. */
  readonly sizeBytes: number;
}

/** What a map was made of. Any difference later means that the map is of another file, or of an older state. */
export interface FileKey {
  /** `ext4`, `FAT32`, or the kernel's name of a file system that is not read here. */
  readonly fileSystem: string;
  /** The file system's UUID, or FAT's volume number. */
  readonly uuid: string;
  /** When it was mounted last, in seconds since 1970; null where the file system does not say. */
  readonly mountTime: number | null;
  /** How often it was mounted since it was checked; null where it does not say. */
  readonly mountCount: number | null;
  /** Length of the file in bytes. */
  readonly sizeBytes: number;
  /** When the file changed last: nanoseconds since 1970, or the two words of FAT's write time. */
  readonly changeTime: string;
}

/** A file system that is not read here, as it was when the file was mapped. */
export interface UntouchedState {
  /** The number of the file's inode. */
  readonly inode: number;
  /** SHA-256 of what any mount for writing would have changed. */
  readonly sha256: string;
}

/** A file on a drive. */
export interface FileMap {
  /** Its path from the root of its file system. */
  readonly path: string;
  /** First byte of its file system, from the start of the namespace. */
  readonly partitionOffset: number;
  /** What it is. */
  readonly key: FileKey;
  /** Where its bytes lie, in the order of the file. */
  readonly extents: readonly FileExtent[];
  /**
   * Of a file system that is not read here and was mounted read-only; else null. Then this alone tells that nobody mounted it
   * for writing since.
   */
  readonly untouched: UntouchedState | null;
}

/** Puts adjacent runs together, so that two maps of one file compare however they were cut. */
export function mergeExtents(extents: readonly FileExtent[]): FileExtent[] {
  const merged: FileExtent[] = [];
  for (const extent of extents) {
    const last = merged.at(-1);
    if (
      last !== undefined && last.fileOffset + last.sizeBytes === extent.fileOffset &&
      last.offset + last.sizeBytes === extent.offset
    ) {
      merged[merged.length - 1] = { ...last, sizeBytes: last.sizeBytes + extent.sizeBytes };
    } else {
      merged.push(extent);
    }
  }
  return merged;
}

/**
 * Checks extents against the file and the drive, and cuts what reaches beyond the file's last block.
 *
 * @param blockBytes the drive's block size: extents begin and end on it
 * @throws {BusbarError} `malformed` for extents that overlap, go backwards, are not aligned or lie outside
 */
export function checkExtents(
  extents: readonly FileExtent[],
  sizeBytes: number,
  capacityBytes: number,
  blockBytes: number,
  path: string,
): FileExtent[] {
  const end = Math.ceil(sizeBytes / blockBytes) * blockBytes;
  let reached = 0;
  const kept: FileExtent[] = [];
  for (const { fileOffset, offset, sizeBytes: length } of extents) {
    if (![fileOffset, offset, length].every((one) => Number.isSafeInteger(one) && one >= 0 && one % blockBytes === 0)) {
      throw malformed(`an extent of ${length} bytes at ${offset} does not lie on blocks of ${blockBytes} bytes`, path);
    }
    if (fileOffset < reached || length === 0) throw malformed("its extents overlap or are out of order", path);
    if (offset + length > capacityBytes) throw malformed(`an extent at ${offset} lies beyond the drive's end`, path);
    reached = fileOffset + length;
    const inside = Math.min(length, end - fileOffset);
    if (inside > 0) kept.push({ fileOffset, offset, sizeBytes: inside });
  }
  return mergeExtents(kept);
}

/**
 * Compares a map with what a later look found.
 *
 * @throws {BusbarError} `mismatch` with what differs
 */
export function checkUnchanged(before: FileMap, now: FileMap): void {
  const differs = (what: string, was: unknown, is: unknown): BusbarError =>
    new BusbarError("mismatch", `${before.path}: ${what} was ${was} when the file was mapped, and is ${is}`, {
      operation: "read a file that was mapped before",
      path: before.path,
      hint: "map it again, and let nobody mount the drive until it was read",
    });
  const names: Readonly<Record<keyof FileKey, string>> = {
    fileSystem: "its file system",
    uuid: "the file system's UUID",
    mountTime: "the file system's mount time",
    mountCount: "the file system's mount count",
    sizeBytes: "its size",
    changeTime: "its change time",
  };
  for (const name of Object.keys(names) as (keyof FileKey)[]) {
    if (before.key[name] !== now.key[name]) throw differs(names[name], before.key[name], now.key[name]);
  }
  if (before.partitionOffset !== now.partitionOffset) {
    throw differs("the start of its partition", before.partitionOffset, now.partitionOffset);
  }
  const [old, fresh] = [mergeExtents(before.extents), mergeExtents(now.extents)];
  if (old.length !== fresh.length) throw differs("its number of extents", old.length, fresh.length);
  for (const [i, extent] of old.entries()) {
    const other = fresh[i];
    if (
      other === undefined || other.fileOffset !== extent.fileOffset || other.offset !== extent.offset ||
      other.sizeBytes !== extent.sizeBytes
    ) {
      throw differs(`extent ${i}`, JSON.stringify(extent), JSON.stringify(other));
    }
  }
}

/** Reads bytes of a file through its map, by the CPU: headers. */
export function fileReader(
  map: Pick<FileMap, "extents" | "path"> & { readonly key: Pick<FileKey, "sizeBytes"> },
  drive: (offset: number, sizeBytes: number) => Promise<Uint8Array>,
): (offset: number, sizeBytes: number) => Promise<Uint8Array> {
  return async (offset, sizeBytes) => {
    if (offset < 0 || offset + sizeBytes > map.key.sizeBytes) {
      throw malformed(`${sizeBytes} bytes at ${offset} lie beyond its end`, map.path, "read a file");
    }
    const bytes = new Uint8Array(sizeBytes);
    for (const extent of map.extents) {
      const from = Math.max(offset, extent.fileOffset);
      const end = Math.min(offset + sizeBytes, extent.fileOffset + extent.sizeBytes);
      if (from < end) bytes.set(await drive(extent.offset + from - extent.fileOffset, end - from), from - offset);
    }
    return bytes;
  };
}
