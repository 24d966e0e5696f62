/** The model that PTX forms are compared with, against other arithmetic: the host's, and worked examples of the PTX ISA. */

import { assertEquals } from "@std/assert";

import * as model from "./ptx/float_model.ts";
import { BF16, type Decoded, F16, F32, F64, type Format, type Result } from "./ptx/float_model.ts";
import * as integer from "./ptx/integer_model.ts";
import { floatRows } from "./ptx/values.ts";
import { lanesOf, reduce, shuffleSource } from "./ptx/warp_model.ts";

const view = new DataView(new ArrayBuffer(8));

/** The host's own number of a format. */
const HOST: readonly { format: Format; read(bits: bigint): number; write(value: number): bigint }[] = [
  {
    format: F16,
    read: (bits) => (view.setUint16(0, Number(bits)), view.getFloat16(0)),
    write: (value) => (view.setFloat16(0, value), BigInt(view.getUint16(0))),
  },
  {
    format: F32,
    read: (bits) => (view.setUint32(0, Number(bits)), view.getFloat32(0)),
    write: (value) => (view.setFloat32(0, value), BigInt(view.getUint32(0))),
  },
  {
    format: F64,
    read: (bits) => (view.setBigUint64(0, bits), view.getFloat64(0)),
    write: (value) => (view.setFloat64(0, value), view.getBigUint64(0)),
  },
];

const OPERATIONS: readonly [string, (a: number, b: number) => number, (a: Decoded, b: Decoded) => Result][] = [
  ["add", (a, b) => a + b, (a, b) => model.add(a, b, "rn")],
  ["multiply", (a, b) => a * b, model.multiply],
  ["divide", (a, b) => a / b, model.divide],
  ["squareRoot", (a) => Math.sqrt(a), model.squareRoot],
];

for (const { format, read, write } of HOST) {
  for (const [name, host, ours] of OPERATIONS) {
    Deno.test(`${name} in ${format.name} is what the host computes`, () => {
      // Rounding a double of at least 2 p + 2 bits again to p bits changes nothing for these four operations.
      for (const [a = 0n, b = 0n] of floatRows(format, 2, `host ${name}`, 3000)) {
        const got = model.encode(format, ours(model.decode(format, a), model.decode(format, b)));
        const want = write(host(read(a), read(b)));
        if (model.isNan(format, want)) assertEquals(model.isNan(format, got), true);
        else assertEquals(got.toString(16), want.toString(16), `${name} of ${a.toString(16)} and ${b.toString(16)}`);
      }
    });
  }

  Deno.test(`comparison and reading in ${format.name} are the host's`, () => {
    for (const [a = 0n, b = 0n] of floatRows(format, 2, "host compare", 2000)) {
      const sign = model.compare(model.decode(format, a), model.decode(format, b));
      assertEquals([sign === null, (sign ?? 0) < 0, sign === 0], [
        Number.isNaN(read(a)) || Number.isNaN(read(b)),
        read(a) < read(b),
        read(a) === read(b),
      ]);
      if (!Number.isNaN(read(a))) assertEquals(model.toNumber(format, a), read(a));
    }
  });
}

Deno.test("fused multiply-add rounds once, where two roundings give something else", () => {
  // (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, which a rounded product loses.
  const bits = (value: number): Decoded => model.decode(F32, model.fromNumber(F32, value));
  const one = bits(1 + 2 ** -12);
  assertEquals(model.encode(F32, model.fusedMultiplyAdd(one, one, bits(-(1 + 2 ** -11)), "rn")), 0x3380_0000n);
  // A sum in f64 rounded to f32 rounds twice here: 1 + 2^-24 + 2^-60 lies above the middle, but as f64 on it.
  const tiny = model.fusedMultiplyAdd(bits(2 ** -30), bits(2 ** -30), bits(1), "rp");
  assertEquals(model.encode(F32, tiny, "rp"), 0x3f80_0001n);
});

Deno.test("the four directions lie around the exact result, next to each other", () => {
  for (const format of [F16, BF16, F32, F64]) {
    for (const [a = 0n, b = 0n] of floatRows(format, 2, "directions", 600)) {
      const exact = model.multiply(model.decode(format, a), model.decode(format, b));
      if (exact === null || "infinite" in exact || exact.numerator === 0n) continue;
      const [down, up, zero, near] = (["rm", "rp", "rz", "rn"] as const).map((mode) =>
        model.encode(format, exact, mode)
      );
      if (down === undefined || up === undefined) throw new Error("four results");
      assertEquals(zero, exact.negative ? up : down);
      assertEquals(near === down || near === up, true);
      const order = model.compare(model.decode(format, down), model.decode(format, up));
      assertEquals(down === up || order === -1 || order === null || order < 0 || zero === 0n, true);
      const distance = exact.negative ? down - up : up - down;
      assertEquals(distance === 0n || distance === 1n, true, `${distance} patterns apart`);
    }
  }
});

