/** atom and red: every operation, type, space, order and scope; and threads that meet at one address. */

import { anyNan } from "./expectations.ts";
import { add, BF16, decode, encode, F16, F32, F64, flush, type Format } from "./float_model.ts";
import { exactly, type Expectation, type Form, groupForm, laneForm, oneOf, type Register } from "./form.ts";
import { integerType, truncate, valueOf } from "./integer_model.ts";
import { floatRows, integers, packedRows, rowsOf } from "./values.ts";

const FAMILY = "atomic";

/** One operation: the new value from the old one and the operands. */
interface Operation {
  /** As spelled behind the space: `add.u32`. */
  readonly name: string;
  readonly width: 16 | 32 | 64;
  /** Operands behind the address. */
  readonly count: 1 | 2;
  readonly sm: number;
  readonly rows: readonly (readonly bigint[])[];
  compute(old: bigint, b: bigint, c: bigint): Expectation;
  /** Whether red has it. */
  readonly isReduction: boolean;
}

function integerOperation(word: string, type: string, compute: (old: bigint, b: bigint) => bigint): Operation {
  const kind = integerType(type);
  return {
    name: `${word}.${type}`,
    width: kind.width as 32 | 64,
    count: 1,
    sm: 75,
    rows: rowsOf([integers(kind.width), integers(kind.width)], `${word}.${type}`, 80),
    compute: (old, b) => exactly(truncate(compute(valueOf(kind, old), valueOf(kind, b)), kind.width)),
    isReduction: word !== "exch",
  };
}

/** The ISA leaves open whether f32 in global memory flushes subnormals: its current implementation does. */
function sum(format: Format, a: bigint, b: bigint): Expectation {
  const exact = add(decode(format, a), decode(format, b), "rn");
  if (exact === null) return anyNan(format);
  const kept = encode(format, exact);
  if (format !== F32) return exactly(kept);
  const flushed = add(decode(F32, flush(F32, a)), decode(F32, flush(F32, b)), "rn");
  return oneOf(kept, flushed === null ? kept : flush(F32, encode(F32, flushed)));
}

function floatOperation(type: string, format: Format, sm: number): Operation {
  const isPacked = type.endsWith("x2");
  const rows = floatRows(format, 2, `atom add ${type}`, 90);
  const width = isPacked ? 32 : (1 + format.exponentBits + format.fractionBits) as 16 | 32 | 64;
  return {
    name: `add.${width === 16 || isPacked ? "noftz." : ""}${type}`,
    width,
    count: 1,
    sm,
    rows: isPacked ? packedRows(rows) : rows,
    compute(old, b): Expectation {
      if (!isPacked) return sum(format, old, b);
      const low = sum(format, old & 0xffffn, b & 0xffffn), high = sum(format, old >> 16n, b >> 16n);
      return {
        accepts: (bits) => low.accepts(bits & 0xffffn) && high.accepts(bits >> 16n),
        text: `low ${low.text}, high ${high.text}`,
      };
    },
    isReduction: true,
  };
}

/** Compares with values that are often equal. */
function compareAndSwap(width: 16 | 32 | 64): Operation {
  return {
    name: `cas.b${width}`,
    width,
    count: 2,
    sm: 75,
    rows: rowsOf([integers(width), integers(width), integers(width)], `cas ${width}`, 60)
      .flatMap(([old = 0n, b = 0n, c = 0n]) => [[old, b, c], [old, old, c]]),
    compute: (old, b, c) => exactly(old === b ? c : old),
    isReduction: false,
  };
}

