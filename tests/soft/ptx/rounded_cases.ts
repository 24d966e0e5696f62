/**
 * Kernels that nvcc compiled whose results are exactly rounded: half, bfloat16 and directed rounding, by exact arithmetic.
 * @module
 */

import { assertEquals } from "@std/assert";

import { rounded } from "./expectations.ts";
import * as model from "./float_model.ts";
import { BF16, type Decoded, F16, F32, type Format, type Result, type Rounding } from "./float_model.ts";
import type { Expectation } from "./form.ts";
import type { KernelCase } from "./kernel_cases.ts";
import { floatRows } from "./values.ts";

/** The exact operations on bits of one format. */
class Arithmetic {
  readonly #format: Format;

  constructor(format: Format) {
    this.#format = format;
  }

  #read(bits: bigint): Decoded {
    return model.decode(this.#format, bits);
  }

  add(a: bigint, b: bigint, mode: Rounding = "rn"): Expectation {
    return rounded(this.#format, model.add(this.#read(a), this.#read(b), mode), { mode });
  }

  addSaturated(a: bigint, b: bigint): Expectation {
    return rounded(this.#format, model.add(this.#read(a), this.#read(b), "rn"), { sat: true });
  }

  multiply(a: bigint, b: bigint, mode: Rounding = "rn"): Expectation {
    return rounded(this.#format, model.multiply(this.#read(a), this.#read(b)), { mode });
  }

  divide(a: bigint, b: bigint): Expectation {
    return rounded(this.#format, model.divide(this.#read(a), this.#read(b)));
  }

  root(a: bigint): Expectation {
    return rounded(this.#format, model.squareRoot(this.#read(a)));
  }

  fused(a: bigint, b: bigint, c: bigint): Expectation {
    return rounded(this.#format, model.fusedMultiplyAdd(this.#read(a), this.#read(b), this.#read(c), "rn"));
  }

  /** The lesser or the greater of two numbers, neither NaN. */
  extreme(a: bigint, b: bigint, takesLess: boolean): Expectation {
    const order = model.compare(this.#read(a), this.#read(b)) ?? 0;
    const isLess = order < 0 || (order === 0 && (a & model.signBit(this.#format)) !== 0n);
    return rounded(this.#format, this.#result(isLess === takesLess ? a : b));
  }

  #result(bits: bigint): Result {
    return model.resultOf(this.#read(bits));
  }

  greater(a: bigint, b: bigint): boolean {
    return (model.compare(this.#read(a), this.#read(b)) ?? 0) > 0;
  }
}

/** Rows of two numbers, none of them NaN, as two lists. */
function pairs(format: Format, seed: string, count: number): [bigint[], bigint[]] {
  const rows = floatRows(format, 2, seed, 3 * count)
    .filter((row) => row.every((bits) => !model.isNan(format, bits))).slice(0, count);
  return [rows.map(([a = 0n]) => a), rows.map(([, b = 0n]) => b)];
}

function compare(got: ArrayLike<number>, first: number, want: readonly Expectation[], what: string): void {
  const wrong = want.flatMap((expectation, at) => {
    const bits = BigInt(got[first + at] ?? 0);
    return expectation.accepts(bits) ? [] : [`${what}, row ${at}: 0x${bits.toString(16)}, not ${expectation.text}`];
  });
  assertEquals(wrong, []);
}

const COUNT = 100;
const shape = { grid: 2, block: 64 };
/** A result in f32 of a number of another format, rounded there. */
function through(format: Format, bits: bigint, operation: (single: bigint) => bigint): Expectation {
  const single = model.encode(F32, model.resultOf(model.decode(format, bits)));
  return rounded(format, model.resultOf(model.decode(F32, operation(single))));
}

const HALVES: KernelCase = {
  file: "halves",
  title: "half and bfloat16",
  async run(kernels, sm): Promise<void> {
    const half = new Arithmetic(F16), brain = new Arithmetic(BF16);
    const [a, b] = pairs(F16, "half", COUNT);
    const words = (list: readonly bigint[]): Uint16Array => Uint16Array.from(list, Number);
    const out = new Uint16Array(8 * COUNT);
    await kernels.launch("half_operations", shape, words(a), words(b), out, COUNT);
    const each = (compute: (a: bigint, b: bigint, at: number) => Expectation): Expectation[] =>
      a.map((x, at) => compute(x, b[at] ?? 0n, at));
    compare(out, 0, each((x, y) => half.add(x, y)), "__hadd_rn");
    compare(out, COUNT, each((x, y) => half.multiply(x, y)), "__hmul_rn");
    compare(out, 2 * COUNT, each((x, y) => half.fused(x, y, x)), "__hfma");
    compare(out, 3 * COUNT, each((x, y) => half.extreme(x, y, true)), "__hmin");
    const third = (single: bigint): bigint =>
      model.encode(F32, model.divide(model.decode(F32, single), model.decode(F32, 0x4040_0000n)));
    compare(out, 4 * COUNT, each((x) => through(F16, x, third)), "a third");
    const sign = model.signBit(F16);
    const chosen = (x: bigint, y: bigint): bigint => half.greater(x, y) ? x ^ sign : y & (sign - 1n);
    compare(out, 5 * COUNT, each((x, y) => rounded(F16, model.resultOf(model.decode(F16, chosen(x, y))))), "__hgt");
    compare(out, 6 * COUNT, each((_x, _y, at) => rounded(F16, model.exactInteger(BigInt(at * 37)))), "__int2half_rn");
    compare(out, 7 * COUNT, each((x, y) => half.addSaturated(x, y)), "__hadd_sat");

    const pairsOut = new Uint16Array(6 * (COUNT / 2));
    await kernels.launch("half_pairs", shape, words(a), words(b), pairsOut, COUNT / 2);
    const difference = (x: bigint, y: bigint): bigint =>
      model.encode(F16, model.add(model.decode(F16, x), model.negate(model.decode(F16, y)), "rn"));
    compare(pairsOut, 0, each((x, y) => half.fused(x, y, difference(x, y))), "__hfma2");
    compare(pairsOut, COUNT, each((x, y) => half.extreme(x, y, false)), "__hmax2");
    const mixed = a.map((x, at) => rounded(F16, model.resultOf(model.decode(F16, at % 2 === 0 ? x : b[at] ?? 0n))));
    compare(pairsOut, 2 * COUNT, mixed, "__floats2half2_rn");

    const [c, d] = pairs(BF16, "brain", COUNT);
    const brainOut = new Uint16Array(5 * COUNT);
    await kernels.launch("brain_operations", shape, words(c), words(d), brainOut, COUNT);
    const every = (compute: (a: bigint, b: bigint) => Expectation): Expectation[] =>
      c.map((x, at) => compute(x, d[at] ?? 0n));
    const same = (bits: bigint): Expectation => rounded(BF16, model.resultOf(model.decode(BF16, bits)));
    compare(brainOut, 0, every((x, y) => brain.add(x, y)), "bfloat16 sum");
    compare(brainOut, COUNT, every((x, y) => brain.multiply(x, y)), "bfloat16 product");
    compare(brainOut, 2 * COUNT, every((x, y) => sm >= 80 ? brain.fused(x, y, x) : same(x)), "bfloat16 fma");
    compare(brainOut, 3 * COUNT, every((x, y) => sm >= 80 ? brain.extreme(x, y, false) : same(y)), "bfloat16 max");
    const bits = model.decode(F32, model.fromNumber(F32, 1.1));
    const scaled = (single: bigint): bigint => model.encode(F32, model.multiply(model.decode(F32, single), bits));
    compare(brainOut, 4 * COUNT, every((x) => through(BF16, x, scaled)), "bfloat16 through f32");
  },
};

const ROUNDED: KernelCase = {
  file: "mathematics",
  title: "directed rounding",
  async run(kernels): Promise<void> {
    const single = new Arithmetic(F32);
    const [a] = pairs(F32, "rounded", COUNT);
    const out = new Uint32Array(8 * COUNT);
    await kernels.launch("rounded", { grid: 1, block: COUNT }, Uint32Array.from(a, Number), out, COUNT);
    const each = (compute: (a: bigint, b: bigint, at: number) => Expectation): Expectation[] =>
      a.map((x, at) => compute(x, a[(at + 1) % COUNT] ?? 0n, at));
    compare(out, 0, each((x, y) => single.add(x, y, "rm")), "__fadd_rd");
    compare(out, COUNT, each((x, y) => single.add(x, y, "rp")), "__fadd_ru");
    compare(out, 2 * COUNT, each((x, y) => single.multiply(x, y, "rz")), "__fmul_rz");
    compare(out, 3 * COUNT, each((x, y) => single.divide(x, y)), "__fdiv_rn");
    compare(out, 4 * COUNT, each((x) => single.root(x & 0x7fff_ffffn)), "__fsqrt_rn");
    compare(out, 5 * COUNT, each((x, y) => single.fused(x, y, x ^ 0x8000_0000n)), "__fmaf_rn");
    const product = (at: number): bigint => BigInt.asIntN(32, BigInt(at) * 123456789n);
    compare(
      out,
      7 * COUNT,
      each((_x, _y, at) => rounded(F32, model.exactInteger(product(at)), { mode: "rz" })),
      "__int2float_rz",
    );
  },
};

export const ROUNDED_CASES: readonly KernelCase[] = [HALVES, ROUNDED];
