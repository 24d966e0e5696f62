/**
 * Approximations, each within the error that the PTX ISA allows it; their special values exactly.
 *
 * The exact value is the host's double, whose error is some 2^-30 of the bounds here.
 */

import { approximately, type Bound } from "./expectations.ts";
import { BF16, F16, F32, F64, flush, type Format, toNumber } from "./float_model.ts";
import { type Expectation, type Form, laneForm, oneOf, type Register, UNSPECIFIED } from "./form.ts";
import { floatRows, packedRows, Random } from "./values.ts";

interface Approximation {
  readonly name: string;
  readonly format: Format;
  readonly sm?: number;
  readonly count?: 2;
  compute(a: number, b: number): number;
  /** null: the ISA gives no bound there. */
  bound(a: number, b: number, exact: number): Bound | null;
}

/** Ordinary numbers among the edges: small angles, exponents in range. */
function extraRows(name: string, count: number): bigint[][] {
  const random = new Random(`ordinary ${name}`);
  const view = new DataView(new ArrayBuffer(4));
  const one = (): bigint => {
    view.setFloat32(0, (random.next() / 2 ** 31 - 1) * 2 ** (random.below(9) - 1));
    return BigInt(view.getUint32(0));
  };
  return Array.from({ length: 64 }, () => Array.from({ length: count }, one));
}

function expectation(form: Approximation, row: readonly bigint[]): Expectation {
  const { format, name } = form;
  // Without .ftz subnormal inputs count; f32 forms keep them.
  const ftz = name.includes(".ftz");
  const [a = 0, b = 0] = row.map((bits) => toNumber(format, ftz ? flush(format, bits) : bits));
  const exact = form.compute(a, b);
  const bound = form.bound(a, b, exact);
  return bound === null ? UNSPECIFIED : approximately(format, exact, bound, ftz);
}

function approximation(form: Approximation): Form {
  const { name, format } = form;
  const register: Register = format === F64 ? "b64" : format === F32 ? "b32" : "b16";
  const count = form.count ?? 1;
  const rows = floatRows(format, count, name);
  return laneForm({
    name,
    family: "approximate",
    sm: form.sm ?? 75,
    operands: Array<Register>(count).fill(register),
    results: [register],
    code: `${name} %x, ${["%a", "%b"].slice(0, count).join(", ")};`,
    rows: format === F32 ? [...rows, ...extraRows(name, count)] : rows,
    expect: (...row) => [expectation(form, row)],
  });
}

const always = (bound: Bound) => (): Bound => bound;

/** Largest error of the sine and the cosine by how far the angle is from zero. */
function angleBound(angle: number): Bound | null {
  if (!Number.isFinite(angle)) return {};
  if (Math.abs(angle) <= 2 * Math.PI) return { absolute: 2 ** -20.5 };
  return Math.abs(angle) <= 100 * Math.PI ? { absolute: 2 ** -14.7 } : null;
}

/** div.approx is bound for divisors from 2^-126 to 2^126; above that a finite dividend gives 0, an infinite one NaN. */
function quotientBound(a: number, b: number): Bound | null {
  const size = Math.abs(b);
  if (size <= 2 ** 126 && size >= 2 ** -126) return { ulp: 2 };
  return size === 0 || !Number.isFinite(b) || Number.isNaN(a) ? {} : null;
}

function singles(): Form[] {
  const forms: Approximation[] = [];
  for (const ftz of ["", ".ftz"]) {
    const flushed = ftz !== "";
    forms.push(
      { name: `rcp.approx${ftz}.f32`, format: F32, compute: (a) => 1 / a, bound: always({ ulp: 1 }) },
      { name: `sqrt.approx${ftz}.f32`, format: F32, compute: Math.sqrt, bound: always({ relative: 2 ** -23, ulp: 1 }) },
      {
        name: `rsqrt.approx${ftz}.f32`,
        format: F32,
        compute: (a) => a === 0 ? 1 / a : 1 / Math.sqrt(a),
        bound: always({ relative: 2 ** -22.9, ulp: flushed ? 0 : 1 }),
      },
      { name: `sin.approx${ftz}.f32`, format: F32, compute: Math.sin, bound: angleBound },
      { name: `cos.approx${ftz}.f32`, format: F32, compute: Math.cos, bound: angleBound },
      {
        name: `lg2.approx${ftz}.f32`,
        format: F32,
        compute: Math.log2,
        bound: (a) => a > 0.5 && a < 2 ? { absolute: 2 ** -22 } : { relative: 2 ** -22 },
      },
      { name: `ex2.approx${ftz}.f32`, format: F32, compute: (a) => 2 ** a, bound: always({ ulp: 2 }) },
      { name: `div.approx${ftz}.f32`, format: F32, count: 2, compute: (a, b) => a / b, bound: quotientBound },
      { name: `div.full${ftz}.f32`, format: F32, count: 2, compute: (a, b) => a / b, bound: always({ ulp: 2 }) },
    );
  }
  forms.push({ name: "tanh.approx.f32", format: F32, compute: Math.tanh, bound: always({ relative: 2 ** -11 }) });
  return forms.map(approximation);
}

