/** Control: branches, loops of different lengths, jump tables, calls direct and indirect, recursion, scopes of names. */

import { exactly, type Form, type LaneForm, laneForm, type Register } from "./form.ts";
import { truncate, valueOf } from "./integer_model.ts";
import { integers, rowsOf } from "./values.ts";

const FAMILY = "control";

function form(
  name: string,
  operands: readonly Register[],
  code: string,
  compute: (...row: bigint[]) => bigint,
  more: Partial<LaneForm> = {},
): Form {
  return laneForm({
    name,
    family: FAMILY,
    operands,
    results: ["b32"],
    code,
    rows: rowsOf(operands.map((kind) => kind === "pred" ? [0n, 1n] : integers(Number(kind.slice(1)))), name, 64),
    expect: (...row) => [exactly(truncate(compute(...row), 32))],
    ...more,
  });
}

const REGISTERS = ".reg .b32 %r<6>; .reg .pred %p<4>;";

function branches(): Form[] {
  const more = { locals: REGISTERS };
  const small = { ...more, rows: rowsOf([[0n, 1n, 2n, 3n, 5n, 17n, 31n, 40n], integers(32)], "loops", 64) };
  return [
    form("bra", ["b32"], "mov.u32 %x, %a; bra OVER; mov.u32 %x, 0;\nOVER:", (a) => a),
    form("bra.uni", ["b32"], "mov.u32 %x, %a; bra.uni OVER; mov.u32 %x, 0;\nOVER:", (a) => a),
    form(
      "@p bra",
      ["b32", "pred"],
      "mov.u32 %x, %a; @%b bra OVER; not.b32 %x, %x;\nOVER:",
      (a, b) => b === 1n ? a : ~a,
    ),
    form(
      "@!p bra",
      ["b32", "pred"],
      "mov.u32 %x, %a; @!%b bra OVER; not.b32 %x, %x;\nOVER:",
      (a, b) => b === 0n ? a : ~a,
    ),
    form(
      "@p and @!p before an instruction",
      ["b32", "b32", "pred"],
      "@%c mov.u32 %x, %a; @!%c mov.u32 %x, %b;",
      (a, b, c) => c === 1n ? a : b,
    ),
    form("bra to the next line", ["b32"], "mov.u32 %x, %a; bra NEXT;\nNEXT:", (a) => a),
    form(
      "a loop of a length of each lane's own",
      ["b32", "b32"],
      `mov.u32 %r0, 0; mov.u32 %x, %b;
LOOP: setp.ge.u32 %p0, %r0, %a; @%p0 bra OUT; mad.lo.u32 %x, %x, 1664525, 1013904223; add.u32 %r0, %r0, 1; bra LOOP;
OUT:`,
      (a, b) => {
        let value = b;
        for (let step = 0n; step < a; step++) value = truncate(value * 1664525n + 1013904223n, 32);
        return value;
      },
      small,
    ),
    form(
      "a loop in a loop with a way out of both",
      ["b32", "b32"],
      `mov.u32 %r0, 0; mov.u32 %x, 0;
OUTER: setp.ge.u32 %p0, %r0, %a; @%p0 bra OUT; mov.u32 %r1, 0;
INNER: setp.ge.u32 %p1, %r1, %r0; @%p1 bra NEXT; add.u32 %x, %x, %b; setp.gt.u32 %p2, %x, 0xf0000000; @%p2 bra OUT;
  add.u32 %r1, %r1, 1; bra INNER;
NEXT: add.u32 %r0, %r0, 1; bra OUTER;
OUT:`,
      (a, b) => {
        let value = 0n;
        for (let i = 0n; i < a; i++) {
          for (let j = 0n; j < i; j++) {
            value = truncate(value + b, 32);
            if (value > 0xf000_0000n) return value;
          }
        }
        return value;
      },
      small,
    ),
    form(
      "exit of some lanes",
      ["b32", "pred"],
      "st.global.u32 [%to], 5; @%b exit; mov.u32 %x, %a;",
      (a, b) => b === 1n ? 5n : a,
    ),
    form(
      "ret of some lanes",
      ["b32", "pred"],
      "st.global.u32 [%to], 6; @%b ret; mov.u32 %x, %a;",
      (a, b) => b === 1n ? 6n : a,
    ),
    form(
      "brx.idx",
      ["b32", "b32"],
      `and.b32 %r0, %a, 3; TABLE: .branchtargets FIRST, SECOND, THIRD, SECOND; brx.idx %r0, TABLE;
FIRST: add.u32 %x, %b, 1; bra JOIN;
SECOND: xor.b32 %x, %b, -1; bra JOIN;
THIRD: shl.b32 %x, %b, 3;
JOIN:`,
      (a, b) => [b + 1n, ~b, b << 3n, ~b][Number(a & 3n)] ?? 0n,
      more,
    ),
    form(
      "names declared again inside braces",
      ["b32", "b32"],
      `mov.u32 %r0, %a; { .reg .b32 %r<2>; .reg .pred %p<1>; mov.u32 %r0, %b; setp.ne.u32 %p0, %r0, %r0;
  { .reg .b32 %r0; mov.u32 %r0, 77; } @%p0 mov.u32 %r0, 1; add.u32 %x, %r0, 0; } add.u32 %x, %x, %r0;`,
      (a, b) => a + b,
      more,
    ),
    form("comments and lines", ["b32"], "mov // one\n.u32 /* two\nlines */ %x\n, %a\n;", (a) => a),
    form(
      "registers %r<n> and named lists",
      ["b32"],
      ".reg .b32 one, two; mov.u32 one, %a; mov.u32 two, one; mov.u32 %x, two;",
      (a) => a,
    ),
  ];
}

