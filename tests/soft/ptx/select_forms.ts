/** Selection and classes of numbers: selp, slct, testp, copysign. */

import { compareFloats } from "./compare_forms.ts";
import { decode, F32, F64, type Format, isSubnormal, signBit } from "./float_model.ts";
import { exactly, type Form, laneForm, type Register } from "./form.ts";
import { floatRows, floats, integers, rowsOf } from "./values.ts";

const FAMILY = "select";

const bit = (condition: boolean): bigint => condition ? 1n : 0n;

function selections(): Form[] {
  const types = ["b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"];
  return types.flatMap((type) => {
    const width = Number(type.slice(1));
    const register: Register = `b${width}` as Register;
    const forms = [laneForm({
      name: `selp.${type}`,
      family: FAMILY,
      operands: [register, register, "pred"],
      results: [register],
      code: `selp.${type} %x, %a, %b, %c;`,
      rows: rowsOf([integers(width), integers(width), [0n, 1n]], type),
      expect: (a = 0n, b = 0n, c = 0n) => [exactly(c === 1n ? a : b)],
    })];
    for (const condition of ["s32", "f32", "ftz.f32"]) {
      const name = condition === "ftz.f32" ? `slct.ftz.${type}.f32` : `slct.${type}.${condition}`;
      forms.push(laneForm({
        name,
        family: FAMILY,
        operands: [register, register, "b32"],
        results: [register],
        code: `${name} %x, %a, %b, %c;`,
        rows: rowsOf([integers(width), integers(width), condition === "s32" ? integers(32) : floats(F32)], name),
        expect: (a = 0n, b = 0n, c = 0n) => [exactly(takesFirst(condition, c) ? a : b)],
      }));
    }
    return forms;
  });
}

/** -0 is not less than zero, NaN is not at least zero. */
function takesFirst(condition: string, bits: bigint): boolean {
  if (condition === "s32") return BigInt.asIntN(32, bits) >= 0n;
  return compareFloats("ge", F32, condition.startsWith("ftz"), bits, 0n);
}

function classes(): Form[] {
  const tests: Readonly<Record<string, (format: Format, bits: bigint) => boolean>> = {
    finite: (format, bits) => decode(format, bits).kind === "finite",
    infinite: (format, bits) => decode(format, bits).kind === "infinite",
    number: (format, bits) => decode(format, bits).kind !== "nan",
    notanumber: (format, bits) => decode(format, bits).kind === "nan",
    normal: (format, bits) =>
      decode(format, bits).kind === "finite" && !isSubnormal(format, bits) && (bits & (signBit(format) - 1n)) !== 0n,
    subnormal: isSubnormal,
  };
  return [F32, F64].flatMap((format) => {
    const register: Register = format === F32 ? "b32" : "b64";
    const forms = Object.entries(tests).map(([word, test]) =>
      laneForm({
        name: `testp.${word}.${format.name}`,
        family: FAMILY,
        operands: [register],
        results: ["pred"],
        code: `testp.${word}.${format.name} %x, %a;`,
        rows: floatRows(format, 1, word),
        expect: (a = 0n) => [exactly(bit(test(format, a)))],
      })
    );
    const sign = signBit(format);
    return [
      ...forms,
      laneForm({
        name: `copysign.${format.name}`,
        family: FAMILY,
        operands: [register, register],
        results: [register],
        code: `copysign.${format.name} %x, %a, %b;`,
        rows: floatRows(format, 2, "copysign"),
        expect: (a = 0n, b = 0n) => [exactly(a & sign | b & (sign - 1n))],
      }),
    ];
  });
}

export const SELECT_FORMS: readonly Form[] = [...selections(), ...classes()];