function halves(): Form[] {
  const rows: Approximation[] = [
    { name: "ex2.approx.f16", format: F16, compute: (a) => 2 ** a, bound: always({ relative: 2 ** -9.9, ulp: 1 }) },
    { name: "tanh.approx.f16", format: F16, compute: Math.tanh, bound: always({ absolute: 2 ** -10.987, ulp: 1 }) },
    {
      name: "ex2.approx.ftz.bf16",
      format: BF16,
      sm: 90,
      compute: (a) => 2 ** a,
      bound: always({ relative: 2 ** -7 }),
    },
    {
      name: "tanh.approx.bf16",
      format: BF16,
      sm: 90,
      compute: Math.tanh,
      bound: always({ relative: 2 ** -8, ulp: 1 }),
    },
  ];
  return rows.flatMap((form) => [approximation(form), packed(form)]);
}

function packed(form: Approximation): Form {
  const name = `${form.name}x2`;
  return laneForm({
    name,
    family: "approximate",
    sm: form.sm ?? 75,
    operands: ["b32"],
    results: ["b32"],
    code: `${name} %x, %a;`,
    rows: packedRows(floatRows(form.format, 1, name)),
    expect: (a = 0n) => {
      const low = expectation(form, [a & 0xffffn]), high = expectation(form, [a >> 16n]);
      return [{
        accepts: (bits) => low.accepts(bits & 0xffffn) && high.accepts(bits >> 16n),
        text: `low ${low.text}, high ${high.text}`,
      }];
    },
  });
}

/** The forms in f64 that see the upper word only: a start for Newton's steps of some 20 bits. */
function doubles(): Form[] {
  const upper = (compute: (a: number) => number, name: string): Form =>
    laneForm({
      name,
      family: "approximate",
      operands: ["b64"],
      results: ["b64"],
      code: `${name} %x, %a;`,
      rows: floatRows(F64, 1, name),
      expect: (a = 0n) => {
        const high = flush(F64, a >> 32n << 32n);
        const exact = compute(toNumber(F64, high));
        const near = approximately(F64, exact, { relative: 2 ** -19 }, true);
        return [{
          accepts: (bits) => near.accepts(bits) && (Number.isNaN(exact) || (bits & 0xffff_ffffn) === 0n),
          text: `${near.text} with a low word of 0`,
        }];
      },
    });
  return [
    upper((a) => 1 / a, "rcp.approx.ftz.f64"),
    upper((a) => a === 0 ? 1 / a : 1 / Math.sqrt(a), "rsqrt.approx.ftz.f64"),
    approximation({
      name: "rsqrt.approx.f64",
      format: F64,
      compute: (a) => a === 0 ? 1 / a : 1 / Math.sqrt(a),
      bound: always({ relative: 2 ** -19 }),
    }),
  ];
}

/** A divisor above 2^126 makes 0 of a finite dividend and NaN of an infinite one. */
function hugeDivisors(): Form {
  const huge = [0x7f00_0000n, 0x7f7f_ffffn, 0xff00_0001n].map((bits) => bits & 0x7fff_ffffn);
  const rows = huge.filter((bits) => bits > 0x7e80_0000n).flatMap((b) => [[0x3f80_0000n, b], [0x7149_f2can, b]]);
  return laneForm({
    name: "div.approx.f32 by more than 2^126",
    family: "approximate",
    operands: ["b32", "b32"],
    results: ["b32"],
    code: "div.approx.f32 %x, %a, %b;",
    rows,
    expect: () => [oneOf(0n)],
  });
}

export const APPROXIMATE_FORMS: readonly Form[] = [...singles(), ...halves(), ...doubles(), hugeDivisors()];
