/** cvt to and from the formats of 8 bits, two at a time. */

import { canonicalNan, F16, F32, type Format, fromNumber, toNumber } from "./float_model.ts";
import { exactly, type Expectation, type Form, laneForm } from "./form.ts";
import { floatRows } from "./values.ts";

const FAMILY = "convert";

function both(low: Expectation, high: Expectation): Expectation {
  return {
    accepts: (bits) => low.accepts(bits & 0xffffn) && high.accepts(bits >> 16n),
    text: `low ${low.text}, high ${high.text}`,
  };
}

/** A format of 8 bits by the list of its numbers from zero up to the largest. */
function smallNumbers(exponentBits: number, fractionBits: number, count: number): number[] {
  const bias = 2 ** (exponentBits - 1) - 1;
  return Array.from({ length: count }, (_, bits) => {
    const field = bits >> fractionBits, fraction = bits % (1 << fractionBits);
    const significand = field === 0 ? fraction : fraction + (1 << fractionBits);
    return significand * 2 ** (Math.max(field, 1) - bias - fractionBits);
  });
}

const SMALL: Readonly<Record<string, readonly number[]>> = {
  e4m3: smallNumbers(4, 3, 0x7f),
  e5m2: smallNumbers(5, 2, 0x7c),
};

/** The nearest number of the list, the even one of two; beyond its end the last. */
function toSmall(numbers: readonly number[], value: number, relu: boolean): bigint {
  if (Number.isNaN(value)) return 0x7fn;
  if (relu && (value < 0 || Object.is(value, -0))) return 0n;
  const sign = value < 0 || Object.is(value, -0) ? 0x80n : 0n;
  const size = Math.abs(value);
  const above = numbers.findIndex((number) => number >= size);
  if (above < 0) return sign | BigInt(numbers.length - 1);
  if (above === 0) return sign;
  const low = numbers[above - 1] ?? 0, high = numbers[above] ?? 0;
  const middle = (low + high) / 2;
  const takesHigh = size > middle || (size === middle && above % 2 === 0);
  return sign | BigInt(takesHigh ? above : above - 1);
}

function eightBits(): Form[] {
  return Object.entries(SMALL).flatMap(([kind, numbers]) => {
    const forms: Form[] = [];
    for (const relu of ["", ".relu"]) {
      const small = (format: Format, bits: bigint): bigint => toSmall(numbers, toNumber(format, bits), relu !== "");
      const midpoints = numbers.slice(1).map((high, at) => {
        return fromNumber(F32, (high + (numbers[at] ?? 0)) / 2);
      });
      const fromSingle = `cvt.rn.satfinite${relu}.${kind}x2.f32`;
      forms.push(laneForm({
        name: fromSingle,
        family: FAMILY,
        sm: 89,
        operands: ["b32", "b32"],
        results: ["b16"],
        code: `${fromSingle} %x, %a, %b;`,
        rows: [...floatRows(F32, 2, fromSingle), ...midpoints.map((a) => [a, a + 0x8000_0001n])],
        expect: (a = 0n, b = 0n) => [exactly(small(F32, a) << 8n | small(F32, b))],
      }));
      const fromHalves = `cvt.rn.satfinite${relu}.${kind}x2.f16x2`;
      forms.push(laneForm({
        name: fromHalves,
        family: FAMILY,
        sm: 89,
        operands: ["b32"],
        results: ["b16"],
        code: `${fromHalves} %x, %a;`,
        rows: floatRows(F16, 2, fromHalves).map(([a = 0n, b = 0n]) => [a << 16n | b]),
        expect: (a = 0n) => [exactly(small(F16, a >> 16n) << 8n | small(F16, a & 0xffffn))],
      }));
      const back = `cvt.rn${relu}.f16x2.${kind}x2`;
      const half = (bits: bigint): Expectation => fromSmall(numbers, Number(bits), kind === "e5m2", relu !== "");
      forms.push(laneForm({
        name: back,
        family: FAMILY,
        sm: 89,
        operands: ["b16"],
        results: ["b32"],
        code: `${back} %x, %a;`,
        rows: Array.from({ length: 256 }, (_, low) => [BigInt(low | (low * 7 + 5) % 256 << 8)]),
        expect: (a = 0n) => [both(half(a & 0xffn), half(a >> 8n))],
      }));
    }
    return forms;
  });
}

function fromSmall(numbers: readonly number[], bits: number, hasInfinity: boolean, relu: boolean): Expectation {
  const isNegative = bits >= 0x80, size = bits % 0x80;
  const value = numbers[size];
  if (value === undefined && !(hasInfinity && size === 0x7c)) return exactly(canonicalNan(F16));
  if (relu && isNegative) return exactly(0n);
  return exactly(fromNumber(F16, (isNegative ? -1 : 1) * (value ?? Infinity)));
}

export const CONVERT_SMALL_FORMS: readonly Form[] = eightBits();
