/**
 * Values on the command line: `u32:5`, `f32:FILE`.
 * @module
 */

import { BusbarError, systemError } from "../../src/core/error.ts";
import { parseUnsigned } from "../../src/core/units.ts";

/** The types that values may have. */
export const VALUE_TYPES = ["u8", "u16", "u32", "u64", "s32", "s64", "f32", "f64"] as const;
/** One of {@linkcode VALUE_TYPES}. */
export type ValueType = typeof VALUE_TYPES[number];

/** The bytes of an element. */
export function elementBytes(type: ValueType): number {
  return Number(type.slice(1)) / 8;
}

function split(text: string, what: string): [ValueType, string] {
  const colon = text.indexOf(":");
  const type = VALUE_TYPES.find((one) => one === text.slice(0, colon));
  if (type === undefined) {
    throw new BusbarError("usage", `'${text}' is no ${what}`, {
      hint: `write TYPE:${what}, TYPE one of ${VALUE_TYPES.join(" ")}`,
    });
  }
  return [type, text.slice(colon + 1)];
}

/** A value for a kernel: `u32:5`, `f32:-0.5`. */
export function parseValue(text: string): number | bigint {
  const [type, value] = split(text, "value");
  if (type.startsWith("f")) {
    const number = Number(value);
    if (value.trim() === "" || Number.isNaN(number)) throw new BusbarError("usage", `'${value}' is no number`);
    return number;
  }
  if (type.startsWith("s") && value.startsWith("-")) return -parseUnsigned(value.slice(1), "a value");
  return parseUnsigned(value, "a value");
}

/** What goes into a buffer, or comes out of it. */
export interface BufferArgument {
  /** What its bytes are. */
  readonly type: ValueType;
  /** The file; null with {@linkcode count} elements that are not read from anywhere. */
  readonly file: string | null;
  /** Elements; null: as many as the file has. */
  readonly count: number | null;
}

/** `f32:FILE`, or `f32:COUNT` for zeros. */
export function parseInput(text: string): BufferArgument {
  const [type, rest] = split(text, "FILE or COUNT");
  if (/^\d+$/.test(rest)) return { type, file: null, count: Number(rest) };
  if (rest === "") throw new BusbarError("usage", `'${text}' names no file`);
  return { type, file: rest, count: null };
}

/** `f32:COUNT`, or `f32:COUNT:FILE`: a buffer of COUNT elements that is written to FILE, or printed. */
export function parseOutput(text: string): BufferArgument {
  const [type, rest] = split(text, "COUNT[:FILE]");
  const match = /^(\d+)(?::(.+))?$/.exec(rest);
  if (match === null) {
    throw new BusbarError("usage", `'${text}' is no output`, { hint: "write f32:COUNT or f32:COUNT:FILE" });
  }
  return { type, file: match[2] ?? null, count: Number(match[1]) };
}

/** The bytes of an input. */
export function readInput(input: BufferArgument): Uint8Array<ArrayBuffer> {
  const size = elementBytes(input.type);
  if (input.file === null) return new Uint8Array(size * (input.count ?? 0));
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Deno.readFileSync(input.file);
  } catch (cause) {
    throw systemError(cause, "read input", input.file);
  }
  if (bytes.length === 0 || bytes.length % size !== 0) {
    throw new BusbarError("malformed", `${input.file}: ${bytes.length} bytes are no whole number of ${input.type}`, {
      path: input.file,
    });
  }
  return bytes;
}

/** Elements of a buffer as text, in lines. */
export function elementsText(type: ValueType, bytes: Uint8Array<ArrayBuffer>): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read: Record<ValueType, (at: number) => number | bigint> = {
    u8: (at) => view.getUint8(at),
    u16: (at) => view.getUint16(at, true),
    u32: (at) => view.getUint32(at, true),
    u64: (at) => view.getBigUint64(at, true),
    s32: (at) => view.getInt32(at, true),
    s64: (at) => view.getBigInt64(at, true),
    f32: (at) => view.getFloat32(at, true),
    f64: (at) => view.getFloat64(at, true),
  };
  const size = elementBytes(type);
  return Array.from({ length: bytes.length / size }, (_, i) => String(read[type](i * size))).join(" ");
}

/** `x`, `x,y` or `x,y,z`, each at least 1. */
export function parseSides(text: string): [number, number, number] {
  const sides = text.split(",").map((side) => /^\d{1,10}$/.test(side) ? Number(side) : 0);
  const [x = 0, y = 1, z = 1] = sides;
  if (sides.length > 3 || Math.min(x, y, z) < 1 || Math.max(x, y, z) > 0xffff_ffff) {
    throw new BusbarError("usage", `'${text}' is no shape`, { hint: "write x, x,y or x,y,z, each at least 1" });
  }
  return [x, y, z];
}
