/** cvt between floating-point formats: rounded, saturated, to integral values, and into halves. */

import { anyNan, canonical, rounded } from "./expectations.ts";
import {
  decode,
  encode,
  exactInteger,
  F16,
  F32,
  F64,
  flush,
  type Format,
  isNan,
  resultOf,
  type Rounding,
  roundToInteger,
  signBit,
  widthBits,
} from "./float_model.ts";
import { exactly, type Expectation, type Form, laneForm, type Register } from "./form.ts";
import { floatRows, FORMATS } from "./values.ts";

const FAMILY = "convert";
const MODES: readonly Rounding[] = ["rn", "rz", "rm", "rp"];
const leastSm = (format: Format): number => format.name === "bf16" ? 90 : 75;

function form(
  name: string,
  from: Format,
  into: Format,
  sm: number,
  rows: readonly bigint[][],
  expect: (bits: bigint) => Expectation,
): Form {
  return laneForm({
    name,
    family: FAMILY,
    sm,
    operands: [`b${widthBits(from)}` as Register],
    results: [`b${widthBits(into)}` as Register],
    code: `${name} %x, %a;`,
    rows,
    expect: (a = 0n) => [expect(a)],
  });
}

interface FormatPair {
  readonly words: readonly string[];
  readonly into: Format;
  readonly from: Format;
  readonly sm?: number;
}

function saturated(bits: Expectation, isNumber: boolean): Expectation {
  // Both NaN and -0 become +0 here.
  return isNumber ? bits : exactly(0n);
}

function pairExpectation({ words, into, from }: FormatPair, bits: bigint): Expectation {
  const mode = MODES.find((one) => words.includes(one)) ?? "rn";
  const ftz = words.includes("ftz");
  const read = ftz && from === F32 ? flush(F32, bits) : bits;
  if (words.includes("sat")) {
    const isPositive = !isNan(from, read) && (read & signBit(from)) === 0n;
    return saturated(rounded(into, resultOf(decode(from, read)), { mode, sat: true, ftz }), isPositive);
  }
  const value = decode(from, read);
  if (value.kind === "nan") return words.includes("relu") ? canonical(into) : anyNan(into);
  return rounded(into, resultOf(value), { mode, ftz: ftz && into === F32, relu: words.includes("relu") });
}

function pair(pair: FormatPair): Form {
  const { words, into, from } = pair;
  const name = ["cvt", ...words, into.name, from.name].join(".");
  const rows = [...floatRows(from, 1, name, 200), ...halfway(from, into)];
  return form(name, from, into, Math.max(pair.sm ?? 75, leastSm(from)), rows, (a) => pairExpectation(pair, a));
}

/** Numbers of the wider format that lie halfway between two of the narrower, and beside. */
function halfway(from: Format, into: Format): bigint[][] {
  const spare = from.fractionBits - into.fractionBits;
  if (spare < 2) return [];
  const middle = 1n << BigInt(spare - 1);
  return floatRows(into, 1, `halfway ${from.name} ${into.name}`, 90).slice(48).flatMap(([narrow = 0n]) => {
    const wide = encode(from, resultOf(decode(into, narrow)));
    return isNan(from, wide) ? [] : [[wide + middle], [wide + middle - 1n], [wide + middle + 1n]];
  });
}

const BF16 = FORMATS["bf16"] as Format;

