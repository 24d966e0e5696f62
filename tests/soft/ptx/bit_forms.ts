/** Bits: logic, shifts, fields, counts, permutations, and mov. */

import { exactly, type Form, type LaneForm, laneForm, type Register } from "./form.ts";
import {
  bitMask,
  extendLow,
  extractField,
  findHighest,
  funnelShift,
  insertField,
  integerType,
  leadingZeros,
  lookUp3,
  nthSetBit,
  permute,
  PERMUTE_MODE_NAMES,
  populationCount,
  reverse,
  shiftLeft,
  shiftRight,
  truncate,
} from "./integer_model.ts";
import { COUNTS, integers, rowsOf } from "./values.ts";

const FAMILY = "bits";

/** The values that fit a register, predicates too. */
function listOf(register: Register): readonly bigint[] {
  return register === "pred" ? [0n, 1n] : integers(Number(register.slice(1)));
}

function form(
  name: string,
  operands: readonly Register[],
  result: Register,
  compute: (...bits: bigint[]) => bigint,
  more: Partial<LaneForm> = {},
): Form {
  return laneForm({
    name,
    family: FAMILY,
    operands,
    results: [result],
    code: `${name} %x, ${["%a", "%b", "%c", "%d"].slice(0, operands.length).join(", ")};`,
    rows: rowsOf(operands.map(listOf), name),
    expect: (...row) => [exactly(compute(...row))],
    ...more,
  });
}

const WIDTHS = [16, 32, 64] as const;

function logic(): Form[] {
  const operations: [string, (a: bigint, b: bigint) => bigint][] = [
    ["and", (a, b) => a & b],
    ["or", (a, b) => a | b],
    ["xor", (a, b) => a ^ b],
  ];
  const forms: Form[] = [];
  for (const width of ["pred", ...WIDTHS] as const) {
    const register: Register = width === "pred" ? "pred" : `b${width}`;
    const all = width === "pred" ? 1n : (1n << BigInt(width)) - 1n;
    for (const [word, compute] of operations) {
      forms.push(form(`${word}.${register}`, [register, register], register, compute));
    }
    forms.push(form(`not.${register}`, [register], register, (a) => a ^ all));
    if (register !== "pred") forms.push(form(`cnot.${register}`, [register], register, (a) => a === 0n ? 1n : 0n));
  }
  return forms;
}

function shifts(): Form[] {
  const forms: Form[] = [];
  for (const width of WIDTHS) {
    const register: Register = `b${width}`;
    const rows = rowsOf([integers(width), COUNTS], `shifts of ${width}`, 160);
    const pair: Register[] = [register, "b32"];
    forms.push(form(`shl.b${width}`, pair, register, (a, n) => shiftLeft(width, a, n), { rows }));
    for (const letter of ["b", "u", "s"]) {
      const type = integerType(`${letter}${width}`);
      forms.push(form(`shr.${letter}${width}`, pair, register, (a, n) => shiftRight(type, a, n), { rows }));
    }
  }
  for (const direction of ["l", "r"]) {
    for (const mode of ["wrap", "clamp"]) {
      const name = `shf.${direction}.${mode}.b32`;
      forms.push(
        form(
          name,
          ["b32", "b32", "b32"],
          "b32",
          (a, b, n) => funnelShift(a, b, n, direction === "l", mode === "wrap"),
          {
            rows: rowsOf([integers(32), integers(32), COUNTS], name, 160),
          },
        ),
      );
    }
  }
  return forms;
}

function fields(): Form[] {
  const forms: Form[] = [];
  for (const width of [32, 64] as const) {
    const register: Register = `b${width}`;
    for (const letter of ["u", "s"]) {
      const type = integerType(`${letter}${width}`);
      forms.push(
        form(`bfe.${type.name}`, [register, "b32", "b32"], register, (a, at, n) => extractField(type, a, at, n), {
          rows: rowsOf([integers(width), COUNTS, COUNTS], `bfe.${type.name}`, 200),
        }),
      );
      for (const suffix of ["", ".shiftamt"]) {
        const name = `bfind${suffix}.${type.name}`;
        forms.push(form(name, [register], "b32", (a) => findHighest(type, a, suffix !== "")));
      }
    }
    forms.push(
      form(
        `bfi.b${width}`,
        [register, register, "b32", "b32"],
        register,
        (a, b, at, n) => insertField(width, a, b, at, n),
        {
          rows: rowsOf([integers(width), integers(width), COUNTS, COUNTS], `bfi.b${width}`, 200),
        },
      ),
      form(`popc.b${width}`, [register], "b32", populationCount),
      form(`clz.b${width}`, [register], "b32", (a) => leadingZeros(a, width)),
      form(`brev.b${width}`, [register], register, (a) => reverse(a, width)),
    );
  }
  for (const mode of ["clamp", "wrap"]) {
    forms.push(
      form(`bmsk.${mode}.b32`, ["b32", "b32"], "b32", (a, b) => bitMask(a, b, mode === "wrap"), {
        rows: rowsOf([COUNTS, COUNTS], `bmsk.${mode}`, 200),
      }),
    );
    for (const type of ["u32", "s32"]) {
      forms.push(
        form(
          `szext.${mode}.${type}`,
          ["b32", "b32"],
          "b32",
          (a, n) => extendLow(type === "s32", a, n, mode === "wrap"),
          {
            rows: rowsOf([integers(32), COUNTS], `szext.${mode}`, 160),
          },
        ),
      );
    }
  }
  const offsets = [0n, 1n, 2n, 5n, 31n, 32n, 40n, -1n, -2n, -7n, -32n].map((value) => truncate(value, 32));
  forms.push(form("fns.b32", ["b32", "b32", "b32"], "b32", nthSetBit, {
    rows: rowsOf([integers(32), [0n, 1n, 8n, 16n, 30n, 31n], offsets], "fns", 200),
  }));
  return forms;
}

