/** State spaces: variables and their initial values, ways to write an address, cvta, isspacep, parameters, cp.async. */

import { exactly, type Expectation, type Form, type LaneForm, laneForm, type Register } from "./form.ts";
import { truncate } from "./integer_model.ts";
import { integers, rowsOf } from "./values.ts";

const FAMILY = "address";

function form(
  name: string,
  operands: readonly Register[],
  result: Register,
  code: string,
  compute: (...row: bigint[]) => bigint,
  more: Partial<LaneForm> = {},
): Form {
  return laneForm({
    name,
    family: FAMILY,
    operands,
    results: [result],
    code,
    rows: rowsOf(operands.map((kind) => integers(Number(kind.slice(1)))), name, 40),
    expect: (...row) => [exactly(compute(...row))],
    ...more,
  });
}

/** Variables of a module with initial values of every notation. */
const MODULE = `.global .align 4 .u32 words[4] = {1, 0x80000000, -3};
.global .align 8 .f64 doubles[2] = {0d3FF0000000000000, -2.5};
.global .align 4 .f32 single = 0f40490FDB;
.global .align 2 .b8 letters[6] = {72, 105, 33};
.const .align 4 .s32 table[8] = {-1, -2, -3, -4, -5, -6, -7, -8};
.const .align 8 .u64 wide = 0x123456789abcdef0;
.global .align 8 .u64 pointers[3] = {words, words+4, generic(table)};
.global .align 4 .b32 zero[3];
.extern .shared .align 16 .b8 dynamic[];`;

function variables(): Form[] {
  const more = { module: MODULE };
  const constant = (name: string, result: Register, code: string, value: bigint): Form =>
    form(name, ["b32"], result, code, () => value, more);
  return [
    constant("ld.global of [variable]", "b32", "ld.global.u32 %x, [words];", 1n),
    constant("ld.global of [variable+4]", "b32", "ld.global.u32 %x, [words+4];", 0x8000_0000n),
    constant("ld.global of a negative initial value", "b32", "ld.global.s32 %x, [words+8];", 0xffff_fffdn),
    constant("ld.global behind the initial values", "b32", "ld.global.s32 %x, [words+12];", 0n),
    constant("ld.global of a variable without initial value", "b32", "ld.global.b32 %x, [zero+8];", 0n),
    constant("ld.global.f64 of an initial value in hexadecimal", "b64", "ld.global.f64 %x, [doubles];", 0x3ff0n << 48n),
    constant("ld.global.f64 of a decimal initial value", "b64", "ld.global.f64 %x, [doubles+8];", 0xc004n << 48n),
    constant("ld.global.f32 of a scalar", "b32", "ld.global.f32 %x, [single];", 0x4049_0fdbn),
    constant("ld.global.u8 of a string", "b32", "ld.global.u8 %x, [letters+1];", 105n),
    constant("ld.const.s32", "b32", "ld.const.s32 %x, [table+8];", 0xffff_fffdn),
    constant("ld.const.u64", "b64", "ld.const.u64 %x, [wide];", 0x1234_5678_9abc_def0n),
    constant("ld.const.v4.s32", "b32", "ld.const.v4.s32 {_, _, _, %x}, [table+16];", 0xffff_fff8n),
    constant("ld.const.u8", "b32", "ld.const.u8 %x, [wide+7];", 0x12n),
    constant(
      "ld through a pointer to a variable",
      "b32",
      "ld.global.u64 %t0, [pointers+8]; ld.global.u32 %x, [%t0];",
      0x8000_0000n,
    ),
    constant(
      "ld through a generic pointer to a constant",
      "b32",
      "ld.global.u64 %t0, [pointers+16]; ld.s32 %x, [%t0+4];",
      0xffff_fffen,
    ),
    form(
      "ld.const with an index",
      ["b32"],
      "b32",
      "and.b32 %a, %a, 7; mul.wide.u32 %t0, %a, 4; mov.u64 %t1, table; add.s64 %t0, %t0, %t1; ld.const.s32 %x, [%t0];",
      (a) => truncate(-1n - (a & 7n), 32),
      more,
    ),
    form(
      "cvta.const.u64",
      ["b32"],
      "b32",
      "and.b32 %a, %a, 7; mul.wide.u32 %t0, %a, 4; mov.u64 %t1, table; add.s64 %t0, %t0, %t1; cvta.const.u64 %t0, %t0; ld.s32 %x, [%t0];",
      (a) => truncate(-1n - (a & 7n), 32),
      more,
    ),
    form("ld.global of [register+-8]", ["b64"], "b64", "add.s64 %t0, %from, 8; ld.global.u64 %x, [%t0+-8];", (a) => a),
    form("ld.global of [register+8]", ["b64"], "b64", "sub.s64 %t0, %from, 8; ld.global.u64 %x, [%t0+8];", (a) => a),
  ];
}

