/** Loads and stores: every width, vectors, state spaces, strength, scopes and cache operators. */

import { exactly, type Expectation, type Form, type LaneForm, laneForm, type Register, UNWRITTEN } from "./form.ts";
import { truncate } from "./integer_model.ts";
import { integers, rowsOf } from "./values.ts";

const FAMILY = "memory";
const TYPES = ["b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64"];
const width = (type: string): number => Number(type.slice(1));
const fill = (sizeBytes: number): bigint => BigInt(`0x${UNWRITTEN.toString(16).repeat(sizeBytes)}`);

/** What a load leaves in a register of 32 or 64 bits: floats and bits fill it with zeros, .s types with their sign. */
function loaded(type: string, bits: bigint): bigint {
  const low = truncate(bits, width(type));
  return truncate(type.startsWith("s") ? BigInt.asIntN(width(type), low) : low, width(type) === 64 ? 64 : 32);
}

const into = (type: string): Register => width(type) === 64 ? "b64" : "b32";
/** Float loads need a register of their size; the others take wider ones. */
const ROWS = rowsOf([integers(64)], "loads");

/** Where threads of a block have 16 bytes each: %r0 is the place of this one in shared memory. */
const TILE = "mov.u32 %r0, tile; mad.lo.u32 %r0, %thread, 32, %r0;";
const SHARED = ".shared .align 16 .b8 tile[1024]; .reg .b32 %r<4>;";

/** A load of a row's own slot, before which `code` may say where it lies: %t0. */
function load(name: string, code: string, type: string, more: Partial<LaneForm> = {}): Form {
  return laneForm({
    name,
    family: FAMILY,
    operands: ["b64"],
    results: [into(type)],
    code,
    rows: ROWS,
    expect: (a = 0n) => [exactly(loaded(type, a))],
    ...more,
  });
}

function loads(): Form[] {
  const forms: Form[] = [];
  for (const type of TYPES) {
    forms.push(
      load(`ld.global.${type}`, `ld.global.${type} %x, [%from];`, type),
      load(`ld.${type}, generic`, `cvta.global.u64 %t0, %from; ld.${type} %x, [%t0];`, type),
      load(`ld.shared.${type}`, `${TILE} st.shared.b64 [%r0], %a; ld.shared.${type} %x, [%r0];`, type, {
        locals: SHARED,
      }),
      load(
        `ld.${type}, generic to shared`,
        `${TILE} st.shared.b64 [%r0], %a; cvt.u64.u32 %t0, %r0; cvta.shared.u64 %t0, %t0; ld.${type} %x, [%t0];`,
        type,
        { locals: SHARED },
      ),
      load(`ld.local.${type}`, `st.local.b64 [stack+8], %a; ld.local.${type} %x, [stack+8];`, type, {
        locals: ".local .align 16 .b8 stack[32];",
      }),
    );
  }
  for (const words of STRENGTHS) {
    const types = words.endsWith("mmio.relaxed.sys") || words === ".volatile" ? ["u8", "u16", "u32", "u64"] : ["u32"];
    for (const type of types) {
      forms.push(load(`ld${words}.global.${type}`, `ld${words}.global.${type} %x, [%from];`, type, since(words)));
    }
  }
  for (const words of CACHES) {
    forms.push(load(`ld.global${words}.u32`, `ld.global${words}.u32 %x, [%from];`, "u32", since(words)));
  }
  return forms;
}

const SCOPES = ["cta", "gpu", "sys"];
const STRENGTHS = [
  ".weak",
  ".volatile",
  ".mmio.relaxed.sys",
  ".relaxed.mmio.sys",
  ...SCOPES.map((scope) => `.relaxed.${scope}`),
  ...SCOPES.map((scope) => `.acquire.${scope}`),
  ".relaxed.cluster",
  ".acquire.cluster",
];
const CACHES = [
  ".ca",
  ".cg",
  ".cs",
  ".lu",
  ".cv",
  ".nc",
  ".L1::evict_last",
  ".L1::no_allocate",
  ".L1::evict_first.L2::128B",
  ".nc.L1::evict_last",
  ".L2::64B",
];

function since(words: string): { sm?: number } {
  if (words.includes("cluster")) return { sm: 90 };
  return words.includes("L2::") ? { sm: 80 } : {};
}

/** Vectors up to 16 bytes, and of 32 on sm_100. */
const VECTORS: readonly [string, string][] = [
  ["v2", "b8"],
  ["v2", "u16"],
  ["v2", "s16"],
  ["v2", "b32"],
  ["v2", "f32"],
  ["v2", "u64"],
  ["v2", "f64"],
  ["v4", "u8"],
  ["v4", "s8"],
  ["v4", "b16"],
  ["v4", "u32"],
  ["v4", "f32"],
];

