/**
 * Random CCBs that mean something: every command, format and size, random lengths, offsets and data; a part of them with a
 * mistake.
 * @module
 */

import type { Random } from "../unit/random.ts";
import type { OradaxBuffer } from "../../src/core/oradax_driver.ts";

/** Where streams lie in a buffer of several pages of 8 KiB: sometimes close to the end of a page. */
const PAGE = 8192;

/** What is written into a CCB, by word and bit. */
class CcbBits {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  set(word: number, low: number, value: number | bigint): void {
    this.#view.setBigUint64(8 * word, this.#view.getBigUint64(8 * word) | BigInt(value) << BigInt(low));
  }
}

/** Makes a CCB, and the data that it works on in `buffer`, which has at least 5 pages. */
export function randomCcb(random: Random, buffer: OradaxBuffer, dax: 1 | 2): Uint8Array<ArrayBuffer> {
  const bytes = buffer.bytes ?? new Uint8Array();
  const opcode = random.pick([1, 1, 2, 2, 3, 3, 0x12, 0x13, 4, 4, 0x14, 5, 5]);
  const command = opcode & 15;
  const version = dax === 2 ? random.below(2) : 0;
  const formats = command === 4 ? [0, 1, 4, 5] : command === 5 ? [0, 1, 8, 9] : [0, 1, 2, 4, 5, 8, 9, 10, 12, 13];
  const usable = formats.filter((format) => format < 8 || version === 1 || random.below(20) === 0);
  const format = random.pick(usable);
  const isPacked = (format & 3) === 1;
  const most = isPacked ? (version === 1 ? 23 : 15) : command === 4 ? 3 : 16;
  const size = 1 + random.below(most);
  const isLong = (command === 2 || command === 3) && random.below(3) === 0;
  const ccb = new CcbBits(isLong ? 128 : 64);

  /** A place in page `page`: at its beginning, anywhere, or close to its end. */
  const place = (page: number, alignment: number): number => {
    const within = random.pick([0, random.below(PAGE), PAGE - 1 - random.below(200)]);
    return PAGE * page + Math.floor(within / alignment) * alignment;
  };
  // Few different values, so that scans find something.
  const fill = (page: number): void => {
    const from = PAGE * page;
    if (random.below(3) === 0) bytes.set(random.bytes(PAGE), from);
    else if (random.below(2) === 0) bytes.fill(random.pick([0, 1, 0x55, 0xff]), from, from + PAGE);
    else bytes.set(random.noise(PAGE), from);
  };
  const primary = place(0, 1);
  const secondary = place(1, 1);
  const output = place(2, 64);
  if (random.below(8) === 0) fill(0);
  if (random.below(8) === 0) fill(1);
  bytes.set(random.noise(256).subarray(0, Math.min(256, PAGE - primary)), primary);
  bytes.set(random.noise(64).subarray(0, Math.min(64, 2 * PAGE - secondary)), secondary);

  ccb.set(0, 60, version);
  ccb.set(0, 58, isLong ? 1 : 0);
  ccb.set(0, 48, opcode);
  ccb.set(0, 40, 3);
  ccb.set(0, 34, 3);
  ccb.set(0, 28, format);
  ccb.set(0, 23, size - 1);
  if (isPacked) ccb.set(0, 20, random.below(8));
  if ((format & 6) !== 0 || command === 5) {
    ccb.set(0, 37, 3);
    if (command !== 5) {
      ccb.set(0, 19, random.below(2));
      ccb.set(0, 14, random.below(4));
    }
    ccb.set(0, 16, random.below(8));
    ccb.set(4, 0, buffer.address + BigInt(secondary));
  }
  const outputFormat = command === 1 || command === 5 ? random.below(5) : random.pick([8, 8, 13, 14]);
  ccb.set(0, 10, outputFormat);
  setTable(random, ccb, buffer, { command, format, version });
  if (command === 1 || command === 5) ccb.set(0, 9, random.below(2));
  if (command === 4) ccb.set(0, 0, random.pick([0, 1, random.below(512)]));
  if (command === 2 || command === 3) {
    setOperands(random, ccb, bytes, { isLong, primary, size: isPacked ? 1 + (size >> 3) : size });
  }
  ccb.set(2, 0, buffer.address + BigInt(primary));
  ccb.set(6, 0, buffer.address + BigInt(output));
  const lengthFormat = command === 4 ? 1 + random.below(2) : random.below(3);
  ccb.set(3, 24, lengthFormat);
  ccb.set(3, 0, random.pick([random.below(16), random.below(300), random.below(2500)]));
  if (random.below(3) === 0) {
    ccb.set(3, 62, 1 + random.below(2));
    ccb.set(3, 40, random.below(random.pick([2, 20, 200])));
  }
  return random.below(12) === 0 ? spoiled(random, ccb.bytes) : ccb.bytes;
}