function conversions(): Form[] {
  const shared = { locals: ".shared .align 8 .b8 tile[256]; .local .align 8 .b8 stack[16]; .reg .b32 %r<2>;" };
  const place = "mov.u32 %r0, tile; mad.lo.u32 %r0, %thread, 8, %r0; cvt.u64.u32 %t0, %r0;";
  const same = (a = 0n): bigint => a;
  const b64: Register[] = ["b64"];
  return [
    form("cvta.global.u64", b64, "b64", "cvta.global.u64 %t0, %from; ld.u64 %x, [%t0];", same),
    form("cvta.to.global.u64", b64, "b64", "cvta.to.global.u64 %t0, %from; ld.global.u64 %x, [%t0];", same),
    form(
      "cvta.shared.u64",
      b64,
      "b64",
      `${place} cvta.shared.u64 %t1, %t0; st.u64 [%t1], %a; ld.shared.u64 %x, [%r0];`,
      same,
      shared,
    ),
    form(
      "cvta.to.shared.u64",
      b64,
      "b64",
      `${place} cvta.shared.u64 %t1, %t0; cvta.to.shared.u64 %t2, %t1; st.shared.u64 [%t2], %a; ld.u64 %x, [%t1];`,
      same,
      shared,
    ),
    form(
      "cvta.shared.u64 and back is the same",
      b64,
      "b64",
      `${place} cvta.shared.u64 %t1, %t0; cvta.to.shared.u64 %t2, %t1; sub.s64 %x, %t2, %t0; add.s64 %x, %x, %a;`,
      same,
      shared,
    ),
    form(
      "cvta.local.u64",
      b64,
      "b64",
      "mov.u64 %t0, stack; cvta.local.u64 %t1, %t0; st.u64 [%t1+8], %a; ld.local.u64 %x, [stack+8];",
      same,
      shared,
    ),
    form(
      "cvta.to.local.u64",
      b64,
      "b64",
      "mov.u64 %t0, stack; cvta.local.u64 %t1, %t0; cvta.to.local.u64 %t2, %t1; st.local.u64 [%t2], %a; ld.u64 %x, [%t1];",
      same,
      shared,
    ),
    form(
      "cvta.u64 of a variable",
      ["b32"],
      "b32",
      "cvta.global.u64 %t0, words; ld.u32 %x, [%t0+4];",
      () => 0x8000_0000n,
      {
        module: MODULE,
      },
    ),
    form(
      "cvta.param.u64",
      b64,
      "b64",
      "mov.b64 %t0, inputs; cvta.param.u64 %t0, %t0; ld.u64 %t1, [%t0]; ld.param.u64 %t2, [inputs]; sub.s64 %x, %t1, %t2; add.s64 %x, %x, %a;",
      same,
    ),
    form(
      "ld.param of [register]",
      ["b32"],
      "b32",
      "mov.b64 %t0, inputs; ld.param.u32 %x, [%t0+16]; ld.param.u32 %threads, [rows]; sub.u32 %x, %x, %threads; add.u32 %x, %x, %a;",
      same,
    ),
    form(
      "ld.param.v2.u32",
      ["b32"],
      "b32",
      "ld.param.v2.u32 {%x, %row}, [outputs]; mov.b64 %t0, {%x, %row}; ld.param.u64 %t1, [outputs]; sub.s64 %t0, %t0, %t1; cvt.u32.u64 %x, %t0; add.u32 %x, %x, %a;",
      same,
    ),
  ];
}

