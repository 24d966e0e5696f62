/**
 * Where the kernel says that a file's bytes lie.
 * @module
 */

import { errnoError } from "../src/core/error.ts";
import type { Descriptor } from "./fd.ts";
import { check, lazyLibrary } from "./library.ts";

const SYMBOLS = {
  bb_file_extents: {
    parameters: [/* fd */ "i32", /* start */ "u64", /* uint64_t *out */ "buffer", /* most */ "u32"],
    result: "i32",
    // It writes the file's data out first, which takes as long as the drive takes.
    nonblocking: true,
  },
  bb_file_block_size: { parameters: [/* fd */ "i32"], result: "i32" },
  bb_file_blocks: {
    parameters: [/* fd */ "i32", /* first */ "u32", /* uint32_t *out */ "buffer", /* count */ "u32"],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

const MOST_EXTENTS = 128;
const EOPNOTSUPP = 95;
const ENOTTY = 25;

/** An extent as the kernel tells of it. */
export interface KernelExtent {
  /** First byte in the file. */
  readonly fileOffset: number;
  /** First byte on the file's device. */
  readonly offset: number;
  /** Length in bytes. */
  readonly sizeBytes: number;
  /** `FIEMAP_EXTENT_…`. */
  readonly flags: number;
}

/**
 * Some extents of a file, after its data were written out; null where the file system has no FIEMAP.
 *
 * @param start a byte of the file: they lie there and behind
 * @throws {BusbarError} as the ioctl fails
 */
export async function fileExtents(file: Descriptor, start: number): Promise<KernelExtent[] | null> {
  const words = new BigUint64Array(4 * MOST_EXTENTS);
  const count = await library().bb_file_extents(file.number, BigInt(start), words, MOST_EXTENTS);
  if (count === -EOPNOTSUPP || count === -ENOTTY) return null;
  if (count < 0) throw errnoError(-count, "map a file's extents", { path: file.name });
  return Array.from({ length: count }, (_, i) => {
    const [fileOffset, offset, sizeBytes, flags] = [0, 1, 2, 3].map((word) => Number(words[4 * i + word] ?? 0n));
    return { fileOffset: fileOffset ?? 0, offset: offset ?? 0, sizeBytes: sizeBytes ?? 0, flags: flags ?? 0 };
  });
}

/** The block size of a file's file system, in bytes. @throws {BusbarError} as the ioctl fails */
export function fileBlockBytes(file: Descriptor): number {
  return check(library().bb_file_block_size(file.number), "ask for a file system's block size", { path: file.name });
}

/**
 * The device's block of each of a file's blocks; 0 for a hole.
 *
 * @throws {BusbarError} as the ioctl fails, `permission` without CAP_SYS_RAWIO
 */
export async function fileBlocks(file: Descriptor, first: number, count: number): Promise<Uint32Array> {
  const blocks = new Uint32Array(count);
  const result = await library().bb_file_blocks(file.number, first, blocks, count);
  check(result, "map a file's blocks", { path: file.name, hint: "run as root" });
  return blocks;
}
