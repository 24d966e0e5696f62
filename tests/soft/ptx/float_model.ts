/**
 * Floating-point arithmetic by exact rational numbers and one rounding: the oracle of the PTX engine's float forms.
 *
 * A value is decoded to a fraction of two integers and a power of two, the operation is done exactly, and the result is
 * rounded once. Nothing here uses the machine's own floating point.
 *
 * Source: IEEE 754-2019 §4.3 (rounding), §6.3 (sign of zero); PTX ISA 9.0, chapters on floating-point instructions and cvt.
 * @module
 */

/** A binary floating-point format. */
export interface Format {
  /** PTX's word for it. */
  readonly name: string;
  /** Bits of the exponent field. */
  readonly exponentBits: number;
  /** Bits of the fraction field. */
  readonly fractionBits: number;
}

export const F16: Format = { name: "f16", exponentBits: 5, fractionBits: 10 };
export const BF16: Format = { name: "bf16", exponentBits: 8, fractionBits: 7 };
export const F32: Format = { name: "f32", exponentBits: 8, fractionBits: 23 };
export const F64: Format = { name: "f64", exponentBits: 11, fractionBits: 52 };

/** How a result that lies between two numbers is rounded. */
export type Rounding = "rn" | "rz" | "rm" | "rp";

/** A number: numerator / denominator × 2^exponent, with a sign that zero has too. */
export interface Exact {
  readonly negative: boolean;
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly exponent: number;
}

/** What bits stand for. */
export type Decoded =
  | { readonly kind: "nan" }
  | { readonly kind: "infinite"; readonly negative: boolean }
  | { readonly kind: "finite"; readonly value: Exact };

/** A result before it is written down; null is NaN. */
export type Result = Exact | { readonly infinite: true; readonly negative: boolean } | null;

export function widthBits(format: Format): number {
  return 1 + format.exponentBits + format.fractionBits;
}

function bias(format: Format): number {
  return 2 ** (format.exponentBits - 1) - 1;
}

/** The exponent of the last place of subnormal numbers. */
function leastExponent(format: Format): number {
  return 1 - bias(format) - format.fractionBits;
}

export function signBit(format: Format): bigint {
  return 1n << BigInt(widthBits(format) - 1);
}

export function infinityBits(format: Format, negative: boolean = false): bigint {
  const bits = ((1n << BigInt(format.exponentBits)) - 1n) << BigInt(format.fractionBits);
  return negative ? bits | signBit(format) : bits;
}

/** The largest finite number. */
export function largestBits(format: Format, negative: boolean = false): bigint {
  return infinityBits(format, negative) - 1n;
}

/** The pattern that PTX calls the canonical NaN: all ones but the sign. */
export function canonicalNan(format: Format): bigint {
  return signBit(format) - 1n;
}

export function isNan(format: Format, bits: bigint): boolean {
  return (bits & (signBit(format) - 1n)) > infinityBits(format);
}

export function isSubnormal(format: Format, bits: bigint): boolean {
  const magnitude = bits & (signBit(format) - 1n);
  return magnitude !== 0n && magnitude < 1n << BigInt(format.fractionBits);
}

/** Subnormal numbers become zero of the same sign. */
export function flush(format: Format, bits: bigint): bigint {
  return isSubnormal(format, bits) ? bits & signBit(format) : bits;
}

export function decode(format: Format, bits: bigint): Decoded {
  const negative = (bits & signBit(format)) !== 0n;
  if (isNan(format, bits)) return { kind: "nan" };
  if ((bits & (signBit(format) - 1n)) === infinityBits(format)) return { kind: "infinite", negative };
  const fraction = bits & ((1n << BigInt(format.fractionBits)) - 1n);
  const field = Number((bits & (signBit(format) - 1n)) >> BigInt(format.fractionBits));
  const numerator = field === 0 ? fraction : fraction | 1n << BigInt(format.fractionBits);
  const exponent = leastExponent(format) + Math.max(field, 1) - 1;
  return { kind: "finite", value: { negative, numerator, denominator: 1n, exponent } };
}

