/** Comparison: setp and set, of every type, with a third predicate, of packed halves. */

import { decode, type Decoded, flush, type Format } from "./float_model.ts";
import * as float from "./float_model.ts";
import { exactly, type Form, laneForm, type Register } from "./form.ts";
import { integerType, truncate, valueOf } from "./integer_model.ts";
import { floatRows, FORMATS, integers, packedRows, rowsOf } from "./values.ts";

const FAMILY = "compare";

/** Whether a comparison holds, by the sign of a - b; null where one is NaN. */
const ORDERED: Readonly<Record<string, (sign: number) => boolean>> = {
  eq: (sign) => sign === 0,
  ne: (sign) => sign !== 0,
  lt: (sign) => sign < 0,
  le: (sign) => sign <= 0,
  gt: (sign) => sign > 0,
  ge: (sign) => sign >= 0,
};
const UNSIGNED_ALIASES: Readonly<Record<string, string>> = { lo: "lt", ls: "le", hi: "gt", hs: "ge" };

function holds(operator: string, sign: number | null): boolean {
  if (operator === "num") return sign !== null;
  if (operator === "nan") return sign === null;
  const plain = ORDERED[operator];
  if (plain !== undefined) return sign !== null && plain(sign);
  const unordered = ORDERED[operator.replace(/u$/, "")];
  if (unordered === undefined) throw new Error(`no comparison ${operator}`);
  return sign === null || unordered(sign);
}

