/**
 * Files read by kernels, window by window.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { Ext4 } from "./files/ext4.ts";
import type { FileMap } from "./files/file_map.ts";
import type { FoundFileSystem } from "./files/find_file.ts";
import { Arena } from "./nvme/arena.ts";
import type { FileKernelOptions, FileKernels, ResolveTarget } from "./nvme/file_kernels.ts";
import { runsOf } from "./nvme/segments.ts";

const WINDOW_BYTES = 8 << 20;
const END_OF_CHAIN = 0x0fff_fff8;

/** What reading a file came to. */
export interface CatResult {
  /** Bytes of the file. */
  readonly sizeBytes: number;
  /** Commands for its data. */
  readonly commands: number;
  /** Bytes that were not read because they are holes. */
  readonly zeroBytes: number;
  /** Blocks of metadata that the kernel read itself; 0 where it got a map. */
  readonly metadataReads: number;
}

/** Takes the bytes of a file, in order; the memory is reused afterwards. */
export type TakeBytes = (bytes: Uint8Array) => void | Promise<void>;

/**
 * Reads a file by its map.
 *
 * @throws {BusbarError} as {@linkcode FileKernels.gather} does
 */
export async function catFile(
  kernels: FileKernels,
  map: FileMap,
  take: TakeBytes,
  options: FileKernelOptions = {},
): Promise<CatResult> {
  const { sizeBytes } = map.key;
  const { driver, gpu } = kernels.direct;
  using arena = Arena.allocate(driver, gpu, "pinned", Math.min(WINDOW_BYTES, sizeBytes + kernels.namespace.blockBytes));
  let commands = 0, zeroBytes = 0;
  for (let at = 0; at < sizeBytes; at += WINDOW_BYTES) {
    const length = Math.min(WINDOW_BYTES, sizeBytes - at);
    const plan = await kernels.gather(runsOf(map.extents, at, length, 0), arena, options);
    commands += plan.count;
    zeroBytes += plan.zeroBytes;
    await take(await arena.read(0, length));
  }
  return { sizeBytes, commands, zeroBytes, metadataReads: 0 };
}

/** A file that a kernel finds by itself, from the number of its inode or its first cluster on. */
export interface ResolvableFile {
  /** Where it begins. */
  readonly target: ResolveTarget;
  /** Its length in bytes; null where the kernel finds it, in the inode. */
  readonly sizeBytes: number | null;
  /** Its change time, as the key of its map has it; null where the kernel finds it. */
  readonly changeTime: string | null;
}

/**
 * What a kernel needs to find a file by itself: the CPU goes no further than the number of the inode, or for FAT the entry of
 * the directory.
 *
 * @param path from the root of the file system
 * @throws {BusbarError} `absent`, `unsupported`, `malformed`
 */
export async function resolvableFile(
  { partition, fileSystem }: FoundFileSystem,
  path: string,
  blockBytes: number,
): Promise<ResolvableFile> {
  if (partition.offset % blockBytes !== 0) {
    throw new BusbarError("malformed", `${path}: its partition does not begin on a block`, { path });
  }
  const firstLba = BigInt(partition.offset / blockBytes);
  const { geometry } = fileSystem;
  if (fileSystem instanceof Ext4) {
    const { blockBytes, blocks, inodesPerGroup, inodeBytes, descriptorBytes, descriptorsOffset } = fileSystem.geometry;
    const inode = await fileSystem.inodeOf(path);
    const sizes = { inodesPerGroup, inodeBytes, descriptorBytes, descriptorsOffset };
    return {
      target: { kind: "ext4", firstLba, blockBytes, blocks, inode, ...sizes },
      sizeBytes: null,
      changeTime: null,
    };
  }
  if (!("clusterBytes" in geometry)) throw new BusbarError("bug", "a file system without a geometry");
  const { clusterBytes, clusters, fatOffset, dataOffset } = geometry;
  const { firstCluster: cluster, sizeBytes, changeTime } = await fileSystem.entryOf(path);
  return {
    target: {
      kind: "FAT32",
      firstLba,
      blockBytes: clusterBytes,
      blocks: clusters,
      cluster,
      clusterIndex: 0,
      fatOffset,
      dataOffset,
    },
    sizeBytes,
    changeTime,
  };
}

/**
 * Reads a file whose blocks the kernel finds by itself.
 *
 * @throws {BusbarError} as {@linkcode FileKernels.resolve} does; `malformed` for a chain that goes on behind the file
 */
export async function catResolved(
  kernels: FileKernels,
  file: ResolvableFile,
  take: TakeBytes,
  options: FileKernelOptions = {},
): Promise<CatResult> {
  const { driver, gpu } = kernels.direct;
  const { blockBytes } = kernels.namespace;
  using arena = Arena.allocate(driver, gpu, "pinned", WINDOW_BYTES);
  let { target, sizeBytes } = file;
  let extents = 0, metadataReads = 0;
  for (let at = 0; sizeBytes === null || at < sizeBytes; at += WINDOW_BYTES) {
    const left = sizeBytes === null ? WINDOW_BYTES : Math.min(WINDOW_BYTES, sizeBytes - at);
    const found = await kernels.resolve(target, at, Math.ceil(left / blockBytes) * blockBytes, arena, options);
    sizeBytes ??= found.sizeBytes;
    extents += found.extents;
    metadataReads += found.metadataReads;
    if (target.kind === "FAT32") {
      target = { ...target, cluster: found.cluster, clusterIndex: found.clusterIndex };
    }
    await take(await arena.read(0, Math.max(0, Math.min(left, sizeBytes - at))));
  }
  if (target.kind === "FAT32" && sizeBytes > 0 && target.cluster < END_OF_CHAIN) {
    throw new BusbarError("malformed", `${driver.name}: its chain of clusters goes on behind the file`, {
      operation: "find a file's blocks by a kernel",
      path: driver.name,
    });
  }
  return { sizeBytes, commands: extents, zeroBytes: 0, metadataReads };
}
