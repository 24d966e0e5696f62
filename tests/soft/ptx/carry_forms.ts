/**
 * Extended-precision arithmetic: the carry that one instruction leaves and the next takes.
 *
 * The carry cannot be read but by an instruction that takes it, so each form stands between one that sets it from a row's
 * operand and one that shows it.
 */

import { exactly, type Form, laneForm, type Register } from "./form.ts";
import { type IntegerType, integerType, truncate, valueOf } from "./integer_model.ts";
import { integers, rowsOf } from "./values.ts";

const TYPES = ["u32", "s32", "u64", "s64"].map(integerType);

interface CarryForm {
  readonly operation: string;
  /** How many operands it has. */
  readonly count: number;
  /** Takes the carry. */
  readonly takes: boolean;
  /** Leaves a carry. */
  readonly leaves: boolean;
}

/** What is added to c, or b to be taken from a, before the carry; `borrows` where the carry means a borrow. */
function compute(
  form: CarryForm,
  type: IntegerType,
  [a = 0n, b = 0n, c = 0n]: readonly bigint[],
  carry: bigint,
): { value: bigint; carry: bigint } {
  const { width } = type;
  const limit = 1n << BigInt(width);
  if (form.operation === "sub") {
    const value = a - b - carry;
    return { value: truncate(value, width), carry: value < 0n ? 1n : 0n };
  }
  const product = valueOf(type, a) * valueOf(type, b);
  const terms = form.operation === "add"
    ? [a, b]
    : [truncate(form.operation === "mad.hi" ? product >> BigInt(width) : product, width), c];
  const value = (terms[0] ?? 0n) + (terms[1] ?? 0n) + carry;
  return { value: truncate(value, width), carry: value >= limit ? 1n : 0n };
}

function spelled(form: CarryForm, type: IntegerType): string {
  const [name = "", half] = form.operation.split(".");
  return [name + (form.takes ? "c" : ""), half, form.leaves ? "cc" : undefined, type.name]
    .filter((word) => word !== undefined).join(".");
}

function carryForm(form: CarryForm, type: IntegerType): Form {
  const name = spelled(form, type);
  const register = `b${type.width}` as Register;
  const operands = Array<Register>(form.count).fill(register);
  const isSub = form.operation === "sub";
  // The last operand sets the carry: all ones plus a bit, or nothing minus a bit.
  const lists = [...operands.map(() => integers(type.width)), [0n, 1n]];
  const places = ["%a", "%b", "%c"].slice(0, form.count).join(", ");
  const flag = ["%a", "%b", "%c", "%d"][form.count] ?? "%d";
  const set = isSub ? `sub.cc.u32 %y, 0, ${flag};` : `add.cc.u32 %y, ${flag}, -1;`;
  // Without .cc the carry before must be what is seen after.
  const show = isSub ? "subc.u32 %y, 0, 0;" : "addc.u32 %y, 0, 0;";
  return laneForm({
    name,
    family: "carry",
    operands: [...operands, "b32"],
    results: [register, "b32"],
    code: `${set} ${name} %x, ${places}; ${show}`,
    rows: rowsOf(lists, name, 140),
    expect: (...row) => {
      const before = row[form.count] ?? 0n;
      const { value, carry } = compute(form, type, row, form.takes ? before : 0n);
      const after = form.leaves ? carry : before;
      return [exactly(value), exactly(isSub ? truncate(-after, 32) : after)];
    },
  });
}

function carryForms(): Form[] {
  const forms: Form[] = [];
  for (const type of TYPES) {
    for (const operation of ["add", "sub", "mad.lo", "mad.hi"]) {
      const count = operation.startsWith("mad") ? 3 : 2;
      for (const [takes, leaves] of [[false, true], [true, false], [true, true]] as const) {
        forms.push(carryForm({ operation, count, takes, leaves }, type));
      }
    }
  }
  return forms;
}

/** 128-bit sums and products as the compiler spells them: four carries in a row. */
function longChains(): Form[] {
  const words = (...bits: bigint[]): bigint => bits.reduceRight((all, word) => all << 32n | word, 0n);
  const split = (value: bigint): readonly ReturnType<typeof exactly>[] => [
    exactly(value & 0xffff_ffff_ffff_ffffn),
    exactly(value >> 64n & 0xffff_ffff_ffff_ffffn),
  ];
  const lists = [integers(64), integers(64), integers(64), integers(64)];
  const operands: Register[] = ["b64", "b64", "b64", "b64"];
  const results: Register[] = ["b64", "b64"];
  return [
    laneForm({
      name: "add.cc.s64 and addc.cc.s64, 128 bits",
      family: "carry",
      operands,
      results,
      code: "add.cc.s64 %x, %a, %c; addc.cc.s64 %y, %b, %d;",
      rows: rowsOf(lists, "sum of 128 bits"),
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => split((b << 64n | a) + (d << 64n | c)),
    }),
    laneForm({
      name: "mad.lo.cc.u32 to madc.hi.u32, 64 by 64 bits",
      family: "carry",
      operands: ["b32", "b32", "b32", "b32"],
      results,
      locals: ".reg .b32 %r<4>;",
      code: `mul.lo.u32 %r0, %a, %c; mul.hi.u32 %r1, %a, %c;
  mad.lo.cc.u32 %r1, %a, %d, %r1; madc.hi.u32 %r2, %a, %d, 0;
  mad.lo.cc.u32 %r1, %b, %c, %r1; madc.hi.cc.u32 %r2, %b, %c, %r2; addc.u32 %r3, 0, 0;
  mad.lo.cc.u32 %r2, %b, %d, %r2; madc.hi.u32 %r3, %b, %d, %r3;
  mov.b64 %x, {%r0, %r1}; mov.b64 %y, {%r2, %r3};`,
      rows: rowsOf([integers(32), integers(32), integers(32), integers(32)], "product of 64 bits"),
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => split(words(a, b) * words(c, d)),
    }),
  ];
}

/**
 * Sums that take the carry of a difference, and the other way round. The carry of a - b is that of a + ~b + 1: one where
 * nothing was borrowed. The ISA says "borrow" of it and leaves the mixture open; the compiler's division of 128 bits relies on
 * this.
 */
function mixtures(): Form[] {
  const rows = rowsOf([integers(32), integers(32)], "mixtures");
  const form = (name: string, code: string, result: (a: bigint, b: bigint) => bigint): Form =>
    laneForm({
      name,
      family: "carry",
      operands: ["b32", "b32"],
      results: ["b32"],
      code,
      rows,
      expect: (a = 0n, b = 0n) => [exactly(truncate(result(a, b), 32))],
    });
  const carries = (a: bigint, b: bigint): boolean => a + b >= 1n << 32n;
  return [
    form("addc.u32 after sub.cc.u32", "sub.cc.u32 %x, %a, %b; addc.u32 %x, 0, 0;", (a, b) => a >= b ? 1n : 0n),
    form(
      "addc.u32 after subc.cc.u32",
      "add.cc.u32 %x, -1, 1; subc.cc.u32 %x, %a, %b; addc.u32 %x, 0, 0;",
      (a, b) => a >= b ? 1n : 0n,
    ),
    form("subc.u32 after add.cc.u32", "add.cc.u32 %x, %a, %b; subc.u32 %x, 0, 0;", (a, b) => carries(a, b) ? 0n : -1n),
  ];
}

export const CARRY_FORMS: readonly Form[] = [...carryForms(), ...longChains(), ...mixtures()];
