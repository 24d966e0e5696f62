/**
 * Decoded tables by name, for code that wants a value and not a rendering.
 * @module
 */

import { BusbarError } from "./error.ts";
import { decodeBytes, type DecodedRow, type Layout } from "./layout.ts";

/**
 * A decoded table, or one element of an array or list in it. A name that the table does not have is a mistake in the
 * calling program; a value that the data does not hold is null.
 */
export class DecodedTable {
  /** The table's name; for messages. */
  readonly name: string;
  /** Its rows, in order. */
  readonly rows: readonly DecodedRow[];

  /** Wraps rows that were decoded; {@linkcode decodeTable} does both. */
  constructor(name: string, rows: readonly DecodedRow[]) {
    this.name = name;
    this.rows = rows;
  }

  /**
   * The row of that name.
   *
   * @throws {BusbarError} `bug` when the table has none
   */
  row(name: string): DecodedRow {
    const found = this.rows.find((decoded) => decoded.row.name === name);
    if (found === undefined) throw new BusbarError("bug", `${this.name} has no row '${name}'`);
    return found;
  }

  /** The integer in a row; null where it is not known. */
  uint(name: string): bigint | null {
    const { value } = this.row(name);
    return typeof value === "bigint" ? value : null;
  }

  /** The text in a row; null where it is not known. */
  text(name: string): string | null {
    const { value } = this.row(name);
    return typeof value === "string" ? value : null;
  }

  /** The bytes in a row; null where they are not known. */
  bytes(name: string): Uint8Array | null {
    const { value } = this.row(name);
    return value instanceof Uint8Array ? value : null;
  }

  /** A bit field of a row; null where the row is not known. */
  field(rowName: string, fieldName: string): bigint | null {
    const decoded = this.row(rowName);
    const found = decoded.fields.find((one) => one.field.name === fieldName);
    if (found !== undefined) return found.value;
    if (decoded.value === null) return null;
    throw new BusbarError("bug", `${this.name}: ${rowName} has no field '${fieldName}'`);
  }

  /** True when the one-bit field is set; false when it is not, or not known. */
  has(rowName: string, fieldName: string): boolean {
    return this.field(rowName, fieldName) === 1n;
  }

  /** The elements of an array or the records of a list; none where it is not known. */
  elements(name: string): DecodedElement[] {
    const { value, places } = this.row(name);
    if (value === null || typeof value !== "object" || value instanceof Uint8Array) return [];
    return value.map((rows, i) => {
      const place = places?.[i];
      return new DecodedElement(`${this.name}.${name}`, rows, place?.index ?? i, place?.name ?? null);
    });
  }
}

/** One element of an array, or one record of a list. */
export class DecodedElement extends DecodedTable {
  /** Its number; the first one is 0. */
  readonly index: number;
  /** The name of an array's element, the kind of a list's record; null where there is none. */
  readonly kind: string | null;

  /** Wraps rows that were decoded; {@linkcode DecodedTable.elements} does it. */
  constructor(name: string, rows: readonly DecodedRow[], index: number, kind: string | null) {
    super(name, rows);
    this.index = index;
    this.kind = kind;
  }
}

/**
 * Decodes a structure that lies in memory.
 *
 * @example
 * ```ts
 * import { decodeTable } from "./decoded.ts";
 * import { register } from "./rows.ts";
 * const layout = { name: "example", source: "none", rows: [register("VS", 0, 4, "Version")] };
 * console.assert(decodeTable(layout, Uint8Array.of(0, 4, 1, 0)).uint("VS") === 0x0001_0400n);
 * ```
 */
export function decodeTable(layout: Layout, bytes: Uint8Array): DecodedTable {
  return new DecodedTable(layout.name, decodeBytes(layout.rows, bytes));
}
