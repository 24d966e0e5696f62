/** cvt: every pair of integer types, and between integers and floating point in four directions. */

import {
  decode,
  encode,
  exactInteger,
  F32,
  F64,
  flush,
  type Format,
  type Rounding,
  roundToInteger,
  widthBits,
} from "./float_model.ts";
import { exactly, type Expectation, type Form, type LaneForm, laneForm, type Register } from "./form.ts";
import { clamp, type IntegerType, integerType, leastOf, mostOf, truncate, valueOf } from "./integer_model.ts";
import { floatRows, FORMATS, integers } from "./values.ts";

const FAMILY = "convert";
const INTEGERS = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"].map(integerType);
const MODES: readonly Rounding[] = ["rn", "rz", "rm", "rp"];

function sourceRegister(width: number): Register {
  return width <= 16 ? "b16" : `b${width}` as Register;
}

/** Narrow results go to a register of 32 bits, so that their extension shows. */
function resultRegister(width: number): Register {
  return width === 64 ? "b64" : "b32";
}

function form(
  name: string,
  from: number,
  into: Register,
  more: Pick<LaneForm, "rows" | "expect"> & { sm?: number },
): Form {
  return laneForm({
    name,
    family: FAMILY,
    operands: [sourceRegister(from)],
    results: [into],
    code: `${name} %x, %a;`,
    ...more,
  });
}

/** A result of a narrow type fills its register by its own sign. */
function extended(type: IntegerType, value: bigint): Expectation {
  return exactly(truncate(valueOf(type, truncate(value, type.width)), Math.max(32, type.width)));
}

function integerPairs(): Form[] {
  return INTEGERS.flatMap((from) =>
    INTEGERS.flatMap((into) => {
      const rows = integers(Math.max(16, from.width)).map((bits) => [bits]);
      const read = (bits: bigint): bigint => valueOf(from, truncate(bits, from.width));
      const plain = form(`cvt.${into.name}.${from.name}`, from.width, resultRegister(into.width), {
        rows,
        expect: (a = 0n) => [extended(into, read(a))],
      });
      const fits = leastOf(into) <= leastOf(from) && mostOf(from) <= mostOf(into);
      if (fits) return [plain];
      return [
        plain,
        form(`cvt.sat.${into.name}.${from.name}`, from.width, resultRegister(into.width), {
          rows,
          expect: (a = 0n) => [extended(into, clamp(into, read(a)))],
        }),
      ];
    })
  );
}

/** NaN gives zero, but the top bit alone from f64 and into 64 bits. */
function toInteger(type: IntegerType, format: Format, mode: Rounding, bits: bigint): Expectation {
  const value = decode(format, bits);
  if (value.kind === "nan") {
    return format === F64 || type.width === 64 ? extended(type, 1n << BigInt(type.width - 1)) : exactly(0n);
  }
  if (value.kind === "infinite") return extended(type, value.negative ? leastOf(type) : mostOf(type));
  return extended(type, clamp(type, roundToInteger(value.value, mode)));
}

const leastSm = (format: Format): number => format.name === "bf16" ? 90 : 75;

/** bf16 converts from and to integers of 32 and 64 bits only. */
const hasPair = (format: Format, type: IntegerType): boolean => format.name !== "bf16" || type.width >= 32;

/** Floating-point numbers around the limits of an integer type, and those of the format. */
function rowsAround(format: Format, type: IntegerType, seed: string): bigint[][] {
  const around = [leastOf(type), mostOf(type)].flatMap((limit) =>
    [-2n, -1n, 0n, 1n, 2n].flatMap((step) => {
      const half = exactInteger(2n * limit + step);
      return MODES.map((mode) => [encode(format, { ...half, exponent: -1 }, mode)]);
    })
  );
  return [...around, ...floatRows(format, 1, seed)];
}

function floatsToIntegers(): Form[] {
  const forms: Form[] = [];
  for (const format of Object.values(FORMATS)) {
    for (const type of INTEGERS.filter((one) => hasPair(format, one))) {
      for (const mode of MODES) {
        for (const ftz of format === F32 ? ["", ".ftz"] : [""]) {
          const name = `cvt.${mode}i${ftz}.${type.name}.${format.name}`;
          forms.push(form(name, widthBits(format), resultRegister(type.width), {
            sm: leastSm(format),
            rows: rowsAround(format, type, name),
            expect: (a = 0n) => [toInteger(type, format, mode, ftz === "" ? a : flush(format, a))],
          }));
        }
      }
    }
  }
  return forms;
}

function integersToFloats(): Form[] {
  const forms: Form[] = [];
  for (const format of Object.values(FORMATS)) {
    const width = widthBits(format);
    for (const type of INTEGERS.filter((one) => hasPair(format, one))) {
      for (const mode of MODES) {
        const name = `cvt.${mode}.${format.name}.${type.name}`;
        forms.push(form(name, type.width, `b${width}` as Register, {
          sm: leastSm(format),
          rows: integers(Math.max(16, type.width)).map((bits) => [bits]),
          expect: (a = 0n) => [exactly(encode(format, exactInteger(valueOf(type, truncate(a, type.width))), mode))],
        }));
      }
    }
  }
  return forms;
}

export const CONVERT_FORMS: readonly Form[] = [...integerPairs(), ...floatsToIntegers(), ...integersToFloats()];