/** An integer as an exact number. */
export function exactInteger(value: bigint): Exact {
  return { negative: value < 0n, numerator: value < 0n ? -value : value, denominator: 1n, exponent: 0 };
}

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}

function scale(value: bigint, by: number): bigint {
  return by >= 0 ? value << BigInt(by) : value;
}

/** How value / 2^unit compares with its floor: the floor, and whether the rest is zero, less than, equal to or above half. */
function floorAt(value: Exact, unit: number): { floor: bigint; rest: 0 | 1 | 2 | 3 } {
  const by = value.exponent - unit;
  const numerator = scale(value.numerator, by);
  const denominator = scale(value.denominator, -by);
  const floor = numerator / denominator;
  const twice = 2n * (numerator - floor * denominator);
  return { floor, rest: twice === 0n ? 0 : twice < denominator ? 1 : twice === denominator ? 2 : 3 };
}

function roundsUp(mode: Rounding, negative: boolean, rest: 0 | 1 | 2 | 3, isOdd: boolean): boolean {
  if (rest === 0) return false;
  switch (mode) {
    case "rn":
      return rest === 3 || (rest === 2 && isOdd);
    case "rz":
      return false;
    case "rm":
      return negative;
    case "rp":
      return !negative;
  }
}

/** Writes a result in a format. */
export function encode(format: Format, result: Result, mode: Rounding = "rn"): bigint {
  if (result === null) return canonicalNan(format);
  if ("infinite" in result) return infinityBits(format, result.negative);
  const sign = result.negative ? signBit(format) : 0n;
  if (result.numerator === 0n) return sign;
  const { fractionBits } = format;
  const guess = result.exponent + bitLength(result.numerator) - bitLength(result.denominator);
  // The leading bit stands at `guess` or one below.
  const top = floorAt(result, guess).floor === 0n ? guess - 1 : guess;
  const unit = Math.max(top - fractionBits, leastExponent(format));
  const { floor, rest } = floorAt(result, unit);
  const rounded = roundsUp(mode, result.negative, rest, (floor & 1n) === 1n) ? floor + 1n : floor;
  // A carry out of the significand is a carry into the exponent field, and the hidden bit counts as one there.
  const magnitude = (BigInt(unit - leastExponent(format)) << BigInt(fractionBits)) + rounded;
  if (magnitude >= infinityBits(format)) {
    const toInfinity = mode === "rn" || (mode === "rm" && result.negative) || (mode === "rp" && !result.negative);
    return sign | (toInfinity ? infinityBits(format) : largestBits(format));
  }
  return sign | magnitude;
}

/** The nearest integer in a direction; `rn` takes the even one of two. */
export function roundToInteger(value: Exact, mode: Rounding): bigint {
  const { floor, rest } = floorAt(value, 0);
  const magnitude = roundsUp(mode, value.negative, rest, (floor & 1n) === 1n) ? floor + 1n : floor;
  return value.negative ? -magnitude : magnitude;
}

function product(a: Exact, b: Exact): Exact {
  return {
    negative: a.negative !== b.negative,
    numerator: a.numerator * b.numerator,
    denominator: a.denominator * b.denominator,
    exponent: a.exponent + b.exponent,
  };
}

/** Of numbers whose denominator is 1. A sum of zero is negative for two negative zeros, and when rounding down. */
function sum(a: Exact, b: Exact, mode: Rounding): Exact {
  const exponent = Math.min(a.exponent, b.exponent);
  const one = (x: Exact): bigint => (x.negative ? -1n : 1n) * scale(x.numerator, x.exponent - exponent);
  const total = one(a) + one(b);
  const bothZero = a.numerator === 0n && b.numerator === 0n;
  const zeroSign = bothZero && a.negative === b.negative ? a.negative : mode === "rm";
  return {
    negative: total === 0n ? zeroSign : total < 0n,
    numerator: total < 0n ? -total : total,
    denominator: 1n,
    exponent,
  };
}

export function negate(value: Decoded): Decoded {
  if (value.kind === "nan") return value;
  if (value.kind === "infinite") return { kind: "infinite", negative: !value.negative };
  return { kind: "finite", value: { ...value.value, negative: !value.value.negative } };
}