/** Truth tables: xor, majority, select, and, or, and some without a name. */
const TABLES = [0x00, 0x01, 0x1d, 0x3c, 0x80, 0x96, 0xca, 0xe8, 0xf8, 0xfe, 0xff];

function lookUps(): Form[] {
  const forms = TABLES.map((table) => {
    const name = `lop3.b32 0x${table.toString(16)}`;
    return form(name, ["b32", "b32", "b32"], "b32", (a, b, c) => lookUp3(a, b, c, table), {
      code: `lop3.b32 %x, %a, %b, %c, ${table};`,
    });
  });
  for (const operation of ["or", "and"]) {
    forms.push(laneForm({
      name: `lop3.${operation}.b32`,
      family: FAMILY,
      operands: ["b32", "b32", "b32", "pred"],
      results: ["b32", "pred"],
      code: `lop3.${operation}.b32 %x|%y, %a, %b, %c, 0x80, %d;`,
      rows: rowsOf([integers(32), integers(32), integers(32), [0n, 1n]], `lop3.${operation}`),
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => {
        const word = lookUp3(a, b, c, 0x80);
        const some = word === 0n ? 0n : 1n;
        return [exactly(word), exactly(operation === "or" ? some | d : some & d)];
      },
    }));
  }
  return forms;
}

function permutes(): Form[] {
  const controls = [0x3210n, 0x7654n, 0x0123n, 0x4567n, 0xba98n, 0xfedcn, 0x8080n, 0x5140n, 0xffff_3210n, 1n, 2n, 3n];
  return [null, ...PERMUTE_MODE_NAMES].map((mode) => {
    const name = mode === null ? "prmt.b32" : `prmt.b32.${mode}`;
    return form(name, ["b32", "b32", "b32"], "b32", (a, b, c) => permute(a, b, c, mode), {
      rows: rowsOf([integers(32), integers(32), [...controls, ...integers(16)]], name, 200),
    });
  });
}

function moves(): Form[] {
  const scalar = ["b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64", "pred"].map((type) => {
    const register: Register = type === "pred" ? "pred" : `b${type.slice(1)}` as Register;
    return form(`mov.${type}`, [register], register, (a) => a);
  });
  const mask = (bits: bigint, width: number): bigint => truncate(bits, width);
  return [
    ...scalar,
    form("mov.b32 x, {a, b}", ["b16", "b16"], "b32", (a, b) => b << 16n | a, { code: "mov.b32 %x, {%a, %b};" }),
    form("mov.b64 x, {a, b}", ["b32", "b32"], "b64", (a, b) => b << 32n | a, { code: "mov.b64 %x, {%a, %b};" }),
    form(
      "mov.b64 x, {a, b, c, d}",
      ["b16", "b16", "b16", "b16"],
      "b64",
      (a, b, c, d) => d << 48n | c << 32n | b << 16n | a,
      { code: "mov.b64 %x, {%a, %b, %c, %d};" },
    ),
    laneForm({
      name: "mov.b32 {x, y}, a",
      family: FAMILY,
      operands: ["b32"],
      results: ["b16", "b16"],
      code: "mov.b32 {%x, %y}, %a;",
      rows: rowsOf([integers(32)], "unpack"),
      expect: (a = 0n) => [exactly(mask(a, 16)), exactly(a >> 16n)],
    }),
    laneForm({
      name: "mov.b64 {x, y}, a",
      family: FAMILY,
      operands: ["b64"],
      results: ["b32", "b32"],
      code: "mov.b64 {%x, %y}, %a;",
      rows: rowsOf([integers(64)], "unpack"),
      expect: (a = 0n) => [exactly(mask(a, 32)), exactly(a >> 32n)],
    }),
    form("mov.b64 {_, x}, a", ["b64"], "b32", (a) => a >> 32n, { code: "mov.b64 {_, %x}, %a;" }),
    laneForm({
      name: "mov.b64 {x, y, z, w}, a",
      family: FAMILY,
      operands: ["b64"],
      results: ["b16", "b16", "b16", "b16"],
      code: "mov.b64 {%x, %y, %z, %w}, %a;",
      rows: rowsOf([integers(64)], "unpack"),
      expect: (a = 0n) => [0n, 16n, 32n, 48n].map((at) => exactly(mask(a >> at, 16))),
    }),
    laneForm({
      name: "mov.b128 pack and unpack",
      family: FAMILY,
      operands: ["b64", "b64"],
      results: ["b64", "b64"],
      locals: ".reg .b128 %q;",
      code: "mov.b128 %q, {%a, %b}; mov.b128 {%y, %x}, %q;",
      rows: rowsOf([integers(64), integers(64)], "b128"),
      expect: (a = 0n, b = 0n) => [exactly(b), exactly(a)],
    }),
    form("mov.f32 0f3F800000", ["b32"], "b32", () => 0x3f80_0000n, { code: "mov.f32 %x, 0f3F800000;" }),
    form("mov.f64 0dBFF0000000000000", ["b64"], "b64", () => 0xbff0_0000_0000_0000n, {
      code: "mov.f64 %x, 0dBFF0000000000000;",
    }),
  ];
}

export const BIT_FORMS: readonly Form[] = [
  ...logic(),
  ...shifts(),
  ...fields(),
  ...lookUps(),
  ...permutes(),
  ...moves(),
];
