/**
 * Decoded tables as lines of text for people: one line for each row, one for each bit field below it.
 * @module
 */

import { type BitField, type DecodedRow, fieldPlace, type UintRow } from "./layout.ts";
import { hex } from "./units.ts";

/** One line of a decoded table, in cells that the caller aligns. */
export interface TextLine {
  /** A row of the table, or a bit field of the row above. */
  readonly kind: "row" | "field";
  /** Row: its offset. Field: its bits, as in `15:0`. */
  readonly place: string;
  /** The name. */
  readonly name: string;
  /** The value; `-` where it is not known. */
  readonly value: string;
  /** The name spelled out, and the value in words. */
  readonly text: string;
  /** Something the reader should notice: reserved bits that are set, a value that is not known. */
  readonly remark: string | null;
}

/** The lines of decoded rows, in order. */
export function textLines(rows: readonly DecodedRow[], base = 0): TextLine[] {
  return rows.flatMap((decoded) => rowLines(decoded, base));
}

function rowLines(decoded: DecodedRow, base: number): TextLine[] {
  const { row, value } = decoded;
  const place = hex(base + row.offset, 4);
  if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    return elementLines(decoded, value, base + row.offset);
  }
  const remark = decoded.reason ??
    (decoded.reservedBits === 0n ? null : `reserved bits set: ${hex(decoded.reservedBits)}`);
  const head: TextLine = {
    kind: "row",
    place,
    name: row.name,
    value: row.type === "uint" && typeof value === "bigint" ? uintText(value, row) : plainText(value),
    text: withMeaning(row.title, decoded.meaning),
    remark,
  };
  const fields = decoded.fields.map(({ field, value, meaning }): TextLine => ({
    kind: "field",
    place: bitsText(field),
    name: field.name,
    value: field.show === "hex" ? hex(value) : value.toString(),
    text: withMeaning(field.title, meaning),
    remark: null,
  }));
  return [head, ...fields];
}

/** A head line for each element, and its rows below it; one line that says so where there are none. */
function elementLines(decoded: DecodedRow, elements: readonly (readonly DecodedRow[])[], start: number): TextLine[] {
  const { row, places, cut } = decoded;
  const head = (at: number, name: string, text: string, remark: string | null): TextLine => ({
    kind: "row",
    place: hex(at, 4),
    name,
    value: "",
    text,
    remark,
  });
  const lines = elements.flatMap((element, i) => {
    const place = places?.[i];
    const at = start + (place?.offset ?? 0);
    return [
      head(at, `${row.name}[${place?.index ?? i}]`, withMeaning(row.title, place?.name ?? null), null),
      ...textLines(element, at),
    ];
  });
  if (elements.length > 0 && !cut) return lines;
  return [...lines, head(start, row.name, `${row.title}: ${elements.length === 0 ? "none" : "cut"}`, cut ?? null)];
}

/** An integer as its row shows it: registers and addresses in hexadecimal at full width, quantities in decimal. */
export function uintText(value: bigint, row: UintRow): string {
  return row.kind === "quantity" ? value.toString() : hex(value, 2 * row.sizeBytes);
}

/** Longer runs of bytes are shown by their beginning: a vendor's kilobyte is for programs, which read the JSON. */
const SHOWN_BYTES = 32;

function plainText(value: DecodedRow["value"]): string {
  if (value === null) return "-";
  if (value instanceof Uint8Array) {
    if (value.length <= SHOWN_BYTES) return value.toHex();
    const first = value[0] ?? 0;
    if (value.every((byte) => byte === first)) return `${value.length} × ${first.toString(16).padStart(2, "0")}`;
    return `${value.subarray(0, SHOWN_BYTES / 2).toHex()}… (${value.length} bytes)`;
  }
  return typeof value === "string" ? value : "";
}

function withMeaning(title: string, meaning: string | null): string {
  return meaning === null ? title : `${title}: ${meaning}`;
}

function bitsText(field: BitField): string {
  const { low, width } = fieldPlace(field);
  return width === 1 ? `${low}` : `${low + width - 1}:${low}`;
}