/** isspacep of pointers into each space. The window of kernel parameters lies within that of global memory. */
function spaces(): Form[] {
  const locals = ".shared .align 8 .b8 tile[256]; .local .align 8 .b8 stack[16];";
  const pointers: Readonly<Record<string, string>> = {
    global: "cvta.global.u64 %t0, words;",
    shared: "cvta.shared.u64 %t0, tile;",
    local: "cvta.local.u64 %t0, stack;",
    param: "mov.b64 %t0, inputs; cvta.param.u64 %t0, %t0;",
  };
  return Object.keys(pointers).flatMap((asked) =>
    Object.entries(pointers).map(([space, make]) =>
      form(
        `isspacep.${asked} of a pointer to ${space}`,
        ["b32"],
        "pred",
        `${make} isspacep.${asked} %x, %t0;`,
        () => asked === space || (asked === "global" && space === "param") ? 1n : 0n,
        { module: MODULE, locals },
      )
    )
  );
}

/** Copies into shared memory: what lies behind the source's size is zero. */
function asynchronousCopies(): Form[] {
  const forms: Form[] = [];
  const locals = ".shared .align 16 .b8 tile[512]; .reg .b32 %r<4>;";
  const place = "mov.u32 %r0, tile; mad.lo.u32 %r0, %thread, 16, %r0; st.shared.v2.b64 [%r0], {-1, -1};";
  const waits: Readonly<Record<string, string>> = {
    "wait_all": "cp.async.wait_all;",
    "commit_group and wait_group": "cp.async.commit_group; cp.async.wait_group 0;",
  };
  const add = (operator: string, sizeBytes: number, sourceBytes: number | null, wait: string): void => {
    const size = sourceBytes === null ? `${sizeBytes}` : `${sizeBytes}, ${sourceBytes}`;
    const copied = (1n << BigInt(8 * (sourceBytes ?? sizeBytes))) - 1n;
    const written = (1n << BigInt(8 * sizeBytes)) - 1n;
    const all = (1n << 128n) - 1n;
    forms.push(laneForm({
      name: `cp.async.${operator}.shared.global ${size}, ${wait}`,
      family: FAMILY,
      sm: 80,
      operands: ["b64", "b64"],
      results: ["b64", "b64"],
      locals,
      code: `${place} cp.async.${operator}.shared.global [%r0], [%from], ${size}; ${waits[wait]}
  ld.shared.v2.b64 {%x, %y}, [%r0];`,
      rows: rowsOf([integers(64), integers(64)], "cp.async", 48),
      expect: (a = 0n, b = 0n): Expectation[] => {
        const result = all & ~written | (b << 64n | a) & copied;
        return [exactly(truncate(result, 64)), exactly(result >> 64n)];
      },
    }));
  };
  for (const wait of Object.keys(waits)) {
    for (const sizeBytes of [4, 8, 16]) add("ca", sizeBytes, null, wait);
    add("cg", 16, null, wait);
  }
  for (const sourceBytes of [0, 1, 3]) add("ca", 4, sourceBytes, "wait_all");
  for (const sourceBytes of [0, 5]) add("ca", 8, sourceBytes, "wait_all");
  for (const sourceBytes of [0, 8, 12, 16]) add("cg", 16, sourceBytes, "wait_all");
  return forms;
}

export const ADDRESS_FORMS: readonly Form[] = [
  ...variables(),
  ...conversions(),
  ...spaces(),
  ...asynchronousCopies(),
];