function betweenFormats(): Form[] {
  const pairs: FormatPair[] = [
    { words: [], into: F64, from: F32 },
    { words: ["ftz"], into: F64, from: F32 },
    { words: [], into: F32, from: F16 },
    { words: ["ftz"], into: F32, from: F16 },
    { words: [], into: F64, from: F16 },
    { words: [], into: F32, from: BF16 },
    { words: [], into: F64, from: BF16 },
    { words: ["rn"], into: BF16, from: F16, sm: 90 },
    { words: ["rn"], into: F16, from: BF16, sm: 90 },
    { words: ["rn"], into: BF16, from: F64, sm: 90 },
    { words: ["rn"], into: BF16, from: F32, sm: 80 },
    { words: ["rz"], into: BF16, from: F32, sm: 80 },
    { words: ["rm"], into: BF16, from: F32, sm: 90 },
    { words: ["rp"], into: BF16, from: F32, sm: 90 },
    { words: ["rn", "relu"], into: BF16, from: F32, sm: 80 },
    { words: ["rz", "relu"], into: BF16, from: F32, sm: 80 },
    { words: ["rn", "relu"], into: F16, from: F32, sm: 80 },
    { words: ["rz", "relu"], into: F16, from: F32, sm: 80 },
    { words: ["sat"], into: F32, from: F32 },
    { words: ["ftz", "sat"], into: F32, from: F32 },
    { words: ["sat"], into: F64, from: F64 },
    { words: ["sat"], into: F32, from: F16 },
    { words: ["rn", "sat"], into: F16, from: F32 },
    { words: ["rn", "sat"], into: F32, from: F64 },
    { words: ["rz", "ftz", "sat"], into: F32, from: F64 },
  ];
  for (const mode of MODES) {
    pairs.push(
      { words: [mode], into: F32, from: F64 },
      { words: [mode, "ftz"], into: F32, from: F64 },
      { words: [mode], into: F16, from: F32 },
      { words: [mode, "ftz"], into: F16, from: F32 },
      { words: [mode], into: F16, from: F64 },
    );
  }
  return pairs.map(pair);
}

/** To an integral value of the same format: zero keeps the sign of what was rounded. */
function integral(format: Format, mode: Rounding, bits: bigint): Expectation {
  const value = decode(format, bits);
  if (value.kind === "nan") return anyNan(format);
  if (value.kind === "infinite") return exactly(bits);
  const whole = roundToInteger(value.value, mode);
  if (whole === 0n) return exactly(bits & signBit(format));
  return exactly(encode(format, exactInteger(whole)));
}

function toIntegralValues(): Form[] {
  const forms: Form[] = [];
  for (const format of [F16, BF16, F32, F64]) {
    for (const mode of MODES) {
      for (const ftz of format === F32 ? ["", ".ftz"] : [""]) {
        const name = `cvt.${mode}i${ftz}.${format.name}.${format.name}`;
        const read = (bits: bigint): bigint => ftz === "" ? bits : flush(format, bits);
        forms.push(
          form(
            name,
            format,
            format,
            leastSm(format),
            floatRows(format, 1, name, 200),
            (a) => integral(format, mode, read(a)),
          ),
        );
      }
    }
  }
  return forms;
}

function both(low: Expectation, high: Expectation): Expectation {
  return {
    accepts: (bits) => low.accepts(bits & 0xffffn) && high.accepts(bits >> 16n),
    text: `low ${low.text}, high ${high.text}`,
  };
}

/** The first operand goes to the high half. */
function intoHalves(): Form[] {
  return [F16, BF16].flatMap((into) =>
    [["rn"], ["rz"], ["rn", "relu"], ["rz", "relu"]].map((words) => {
      const name = ["cvt", ...words, `${into.name}x2`, "f32"].join(".");
      return laneForm({
        name,
        family: FAMILY,
        sm: 80,
        operands: ["b32", "b32"],
        results: ["b32"],
        code: `${name} %x, %a, %b;`,
        rows: [...floatRows(F32, 2, name), ...halfway(F32, into).map(([a = 0n]) => [a, a ^ 0x8000_0001n])],
        expect: (a = 0n, b = 0n) => [
          both(pairExpectation({ words, into, from: F32 }, b), pairExpectation({ words, into, from: F32 }, a)),
        ],
      });
    })
  );
}

export const CONVERT_FLOAT_FORMS: readonly Form[] = [...betweenFormats(), ...toIntegralValues(), ...intoHalves()];
