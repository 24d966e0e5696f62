/**
 * Partitions of a drive: where file systems begin, by GPT or MBR.
 *
 * Source: UEFI Specification 2.10 §5 (GPT); the four entries of an MBR.
 * @module
 */

import { crc32 } from "../../core/crc32.ts";
import { malformed, type ReadBytes, viewOf } from "./bytes.ts";

/** A partition. */
export interface Partition {
  /** Its number, as the kernel counts; 0 for a drive without partitions. */
  readonly number: number;
  /** First byte. */
  readonly offset: number;
  /** Length in bytes. */
  readonly sizeBytes: number;
}

const MBR_ENTRIES = 446, MBR_ENTRY_BYTES = 16, PROTECTIVE = 0xee;
const MOST_GPT_ENTRIES = 128;
const EXTENDED_TYPES: readonly number[] = [0x05, 0x0f, 0x85];

/**
 * The partitions of a drive, or the whole drive as number 0 where there is no table. Logical ones, inside an extended
 * partition, are not read.
 *
 * @param blockBytes the drive's logical block size
 * @throws {BusbarError} `malformed` for a GPT whose header or entries are wrong
 */
export async function readPartitions(
  read: ReadBytes,
  blockBytes: number,
  capacityBytes: number,
  name: string,
): Promise<Partition[]> {
  const whole: Partition = { number: 0, offset: 0, sizeBytes: capacityBytes };
  const head = await read(0, Math.min(2 * blockBytes, capacityBytes));
  const view = viewOf(head);
  if (head.length < 512 || view.getUint16(510, true) !== 0xaa55) return [whole];
  const entries = [0, 1, 2, 3].map((i) => MBR_ENTRIES + i * MBR_ENTRY_BYTES);
  const isProtective = entries.some((at) => view.getUint8(at + 4) === PROTECTIVE);
  const signature = new TextDecoder("latin1").decode(head.subarray(blockBytes, blockBytes + 8));
  if (isProtective && signature === "EFI PART") return await readGpt(read, blockBytes, capacityBytes, name);
  const found = entries.flatMap((at, i) => {
    const type = view.getUint8(at + 4), state = view.getUint8(at);
    const offset = view.getUint32(at + 8, true) * blockBytes, sizeBytes = view.getUint32(at + 12, true) * blockBytes;
    const isUsed = type !== 0 && (state === 0 || state === 0x80) && offset > 0 && sizeBytes > 0;
    if (!isUsed || EXTENDED_TYPES.includes(type) || offset + sizeBytes > capacityBytes) return [];
    return [{ number: i + 1, offset, sizeBytes }];
  });
  // The boot sector of a file system ends with the same two bytes.
  return found.length === 0 ? [whole] : found;
}

async function readGpt(read: ReadBytes, blockBytes: number, capacityBytes: number, name: string): Promise<Partition[]> {
  const wrong = (what: string): Error => malformed(`its GPT ${what}`, name, "read partitions");
  const header = (await read(blockBytes, blockBytes)).slice();
  const view = viewOf(header);
  const headerBytes = view.getUint32(12, true), sum = view.getUint32(16, true);
  if (headerBytes < 92 || headerBytes > blockBytes) throw wrong(`has a header of ${headerBytes} bytes`);
  view.setUint32(16, 0, true);
  if (crc32(header.subarray(0, headerBytes)) !== sum) throw wrong("has a wrong checksum");
  const count = view.getUint32(80, true), entryBytes = view.getUint32(84, true);
  if (count > MOST_GPT_ENTRIES || entryBytes < 128 || entryBytes > 4096 || entryBytes % 8 !== 0) {
    throw wrong(`has ${count} entries of ${entryBytes} bytes`);
  }
  const at = Number(view.getBigUint64(72, true)) * blockBytes;
  const bytes = await read(at, count * entryBytes);
  if (crc32(bytes) !== view.getUint32(88, true)) throw wrong("has entries with a wrong checksum");
  const entries = viewOf(bytes);
  return Array.from({ length: count }, (_, i) => i).flatMap((i) => {
    const place = i * entryBytes;
    if (bytes.subarray(place, place + 16).every((byte) => byte === 0)) return [];
    const first = Number(entries.getBigUint64(place + 32, true)), last = Number(entries.getBigUint64(place + 40, true));
    const offset = first * blockBytes, sizeBytes = (last - first + 1) * blockBytes;
    if (first < 1 || last < first || offset + sizeBytes > capacityBytes) throw wrong(`has partition ${i + 1} outside`);
    return [{ number: i + 1, offset, sizeBytes }];
  });
}
