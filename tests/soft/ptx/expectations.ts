/**
 * What may come out of a floating-point instruction, where that is more than one pattern of bits.
 * @module
 */

import {
  canonicalNan,
  compare,
  decode,
  encode,
  flush,
  type Format,
  fromNumber,
  infinityBits,
  isNan,
  isSubnormal,
  type Result,
  type Rounding,
  signBit,
  toNumber,
} from "./float_model.ts";
import { exactly, type Expectation, oneOf } from "./form.ts";

/** Any NaN: PTX fixes the pattern of few instructions. */
export function anyNan(format: Format): Expectation {
  return { accepts: (bits) => isNan(format, bits), text: `a NaN of ${format.name}` };
}

/** The pattern that PTX calls canonical. */
export function canonical(format: Format): Expectation {
  return exactly(canonicalNan(format));
}

/** What modifiers do to a result. */
export interface Modifiers {
  readonly mode?: Rounding;
  /** Subnormal results become zero. */
  readonly ftz?: boolean;
  /** Limited to 0 … 1; NaN becomes 0. */
  readonly sat?: boolean;
  /** Negative results become 0. */
  readonly relu?: boolean;
}

/** A result that is rounded once. */
export function rounded(format: Format, result: Result, modifiers: Modifiers = {}): Expectation {
  const mode = modifiers.mode ?? "rn";
  if (result === null) return modifiers.sat === true ? exactly(0n) : anyNan(format);
  const bits = encode(format, result, mode);
  const isNegative = (bits & signBit(format)) !== 0n;
  const one = fromNumber(format, 1);
  // Whether a zero of these comes with a sign, PTX does not say.
  if (modifiers.sat === true && isNegative) return oneOf(0n, signBit(format));
  if (modifiers.relu === true && isNegative) return oneOf(0n, ...(bits === signBit(format) ? [bits] : []));
  if (modifiers.sat === true && (compare(decode(format, bits), decode(format, one)) ?? 0) > 0) return exactly(one);
  if (modifiers.ftz !== true) return exactly(bits);
  // Whether a number below the least normal one that rounds up to it was subnormal, PTX does not say.
  const isEdge = (bits & (signBit(format) - 1n)) === 1n << BigInt(format.fractionBits) &&
    isSubnormal(format, encode(format, result, "rz"));
  return isEdge ? oneOf(bits, bits & signBit(format)) : exactly(flush(format, bits));
}

/** How far an approximation may be off: what holds is enough. */
export interface Bound {
  /** Units in the last place of the exact result. */
  readonly ulp?: number;
  /** Of the exact result. */
  readonly relative?: number;
  readonly absolute?: number;
}

/** A number of the host near enough to the exact result, which is far more precise than the bound. */
export function approximately(format: Format, exact: number, bound: Bound, ftz: boolean = false): Expectation {
  if (Number.isNaN(exact)) return anyNan(format);
  const nearest = fromNumber(format, exact);
  const unit = Math.abs(toNumber(format, nearest) - neighbour(format, nearest));
  const limit = Math.max(
    (bound.ulp ?? 0) * (Number.isFinite(unit) ? unit : 0),
    (bound.relative ?? 0) * Math.abs(exact),
    bound.absolute ?? 0,
  );
  const least = toNumber(format, 1n << BigInt(format.fractionBits));
  const largest = toNumber(format, infinityBits(format) - 1n);
  return {
    accepts(bits): boolean {
      if (isNan(format, bits)) return false;
      if (bits === nearest) return true;
      const got = toNumber(format, bits);
      if (got === 0 && exact === 0) return Object.is(got, exact);
      // A result that would be subnormal is zero there.
      if (ftz && got === 0 && Math.abs(exact) - limit < least) return Object.is(Math.sign(got), Math.sign(exact) * 0);
      if (!Number.isFinite(got)) return Math.sign(got) === Math.sign(exact) && Math.abs(exact) + limit > largest;
      if (!Number.isFinite(exact)) return false;
      return Math.abs(got - exact) <= limit;
    },
    text: `${exact} ± ${limit.toExponential(2)}`,
  };
}

function neighbour(format: Format, bits: bigint): number {
  const magnitude = bits & (signBit(format) - 1n);
  const other = magnitude >= infinityBits(format) - 1n ? magnitude - 1n : magnitude + 1n;
  return toNumber(format, bits & signBit(format) | other);
}