Deno.test("rounding ties go to even, and 65520 is the first number that f16 rounds to infinity", () => {
  assertEquals(model.fromNumber(F16, 65519.99), 0x7bffn);
  assertEquals(model.fromNumber(F16, 65520), 0x7c00n);
  assertEquals(model.fromNumber(F32, 2 ** 24 + 1), model.fromNumber(F32, 2 ** 24));
  assertEquals(model.fromNumber(F32, 2 ** 24 + 3), model.fromNumber(F32, 2 ** 24 + 4));
  assertEquals(model.fromNumber(BF16, 1 + 2 ** -8), 0x3f80n);
  assertEquals(model.fromNumber(BF16, 1 + 3 * 2 ** -8), 0x3f82n);
  const half = (value: number): bigint => {
    const decoded = model.decode(F64, model.fromNumber(F64, value));
    return decoded.kind === "finite" ? model.roundToInteger(decoded.value, "rn") : 99n;
  };
  assertEquals([0.5, 1.5, 2.5, -0.5, -1.5, -2.5].map(half), [0n, 2n, 2n, 0n, -2n, -2n]);
});

Deno.test("integers: examples that the PTX ISA gives or that follow from its definitions", () => {
  const s32 = integer.integerType("s32"), u32 = integer.integerType("u32");
  assertEquals(integer.permute(0x3322_1100n, 0x7766_5544n, 0x7531n, null), 0x7755_3311n);
  assertEquals(integer.permute(0x8000_0000n, 0n, 0x3333n | 0x8888n, null), 0xffff_ffffn);
  assertEquals(integer.permute(0x3322_1100n, 0x7766_5544n, 1n, "f4e"), 0x4433_2211n);
  assertEquals(integer.permute(0x3322_1100n, 0x7766_5544n, 0n, "b4e"), 0x5566_7700n);
  assertEquals(integer.lookUp3(0xf0f0_f0f0n, 0xcccc_ccccn, 0xaaaa_aaaan, 0x80), 0x8080_8080n);
  assertEquals(integer.lookUp3(0xf0n, 0xccn, 0xaan, 0x1a), 0x1an, "the table is what it makes of 0xF0, 0xCC, 0xAA");
  assertEquals(integer.funnelShift(0x1234_5678n, 0x9abc_def0n, 8n, true, true), 0xbcde_f012n);
  assertEquals(integer.funnelShift(0x1234_5678n, 0x9abc_def0n, 32n, false, false), 0x9abc_def0n);
  assertEquals(integer.extractField(u32, 0xf00n, 8n, 4n), 0xfn);
  assertEquals(integer.extractField(s32, 0xf00n, 8n, 4n), 0xffff_ffffn);
  assertEquals(integer.extractField(s32, 0x8000_0000n, 30n, 8n), 0xffff_fffen);
  assertEquals(integer.insertField(32, 0xabn, 0xffff_ffffn, 8n, 8n), 0xffff_abffn);
  assertEquals(integer.findHighest(s32, 0xffff_ffffn, false), 0xffff_ffffn);
  assertEquals(integer.findHighest(u32, 0x100n, false), 8n);
  assertEquals(integer.findHighest(u32, 0x100n, true), 23n);
  assertEquals(integer.reverse(1n, 32), 0x8000_0000n);
  assertEquals(integer.bitMask(4n, 8n, false), 0xff0n);
  assertEquals(integer.bitMask(0n, 32n, false), 0xffff_ffffn);
  assertEquals(integer.extendLow(true, 0x80n, 8n, false), 0xffff_ff80n);
  assertEquals(integer.nthSetBit(0b1011_0000n, 0n, 2n), 5n);
  assertEquals(integer.nthSetBit(0b1011_0000n, 31n, -1n + 0x1_0000_0000n), 7n);
  assertEquals(integer.dotProduct4(0xff01_0203n, true, 0x0101_0101n, false, 10n), 15n);
});

Deno.test("shuffles: a sum over a warp of 32 and over segments of 8", () => {
  const sum = (width: number): number => {
    let values = lanesOf(0xffff_ffff).map((lane) => lane);
    for (let by = width / 2; by >= 1; by /= 2) {
      values = values.map((value, lane) =>
        value + (values[shuffleSource("down", lane, by, (32 - width) << 8 | 31).lane] ?? 0)
      );
    }
    return values[8] ?? 0;
  };
  assertEquals(sum(8), 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15);
  assertEquals(shuffleSource("up", 0, 1, 0), { lane: 0, inRange: false });
  assertEquals(shuffleSource("idx", 13, 2, 0x181f), { lane: 10, inRange: true });
  assertEquals(reduce("add", true, [0x7fff_ffffn, 1n]), 0x8000_0000n);
});