const OPERATIONS: readonly Operation[] = [
  ...["u32", "s32", "u64"].map((type) => integerOperation("add", type, (old, b) => old + b)),
  ...["u32", "s32", "u64", "s64"].flatMap((type) => [
    integerOperation("min", type, (old, b) => old < b ? old : b),
    integerOperation("max", type, (old, b) => old > b ? old : b),
  ]),
  integerOperation("inc", "u32", (old, b) => old >= b ? 0n : old + 1n),
  integerOperation("dec", "u32", (old, b) => old === 0n || old > b ? b : old - 1n),
  ...["b32", "b64"].flatMap((type) => [
    integerOperation("and", type, (old, b) => old & b),
    integerOperation("or", type, (old, b) => old | b),
    integerOperation("xor", type, (old, b) => old ^ b),
    integerOperation("exch", type, (_old, b) => b),
  ]),
  ...([16, 32, 64] as const).map(compareAndSwap),
  floatOperation("f32", F32, 75),
  floatOperation("f64", F64, 75),
  floatOperation("f16", F16, 75),
  floatOperation("f16x2", F16, 75),
  floatOperation("bf16", BF16, 90),
  floatOperation("bf16x2", BF16, 90),
];

const SHARED = ".shared .align 16 .b8 tile[512]; .reg .b32 %r<2>;";
const PLACE = "mov.u32 %r0, tile; mad.lo.u32 %r0, %thread, 16, %r0;";

/** The address of a row's own cell in each space. */
const SPACES: Readonly<Record<string, { space: string; setUp: string; address: string; locals: string }>> = {
  global: { space: ".global", setUp: "", address: "%to", locals: "" },
  shared: { space: ".shared", setUp: PLACE, address: "%r0", locals: SHARED },
  generic: { space: "", setUp: "cvta.global.u64 %t0, %to;", address: "%t0", locals: "" },
  "generic to shared": {
    space: "",
    setUp: `${PLACE} cvt.u64.u32 %t0, %r0; cvta.shared.u64 %t0, %t0;`,
    address: "%t0",
    locals: SHARED,
  },
};

function place(space: string): { space: string; setUp: string; address: string; locals: string } {
  const found = SPACES[space];
  if (found === undefined) throw new Error(`no space ${space}`);
  return found;
}

function form(operation: Operation, where: string, words: string = "", sm: number = 75): Form {
  const { space, setUp, address, locals } = place(where);
  const register: Register = `b${operation.width}`;
  const memory = space === "" ? "" : space;
  const spelled = `atom${words}${memory}.${operation.name}`;
  return laneForm({
    name: where.startsWith("generic") ? `${spelled}, ${where}` : spelled,
    family: FAMILY,
    sm: Math.max(operation.sm, sm),
    operands: Array<Register>(1 + operation.count).fill(register),
    results: [register, register],
    locals,
    code: `${setUp} st${memory}.b${operation.width} [${address}], %a;
  ${spelled} %y, [${address}], ${["%b", "%c"].slice(0, operation.count).join(", ")};
  ld${memory}.b${operation.width} %x, [${address}];`,
    rows: operation.rows,
    expect: (old = 0n, b = 0n, c = 0n) => [operation.compute(old, b, c), exactly(old)],
  });
}

function reduction(operation: Operation, where: string, words: string = "", sm: number = 75): Form {
  const { space, setUp, address, locals } = place(where);
  const register: Register = `b${operation.width}`;
  const spelled = `red${words}${space}.${operation.name}`;
  return laneForm({
    name: where === "generic" ? `${spelled}, generic` : spelled,
    family: FAMILY,
    sm: Math.max(operation.sm, sm),
    operands: [register, register],
    results: [register],
    locals,
    code: `${setUp} st${space}.b${operation.width} [${address}], %a; ${spelled} [${address}], %b;
  ld${space}.b${operation.width} %x, [${address}];`,
    rows: operation.rows,
    expect: (old = 0n, b = 0n) => [operation.compute(old, b, 0n)],
  });
}

