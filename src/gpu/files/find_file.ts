/**
 * Finding a file on a drive that the kernel does not have: its partition, its file system, its extents.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { ReadBytes } from "./bytes.ts";
import { Ext4 } from "./ext4.ts";
import { Fat32 } from "./fat32.ts";
import { checkExtents, type FileMap } from "./file_map.ts";
import { type Partition, readPartitions } from "./partition.ts";

/** A drive whose bytes can be read. */
export interface DriveBytes {
  /** For messages. */
  readonly name: string;
  /** Reads bytes from the start of the namespace. */
  readonly read: ReadBytes;
  /** The size of the namespace in bytes. */
  readonly capacityBytes: number;
  /** Its logical block size in bytes. */
  readonly blockBytes: number;
}

/** A file system that is read here, and where it lies. */
export interface FoundFileSystem {
  /** Its partition. */
  readonly partition: Partition;
  /** Its reader. */
  readonly fileSystem: Ext4 | Fat32;
}

/** Reads a partition from its first byte on, and not beyond its end. */
export function partitionReader(drive: DriveBytes, partition: Partition): ReadBytes {
  return (offset, sizeBytes) => {
    if (offset < 0 || sizeBytes < 0 || offset + sizeBytes > partition.sizeBytes) {
      throw new BusbarError("malformed", `${drive.name}: ${sizeBytes} bytes at ${offset} lie beyond the partition`, {
        operation: "read a file system",
        path: drive.name,
      });
    }
    return drive.read(partition.offset + offset, sizeBytes);
  };
}

/**
 * The file systems of a drive that are read here.
 *
 * @param partition only this one; 0 is a drive without partitions
 * @throws {BusbarError} `absent` where there is none; `unsupported` and `malformed` as the readers say
 */
export async function findFileSystem(drive: DriveBytes, partition?: number): Promise<FoundFileSystem> {
  const all = await readPartitions(drive.read, drive.blockBytes, drive.capacityBytes, drive.name);
  const found: FoundFileSystem[] = [];
  for (const one of all.filter(({ number }) => partition === undefined || number === partition)) {
    // Too small for a superblock.
    if (one.sizeBytes < 4096) continue;
    const read = partitionReader(drive, one), name = one.number === 0 ? drive.name : `${drive.name} p${one.number}`;
    const fileSystem = await Ext4.open(read, name) ?? await Fat32.open(read, name);
    if (fileSystem !== null) found.push({ partition: one, fileSystem });
  }
  const [first, ...others] = found;
  const details = { operation: "find a file system", path: drive.name };
  if (first === undefined) {
    const where = partition === undefined ? "on it" : `in partition ${partition}`;
    throw new BusbarError("absent", `${drive.name}: neither ext4 nor FAT32 ${where}`, {
      ...details,
      hint: "a file of another file system is read by a map that was made while it was mounted read-only",
    });
  }
  if (others.length > 0) {
    const numbers = found.map((one) => one.partition.number).join(", ");
    throw new BusbarError("usage", `${drive.name}: there are file systems in partitions ${numbers}`, {
      ...details,
      hint: "--partition says which",
    });
  }
  return first;
}

/**
 * Finds a file and where its bytes lie.
 *
 * @param path from the root of its file system
 * @throws {BusbarError} `absent`, `unsupported`, `malformed`
 */
export async function findFile(drive: DriveBytes, path: string, partition?: number): Promise<FileMap> {
  const found = await findFileSystem(drive, partition);
  return checkedMap(await found.fileSystem.map(path, found.partition.offset), drive);
}

/** Checks a map against the drive's blocks. @throws {BusbarError} `malformed` */
export function checkedMap(map: FileMap, drive: DriveBytes): FileMap {
  const { capacityBytes, blockBytes } = drive;
  return { ...map, extents: checkExtents(map.extents, map.key.sizeBytes, capacityBytes, blockBytes, map.path) };
}