function setOperands(
  random: Random,
  ccb: CcbBits,
  bytes: Uint8Array,
  { isLong, primary, size }: { isLong: boolean; primary: number; size: number },
): void {
  for (const [which, low] of [[0, 5], [1, 0]] as const) {
    const unused = random.below(4) === 0;
    const width = Math.min(isLong ? 15 : 4, random.below(3) === 0 ? 1 + random.below(15) : size);
    ccb.set(0, low, unused ? 0x1f : width - 1);
    const copies = random.below(2) === 0;
    for (let i = 0; i < width && !unused; i++) {
      const at = (i < 4 ? 40 : i < 8 ? 64 : i < 12 ? 72 : 80) + 4 * which + i % 4;
      // Often a value that is there, or a short one.
      ccb.bytes[at] = copies ? bytes[primary + i] ?? 0 : random.pick([0, 0, 1, random.below(256)]);
    }
  }
}

function setTable(
  random: Random,
  ccb: CcbBits,
  buffer: OradaxBuffer,
  { command, format, version }: { command: number; format: number; version: number },
): void {
  if (command !== 4 && format < 8) return;
  const bytes = buffer.bytes ?? new Uint8Array();
  const isBitTable = command === 4;
  const alignment = version === 0 ? 64 : 16;
  const tableVersion = isBitTable ? random.below(2) : 1;
  // A bit table takes a whole page of its own, or half of one.
  const offset = isBitTable
    ? (tableVersion === 0 && random.below(2) === 0 ? random.below(4096 / alignment) * alignment : 0)
    : Math.floor(random.pick([0, random.below(4000), PAGE - 64 - random.below(64)]) / alignment) * alignment;
  const at = 3 * PAGE + offset;
  if (isBitTable) {
    if (random.below(4) === 0) bytes.set(random.noise(PAGE), 3 * PAGE);
  } else {
    bytes.set(ozipTable(random).subarray(0, 4 * PAGE - at), at);
  }
  ccb.set(0, 43, 3);
  ccb.set(7, 0, buffer.address + BigInt(at) + BigInt(tableVersion));
}

function ozipTable(random: Random): Uint8Array {
  const count = random.pick([1, 2, 3, 4, 7, 16, 1 + random.below(300)]);
  const widths = Array.from({ length: count }, () => random.below(400) === 0 ? random.below(16) : 1 + random.below(8));
  const symbols = widths.flatMap((width) => Array.from({ length: width }, () => random.below(256)));
  const pairs = Array.from(
    { length: Math.ceil(count / 2) },
    (_, i) => (widths[2 * i] ?? 0) << 4 | (widths[2 * i + 1] ?? 0),
  );
  return Uint8Array.from([count >> 8, count & 255, ...pairs, ...symbols]);
}

/** A field with a random value, or a random bit flipped; no address but within a few bytes. */
function spoiled(random: Random, ccb: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const changed = ccb.slice();
  const byte = random.pick([0, 1, 2, 3, 4, 5, 6, 7, 20, 24, 28, 28, 40, 44, 52, 23, 39, 55, 63]);
  changed[byte] = (changed[byte] ?? 0) ^ 1 << random.below(8);
  // The long flag stays as it is: without it, the second half would be a CCB of its own.
  changed[0] = (changed[0] ?? 0) & 0xfb | (ccb[0] ?? 0) & 0x04;
  return changed;
}