const FUNCTIONS = `.func (.param .b32 result) twice(.param .b32 value)
{
  .reg .b32 %r<2>;
  ld.param.b32 %r0, [value];
  add.u32 %r1, %r0, %r0;
  st.param.b32 [result], %r1;
  ret;
}
.func (.param .b32 result) minus(.param .b32 value)
{
  .reg .b32 %r<2>;
  ld.param.b32 %r0, [value];
  neg.s32 %r1, %r0;
  st.param.b32 [result], %r1;
  ret;
}
.func (.reg .b32 %out) increment(.reg .b32 %in)
{
  add.u32 %out, %in, 1;
  ret;
}
.func (.param .b32 result) later(.param .b32 value);
.func (.param .b32 result) calls_later(.param .b32 value)
{
  .reg .b32 %r<2>;
  ld.param.b32 %r0, [value];
  { .param .b32 in; .param .b32 back; st.param.b32 [in], %r0; call.uni (back), later, (in); ld.param.b32 %r1, [back]; }
  st.param.b32 [result], %r1;
  ret;
}
.func (.param .b32 result) later(.param .b32 value)
{
  .reg .b32 %r<2>;
  ld.param.b32 %r0, [value];
  xor.b32 %r1, %r0, 0x5a5a5a5a;
  st.param.b32 [result], %r1;
  ret;
}
.func (.param .b32 result) factorial(.param .b32 value)
{
  .reg .b32 %r<4>; .reg .pred %p<1>;
  ld.param.b32 %r0, [value];
  mov.u32 %r1, 1;
  setp.le.u32 %p0, %r0, 1;
  @%p0 bra END;
  sub.u32 %r2, %r0, 1;
  { .param .b32 in; .param .b32 back; st.param.b32 [in], %r2; call.uni (back), factorial, (in); ld.param.b32 %r3, [back]; }
  mul.lo.u32 %r1, %r0, %r3;
END:
  st.param.b32 [result], %r1;
  ret;
}
.func (.param .align 8 .b8 result[16]) swap(.param .align 8 .b8 pair[16])
{
  .reg .b64 %rd<2>;
  ld.param.v2.b64 {%rd0, %rd1}, [pair];
  st.param.b64 [result], %rd1;
  st.param.b64 [result+8], %rd0;
  ret;
}
.func store(.param .b64 place, .param .b32 value)
{
  .reg .b64 %rd0; .reg .b32 %r0;
  ld.param.b64 %rd0, [place];
  ld.param.b32 %r0, [value];
  st.global.b32 [%rd0], %r0;
  ret;
}
.func (.param .b32 result) with_stack(.param .b32 value)
{
  .local .align 4 .b8 stack[32]; .reg .b32 %r<4>; .reg .b64 %rd<2>; .reg .pred %p0;
  ld.param.b32 %r0, [value];
  mov.u64 %rd0, stack;
  mov.u32 %r1, 0;
FILL:
  st.local.u32 [%rd0], %r0;
  add.u32 %r0, %r0, 3;
  add.u64 %rd0, %rd0, 4;
  add.u32 %r1, %r1, 1;
  setp.lt.u32 %p0, %r1, 8;
  @%p0 bra FILL;
  ld.local.u32 %r2, [stack+4];
  ld.local.u32 %r3, [stack+28];
  add.u32 %r2, %r2, %r3;
  st.param.b32 [result], %r2;
  ret;
}
.global .align 8 .u64 operations[2] = {twice, minus};`;