/** Every order with every scope, on one operation. */
function orders(): Form[] {
  const [addition] = OPERATIONS;
  const swap = OPERATIONS.find(({ name }) => name === "cas.b32");
  if (addition === undefined || swap === undefined) return [];
  const forms: Form[] = [];
  for (const order of ["", ".relaxed", ".acquire", ".release", ".acq_rel"]) {
    for (const scope of ["", ".cta", ".gpu", ".sys", ".cluster"]) {
      if (order === "" && scope === "") continue;
      const sm = scope === ".cluster" ? 90 : 75;
      forms.push(form(addition, "global", `${order}${scope}`, sm));
      if (order === ".acq_rel") forms.push(form(swap, "shared", `${order}${scope}`, sm));
      if (order === ".relaxed" || order === ".release") {
        forms.push(reduction(addition, "global", `${order}${scope}`, sm));
      }
    }
  }
  return forms;
}

function wide(): Form[] {
  const words: Register[] = ["b64", "b64"];
  const rows = rowsOf([integers(64), integers(64), integers(64), integers(64)], "b128", 60);
  const code = (instruction: string): string =>
    `st.global.v2.b64 [%to], {%a, %b}; ${instruction} ld.global.v2.b64 {%x, %y}, [%to]; mov.b128 {%z, %w}, %q;`;
  const shared = {
    family: FAMILY,
    sm: 90,
    results: ["b64", "b64", "b64", "b64"] as const,
    locals: ".reg .b128 %q, %s;",
  };
  return [
    laneForm({
      ...shared,
      name: "atom.global.exch.b128",
      operands: [...words, ...words],
      code: code("mov.b128 %s, {%c, %d}; atom.global.exch.b128 %q, [%to], %s;"),
      rows,
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => [c, d, a, b].map(exactly),
    }),
    laneForm({
      ...shared,
      name: "atom.global.cas.b128",
      operands: [...words, ...words],
      code: code("mov.b128 %q, {%c, %b}; mov.b128 %s, {%d, %c}; atom.global.cas.b128 %q, [%to], %q, %s;"),
      rows: rows.flatMap(([a = 0n, b = 0n, c = 0n, d = 0n]) => [[a, b, c, d], [a, b, a, d]]),
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => (a === c ? [d, c, a, b] : [a, b, a, b]).map(exactly),
    }),
  ];
}

/** Vectors are added element by element. */
function vectors(): Form[] {
  const rows = floatRows(F32, 4, "atom.v2.f32", 90);
  return [
    laneForm({
      name: "atom.global.add.v2.f32",
      family: FAMILY,
      sm: 90,
      operands: ["b32", "b32", "b32", "b32"],
      results: ["b64", "b32", "b32"],
      code:
        "st.global.v2.b32 [%to], {%a, %b}; atom.global.add.v2.f32 {%y, %z}, [%to], {%c, %d}; ld.global.b64 %x, [%to];",
      rows,
      expect: (a = 0n, b = 0n, c = 0n, d = 0n) => {
        const low = sum(F32, a, c), high = sum(F32, b, d);
        return [
          {
            accepts: (bits) => low.accepts(truncate(bits, 32)) && high.accepts(bits >> 32n),
            text: `low ${low.text}, high ${high.text}`,
          },
          exactly(a),
          exactly(b),
        ];
      },
    }),
    laneForm({
      name: "red.global.add.v4.f32",
      family: FAMILY,
      sm: 90,
      operands: ["b32", "b32"],
      results: ["b32", "b32"],
      locals: ".global .align 16 .b8 cells[65536]; .reg .b32 %r<2>;",
      code: `mov.u64 %t0, cells; mad.wide.u32 %t0, %row, 16, %t0; st.global.v4.b32 [%t0], {%a, %a, %b, %b};
  red.global.add.v4.f32 [%t0], {%b, %a, %a, %b}; ld.global.v4.b32 {%x, _, _, %y}, [%t0];`,
      rows: floatRows(F32, 2, "red.v4.f32", 90),
      expect: (a = 0n, b = 0n) => [sum(F32, a, b), sum(F32, b, b)],
    }),
  ];
}