/** Rows of two 64-bit words, whose bytes are the elements. */
const WORD_ROWS = rowsOf([integers(64), integers(64)], "vectors", 60);

function elements(type: string, count: number, words: readonly bigint[]): bigint[] {
  const all = words.reduceRight((bits, word) => bits << 64n | word, 0n);
  return Array.from({ length: count }, (_, at) => loaded(type, all >> BigInt(at * width(type))));
}

function vectorLoads(): Form[] {
  const forms: Form[] = [];
  for (const [vector, type] of VECTORS) {
    const count = Number(vector.slice(1));
    const places = ["%x", "%y", "%z", "%w"].slice(0, count).join(", ");
    const results = Array<Register>(count).fill(into(type));
    const shared = { operands: ["b64", "b64"] as const, results, family: FAMILY, rows: WORD_ROWS };
    const expect = (...row: bigint[]): Expectation[] => elements(type, count, row).map(exactly);
    for (const words of ["", ".relaxed.gpu", ".nc", ".volatile"]) {
      const order = words === ".nc" ? `ld.global.nc.${vector}.${type}` : `ld${words}.global.${vector}.${type}`;
      forms.push(laneForm({ ...shared, name: order, code: `${order} {${places}}, [%from];`, expect }));
    }
    forms.push(
      laneForm({
        ...shared,
        name: `ld.shared.${vector}.${type}`,
        locals: SHARED,
        code: `${TILE} st.shared.v2.b64 [%r0+16], {%a, %b}; ld.shared.${vector}.${type} {${places}}, [%r0+16];`,
        expect,
      }),
      laneForm({
        ...shared,
        name: `ld.local.${vector}.${type}`,
        locals: ".local .align 16 .b8 stack[32];",
        code: `st.local.v2.b64 [stack], {%a, %b}; ld.local.${vector}.${type} {${places}}, [stack];`,
        expect,
      }),
    );
  }
  const pair = { operands: ["b64", "b64"] as const, results: ["b64", "b64"] as const, family: FAMILY, rows: WORD_ROWS };
  const same = (...row: bigint[]): Expectation[] => row.map(exactly);
  return [
    ...forms,
    laneForm({
      ...pair,
      name: "ld.global.b128",
      locals: ".reg .b128 %q;",
      code: "ld.global.b128 %q, [%from]; mov.b128 {%x, %y}, %q;",
      expect: same,
    }),
    laneForm({
      ...pair,
      name: "st.global.b128",
      locals: ".reg .b128 %q;",
      code: "mov.b128 %q, {%a, %b}; st.global.b128 [%to], %q;",
      stores: false,
      expect: same,
    }),
    laneForm({
      ...pair,
      name: "ld.global.v2.b32 {_, x}",
      results: ["b32"],
      code: "ld.global.v2.b32 {_, %x}, [%from+8];",
      expect: (_a = 0n, b = 0n) => [exactly(b >> 32n)],
    }),
    laneForm({
      ...pair,
      name: "ld.global.b32 { x } of one element",
      results: ["b32"],
      code: "ld.global.b32 { %x }, [ %from + 8 ];",
      expect: (_a = 0n, b = 0n) => [exactly(truncate(b, 32))],
    }),
    ...wideVectors(),
  ];
}

function wideVectors(): Form[] {
  const rows = rowsOf([integers(64), integers(64), integers(64), integers(64)], "32 bytes", 60);
  const four: Register[] = ["b64", "b64", "b64", "b64"];
  return [
    laneForm({
      name: "ld.global.v4.b64 and st.global.v8.b32",
      family: FAMILY,
      sm: 100,
      operands: four,
      results: four,
      locals: ".reg .b32 %r<8>;",
      code: `ld.global.v4.b64 {%x, %y, %z, %w}, [%from];
  mov.b64 {%r0, %r1}, %x; mov.b64 {%r2, %r3}, %y; mov.b64 {%r4, %r5}, %z; mov.b64 {%r6, %r7}, %w;
  st.global.v8.b32 [%to], {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7};`,
      stores: false,
      rows,
      expect: (...row) => row.map(exactly),
    }),
    laneForm({
      name: "ld.global.v8.b32 and st.global.v4.b64",
      family: FAMILY,
      sm: 100,
      operands: four,
      results: four,
      locals: ".reg .b32 %r<8>;",
      code: `ld.global.v8.b32 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%from];
  mov.b64 %x, {%r0, %r1}; mov.b64 %y, {%r2, %r3}; mov.b64 %z, {%r4, %r5}; mov.b64 %w, {%r6, %r7};
  st.global.v4.b64 [%to], {%x, %y, %z, %w};`,
      stores: false,
      rows,
      expect: (...row) => row.map(exactly),
    }),
  ];
}

