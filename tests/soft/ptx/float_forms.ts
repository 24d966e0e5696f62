/** Arithmetic in f32 and f64: exactly rounded in four directions, flushed, saturated; minima, signs. */

import { anyNan, canonical, type Modifiers, rounded } from "./expectations.ts";
import {
  add,
  compare,
  decode,
  type Decoded,
  divide,
  F32,
  F64,
  flush,
  type Format,
  fusedMultiplyAdd,
  isNan,
  multiply,
  negate,
  type Result,
  type Rounding,
  signBit,
  squareRoot,
} from "./float_model.ts";
import { exactly, type Expectation, type Form, laneForm, type Register } from "./form.ts";
import { floatRows } from "./values.ts";

const FAMILY = "float";
const MODES: readonly Rounding[] = ["rn", "rz", "rm", "rp"];
const ONE: Decoded = { kind: "finite", value: { negative: false, numerator: 1n, denominator: 1n, exponent: 0 } };

type Operation = (operands: readonly Decoded[], mode: Rounding) => Result;

const NAN: Decoded = { kind: "nan" };
const at = (operands: readonly Decoded[], place: number): Decoded => operands[place] ?? NAN;
const OPERATIONS: Readonly<Record<string, { count: number; compute: Operation }>> = {
  add: { count: 2, compute: (x, mode) => add(at(x, 0), at(x, 1), mode) },
  sub: { count: 2, compute: (x, mode) => add(at(x, 0), negate(at(x, 1)), mode) },
  mul: { count: 2, compute: (x) => multiply(at(x, 0), at(x, 1)) },
  fma: { count: 3, compute: (x, mode) => fusedMultiplyAdd(at(x, 0), at(x, 1), at(x, 2), mode) },
  mad: { count: 3, compute: (x, mode) => fusedMultiplyAdd(at(x, 0), at(x, 1), at(x, 2), mode) },
  div: { count: 2, compute: (x) => divide(at(x, 0), at(x, 1)) },
  rcp: { count: 1, compute: (x) => divide(ONE, at(x, 0)) },
  sqrt: { count: 1, compute: (x) => squareRoot(at(x, 0)) },
};

function form(
  name: string,
  format: Format,
  count: number,
  expect: (...row: bigint[]) => Expectation,
  sm: number = 75,
): Form {
  const register: Register = format === F64 ? "b64" : "b32";
  const operands = Array<Register>(count).fill(register);
  return laneForm({
    name,
    family: FAMILY,
    sm,
    operands,
    results: [register],
    code: `${name} %x, ${["%a", "%b", "%c"].slice(0, count).join(", ")};`,
    rows: floatRows(format, count, name),
    expect: (...row) => [expect(...row)],
  });
}

function arithmetic(operation: string, mode: Rounding | null, words: readonly string[], format: Format): Form {
  const { count, compute } = OPERATIONS[operation] ?? OPERATIONS["add"] as { count: number; compute: Operation };
  const name = [operation, ...(mode === null ? [] : [mode]), ...words, format.name].join(".");
  const ftz = words.includes("ftz");
  const modifiers: Modifiers = { mode: mode ?? "rn", ftz, sat: words.includes("sat") };
  return form(name, format, count, (...row) => {
    const operands = row.map((bits) => decode(format, ftz ? flush(format, bits) : bits));
    return rounded(format, compute(operands, mode ?? "rn"), modifiers);
  });
}

function rounding(): Form[] {
  const forms: Form[] = [];
  for (const operation of ["add", "sub", "mul"]) {
    for (const mode of [null, ...MODES]) {
      for (const words of [[], ["ftz"], ["sat"], ["ftz", "sat"]]) forms.push(arithmetic(operation, mode, words, F32));
      forms.push(arithmetic(operation, mode, [], F64));
    }
  }
  for (const mode of MODES) {
    for (const words of [[], ["ftz"], ["sat"], ["ftz", "sat"]]) forms.push(arithmetic("fma", mode, words, F32));
    forms.push(arithmetic("mad", mode, [], F32), arithmetic("mad", mode, [], F64), arithmetic("fma", mode, [], F64));
    for (const operation of ["div", "rcp", "sqrt"]) {
      for (const words of [[], ["ftz"]]) forms.push(arithmetic(operation, mode, words, F32));
      forms.push(arithmetic(operation, mode, [], F64));
    }
  }
  return forms;
}

/** Of two numbers; -0 is less than +0. */
function pick(format: Format, a: bigint, b: bigint, takesLess: boolean): bigint {
  const order = compare(decode(format, a), decode(format, b)) ?? 0;
  const isLess = order < 0 || (order === 0 && (a & signBit(format)) !== 0n);
  return isLess === takesLess ? a : b;
}

function extreme(
  format: Format,
  operands: readonly bigint[],
  words: readonly string[],
  takesLess: boolean,
): Expectation {
  const sign = signBit(format);
  const read = operands.map((bits) => words.includes("ftz") ? flush(format, bits) : bits);
  const isXor = words.includes("xorsign");
  const numbers = (isXor ? read.map((bits) => bits & (sign - 1n)) : read).filter((bits) => !isNan(format, bits));
  if (numbers.length === 0 || (words.includes("NaN") && numbers.length < read.length)) {
    // PTX names one pattern for f32; of f64 it says only that it is NaN.
    return format === F32 ? canonical(format) : anyNan(format);
  }
  const result = numbers.reduce((a, b) => pick(format, a, b, takesLess));
  return exactly(isXor ? result & (sign - 1n) | read.reduce((a, b) => a ^ b & sign, 0n) : result);
}

function extremes(): Form[] {
  const forms: Form[] = [];
  for (const operation of ["min", "max"]) {
    const add = (words: string[], format: Format, sm: number, count: number = 2): void => {
      const name = [operation, ...words, format.name].join(".");
      const spelled = count === 3 ? `${name}` : name;
      forms.push(form(spelled, format, count, (...row) => extreme(format, row, words, operation === "min"), sm));
    };
    add([], F32, 75);
    add(["ftz"], F32, 75);
    add([], F64, 75);
    add(["NaN"], F32, 80);
    add(["ftz", "NaN"], F32, 80);
    add(["xorsign", "abs"], F32, 86);
    add(["ftz", "xorsign", "abs"], F32, 86);
    add(["NaN", "xorsign", "abs"], F32, 86);
    add([], F32, 100, 3);
    add(["NaN"], F32, 100, 3);
  }
  return forms;
}

function signs(): Form[] {
  const forms: Form[] = [];
  for (const [operation, change] of [["neg", "flip"], ["abs", "clear"]] as const) {
    for (const [words, format] of [[[], F32], [["ftz"], F32], [[], F64]] as const) {
      const name = [operation, ...words, format.name].join(".");
      forms.push(form(name, format, 1, (a = 0n) => {
        if (isNan(format, a)) return anyNan(format);
        const bits = words.length > 0 ? flush(format, a) : a;
        return exactly(change === "flip" ? bits ^ signBit(format) : bits & (signBit(format) - 1n));
      }));
    }
  }
  return forms;
}

export const FLOAT_FORMS: readonly Form[] = [...rounding(), ...extremes(), ...signs()];