const FLOAT_OPERATORS = [...Object.keys(ORDERED), "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

function compareIntegers(operator: string, type: string, a: bigint, b: bigint): boolean {
  const kind = integerType(type);
  const left = valueOf(kind, a), right = valueOf(kind, b);
  return holds(UNSIGNED_ALIASES[operator] ?? operator, left < right ? -1 : left > right ? 1 : 0);
}

export function compareFloats(operator: string, format: Format, ftz: boolean, a: bigint, b: bigint): boolean {
  const read = (bits: bigint): Decoded => decode(format, ftz ? flush(format, bits) : bits);
  return holds(operator, float.compare(read(a), read(b)));
}

const bit = (condition: boolean | undefined): bigint => condition === true ? 1n : 0n;

interface Comparison {
  /** The end of the name: `s32`, `ftz.f32`. */
  readonly type: string;
  readonly operators: readonly string[];
  readonly register: Register;
  readonly sm: number;
  rows(name: string): bigint[][];
  test(operator: string, a: bigint, b: bigint): boolean;
}

function integerComparison(type: string): Comparison {
  const width = Number(type.slice(1));
  const letter = type[0];
  return {
    type,
    operators: letter === "b"
      ? ["eq", "ne"]
      : [...Object.keys(ORDERED), ...(letter === "u" ? Object.keys(UNSIGNED_ALIASES) : [])],
    register: `b${width}` as Register,
    sm: 75,
    rows: (name) => {
      const rows = rowsOf([integers(width), integers(width)], name);
      return [...rows, ...integers(width).slice(0, 8).map((value) => [value, value])];
    },
    test: (operator, a, b) => compareIntegers(operator, type, a, b),
  };
}

function floatComparison(type: string): Comparison {
  const words = type.split(".");
  const name = words.at(-1) ?? "";
  const format = FORMATS[name];
  if (format === undefined) throw new Error(`no format ${name}`);
  return {
    type,
    operators: FLOAT_OPERATORS,
    register: name === "f64" ? "b64" : name === "f32" ? "b32" : "b16",
    sm: name === "bf16" ? 90 : 75,
    rows: (seed) => floatRows(format, 2, seed, 180),
    test: (operator, a, b) => compareFloats(operator, format, words.includes("ftz"), a, b),
  };
}

const COMPARISONS: readonly Comparison[] = [
  ...["b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64"].map(integerComparison),
  ...["f32", "ftz.f32", "f64", "f16", "ftz.f16", "bf16"].map(floatComparison),
];

function setPredicates(): Form[] {
  return COMPARISONS.flatMap(({ type, operators, register, sm, rows, test }) =>
    operators.map((operator) => {
      const name = `setp.${operator}.${type}`;
      return laneForm({
        name,
        family: FAMILY,
        sm,
        operands: [register, register],
        results: ["pred"],
        code: `${name} %x, %a, %b;`,
        rows: rows(name),
        expect: (a = 0n, b = 0n) => [exactly(bit(test(operator, a, b)))],
      });
    })
  );
}

/** The second destination is the complement of the comparison, combined alike. */
function combinedPredicates(): Form[] {
  const combine: Readonly<Record<string, (a: boolean, b: boolean) => boolean>> = {
    and: (a, b) => a && b,
    or: (a, b) => a || b,
    xor: (a, b) => a !== b,
  };
  const forms: Form[] = [];
  for (const type of ["s32", "f32", "f64"]) {
    const comparison = COMPARISONS.find((one) => one.type === type);
    if (comparison === undefined) continue;
    const operator = "lt";
    for (const [word, joined] of Object.entries(combine)) {
      for (const negation of ["", "!"]) {
        const name = `setp.${operator}.${word}.${type}`;
        forms.push(laneForm({
          name: negation === "" ? name : `${name} with !c`,
          family: FAMILY,
          operands: [comparison.register, comparison.register, "pred"],
          results: ["pred", "pred"],
          code: `${name} %x|%y, %a, %b, ${negation}%c;`,
          rows: comparison.rows(name).flatMap((row) => [[...row, 0n], [...row, 1n]]),
          expect: (a = 0n, b = 0n, c = 0n) => {
            const other = (c === 1n) !== (negation === "!");
            const test = comparison.test(operator, a, b);
            return [exactly(bit(joined(test, other))), exactly(bit(joined(!test, other)))];
          },
        }));
      }
    }
  }
  const s32 = integerComparison("s32");
  forms.push(laneForm({
    name: "setp.ge.s32 p|q",
    family: FAMILY,
    operands: ["b32", "b32"],
    results: ["pred", "pred"],
    code: "setp.ge.s32 %x|%y, %a, %b;",
    rows: s32.rows("p|q"),
    expect: (a = 0n, b = 0n) => [exactly(bit(s32.test("ge", a, b))), exactly(bit(!s32.test("ge", a, b)))],
  }));
  return forms;
}

/** Comparisons of both halves: two predicates. */
function packedPredicates(): Form[] {
  return ["f16", "bf16"].flatMap((name) =>
    FLOAT_OPERATORS.map((operator) => {
      const comparison = floatComparison(name);
      const form = `setp.${operator}.${name}x2`;
      return laneForm({
        name: form,
        family: FAMILY,
        sm: comparison.sm,
        operands: ["b32", "b32"],
        results: ["pred", "pred"],
        code: `${form} %x|%y, %a, %b;`,
        rows: packedRows(comparison.rows(form)),
        expect: (a = 0n, b = 0n) =>
          [0n, 16n].map((at) => exactly(bit(comparison.test(operator, truncate(a >> at, 16), truncate(b >> at, 16))))),
      });
    })
  );
}

/** What `set` writes for true. */
const TRUE: Readonly<Record<string, bigint>> = {
  u32: 0xffff_ffffn,
  s32: 0xffff_ffffn,
  f32: 0x3f80_0000n,
  u16: 0xffffn,
  s16: 0xffffn,
  f16: 0x3c00n,
  bf16: 0x3f80n,
};

function sets(): Form[] {
  const forms: Form[] = [];
  const add = (destination: string, operator: string, comparison: Comparison): void => {
    const name = `set.${operator}.${comparison.type.replace(/^ftz\./, "ftz.")}`.split(".");
    const source = name.pop() ?? "";
    const spelled = [...name, destination, source].join(".");
    forms.push(laneForm({
      name: spelled,
      family: FAMILY,
      sm: comparison.sm,
      operands: [comparison.register, comparison.register],
      results: [destination.endsWith("16") ? "b16" : "b32"],
      code: `${spelled} %x, %a, %b;`,
      rows: comparison.rows(spelled),
      expect: (a = 0n, b = 0n) => [exactly(comparison.test(operator, a, b) ? TRUE[destination] ?? 0n : 0n)],
    }));
  };
  for (const type of ["b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64"]) {
    const comparison = integerComparison(type);
    for (const destination of ["u32", "s32", "f32"]) {
      add(destination, comparison.operators[comparison.operators.length === 2 ? 1 : 2] ?? "eq", comparison);
    }
  }
  for (const type of ["f32", "ftz.f32", "f64"]) {
    for (const destination of ["u32", "s32", "f32"]) {
      for (const operator of ["ge", "neu"]) add(destination, operator, floatComparison(type));
    }
  }
  for (const type of ["f16", "bf16"]) {
    for (const destination of [type, "u16", "s16", "u32", "s32"]) {
      for (const operator of ["eq", "gtu"]) add(destination, operator, floatComparison(type));
    }
  }
  return [...forms, ...packedSets(), combinedSet()];
}

function packedSets(): Form[] {
  return ["f16", "bf16"].flatMap((name) =>
    [`${name}x2`, "u32", "s32"].map((destination) => {
      const comparison = floatComparison(name);
      const spelled = `set.le.${destination}.${name}x2`;
      const yes = destination.endsWith("x2") ? TRUE[name] ?? 0n : 0xffffn;
      return laneForm({
        name: spelled,
        family: FAMILY,
        sm: comparison.sm,
        operands: ["b32", "b32"],
        results: ["b32"],
        code: `${spelled} %x, %a, %b;`,
        rows: packedRows(comparison.rows(spelled)),
        expect: (a = 0n, b = 0n) => {
          const half = (at: bigint): bigint =>
            comparison.test("le", truncate(a >> at, 16), truncate(b >> at, 16)) ? yes : 0n;
          return [exactly(half(16n) << 16n | half(0n))];
        },
      });
    })
  );
}

function combinedSet(): Form {
  const comparison = integerComparison("s32");
  return laneForm({
    name: "set.gt.and.u32.s32",
    family: FAMILY,
    operands: ["b32", "b32", "pred"],
    results: ["b32"],
    code: "set.gt.and.u32.s32 %x, %a, %b, !%c;",
    rows: comparison.rows("set.gt.and").flatMap((row) => [[...row, 0n], [...row, 1n]]),
    expect: (a = 0n, b = 0n, c = 0n) => [
      exactly(comparison.test("gt", a, b) && c === 0n ? 0xffff_ffffn : 0n),
    ],
  });
}

export const COMPARE_FORMS: readonly Form[] = [
  ...setPredicates(),
  ...combinedPredicates(),
  ...packedPredicates(),
  ...sets(),
];
