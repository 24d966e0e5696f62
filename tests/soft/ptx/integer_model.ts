/**
 * Integer instructions as their definitions in the PTX ISA say them, on arbitrary-precision integers.
 *
 * Source: PTX ISA 9.0, chapters on integer, extended-precision, logic, shift and data movement instructions.
 * @module
 */

/** A type of PTX integers: `u32`, `s64`. */
export interface IntegerType {
  readonly name: string;
  readonly width: number;
  readonly signed: boolean;
}

export function integerType(name: string): IntegerType {
  return { name, width: Number(name.slice(1)), signed: name.startsWith("s") };
}

export function truncate(value: bigint, width: number): bigint {
  return BigInt.asUintN(width, value);
}

/** The number that bits stand for. */
export function valueOf(type: IntegerType, bits: bigint): bigint {
  return type.signed ? BigInt.asIntN(type.width, bits) : BigInt.asUintN(type.width, bits);
}

export function leastOf(type: IntegerType): bigint {
  return type.signed ? -(1n << BigInt(type.width - 1)) : 0n;
}

export function mostOf(type: IntegerType): bigint {
  return type.signed ? (1n << BigInt(type.width - 1)) - 1n : (1n << BigInt(type.width)) - 1n;
}

export function clamp(type: IntegerType, value: bigint): bigint {
  return value < leastOf(type) ? leastOf(type) : value > mostOf(type) ? mostOf(type) : value;
}

export function bitAt(bits: bigint, place: number): bigint {
  return bits >> BigInt(place) & 1n;
}

export function populationCount(bits: bigint): bigint {
  return BigInt(bits.toString(2).replaceAll("0", "").length);
}

export function leadingZeros(bits: bigint, width: number): bigint {
  return BigInt(bits === 0n ? width : width - bits.toString(2).length);
}

/** The place of the highest bit that is no sign bit; all ones for none. */
export function findHighest(type: IntegerType, bits: bigint, asShift: boolean): bigint {
  const value = valueOf(type, bits);
  const seen = value < 0n ? truncate(~value, type.width) : value;
  if (seen === 0n) return 0xffff_ffffn;
  const place = BigInt(seen.toString(2).length - 1);
  return asShift ? BigInt(type.width - 1) - place : place;
}

export function reverse(bits: bigint, width: number): bigint {
  return BigInt(`0b${bits.toString(2).padStart(width, "0").split("").reverse().join("")}`);
}

/** The ISA's loop, literally: bit by bit, with the sign bit of the field behind its end. */
export function extractField(type: IntegerType, bits: bigint, position: bigint, length: bigint): bigint {
  const at = Number(position & 0xffn), count = Number(length & 0xffn);
  const last = type.width - 1;
  const isZero = !type.signed || count === 0;
  const signPlace = Math.min(at + count - 1, last);
  const sign = isZero ? 0n : bitAt(bits, signPlace);
  let field = 0n;
  for (let place = 0; place <= last; place++) {
    const bit = place < count && at + place <= last ? bitAt(bits, at + place) : sign;
    field |= bit << BigInt(place);
  }
  return field;
}

/** The ISA's loop, literally. */
export function insertField(width: number, from: bigint, into: bigint, position: bigint, length: bigint): bigint {
  const at = Number(position & 0xffn), count = Number(length & 0xffn);
  let result = into;
  for (let place = 0; place < count && at + place < width; place++) {
    const mask = 1n << BigInt(at + place);
    result = result & ~mask | bitAt(from, place) << BigInt(at + place);
  }
  return truncate(result, width);
}

export function bitMask(start: bigint, length: bigint, wraps: boolean): bigint {
  const at = wraps ? start & 31n : start, count = wraps ? length & 31n : length;
  if (at >= 32n || count === 0n) return 0n;
  return truncate(((1n << (count > 32n ? 32n : count)) - 1n) << at, 32);
}

/** Keeps the low bits and extends their sign or zeros; with `clamp` counts above 32 leave all bits. */
export function extendLow(signed: boolean, bits: bigint, count: bigint, wraps: boolean): bigint {
  const width = Number(wraps ? count & 31n : count > 32n ? 32n : count);
  if (width === 0) return 0n;
  return truncate(signed ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits), 32);
}

