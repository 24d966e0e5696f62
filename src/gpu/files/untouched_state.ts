/**
 * What is compared of a file system that is not read here: what any mount for writing would have changed.
 *
 * Of XFS that is the superblock and the file's inode, which takes a new time and a new log sequence number with every change
 * of the file. Unmounting writes the superblock's log sequence number even where it was mounted read-only, so that is left out.
 *
 * Source: Linux fs/xfs/libxfs/xfs_format.h (struct xfs_dsb, XFS_INO_TO_FSB), fs/xfs/xfs_log.c (xfs_log_writable: read-only
 * mounts write an unmount record).
 * @module
 */

import { createHash } from "node:crypto";

import { malformed, type ReadBytes, viewOf } from "./bytes.ts";

const HEAD_BYTES = 128 << 10;
const XFS_MAGIC = 0x58465342;
/** Of the superblock: `sb_crc` and `sb_lsn`. */
const XFS_WRITTEN_BY_UNMOUNT = [[224, 228], [240, 248]] as const;
const XFS_INODE_MAGIC = 0x494e;
/** Since this version an inode holds its own number, at this offset. */
const XFS_NUMBERED_VERSION = 3, XFS_INODE_NUMBER = 152;

/** First byte and length of an inode of XFS. */
function xfsInodePlace(superblock: DataView, inode: number): { readonly offset: number; readonly sizeBytes: number } {
  const blockBytes = superblock.getUint32(4), groupBlocks = superblock.getUint32(84), groups = superblock.getUint32(88);
  const sizeBytes = superblock.getUint16(104);
  const inodesOfBlockBits = superblock.getUint8(123), groupBlocksBits = superblock.getUint8(124);
  // A group's number, a block in the group, an inode in the block: from the highest bits to the lowest.
  const block = Math.floor(inode / 2 ** inodesOfBlockBits);
  const group = Math.floor(block / 2 ** groupBlocksBits);
  const inGroup = block % 2 ** groupBlocksBits, inBlock = inode % 2 ** inodesOfBlockBits;
  const isRight = group < groups && inGroup < groupBlocks && sizeBytes >= 256 && sizeBytes <= 2048 &&
    (inBlock + 1) * sizeBytes <= blockBytes;
  if (!isRight) throw malformed(`XFS has no inode ${inode}`, "its superblock");
  return { offset: (group * groupBlocks + inGroup) * blockBytes + inBlock * sizeBytes, sizeBytes };
}

/**
 * SHA-256 of the beginning of a file system, of XFS with the inode of a file.
 *
 * @param read reads from the first byte of the file system on, as it lies on the drive
 * @param inode the file's number
 * @throws {BusbarError} `malformed` for a superblock of XFS, or an inode, that cannot be
 */
export async function hashOfState(read: ReadBytes, inode: number): Promise<string> {
  const head = (await read(0, HEAD_BYTES)).slice();
  const hash = createHash("sha256");
  if (viewOf(head).getUint32(0) === XFS_MAGIC) {
    const { offset, sizeBytes } = xfsInodePlace(viewOf(head), inode);
    const bytes = await read(offset, sizeBytes);
    const view = viewOf(bytes);
    const isNumbered = view.getUint8(4) >= XFS_NUMBERED_VERSION;
    const isInode = view.getUint16(0) === XFS_INODE_MAGIC &&
      (!isNumbered || view.getBigUint64(XFS_INODE_NUMBER) === BigInt(inode));
    if (!isInode) throw malformed(`at ${offset} it should lie, and does not`, `inode ${inode} of XFS`);
    hash.update(bytes);
    for (const [from, end] of XFS_WRITTEN_BY_UNMOUNT) head.fill(0, from, end);
  }
  return hash.update(head).digest("hex");
}
