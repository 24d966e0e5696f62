/**
 * What lies on a drive, by the magic numbers of partition tables, file systems and volume managers.
 *
 * Asked before a namespace is written to, where libblkid cannot see the drive because the kernel does not have it.
 * Source: the on-disk formats of each, as libblkid's probes know them.
 * @module
 */

/** Something found on a drive. */
export interface Signature {
  /** What it is: `ext4`, `LVM2 physical volume`. */
  readonly name: string;
  /** Where its magic number stands, in bytes. */
  readonly offset: bigint;
}

/** Reads `sizeBytes` bytes at `offset`; both are multiples of the drive's block size. */
export type BlockReader = (offset: bigint, sizeBytes: number) => Promise<Uint8Array>;

interface Magic {
  readonly name: string;
  readonly offset: number;
  /** Hexadecimal digits. */
  readonly bytes: string;
}

const text = (characters: string): string => new TextEncoder().encode(characters).toHex();

/** Magic numbers at fixed places in the first part of a drive. */
const MAGICS: readonly Magic[] = [
  { name: "XFS", offset: 0, bytes: text("XFSB") },
  { name: "LUKS", offset: 0, bytes: text("LUKS") + "babe" },
  { name: "LUKS2 (second header)", offset: 0x4000, bytes: text("SKUL") + "babe" },
  { name: "Linux RAID (md 1.1)", offset: 0, bytes: "fc4e2ba9" },
  { name: "Linux RAID (md 1.2)", offset: 4096, bytes: "fc4e2ba9" },
  { name: "ext2, ext3 or ext4", offset: 1024 + 56, bytes: "53ef" },
  { name: "F2FS", offset: 1024, bytes: "1020f5f2" },
  { name: "EROFS", offset: 1024, bytes: "e2e1f5e0" },
  { name: "HFS+", offset: 1024, bytes: text("H+") },
  { name: "NILFS2", offset: 1030, bytes: "3434" },
  { name: "bcache", offset: 4096 + 24, bytes: "c68573f64e1a45ca8265f77f48ba6d81" },
  { name: "swap space", offset: 4096 - 10, bytes: text("SWAPSPACE2") },
  { name: "swap space", offset: 65536 - 10, bytes: text("SWAPSPACE2") },
  { name: "btrfs", offset: 0x10040, bytes: text("_BHRfS_M") },
  { name: "NTFS", offset: 3, bytes: text("NTFS    ") },
  { name: "exFAT", offset: 3, bytes: text("EXFAT   ") },
  { name: "FAT", offset: 54, bytes: text("FAT1") },
  { name: "FAT32", offset: 82, bytes: text("FAT32   ") },
  { name: "APFS", offset: 32, bytes: text("NXSB") },
  { name: "ISO 9660", offset: 0x8001, bytes: text("CD001") },
  { name: "SquashFS", offset: 0, bytes: text("hsqs") },
  { name: "Ceph BlueStore", offset: 0, bytes: text("bluestore block device") },
];

/** How much of the beginning and of the end is looked at: all places above, and ZFS's four labels. */
const HEAD_BYTES = 512 * 1024;
const TAIL_BYTES = 512 * 1024;

const LVM_SECTORS = [0, 512, 1024, 1536] as const;
const ZFS_LABEL_BYTES = 256 * 1024;
const ZFS_UBERBLOCKS = 128 * 1024;
const ZFS_UBERBLOCK_STEP = 1024;
const ZFS_MAGICS = ["0cb1ba0000000000", "0000000000bab10c"] as const;

/**
 * Looks for what lies on a drive.
 *
 * @param capacityBytes the drive's size
 * @param blockBytes its logical block size
 */
