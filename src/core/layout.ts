/**
 * Tables that describe hardware: registers, structures, capabilities, and their bit fields.
 *
 * A row says name, offset, width, bit fields, meaning and source once. Text output, JSON output and its schema, the
 * software devices and the fuzz tests are made from it; nobody writes a field twice. This module decodes bytes by a
 * table; `layout_json.ts` and `layout_text.ts` render what comes out.
 * @module
 */

import { BusbarError } from "./error.ts";
import { littleEndian } from "./mmio.ts";

/** A bit field of an integer row. */
export interface BitField {
  /** The specification's name: `MQES`. */
  readonly name: string;
  /** One bit, or the highest and lowest bit, both included. */
  readonly bits: number | readonly [high: number, low: number];
  /** The name spelled out. */
  readonly title: string;
  /** The names of codes. A value that is missing here is shown as not defined. */
  readonly values?: Readonly<Record<number, string>>;
  /** The value in words, with its unit. Must accept any value that fits the bits. */
  readonly meaning?: (value: bigint) => string;
  /** `hex` for addresses and masks. */
  readonly show?: "hex";
}

/** What every row has. */
export interface RowBase {
  /** The specification's name: `CAP`. */
  readonly name: string;
  /** Bytes from the start of the table. */
  readonly offset: number;
  /** The name spelled out. */
  readonly title: string;
  /** The version of the specification that brought it: `1.4`. */
  readonly since?: string;
  /** True of what changes by itself, as temperatures and counters: two machines are not compared by it. */
  readonly isVolatile?: true;
}

/** An unsigned integer of 1 to 16 bytes. */
export interface UintRow extends RowBase {
  /** Tells the kinds apart. */
  readonly type: "uint";
  /** Width in bytes. */
  readonly sizeBytes: number;
  /**
   * `register` and `address` are shown in hexadecimal, `quantity` in decimal. In JSON they are numbers up to 32 bits;
   * wider registers and addresses are `"0x…"`, wider quantities decimal strings.
   */
  readonly kind: "register" | "address" | "quantity";
  /** Bit fields; bits that none covers are reserved. A row without fields has no reserved bits. */
  readonly fields?: readonly BitField[];
  /** The value in words, with its unit. Must accept any value of this width. */
  readonly meaning?: (value: bigint) => string;
  /** The names of codes, as for a bit field. */
  readonly values?: Readonly<Record<number, string>>;
  /** `big` where the highest byte comes first. */
  readonly byteOrder?: "big";
  /** How software may use it: `RO`, `RW`, `RW1C`, `WO`, as the specification says. */
  readonly access?: string;
  /** The width of one access in bytes, where it differs from the row's: a 64-bit register read as two halves. */
  readonly accessBytes?: 1 | 2 | 4 | 8;
}

/** Characters in a fixed width, padded with spaces or NUL. Shown trimmed, with bytes outside printable ASCII escaped. */
export interface TextRow extends RowBase {
  /** Tells the kinds apart. */
  readonly type: "text";
  /** Width in bytes. */
  readonly sizeBytes: number;
  /** `nul` where the first NUL ends the text, whatever stands behind it. */
  readonly ends?: "nul";
}

/** Bytes in the order in which they stand: identifiers, vendor areas. */
export interface BytesRow extends RowBase {
  /** Tells the kinds apart. */
  readonly type: "bytes";
  /** Width in bytes. */
  readonly sizeBytes: number;
  /** The bytes in words. Must accept any bytes of this width. */
  readonly meaning?: (bytes: Uint8Array) => string;
}

/** The same few rows, several times one after the other. */
export interface ArrayRow extends RowBase {
  /** Tells the kinds apart. */
  readonly type: "array";
  /** How many elements; the most there can be, where `countOf` says how many there are. */
  readonly count: number;
  /** Bytes from one element to the next. */
  readonly strideBytes: number;
  /** The rows of one element; offsets from its start. */
  readonly rows: readonly Row[];
  /** How many elements there are, by the integer rows above this one (null for one that is not known). */
  readonly countOf?: (above: (name: string) => bigint | null) => number;
  /** Elements whose bytes are all zero are left out. */
  readonly sparse?: true;
  /** There are as many elements as the data holds, up to `count`: an end before that is no cut. */
  readonly toEnd?: true;
  /** What an element is called, by its number: the command, in an array by opcode. Elements then say their number. */
  readonly elementName?: (index: number) => string;
}

