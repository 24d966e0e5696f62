/** Arithmetic in f16 and bf16, alone and two in a word: each result is rounded once. */

import { anyNan, canonical, rounded } from "./expectations.ts";
import {
  add,
  BF16,
  compare,
  decode,
  F16,
  flush,
  type Format,
  fusedMultiplyAdd,
  isNan,
  multiply,
  negate,
  type Result,
  signBit,
} from "./float_model.ts";
import { exactly, type Expectation, type Form, laneForm, type Register } from "./form.ts";
import { floatRows, packedRows } from "./values.ts";

interface HalfForm {
  /** Words before the type. */
  readonly words: string;
  readonly format: Format;
  readonly count: number;
  /** The least architecture. */
  readonly sm: number;
  expect(...row: bigint[]): Expectation;
}

/** Both of two expectations, of the halves of a word. */
function halves(low: Expectation, high: Expectation): Expectation {
  return {
    accepts: (bits) => low.accepts(bits & 0xffffn) && high.accepts(bits >> 16n),
    text: `low ${low.text}, high ${high.text}`,
  };
}

/** The form on one number and on two. */
function both(form: HalfForm): Form[] {
  const { words, format, count, sm } = form;
  const rows = floatRows(format, count, `${words}.${format.name}`, 150);
  return [false, true].map((isPacked) => {
    const name = `${words}.${format.name}${isPacked ? "x2" : ""}`;
    const register: Register = isPacked ? "b32" : "b16";
    return laneForm({
      name,
      family: "half",
      sm,
      operands: Array<Register>(count).fill(register),
      results: [register],
      code: `${name} %x, ${["%a", "%b", "%c"].slice(0, count).join(", ")};`,
      rows: isPacked ? packedRows(rows) : rows,
      expect: (...row) =>
        isPacked
          ? [halves(form.expect(...row.map((word) => word & 0xffffn)), form.expect(...row.map((word) => word >> 16n)))]
          : [form.expect(...row)],
    });
  });
}

function compute(operation: string, format: Format, row: readonly bigint[]): Result {
  const [a, b, c] = row.map((bits) => decode(format, bits));
  if (a === undefined || b === undefined) return null;
  switch (operation) {
    case "add":
      return add(a, b, "rn");
    case "sub":
      return add(a, negate(b), "rn");
    case "mul":
      return multiply(a, b);
    default:
      return c === undefined ? null : fusedMultiplyAdd(a, b, c, "rn");
  }
}

function arithmetic(): Form[] {
  const forms: Form[] = [];
  const push = (operation: string, words: readonly string[], format: Format, sm: number): void => {
    const ftz = words.includes("ftz");
    const modifiers = { ftz, sat: words.includes("sat"), relu: words.includes("relu") };
    forms.push(...both({
      words: [operation, ...words].join("."),
      format,
      count: operation === "fma" ? 3 : 2,
      sm,
      expect: (...row) => {
        const read = row.map((bits) => ftz ? flush(format, bits) : bits);
        return rounded(format, compute(operation, format, read), modifiers);
      },
    }));
  };
  for (const operation of ["add", "sub", "mul"]) {
    for (const words of [[], ["rn"], ["ftz"], ["sat"], ["ftz", "sat"], ["rn", "ftz", "sat"]]) {
      push(operation, words, F16, 75);
    }
    push(operation, [], BF16, 90);
    push(operation, ["rn"], BF16, 90);
  }
  for (const words of [["rn"], ["rn", "ftz"], ["rn", "sat"], ["rn", "ftz", "sat"]]) push("fma", words, F16, 75);
  for (const words of [["rn", "relu"], ["rn", "ftz", "relu"]]) push("fma", words, F16, 80);
  push("fma", ["rn"], BF16, 80);
  push("fma", ["rn", "relu"], BF16, 80);
  return forms;
}

function extreme(format: Format, row: readonly bigint[], words: readonly string[], takesLess: boolean): Expectation {
  const sign = signBit(format);
  const read = row.map((bits) => words.includes("ftz") ? flush(format, bits) : bits);
  const isXor = words.includes("xorsign");
  const [a = 0n, b = 0n] = isXor ? read.map((bits) => bits & (sign - 1n)) : read;
  const aNan = isNan(format, a), bNan = isNan(format, b);
  if ((aNan && bNan) || (words.includes("NaN") && (aNan || bNan))) return canonical(format);
  const order = compare(decode(format, a), decode(format, b)) ?? 0;
  const isLess = order < 0 || (order === 0 && (a & sign) !== 0n);
  const result = aNan ? b : bNan ? a : isLess === takesLess ? a : b;
  const [first = 0n, second = 0n] = read;
  return exactly(isXor ? result & (sign - 1n) | (first ^ second) & sign : result);
}

function extremes(): Form[] {
  const forms: Form[] = [];
  for (const operation of ["min", "max"]) {
    const push = (words: readonly string[], format: Format, sm: number): void => {
      forms.push(...both({
        words: [operation, ...words].join("."),
        format,
        count: 2,
        sm,
        expect: (...row) => extreme(format, row, words, operation === "min"),
      }));
    };
    for (const words of [[], ["ftz"], ["NaN"], ["ftz", "NaN"]]) push(words, F16, 80);
    for (const words of [["xorsign", "abs"], ["NaN", "xorsign", "abs"], ["ftz", "xorsign", "abs"]]) {
      push(words, F16, 86);
    }
    for (const words of [[], ["NaN"]]) push(words, BF16, 80);
    push(["xorsign", "abs"], BF16, 86);
  }
  return forms;
}

function signs(): Form[] {
  const forms: Form[] = [];
  for (const [operation, change] of [["neg", "flip"], ["abs", "clear"]] as const) {
    for (const [words, format, sm] of [[[], F16, 75], [["ftz"], F16, 75], [[], BF16, 80]] as const) {
      forms.push(...both({
        words: [operation, ...words].join("."),
        format,
        count: 1,
        sm,
        expect: (a = 0n) => {
          if (isNan(format, a)) return anyNan(format);
          const bits = words.length > 0 ? flush(format, a) : a;
          return exactly(change === "flip" ? bits ^ signBit(format) : bits & (signBit(format) - 1n));
        },
      }));
    }
  }
  return forms;
}

export const HALF_FORMS: readonly Form[] = [...arithmetic(), ...extremes(), ...signs()];
