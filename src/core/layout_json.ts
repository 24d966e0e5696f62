/**
 * Decoded tables as JSON, and the JSON Schema of what comes out.
 *
 * Every row is an object: `value`, `meaning` where the table has words for it, `fields`, `reservedBits`. An unknown value
 * is null with `reason` beside it. The type of each value is fixed by its row. Elements of an array are objects of rows;
 * where not all are there, each says its `index`, and `name` or `kind`, and `cut` says why the last ones are missing.
 * @module
 */

import {
  type ArrayRow,
  type BitField,
  type BytesRow,
  type DecodedRow,
  fieldPlace,
  type ListRow,
  type Row,
  rowSizeBytes,
  type UintRow,
} from "./layout.ts";
import { hex } from "./units.ts";

/** Anything that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A JSON object. */
export type JsonObject = { readonly [key: string]: Json };

/** An unsigned integer in the JSON type of its width: a number up to 32 bits, else a string. */
export function uintToJson(value: bigint, bits: number, kind: UintRow["kind"]): Json {
  if (bits <= 32) return Number(value);
  return kind === "quantity" ? value.toString() : hex(value, Math.ceil(bits / 4));
}

/** The schema of {@linkcode uintToJson}. */
export function uintSchema(bits: number, kind: UintRow["kind"]): JsonObject {
  if (bits <= 32) return { type: "integer", minimum: 0, maximum: 2 ** bits - 1 };
  return kind === "quantity"
    ? { type: "string", pattern: "^[0-9]+$" }
    : { type: "string", pattern: `^0x[0-9a-f]{${Math.ceil(bits / 4)}}$` };
}

/** Decoded rows as one object, by row name. */
export function rowsToJson(rows: readonly DecodedRow[]): JsonObject {
  return Object.fromEntries(rows.map((decoded) => [decoded.row.name, rowToJson(decoded)]));
}

function rowToJson(decoded: DecodedRow): JsonObject {
  const { row, value } = decoded;
  const head = { offset: row.offset, sizeBytes: rowSizeBytes(row) };
  if (value === null) return { ...head, value: null, reason: decoded.reason };
  if (typeof value === "string") return { ...head, value };
  if (value instanceof Uint8Array) {
    return { ...head, value: value.toHex(), ...(hasMeaning(row) ? { meaning: decoded.meaning } : {}) };
  }
  if (typeof value === "object") return { ...head, ...elementsToJson(decoded, value) };
  if (row.type !== "uint") return head;
  const result: Record<string, Json> = { ...head, value: uintToJson(value, 8 * row.sizeBytes, row.kind) };
  if (hasMeaning(row)) result.meaning = decoded.meaning;
  if (row.fields !== undefined) {
    result.fields = Object.fromEntries(decoded.fields.map(({ field, value, meaning }) => {
      const json: Record<string, Json> = { value: uintToJson(value, fieldPlace(field).width, fieldKind(field)) };
      if (hasMeaning(field)) json.meaning = meaning;
      return [field.name, json];
    }));
    result.reservedBits = hex(decoded.reservedBits, 2 * row.sizeBytes);
  }
  return result;
}

/** The elements of an array or list, each with what says which one it is. */
function elementsToJson({ row, places, cut }: DecodedRow, elements: readonly (readonly DecodedRow[])[]): JsonObject {
  const value = elements.map((element, i) => {
    const place = places?.[i];
    const which: Record<string, Json> = {};
    if (row.type === "array" && isNumbered(row)) which.index = place?.index ?? i;
    if (row.type === "array" && row.elementName !== undefined) which.name = place?.name ?? null;
    if (row.type === "list") Object.assign(which, { kind: place?.name ?? null, at: place?.offset ?? 0 });
    return { ...which, ...rowsToJson(element) };
  });
  return mayBeCut(row) ? { value, cut: cut ?? null } : { value };
}

function isNumbered(row: ArrayRow): boolean {
  return row.sparse === true || row.elementName !== undefined;
}