/** Records of different kinds and lengths, one after the other: descriptors that say how long they are. */
export interface ListRow extends RowBase {
  /** Tells the kinds apart. */
  readonly type: "list";
  /** The most bytes that all records together take. */
  readonly sizeBytes: number;
  /** The rows of each kind of record; offsets from the record's start. */
  readonly kinds: Readonly<Record<string, readonly Row[]>>;
  /** The record that begins with these bytes, or null behind the last one. Must accept any bytes. */
  readonly next: (bytes: Uint8Array) => { readonly kind: string; readonly sizeBytes: number } | null;
  /** How many records there are at most, by the integer rows above this one. */
  readonly countOf?: (above: (name: string) => bigint | null) => number;
}

/** A row of a table. */
export type Row = UintRow | TextRow | BytesRow | ArrayRow | ListRow;

/**
 * A table: a register block, a structure, a capability.
 *
 * @example
 * ```ts
 * import { decodeTable, type Layout } from "@busbar/busbar";
 * const layout: Layout = {
 *   name: "my device",
 *   source: "its manual, page 3",
 *   rows: [
 *     { type: "uint", name: "ID", offset: 0, sizeBytes: 2, title: "Identity", kind: "register" },
 *     { type: "uint", name: "TEMP", offset: 2, sizeBytes: 2, title: "Temperature", kind: "quantity" },
 *   ],
 * };
 * console.assert(decodeTable(layout, Uint8Array.of(0x34, 0x12, 0x2c, 0x01)).uint("TEMP") === 300n);
 * ```
 */
export interface Layout {
  /** What it describes: `NVMe controller registers`. */
  readonly name: string;
  /** Where the rows come from: specification and section. */
  readonly source: string;
  /** The rows, by ascending offset. */
  readonly rows: readonly Row[];
}

/** A bit field and what it holds. */
export interface DecodedField {
  /** The field. */
  readonly field: BitField;
  /** Its bits, shifted down. */
  readonly value: bigint;
  /** The value in words, or null where the number says it all. */
  readonly meaning: string | null;
}

/** A row and what it holds. */
export interface DecodedRow {
  /** The row. */
  readonly row: Row;
  /** The integer, the trimmed text, the bytes, the elements; null where it is not known. */
  readonly value: bigint | string | Uint8Array | readonly (readonly DecodedRow[])[] | null;
  /** Why the value is not known; null where it is. */
  readonly reason: string | null;
  /** The value in words, or null. */
  readonly meaning: string | null;
  /** The bit fields, in the order of the table. */
  readonly fields: readonly DecodedField[];
  /** The bits that are set though no field covers them; 0 where all is as specified. */
  readonly reservedBits: bigint;
  /** Of an array or list: which elements `value` holds. */
  readonly places?: readonly ElementPlace[];
  /** Of an array or list: why elements are missing at its end; null when all are there. */
  readonly cut?: string | null;
}

/** Which element of an array or list it is, and where. */
export interface ElementPlace {
  /** Its number; the first one is 0. */
  readonly index: number;
  /** Bytes from the start of the array or list. */
  readonly offset: number;
  /** The name of an array's element, the kind of a list's record; null where there is none. */
  readonly name: string | null;
}

/** Gives the bytes of a row, or says in words why they are not known. */
export type RowSource = (row: Row, offset: number, sizeBytes: number) => Uint8Array | string;

/** The width of a row in bytes; of a list and of an array of changing length, the most that it can have. */
export function rowSizeBytes(row: Row): number {
  return row.type === "array" ? row.count * row.strideBytes : row.sizeBytes;
}

/**
 * Decodes every row of a table. Never throws, whatever the bytes are.
 *
 * @param base added to every offset
 * @param end where the data ends; arrays and lists of changing length stop there
 */