/** The n-th set bit from a base, upwards or downwards; all ones for none. */
export function nthSetBit(mask: bigint, base: bigint, offset: bigint): bigint {
  const steps = BigInt.asIntN(32, offset);
  if (steps === 0n) return bitAt(mask, Number(base)) === 1n ? base : 0xffff_ffffn;
  const direction = steps > 0n ? 1n : -1n;
  let left = steps > 0n ? steps : -steps;
  for (let place = base; place >= 0n && place < 32n; place += direction) {
    if (bitAt(mask, Number(place)) === 1n && --left === 0n) return place;
  }
  return 0xffff_ffffn;
}

function byteOf(bytes: bigint, selector: bigint): bigint {
  const byte = bytes >> (8n * (selector & 7n)) & 0xffn;
  return (selector & 8n) === 0n ? byte : byte & 0x80n ? 0xffn : 0n;
}

/** The selectors of the four bytes, lowest first, in prmt's named modes, by the low two bits of the control word. */
const PERMUTE_MODES: Readonly<Record<string, readonly (readonly number[])[]>> = {
  f4e: [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]],
  b4e: [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]],
  rc8: [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]],
  ecl: [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]],
  ecr: [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]],
  rc16: [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]],
};

export const PERMUTE_MODE_NAMES: readonly string[] = Object.keys(PERMUTE_MODES);

export function permute(a: bigint, b: bigint, control: bigint, mode: string | null): bigint {
  const bytes = b << 32n | a;
  const selectors = mode === null
    ? [0n, 4n, 8n, 12n].map((at) => control >> at & 15n)
    : (PERMUTE_MODES[mode]?.[Number(control & 3n)] ?? []).map(BigInt);
  return selectors.reduce((result, selector, at) => result | byteOf(bytes, selector) << BigInt(8 * at), 0n);
}

export function lookUp3(a: bigint, b: bigint, c: bigint, table: number): bigint {
  let result = 0n;
  for (let place = 0; place < 32; place++) {
    const index = bitAt(a, place) << 2n | bitAt(b, place) << 1n | bitAt(c, place);
    result |= bitAt(BigInt(table), Number(index)) << BigInt(place);
  }
  return result;
}

/** The funnel shift: 64 bits high:low, of which the left form gives the high word and the right form the low one. */
export function funnelShift(low: bigint, high: bigint, count: bigint, left: boolean, wraps: boolean): bigint {
  const by = wraps ? count & 31n : count > 32n ? 32n : count;
  const both = high << 32n | low;
  return left ? truncate(both << by >> 32n, 32) : truncate(both >> by, 32);
}

/** Shift counts are not reduced: from the width on, everything is shifted out. */
export function shiftRight(type: IntegerType, bits: bigint, count: bigint): bigint {
  const by = count > BigInt(type.width) ? BigInt(type.width) : count;
  return truncate(valueOf(type, bits) >> by, type.width);
}

export function shiftLeft(width: number, bits: bigint, count: bigint): bigint {
  return count >= BigInt(width) ? 0n : truncate(bits << count, width);
}

function parts(bits: bigint, width: number, signed: boolean): bigint[] {
  return Array.from({ length: 32 / width }, (_, at) => {
    const part = bits >> BigInt(at * width);
    return signed ? BigInt.asIntN(width, part) : BigInt.asUintN(width, part);
  });
}

/** Four byte products, added. */
export function dotProduct4(a: bigint, aSigned: boolean, b: bigint, bSigned: boolean, c: bigint): bigint {
  const left = parts(a, 8, aSigned), right = parts(b, 8, bSigned);
  return truncate(left.reduce((sum, part, at) => sum + part * (right[at] ?? 0n), c), 32);
}

/** Two products of 16 by 8 bits, added: of the low or the high two bytes. */
export function dotProduct2(
  a: bigint,
  aSigned: boolean,
  b: bigint,
  bSigned: boolean,
  c: bigint,
  high: boolean,
): bigint {
  const left = parts(a, 16, aSigned), right = parts(b, 8, bSigned).slice(high ? 2 : 0);
  return truncate(left.reduce((sum, part, at) => sum + part * (right[at] ?? 0n), c), 32);
}

/** Applies a function to both 16-bit halves. */
export function perHalf(operation: (...halves: bigint[]) => bigint, ...words: bigint[]): bigint {
  const half = (shift: bigint): bigint => truncate(operation(...words.map((word) => word >> shift & 0xffffn)), 16);
  return half(16n) << 16n | half(0n);
}

/** Differences of four bytes. */
export function byteDifferences(a: bigint, b: bigint): bigint[] {
  const right = parts(b, 8, false);
  return parts(a, 8, false).map((byte, at) => {
    const difference = byte - (right[at] ?? 0n);
    return difference < 0n ? -difference : difference;
  });
}