function mayBeCut(row: Row): boolean {
  return row.type === "list" ||
    row.type === "array" && (row.sparse === true || row.toEnd === true || row.countOf !== undefined);
}

function hasMeaning(from: BitField | Row): boolean {
  return ("meaning" in from && from.meaning !== undefined) || ("values" in from && from.values !== undefined);
}

function fieldKind(field: BitField): UintRow["kind"] {
  return field.show === "hex" ? "address" : "quantity";
}

/** The schema of {@linkcode rowsToJson} for a table: every row is required, nothing else is allowed. */
export function rowsSchema(rows: readonly Row[]): JsonObject {
  return closedObject(rowsProperties(rows));
}

function rowsProperties(rows: readonly Row[]): Record<string, Json> {
  return Object.fromEntries(rows.map((row) => [row.name, rowSchema(row)]));
}

function rowSchema(row: Row): JsonObject {
  return row.isVolatile === true ? changing(knownOrNot(row)) : knownOrNot(row);
}

function knownOrNot(row: Row): JsonObject {
  const head = { offset: { type: "integer", minimum: 0 }, sizeBytes: { const: rowSizeBytes(row) } };
  const known = closedObject({
    ...head,
    ...row.type === "array" || row.type === "list" ? elementsSchema(row) : valueSchema(row),
  });
  const unknown = closedObject({ ...head, value: { type: "null" }, reason: { type: "string" } });
  // What is of this row alone stands outside, so that rows of one form share a definition.
  return {
    description: row.title,
    properties: { offset: { const: row.offset } },
    allOf: [row.type === "array" ? known : { anyOf: [known, unknown] }],
  };
}

function elementsSchema(row: ArrayRow | ListRow): Record<string, Json> {
  const cut: Record<string, Json> = mayBeCut(row) ? { cut: { type: ["string", "null"] } } : {};
  if (row.type === "list") {
    const kinds = Object.entries(row.kinds).map(([kind, rows]) =>
      closedObject({ kind: { const: kind }, at: { type: "integer", minimum: 0 }, ...rowsProperties(rows) })
    );
    return { value: { type: "array", items: { anyOf: kinds } }, ...cut };
  }
  const which: Record<string, Json> = {};
  if (isNumbered(row)) which.index = { type: "integer", minimum: 0, maximum: row.count - 1 };
  if (row.elementName !== undefined) which.name = { type: "string" };
  const minItems = mayBeCut(row) ? 0 : row.count;
  const items = closedObject({ ...which, ...rowsProperties(row.rows) });
  return { value: { type: "array", minItems, maxItems: row.count, items }, ...cut };
}

function valueSchema(row: Exclude<Row, ArrayRow | ListRow>): Record<string, Json> {
  if (row.type === "bytes") return bytesSchema(row);
  if (row.type === "text") return { value: { type: "string" } };
  const result: Record<string, Json> = { value: uintSchema(8 * row.sizeBytes, row.kind) };
  if (hasMeaning(row)) result.meaning = { type: "string" };
  if (row.fields !== undefined) {
    result.fields = closedObject(Object.fromEntries(row.fields.map((field) => {
      const properties: Record<string, Json> = { value: uintSchema(fieldPlace(field).width, fieldKind(field)) };
      if (hasMeaning(field)) properties.meaning = { type: "string" };
      return [field.name, { description: field.title, ...closedObject(properties) }];
    })));
    result.reservedBits = { type: "string", pattern: "^0x[0-9a-f]+$" };
  }
  return result;
}

function bytesSchema(row: BytesRow): Record<string, Json> {
  const value = { type: "string", pattern: `^[0-9a-f]{${2 * row.sizeBytes}}$` };
  return hasMeaning(row) ? { value, meaning: { type: "string" } } : { value };
}

/** The schema of what changes by itself, or lies where the kernel put it: `fleet` does not compare machines by it. */
export function changing(schema: JsonObject): JsonObject {
  return { ...schema, "x-volatile": true };
}

/** The schema of an object with exactly these members. */
export function closedObject(properties: Record<string, Json>): JsonObject {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}