/** Threads of four warps at one address: the old values are those of some order, the last one is the result. */
function contended(): Form[] {
  const count = 128;
  const groups = [Array.from({ length: count }, (_, at) => [BigInt(at * 7 + 1)])];
  const total = groups[0]?.reduce((sum, [value = 0n]) => sum + value, 0n) ?? 0n;
  const cell = ".shared .align 8 .b8 cell[8]; .reg .pred %first;";
  const set = (value: string): string =>
    `setp.eq.u32 %first, %thread, 0; @%first st.shared.b64 [cell], ${value}; bar.sync 0;`;
  const get = "bar.sync 0; ld.shared.b32 %x, [cell];";
  const shared = { family: FAMILY, operands: ["b32"] as const, groups, locals: cell };
  const all = (value: bigint) => (group: readonly unknown[]): Expectation[][] => group.map(() => [exactly(value)]);
  const extreme = (value: bigint): Expectation => exactly(value);
  return [
    groupForm({
      ...shared,
      name: "atom.shared.add.u32 of 128 threads",
      results: ["b32"],
      code: `${set("0")} atom.shared.add.u32 %x, [cell], %a; ${get}`,
      expectGroup: all(total),
    }),
    groupForm({
      ...shared,
      name: "red.shared.max.s32 of 128 threads",
      results: ["b32"],
      code: `${set("0")} red.shared.max.s32 [cell], %a; ${get}`,
      expectGroup: (group) => group.map(() => [extreme(BigInt(127 * 7 + 1))]),
    }),
    groupForm({
      ...shared,
      name: "atom.shared.inc.u32 of 128 threads",
      results: ["b32", "b32"],
      code: `${set("0")} atom.shared.inc.u32 %y, [cell], 1000; ${get}`,
      expectGroup: distinct,
    }),
    groupForm({
      ...shared,
      name: "atom.shared.cas.b32 in a loop of 128 threads",
      results: ["b32"],
      locals: `${cell} .reg .pred %again; .reg .b32 %old, %new;`,
      code: `${set("0")} ld.volatile.shared.u32 %x, [cell];
AGAIN: add.u32 %new, %x, %a; mov.u32 %old, %x; atom.shared.cas.b32 %x, [cell], %old, %new;
  setp.ne.u32 %again, %x, %old; @%again bra AGAIN; ${get}`,
      expectGroup: all(total),
    }),
    groupForm({
      ...shared,
      name: "atom.shared.exch.b32 as a lock of 128 threads",
      results: ["b32"],
      locals: `${cell} .reg .pred %busy; .reg .b32 %old;`,
      code: `${set("0")}
AGAIN: atom.shared.exch.b32 %old, [cell], 1; setp.ne.u32 %busy, %old, 0; @%busy bra AGAIN;
  membar.cta; ld.volatile.shared.u32 %x, [cell+4]; add.u32 %x, %x, %a; st.volatile.shared.u32 [cell+4], %x;
  membar.cta; atom.shared.exch.b32 %old, [cell], 0; bar.sync 0; ld.shared.b32 %x, [cell+4];`,
      expectGroup: all(total),
    }),
  ];
}

/** The old values of 128 increments are all the numbers below 128, once each. */
function distinct(group: readonly unknown[]): Expectation[][] {
  const seen = new Set<bigint>();
  return group.map(() => [exactly(BigInt(group.length)), {
    accepts(bits): boolean {
      const isNew = bits < BigInt(group.length) && !seen.has(bits);
      seen.add(bits);
      return isNew;
    },
    text: "a number below 128 that no other thread got",
  }]);
}

export const ATOMIC_FORMS: readonly Form[] = [
  ...OPERATIONS.flatMap((operation) => [
    ...Object.keys(SPACES).map((space) => form(operation, space)),
    ...(operation.isReduction ? ["global", "shared", "generic"].map((space) => reduction(operation, space)) : []),
  ]),
  ...orders(),
  ...wide(),
  ...vectors(),
  ...contended(),
];
