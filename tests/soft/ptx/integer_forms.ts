/** Integer arithmetic with one result: add to mad24, minima, division, dot products, packed halves. */

import { exactly, type Form, type LaneForm, laneForm, type Register, UNSPECIFIED } from "./form.ts";
import {
  byteDifferences,
  clamp,
  dotProduct2,
  dotProduct4,
  type IntegerType,
  integerType,
  leastOf,
  perHalf,
  truncate,
  valueOf,
} from "./integer_model.ts";
import { integers, rowsOf } from "./values.ts";

const TYPES = ["u16", "s16", "u32", "s32", "u64", "s64"].map(integerType);
const FAMILY = "integer";

function register(type: IntegerType): Register {
  return `b${type.width}` as Register;
}

/** A form `NAME x, a, b, …` of one type, by its result as a number, which is truncated. */
function simple(
  name: string,
  type: IntegerType,
  count: number,
  compute: (...values: bigint[]) => bigint,
  more: Partial<LaneForm> = {},
): Form {
  const operands = Array<Register>(count).fill(register(type));
  return laneForm({
    name,
    family: FAMILY,
    operands,
    results: [register(type)],
    code: `${name} %x, ${["%a", "%b", "%c"].slice(0, count).join(", ")};`,
    rows: rowsOf(operands.map(() => integers(type.width)), name),
    expect: (...row) => [exactly(truncate(compute(...row.map((bits) => valueOf(type, bits))), type.width))],
    ...more,
  });
}

const magnitude = (value: bigint): bigint => value < 0n ? -value : value;
const least = (a: bigint, b: bigint): bigint => a < b ? a : b;
const most = (a: bigint, b: bigint): bigint => a > b ? a : b;
const S32 = integerType("s32");

function arithmetic(type: IntegerType): Form[] {
  const { name, width } = type;
  const high = (value: bigint): bigint => value >> BigInt(width);
  return [
    simple(`add.${name}`, type, 2, (a, b) => a + b),
    simple(`sub.${name}`, type, 2, (a, b) => a - b),
    simple(`mul.lo.${name}`, type, 2, (a, b) => a * b),
    simple(`mul.hi.${name}`, type, 2, (a, b) => high(a * b)),
    simple(`mad.lo.${name}`, type, 3, (a, b, c) => a * b + c),
    simple(`mad.hi.${name}`, type, 3, (a, b, c) => high(a * b) + c),
    simple(`sad.${name}`, type, 3, (a, b, c) => c + magnitude(a - b)),
    simple(`min.${name}`, type, 2, least),
    simple(`max.${name}`, type, 2, most),
    ...(type.signed ? [simple(`abs.${name}`, type, 1, magnitude), simple(`neg.${name}`, type, 1, (a) => -a)] : []),
    ...division(type),
    ...(width < 64 ? wide(type) : []),
  ];
}

/** A division by zero may give anything, but it must come to an end, as must the least number by -1, which wraps. */
function division(type: IntegerType): Form[] {
  const form = (name: string, compute: (a: bigint, b: bigint) => bigint): Form =>
    simple(name, type, 2, () => 0n, {
      rows: [...rowsOf([integers(type.width), integers(type.width)], name), [truncate(leastOf(type), type.width), 0n]],
      expect: (a, b) => {
        if (a === undefined || b === undefined || b === 0n) return [UNSPECIFIED];
        return [exactly(truncate(compute(valueOf(type, a), valueOf(type, b)), type.width))];
      },
    });
  return [form(`div.${type.name}`, (a, b) => a / b), form(`rem.${type.name}`, (a, b) => a % b)];
}

function wide(type: IntegerType): Form[] {
  const { name, width } = type;
  const into = `b${2 * width}` as Register;
  const narrow = register(type);
  const product = (a: bigint, b: bigint): bigint => valueOf(type, a) * valueOf(type, b);
  return [
    simple(`mul.wide.${name}`, type, 2, () => 0n, {
      results: [into],
      expect: (a = 0n, b = 0n) => [exactly(truncate(product(a, b), 2 * width))],
    }),
    simple(`mad.wide.${name}`, type, 3, () => 0n, {
      operands: [narrow, narrow, into],
      results: [into],
      rows: rowsOf([integers(width), integers(width), integers(2 * width)], `mad.wide.${name}`),
      expect: (a = 0n, b = 0n, c = 0n) => [exactly(truncate(product(a, b) + c, 2 * width))],
    }),
  ];
}

function saturating(): Form[] {
  const high = (value: bigint): bigint => value >> 32n;
  return [
    simple("add.sat.s32", S32, 2, (a, b) => clamp(S32, a + b)),
    simple("sub.sat.s32", S32, 2, (a, b) => clamp(S32, a - b)),
    simple("mad.hi.sat.s32", S32, 3, (a, b, c) => clamp(S32, high(a * b) + c)),
    simple("min.relu.s32", S32, 2, (a, b) => most(least(a, b), 0n), { sm: 90 }),
    simple("max.relu.s32", S32, 2, (a, b) => most(most(a, b), 0n), { sm: 90 }),
  ];
}

