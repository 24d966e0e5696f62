/**
 * A file that was mapped while it was mounted, on the drive that the kernel has no more: only what is unchanged is read.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { bytesOver } from "./bytes.ts";
import { checkUnchanged, type FileMap } from "./file_map.ts";
import { checkedMap, type DriveBytes, findFileSystem, type FoundFileSystem } from "./find_file.ts";
import { readPartitions } from "./partition.ts";
import { hashOfState } from "./untouched_state.ts";

/** A mapped file that was found again. */
export interface FoundFile {
  /** Its map. */
  readonly map: FileMap;
  /** Its file system; null for one that is not read here. */
  readonly found: FoundFileSystem | null;
}

/**
 * Looks a mapped file up again, by our own reader, and compares.
 *
 * @throws {BusbarError} `mismatch` with what changed; else as the readers say
 */
export async function findMappedFile(drive: DriveBytes, before: FileMap): Promise<FoundFile> {
  const partitions = await readPartitions(drive.read, drive.blockBytes, drive.capacityBytes, drive.name);
  const partition = partitions.find(({ offset }) => offset === before.partitionOffset);
  if (partition === undefined) {
    throw new BusbarError("mismatch", `${drive.name}: no partition begins at byte ${before.partitionOffset} any more`, {
      operation: "read a file that was mapped before",
      path: before.path,
      hint: "map it again",
    });
  }
  if (before.untouched !== null) {
    const { offset, sizeBytes } = partition;
    const read = bytesOver(
      (at, length) => drive.read(offset + Number(at), length),
      drive.blockBytes,
      sizeBytes,
      drive.name,
    );
    const now = await hashOfState(read, before.untouched.inode);
    if (now === before.untouched.sha256) return { map: checkedMap(before, drive), found: null };
    throw new BusbarError("mismatch", `${before.path}: its ${before.key.fileSystem} file system was written to since`, {
      operation: "read a file that was mapped before",
      path: before.path,
      hint: "mount it read-only, and map the file again",
    });
  }
  const found = await findFileSystem(drive, partition.number);
  const now = checkedMap(await found.fileSystem.map(before.path, partition.offset), drive);
  checkUnchanged(before, now);
  return { map: now, found };
}