export function decodeRows(
  rows: readonly Row[],
  source: RowSource,
  base: number = 0,
  end: number = Infinity,
): DecodedRow[] {
  const decoded: DecodedRow[] = [];
  const above = (name: string): bigint | null => {
    const value = decoded.find((one) => one.row.name === name)?.value;
    return typeof value === "bigint" ? value : null;
  };
  for (const row of rows) decoded.push(decodeRow(row, { source, base, end, above }));
  return decoded;
}

/**
 * Decodes a structure that lies in memory. Rows beyond its end are unknown, not zero.
 *
 * @example
 * ```ts
 * import { decodeBytes } from "./layout.ts";
 * const rows = [{ type: "uint", name: "VS", title: "Version", offset: 0, sizeBytes: 4, kind: "register" }] as const;
 * const [vs] = decodeBytes(rows, Uint8Array.of(0, 4, 1, 0));
 * console.assert(vs?.value === 0x0001_0400n);
 * ```
 */
export function decodeBytes(rows: readonly Row[], bytes: Uint8Array): DecodedRow[] {
  const source: RowSource = (_row, offset, sizeBytes) =>
    offset + sizeBytes <= bytes.length
      ? bytes.subarray(offset, offset + sizeBytes)
      : `the data ends at byte ${bytes.length}`;
  return decodeRows(rows, source, 0, bytes.length);
}

/** What decoding a row needs to know besides the row. */
interface Surroundings {
  readonly source: RowSource;
  readonly base: number;
  readonly end: number;
  readonly above: (name: string) => bigint | null;
}

function decodeRow(row: Row, around: Surroundings): DecodedRow {
  if (row.type === "array") return decodeArray(row, around);
  if (row.type === "list") return decodeList(row, around);
  const bytes = around.source(row, around.base + row.offset, row.sizeBytes);
  if (typeof bytes === "string") return known(row, null, { reason: bytes });
  if (row.type === "text") return known(row, trimmedText(row.ends === "nul" ? upToNul(bytes) : bytes));
  if (row.type === "bytes") return known(row, bytes, { meaning: row.meaning?.(bytes) ?? null });
  const value = littleEndian(row.byteOrder === "big" ? bytes.toReversed() : bytes);
  return known(row, value, {
    meaning: inWords(row, value),
    fields: row.fields === undefined ? [] : row.fields.map((field) => decodeField(field, value)),
    reservedBits: value & reservedMask(row),
  });
}

function known(row: Row, value: DecodedRow["value"], more: Partial<DecodedRow> = {}): DecodedRow {
  return { row, value, reason: null, meaning: null, fields: [], reservedBits: 0n, ...more };
}

function decodeArray(row: ArrayRow, { source, base, end, above }: Surroundings): DecodedRow {
  const start = base + row.offset;
  const wanted = Math.min(row.count, row.countOf?.(above) ?? row.count);
  const isFixed = row.countOf === undefined && !row.sparse && !row.toEnd;
  const room = isFixed ? wanted : Math.floor((end - start) / row.strideBytes);
  const count = Math.max(0, Math.min(wanted, room));
  const elements: DecodedRow[][] = [];
  const places: ElementPlace[] = [];
  for (let index = 0; index < count; index++) {
    const offset = index * row.strideBytes;
    if (row.sparse && isZero(source(row, start + offset, row.strideBytes))) continue;
    elements.push(decodeRows(row.rows, source, start + offset, end));
    places.push({ index, offset, name: row.elementName?.(index) ?? null });
  }
  const cut = count < wanted && !row.toEnd ? `the data ends after ${count} of ${wanted}` : null;
  return known(row, elements, { places, cut });
}

function isZero(bytes: Uint8Array | string): boolean {
  return typeof bytes !== "string" && bytes.every((byte) => byte === 0);
}

function decodeList(row: ListRow, { source, base, end, above }: Surroundings): DecodedRow {
  const start = base + row.offset;
  const bytes = source(row, start, Math.max(0, Math.min(row.sizeBytes, end - start)));
  if (typeof bytes === "string") return known(row, null, { reason: bytes });
  const wanted = row.countOf?.(above) ?? Infinity;
  const elements: DecodedRow[][] = [];
  const places: ElementPlace[] = [];
  let cut: string | null = null;
  for (let at = 0; elements.length < wanted;) {
    const record = row.next(bytes.subarray(at));
    if (record === null || record.sizeBytes <= 0) {
      if (row.countOf !== undefined) cut = `the data ends after ${elements.length} of ${wanted}`;
      break;
    }
    if (at + record.sizeBytes > bytes.length) {
      cut = `record ${elements.length} would be ${record.sizeBytes} bytes long, and there are ${
        bytes.length - at
      } left`;
      break;
    }
    elements.push(decodeBytes(row.kinds[record.kind] ?? [], bytes.subarray(at, at + record.sizeBytes)));
    places.push({ index: places.length, offset: at, name: record.kind });
    at += record.sizeBytes;
  }
  return known(row, elements, { places, cut });
}