function by24Bits(): Form[] {
  return ["u32", "s32"].map(integerType).flatMap((type) => {
    const low24 = (value: bigint): bigint => type.signed ? BigInt.asIntN(24, value) : BigInt.asUintN(24, value);
    const product = (a: bigint, b: bigint): bigint => low24(a) * low24(b);
    const { name } = type;
    const forms = [
      simple(`mul24.lo.${name}`, type, 2, product),
      simple(`mul24.hi.${name}`, type, 2, (a, b) => product(a, b) >> 16n),
      simple(`mad24.lo.${name}`, type, 3, (a, b, c) => product(a, b) + c),
      simple(`mad24.hi.${name}`, type, 3, (a, b, c) => truncate32(type, product(a, b) >> 16n) + c),
    ];
    if (!type.signed) return forms;
    return [
      ...forms,
      simple("mad24.hi.sat.s32", type, 3, (a, b, c) => clamp(type, truncate32(type, product(a, b) >> 16n) + c)),
    ];
  });
}

function truncate32(type: IntegerType, value: bigint): bigint {
  return valueOf(type, truncate(value, 32));
}

const U32 = integerType("u32");

function dotProducts(): Form[] {
  const forms: Form[] = [];
  for (const a of ["u32", "s32"]) {
    for (const b of ["u32", "s32"]) {
      const aSigned = a === "s32", bSigned = b === "s32";
      forms.push(simple(`dp4a.${a}.${b}`, U32, 3, (x, y, z) => dotProduct4(x, aSigned, y, bSigned, z)));
      for (const half of ["lo", "hi"]) {
        const name = `dp2a.${half}.${a}.${b}`;
        forms.push(simple(name, U32, 3, (x, y, z) => dotProduct2(x, aSigned, y, bSigned, z, half === "hi")));
      }
    }
  }
  return forms;
}

function packedHalves(): Form[] {
  const forms = ["u16", "s16"].flatMap((half) => {
    const type = integerType(half);
    const of = (pick: (a: bigint, b: bigint) => bigint) => (a: bigint, b: bigint): bigint =>
      perHalf((x = 0n, y = 0n) => pick(valueOf(type, x), valueOf(type, y)), a, b);
    return [
      simple(`add.${half}x2`, U32, 2, of((a, b) => a + b), { sm: 90 }),
      simple(`min.${half}x2`, U32, 2, of(least), { sm: 90 }),
      simple(`max.${half}x2`, U32, 2, of(most), { sm: 90 }),
    ];
  });
  const s16 = integerType("s16");
  const positive = (pick: (a: bigint, b: bigint) => bigint) => (a: bigint, b: bigint): bigint =>
    perHalf((x = 0n, y = 0n) => most(pick(valueOf(s16, x), valueOf(s16, y)), 0n), a, b);
  return [
    ...forms,
    simple("min.relu.s16x2", U32, 2, positive(least), { sm: 90 }),
    simple("max.relu.s16x2", U32, 2, positive(most), { sm: 90 }),
  ];
}

function videoDifferences(): Form[] {
  return [
    simple(
      "vabsdiff4.u32.u32.u32",
      U32,
      3,
      (a, b) => byteDifferences(a, b).reduce((word, byte, at) => word | byte << BigInt(8 * at), 0n),
    ),
    simple(
      "vabsdiff4.u32.u32.u32.add",
      U32,
      3,
      (a, b, c) => byteDifferences(a, b).reduce((sum, byte) => sum + byte, c),
    ),
  ];
}

/** Immediate operands, in every notation that PTX has. */
function immediates(): Form[] {
  const constants: [string, bigint][] = [
    ["-1", -1n],
    ["0x7fffffff", 0x7fff_ffffn],
    ["0xFFFFFFFFU", 0xffff_ffffn],
    ["017", 15n],
    ["0b101", 5n],
    ["WARP_SZ", 32n],
    ["(3 + 4 * 2)", 11n],
    ["(1 << 4 | 3)", 19n],
    ["-2147483648", -0x8000_0000n],
  ];
  return constants.map(([text, value]) =>
    simple(`add.s32 with ${text}`, S32, 1, (a) => a + value, { code: `add.s32 %x, %a, ${text};` })
  );
}

export const INTEGER_FORMS: readonly Form[] = [
  ...TYPES.flatMap(arithmetic),
  ...saturating(),
  ...by24Bits(),
  ...dotProducts(),
  ...packedHalves(),
  ...videoDifferences(),
  ...immediates(),
];