export function add(a: Decoded, b: Decoded, mode: Rounding): Result {
  if (a.kind === "nan" || b.kind === "nan") return null;
  if (a.kind === "infinite") {
    return b.kind === "infinite" && a.negative !== b.negative ? null : { infinite: true, negative: a.negative };
  }
  if (b.kind === "infinite") return { infinite: true, negative: b.negative };
  return sum(a.value, b.value, mode);
}

function isNegative(value: Exclude<Decoded, { kind: "nan" }>): boolean {
  return value.kind === "infinite" ? value.negative : value.value.negative;
}

function isZero(value: Decoded): boolean {
  return value.kind === "finite" && value.value.numerator === 0n;
}

export function multiply(a: Decoded, b: Decoded): Result {
  if (a.kind === "nan" || b.kind === "nan") return null;
  if (a.kind === "infinite" || b.kind === "infinite") {
    if (isZero(a) || isZero(b)) return null;
    return { infinite: true, negative: isNegative(a) !== isNegative(b) };
  }
  return product(a.value, b.value);
}

export function fusedMultiplyAdd(a: Decoded, b: Decoded, c: Decoded, mode: Rounding): Result {
  const first = multiply(a, b);
  if (first === null) return null;
  const decoded: Decoded = "infinite" in first
    ? { kind: "infinite", negative: first.negative }
    : { kind: "finite", value: first };
  return add(decoded, c, mode);
}

export function divide(a: Decoded, b: Decoded): Result {
  if (a.kind === "nan" || b.kind === "nan") return null;
  const negative = isNegative(a) !== isNegative(b);
  if (a.kind === "infinite") return b.kind === "infinite" ? null : { infinite: true, negative };
  if (b.kind === "infinite") return { negative, numerator: 0n, denominator: 1n, exponent: 0 };
  if (isZero(b)) return isZero(a) ? null : { infinite: true, negative };
  return {
    negative,
    numerator: a.value.numerator,
    denominator: b.value.numerator,
    exponent: a.value.exponent - b.value.exponent,
  };
}

function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** With 80 bits and one more that tells that the root goes on, so that one rounding of it is that of the root. */
export function squareRoot(a: Decoded): Result {
  if (a.kind === "nan") return null;
  if (isZero(a) && a.kind === "finite") return a.value;
  if (isNegative(a)) return null;
  if (a.kind === "infinite") return { infinite: true, negative: false };
  const shift = 160 + (a.value.exponent & 1);
  const square = a.value.numerator << BigInt(shift);
  const root = integerRoot(square);
  const isExact = root * root === square;
  return {
    negative: false,
    numerator: 2n * root + (isExact ? 0n : 1n),
    denominator: 1n,
    exponent: (a.value.exponent - shift) / 2 - 1,
  };
}

/** Less than zero, zero or more: a against b; null when one is NaN. */
export function compare(a: Decoded, b: Decoded): number | null {
  if (a.kind === "nan" || b.kind === "nan") return null;
  if (a.kind === "infinite" || b.kind === "infinite") {
    const rank = (x: Exclude<Decoded, { kind: "nan" }>): number => x.kind === "infinite" ? (x.negative ? -1 : 1) : 0;
    return rank(a) - rank(b);
  }
  const difference = sum(a.value, { ...b.value, negative: !b.value.negative }, "rn");
  return difference.numerator === 0n ? 0 : difference.negative ? -1 : 1;
}

/** As a number of the host, for bounds of approximations only: every f16, bf16, f32 and f64 is one. */
export function toNumber(format: Format, bits: bigint): number {
  const f64 = encode(F64, resultOf(decode(format, bits)));
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, f64);
  return view.getFloat64(0);
}

/** The bits of a number of the host, rounded to a format. */
export function fromNumber(format: Format, value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return encode(format, resultOf(decode(F64, view.getBigUint64(0))));
}

export function resultOf(value: Decoded): Result {
  if (value.kind === "nan") return null;
  if (value.kind === "infinite") return { infinite: true, negative: value.negative };
  return value.value;
}