function decodeField(field: BitField, rowValue: bigint): DecodedField {
  const value = fieldOf(rowValue, field);
  return { field, value, meaning: inWords(field, value) };
}

function inWords(from: BitField | UintRow, value: bigint): string | null {
  if (from.meaning !== undefined) return from.meaning(value);
  if (from.values === undefined) return null;
  return from.values[Number(value)] ?? "not defined";
}

function upToNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** Text without its padding; anything but printable ASCII becomes `\xNN`, so a hostile name cannot move the cursor. */
export function trimmedText(bytes: Uint8Array): string {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x20 || bytes[end - 1] === 0)) end--;
  let text = "";
  for (const byte of bytes.subarray(0, end)) {
    text += byte >= 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}

/** Lowest bit of a field, and its width in bits. */
export function fieldPlace(field: BitField): { low: number; width: number } {
  if (typeof field.bits === "number") return { low: field.bits, width: 1 };
  return { low: field.bits[1], width: field.bits[0] - field.bits[1] + 1 };
}

/** The value of a field inside a row's value. */
export function fieldOf(rowValue: bigint, field: BitField): bigint {
  if (typeof field.bits === "number") return BigInt.asUintN(1, rowValue >> BigInt(field.bits));
  const [high, low] = field.bits;
  return BigInt.asUintN(high - low + 1, rowValue >> BigInt(low));
}

/**
 * A row's value with one field replaced.
 *
 * @throws {BusbarError} `out-of-range` when `value` does not fit the field
 */
export function withField(rowValue: bigint, field: BitField, value: bigint): bigint {
  const { low, width } = fieldPlace(field);
  if (value < 0n || value >> BigInt(width) !== 0n) {
    throw new BusbarError("out-of-range", `${field.name} has ${width} bits: ${value} does not fit`);
  }
  const mask = ((1n << BigInt(width)) - 1n) << BigInt(low);
  return rowValue & ~mask | value << BigInt(low);
}

const reservedMasks = new WeakMap<UintRow, bigint>();

/** The bits of a row that no field covers; 0 for a row without fields. */
export function reservedMask(row: UintRow): bigint {
  if (row.fields === undefined) return 0n;
  // Asked for with every value that is decoded, and always the same for a row.
  const found = reservedMasks.get(row);
  if (found !== undefined) return found;
  let mask = (1n << BigInt(8 * row.sizeBytes)) - 1n;
  for (const field of row.fields) {
    const { low, width } = fieldPlace(field);
    mask &= ~(((1n << BigInt(width)) - 1n) << BigInt(low));
  }
  reservedMasks.set(row, mask);
  return mask;
}

/**
 * The integer row of that name.
 *
 * @throws {BusbarError} `bug` when the table has none: call it while the module loads, so that a test sees it
 */
export function uintRow(layout: Layout, name: string): UintRow {
  const row = layout.rows.find((row) => row.name === name);
  if (row?.type !== "uint") throw new BusbarError("bug", `${layout.name} has no integer row '${name}'`);
  return row;
}

/**
 * The bit field of that name.
 *
 * @throws {BusbarError} `bug` when the row has none
 */
export function bitField(layout: Layout, rowName: string, fieldName: string): BitField {
  const field = uintRow(layout, rowName).fields?.find((field) => field.name === fieldName);
  if (field === undefined) throw new BusbarError("bug", `${layout.name}: ${rowName} has no field '${fieldName}'`);
  return field;
}

/** A value in words for a one-bit field: `yes` or `no`. */
export function yesNo(value: bigint): string {
  return value === 0n ? "no" : "yes";
}
