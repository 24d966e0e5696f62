/**
 * Short ways to write the rows of a table: a table should read like the one in the specification.
 * @module
 */

import { type BitField, type BytesRow, type TextRow, type UintRow, yesNo } from "./layout.ts";
import { hex } from "./units.ts";

/** A register or other integer of `sizeBytes` bytes at `offset`, shown in hexadecimal unless `more` says otherwise. */
export function register(
  name: string,
  offset: number,
  sizeBytes: number,
  title: string,
  fields?: readonly BitField[],
  more: Partial<UintRow> = {},
): UintRow {
  const row: UintRow = { type: "uint", name, offset, sizeBytes, title, kind: "register" };
  return { ...row, ...(fields === undefined ? {} : { fields }), ...more };
}

/** A number of `sizeBytes` bytes at `offset`, shown in decimal, with words for it where the number needs a unit. */
export function quantity(
  name: string,
  offset: number,
  sizeBytes: number,
  title: string,
  meaning?: (value: bigint) => string,
  more: Partial<UintRow> = {},
): UintRow {
  const row: UintRow = { type: "uint", name, offset, sizeBytes, title, kind: "quantity" };
  return { ...row, ...(meaning === undefined ? {} : { meaning }), ...more };
}

/** A number that changes by itself, as temperatures and counters do; else as {@linkcode quantity}. */
export function counter(
  name: string,
  offset: number,
  sizeBytes: number,
  title: string,
  meaning?: (value: bigint) => string,
  more: Partial<UintRow> = {},
): UintRow {
  return quantity(name, offset, sizeBytes, title, meaning, { ...more, isVolatile: true });
}

/** Characters. */
export function text(name: string, offset: number, sizeBytes: number, title: string): TextRow {
  return { type: "text", name, offset, sizeBytes, title };
}

/** Bytes as they stand. */
export function bytes(
  name: string,
  offset: number,
  sizeBytes: number,
  title: string,
  meaning?: (bytes: Uint8Array) => string,
): BytesRow {
  return { type: "bytes", name, offset, sizeBytes, title, ...(meaning === undefined ? {} : { meaning }) };
}

/** A one-bit field that reads `yes` or `no`. */
export function flag(name: string, bit: number, title: string): BitField {
  return { name, bits: bit, title, meaning: yesNo };
}

/** A field that holds a number, with words for it where the number needs a unit. */
export function number(
  name: string,
  high: number,
  low: number,
  title: string,
  meaning?: (value: bigint) => string,
): BitField {
  return { name, bits: [high, low], title, ...(meaning === undefined ? {} : { meaning }) };
}

/** A field that holds a code; codes without a name are shown as not defined. */
export function code(
  name: string,
  high: number,
  low: number,
  title: string,
  values: Readonly<Record<number, string>>,
): BitField {
  return { name, bits: [high, low], title, values };
}

/** A field that is a mask or identifier, shown in hexadecimal. */
export function mask(name: string, high: number, low: number, title: string): BitField {
  return { name, bits: [high, low], title, show: "hex" };
}

/** A field that holds the upper bits of an address; its meaning is the address. */
export function addressBits(name: string, high: number, low: number, title: string): BitField {
  return { name, bits: [high, low], title, show: "hex", meaning: (value) => hex(value << BigInt(low)) };
}

/** Words for a mask: the names of its set bits. */
export function listed(names: Readonly<Record<number, string>>): (value: bigint) => string {
  return (value) => {
    const found: string[] = [];
    for (let bit = 0; value >> BigInt(bit) !== 0n; bit++) {
      if ((value >> BigInt(bit) & 1n) === 1n) found.push(names[bit] ?? `bit ${bit}`);
    }
    return found.length === 0 ? "none" : found.join(", ");
  };
}