/** A call as the compiler spells it. */
const call = (name: string, value: string): string =>
  `{ .param .b32 in; .param .b32 back; st.param.b32 [in+0], ${value}; call.uni (back), ${name}, (in); ld.param.b32 %x, [back+0]; }`;

function calls(): Form[] {
  const more = { module: FUNCTIONS, locals: REGISTERS };
  const prototype = "PROTOTYPE: .callprototype (.param .b32 _) _ (.param .b32 _);";
  return [
    form("call.uni with .param", ["b32"], call("twice", "%a"), (a) => 2n * a, more),
    form(
      "call in divergent lanes",
      ["b32", "pred"],
      `mov.u32 %x, 9; @%b bra OVER; ${call("twice", "%a")}\nOVER:`,
      (a, b) => b === 1n ? 9n : 2n * a,
      more,
    ),
    form(
      "@p call",
      ["b32", "pred"],
      `{ .param .b32 in; .param .b32 back; st.param.b32 [in], %a; st.param.b32 [back], 4;
  mov.u32 %x, 4; @%b call (back), minus, (in); @%b ld.param.b32 %x, [back]; }`,
      (a, b) => b === 1n ? -a : 4n,
      {
        ...more,
        code: `mov.u32 %x, 4; @!%b bra OVER; ${call("minus", "%a").replace(".uni", "")}\nOVER:`,
      },
    ),
    form("call with registers as parameters", ["b32"], "call (%x), increment, (%a);", (a) => a + 1n, more),
    form("call of a function defined later", ["b32"], call("calls_later", "%a"), (a) => a ^ 0x5a5a_5a5an, more),
    form(
      "call without a result",
      ["b32"],
      `st.global.b32 [%to], 0; { .param .b64 place; .param .b32 value; st.param.b64 [place], %to;
  st.param.b32 [value], %a; call.uni store, (place, value); } ld.global.b32 %x, [%to];`,
      (a) => a,
      more,
    ),
    form(
      "recursion of a depth of each lane's own",
      ["b32"],
      `and.b32 %r0, %a, 15; ${call("factorial", "%r0")}`,
      (a) => {
        let product = 1n;
        for (let factor = 2n; factor <= (a & 15n); factor++) product *= factor;
        return product;
      },
      more,
    ),
    form("call with a local array", ["b32"], call("with_stack", "%a"), (a) => 2n * a + 24n, more),
    form(
      "indirect call",
      ["b32", "b32"],
      `${prototype} mov.u64 %t0, twice; mov.u64 %t1, minus; setp.gt.s32 %p0, %b, 0;
  selp.b64 %t0, %t0, %t1, %p0; { .param .b32 in; .param .b32 back; st.param.b32 [in], %a;
  call (back), %t0, (in), PROTOTYPE; ld.param.b32 %x, [back]; }`,
      (a, b) => valueOf({ name: "s32", width: 32, signed: true }, b) > 0n ? 2n * a : -a,
      more,
    ),
    form(
      "indirect call through a table",
      ["b32", "b32"],
      `${prototype} and.b32 %r0, %b, 1; mul.wide.u32 %t0, %r0, 8;
  mov.u64 %t1, operations; add.u64 %t0, %t0, %t1; ld.global.u64 %t0, [%t0]; { .param .b32 in; .param .b32 back;
  st.param.b32 [in], %a; call (back), %t0, (in), PROTOTYPE; ld.param.b32 %x, [back]; }`,
      (a, b) => (b & 1n) === 0n ? 2n * a : -a,
      more,
    ),
    laneForm({
      name: "call with a structure and back",
      family: FAMILY,
      operands: ["b64", "b64"],
      results: ["b64", "b64"],
      module: FUNCTIONS,
      code: `{ .param .align 8 .b8 in[16]; .param .align 8 .b8 back[16]; st.param.b64 [in], %a; st.param.b64 [in+8], %b;
  call.uni (back), swap, (in); ld.param.v2.b64 {%x, %y}, [back]; }`,
      rows: rowsOf([integers(64), integers(64)], "swap", 40),
      expect: (a = 0n, b = 0n) => [exactly(b), exactly(a)],
    }),
  ];
}

export const CONTROL_FORMS: readonly Form[] = [...branches(), ...calls()];