/** A store into 8 bytes that hold what was there before. */
function stored(type: string, bits: bigint): bigint {
  const mask = (1n << BigInt(width(type))) - 1n;
  return fill(8) & ~mask | bits & mask;
}

const registerOf = (type: string): Register => `b${Math.max(16, width(type))}` as Register;

function stores(): Form[] {
  const forms: Form[] = [];
  for (const type of TYPES) {
    const operands = [registerOf(type)];
    const rows = rowsOf([integers(Math.max(16, width(type)))], "stores");
    const shared = { family: FAMILY, operands, results: ["b64"] as const, rows };
    const expect = (a = 0n): Expectation[] => [exactly(stored(type, a))];
    const whole = `0x${fill(8).toString(16)}`;
    forms.push(
      laneForm({ ...shared, name: `st.global.${type}`, code: `st.global.${type} [%to], %a;`, stores: false, expect }),
      laneForm({
        ...shared,
        name: `st.${type}, generic`,
        code: `cvta.global.u64 %t0, %to; st.${type} [%t0], %a;`,
        stores: false,
        expect,
      }),
      laneForm({
        ...shared,
        name: `st.shared.${type}`,
        locals: SHARED,
        code: `${TILE} st.shared.b64 [%r0+8], ${whole}; st.shared.${type} [%r0+8], %a; ld.shared.b64 %x, [%r0+8];`,
        expect,
      }),
      laneForm({
        ...shared,
        name: `st.local.${type}, also generic`,
        locals: ".local .align 16 .b8 stack[32];",
        code: `mov.u64 %t0, stack; cvta.local.u64 %t0, %t0; st.b64 [%t0+16], ${whole};
  st.local.${type} [stack+16], %a; ld.b64 %x, [%t0+16];`,
        expect,
      }),
    );
  }
  const strengths = STRENGTHS.map((words) => words.replace("acquire", "release"));
  for (const words of strengths) {
    const types = words.includes("mmio") || words === ".volatile" ? ["u8", "u16", "u32", "u64"] : ["u32"];
    for (const type of types) {
      const name = `st${words}.global.${type}`;
      forms.push(laneForm({
        name,
        family: FAMILY,
        ...since(words),
        operands: [registerOf(type)],
        results: ["b64"],
        code: `${name} [%to], %a;`,
        stores: false,
        rows: rowsOf([integers(Math.max(16, width(type)))], "stores"),
        expect: (a = 0n) => [exactly(stored(type, a))],
      }));
    }
  }
  for (const words of [".wb", ".cg", ".cs", ".wt", ".L1::evict_last", ".L1::no_allocate"]) {
    forms.push(laneForm({
      name: `st.global${words}.u32`,
      family: FAMILY,
      operands: ["b32"],
      results: ["b64"],
      code: `st.global${words}.u32 [%to], %a;`,
      stores: false,
      rows: rowsOf([integers(32)], "stores"),
      expect: (a = 0n) => [exactly(stored("u32", a))],
    }));
  }
  return forms;
}

function vectorStores(): Form[] {
  return VECTORS.map(([vector, type]) => {
    const count = Number(vector.slice(1));
    const bits = width(type);
    const register = registerOf(type);
    return laneForm({
      name: `st.global.${vector}.${type}`,
      family: FAMILY,
      operands: Array<Register>(count).fill(register),
      results: ["b64", "b64"],
      code: `st.global.${vector}.${type} [%to], {${["%a", "%b", "%c", "%d"].slice(0, count).join(", ")}};`,
      stores: false,
      rows: rowsOf(Array(count).fill(integers(Math.max(16, bits))), `st ${vector} ${type}`, 60),
      expect: (...row) => {
        const mask = (1n << BigInt(count * bits)) - 1n;
        const word = row.reduceRight((all, one) => all << BigInt(bits) | truncate(one, bits), 0n);
        const all = fill(16) & ~mask | word;
        return [exactly(truncate(all, 64)), exactly(all >> 64n)];
      },
    });
  });
}

export const MEMORY_FORMS: readonly Form[] = [...loads(), ...vectorLoads(), ...stores(), ...vectorStores()];