export async function findSignatures(
  read: BlockReader,
  capacityBytes: bigint,
  blockBytes: number,
): Promise<Signature[]> {
  const headBytes = capacityBytes < BigInt(HEAD_BYTES) ? Number(capacityBytes) : HEAD_BYTES;
  const head = await read(0n, headBytes);
  const found: Signature[] = [
    ...MAGICS.filter((magic) => isAt(head, magic.offset, magic.bytes)).map((magic) => ({
      name: magic.name,
      offset: BigInt(magic.offset),
    })),
    ...partitionTables(head, blockBytes),
    ...LVM_SECTORS.filter((at) => isAt(head, at, text("LABELONE"))).map((at) => ({
      name: "LVM2 physical volume",
      offset: BigInt(at),
    })),
    ...zfsLabels(head, 0n),
  ];
  const tailBytes = capacityBytes < BigInt(TAIL_BYTES) ? Number(capacityBytes) : TAIL_BYTES;
  const tailStart = capacityBytes - BigInt(tailBytes);
  const tail = await read(tailStart, tailBytes);
  found.push(...endSignatures(tail, tailStart, capacityBytes, blockBytes));
  return found.sort((a, b) => a.offset < b.offset ? -1 : 1);
}

function isAt(bytes: Uint8Array, offset: number, digits: string): boolean {
  return offset >= 0 && bytes.subarray(offset, offset + digits.length / 2).toHex() === digits;
}

/** A GPT has its header in the second block. A boot sector alone counts when it lists a partition or has a boot jump. */
function partitionTables(head: Uint8Array, blockBytes: number): Signature[] {
  const found: Signature[] = [];
  if (isAt(head, blockBytes, text("EFI PART"))) found.push({ name: "GPT partition table", offset: BigInt(blockBytes) });
  if (!isAt(head, 510, "55aa")) return found;
  const types = [0, 1, 2, 3].map((i) => head[446 + 16 * i + 4] ?? 0);
  const states = [0, 1, 2, 3].map((i) => head[446 + 16 * i] ?? 0);
  const plausible = types.some((type) => type !== 0) && states.every((state) => state === 0 || state === 0x80);
  found.push({ name: plausible ? "MBR partition table" : "boot sector", offset: 510n });
  return found;
}

function zfsLabels(bytes: Uint8Array, start: bigint): Signature[] {
  const found: Signature[] = [];
  for (let label = 0; label + ZFS_LABEL_BYTES <= bytes.length; label += ZFS_LABEL_BYTES) {
    for (let at = label + ZFS_UBERBLOCKS; at < label + ZFS_LABEL_BYTES; at += ZFS_UBERBLOCK_STEP) {
      if (!ZFS_MAGICS.some((magic) => isAt(bytes, at, magic))) continue;
      found.push({ name: "ZFS pool member", offset: start + BigInt(at) });
      break;
    }
  }
  return found;
}

/** What stands at the end: the second GPT header, older md superblocks, ZFS's last two labels. */
function endSignatures(tail: Uint8Array, start: bigint, capacityBytes: bigint, blockBytes: number): Signature[] {
  const found: Signature[] = [];
  const at = (offset: bigint, digits: string, name: string): void => {
    if (offset >= start && isAt(tail, Number(offset - start), digits)) found.push({ name, offset });
  };
  at(capacityBytes - BigInt(blockBytes), text("EFI PART"), "GPT partition table (second header)");
  // md 1.0: at least 8 KiB and less than 12 KiB from the end, 4 KiB aligned. md 0.90: the last whole 64 KiB but one.
  at((capacityBytes - 8192n) / 4096n * 4096n, "fc4e2ba9", "Linux RAID (md 1.0)");
  at(capacityBytes / 65536n * 65536n - 65536n, "fc4e2ba9", "Linux RAID (md 0.90)");
  // ZFS counts its last labels from the size rounded down to a label.
  const aligned = capacityBytes / BigInt(ZFS_LABEL_BYTES) * BigInt(ZFS_LABEL_BYTES);
  const first = aligned - BigInt(2 * ZFS_LABEL_BYTES);
  if (first >= start) found.push(...zfsLabels(tail.subarray(Number(first - start)), first));
  return found;
}
