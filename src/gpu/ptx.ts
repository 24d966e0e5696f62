/**
 * What a launch has to know of a PTX module: its kernels and their parameters, and how arguments are packed.
 *
 * Source: PTX ISA 9.0, §5.4 (parameter state space) and §11.1 (kernel and function directives).
 * @module
 */

import { BusbarError } from "../core/error.ts";

/** A parameter of a kernel. */
export interface KernelParameter {
  /** Its name, or its number where only the size is known. */
  readonly name: string;
  /** PTX's word for its type: `u32`, `f32`, `b8`; `b32` and `b64` where only the size is known. */
  readonly type: string;
  /** Bytes from the start of the arguments. */
  readonly offset: number;
  /** Its length in bytes: of an array, all of it. */
  readonly sizeBytes: number;
  /** True for an array of bytes: a structure passed by value. */
  readonly isArray: boolean;
}

/** A kernel of a module. */
export interface PtxKernel {
  /** Its name; names of C++ functions are mangled. */
  readonly name: string;
  /** Its parameters, in order. */
  readonly parameters: readonly KernelParameter[];
}

/** Something that stands for an address on the GPU. */
export interface HasDeviceAddress {
  /** The address as the GPU sees it. */
  readonly address: bigint;
}

/** What can be passed to a kernel: numbers, addresses, and the bytes of a structure. */
export type KernelArgument = number | bigint | boolean | HasDeviceAddress | Uint8Array;

/**
 * The kernels of a PTX text.
 *
 * @throws {BusbarError} `malformed` for a parameter list that is not PTX
 *
 * @example
 * ```ts
 * import { parsePtxKernels } from "./ptx.ts";
 * const [kernel] = parsePtxKernels(".version 8.0\n.target sm_70\n.visible .entry k(.param .u64 p, .param .f32 a) { ret; }");
 * console.assert(kernel?.parameters[1]?.offset === 8);
 * ```
 */
export function parsePtxKernels(text: string): PtxKernel[] {
  const plain = text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, " ");
  return Array.from(plain.matchAll(/\.entry\s+([\w$%]+)\s*(?:\(([^)]*)\))?/g), ([, name = "", list = ""]) => ({
    name,
    parameters: parseParameters(name, list),
  }));
}

function parseParameters(kernel: string, list: string): KernelParameter[] {
  let end = 0;
  return list.split(",").map((item) => item.trim()).filter((item) => item !== "").map((item) => {
    // Behind .ptr stands what it points to, which has an alignment of its own.
    const own = item.replace(/\.ptr\b((\s*\.(const|global|local|shared))?(\s*\.align\s+\d+)?)/, "");
    const match = /^\.param\s+(?:\.align\s+(\d+)\s+)?\.([a-z]+)(\d+)\s+([\w$%]+)\s*(?:\[(\d+)\])?$/.exec(own);
    if (match === null) {
      throw new BusbarError("malformed", `${kernel}: '${item.slice(0, 80)}' is no parameter of a kernel`, {
        operation: "parse PTX",
      });
    }
    const [, alignment, letters = "", bits = "", name = "", count] = match;
    const elementBytes = Number(bits) / 8;
    const align = alignment === undefined ? elementBytes : Number(alignment);
    const offset = Math.ceil(end / align) * align;
    const sizeBytes = elementBytes * Number(count ?? 1);
    end = offset + sizeBytes;
    return { name, type: letters + bits, offset, sizeBytes, isArray: count !== undefined };
  });
}

/**
 * Packs arguments as a kernel declares its parameters.
 *
 * @throws {BusbarError} `usage` for too many, too few, and those that do not fit
 */
export function packArguments(kernel: PtxKernel, values: readonly KernelArgument[]): Uint8Array<ArrayBuffer> {
  const { parameters } = kernel;
  if (values.length !== parameters.length) {
    const takes = parameters.map(({ name, type }) => `${type} ${name}`).join(", ") || "none";
    throw new BusbarError("usage", `${kernel.name} takes ${parameters.length} arguments, not ${values.length}`, {
      operation: "launch kernel",
      path: kernel.name,
      hint: `it takes ${takes}`,
    });
  }
  const last = parameters.at(-1);
  const bytes = new Uint8Array(last === undefined ? 0 : last.offset + last.sizeBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, parameter] of parameters.entries()) packOne(kernel, view, parameter, values[index] ?? 0);
  return bytes;
}

function packOne(kernel: PtxKernel, view: DataView, parameter: KernelParameter, value: KernelArgument): void {
  const { offset, sizeBytes, type } = parameter;
  const fail = (why: string): BusbarError =>
    new BusbarError(
      "usage",
      `${kernel.name}: ${parameter.name} is ${type}${parameter.isArray ? `[${sizeBytes}]` : ""}, ${why}`,
      {
        operation: "launch kernel",
        path: kernel.name,
      },
    );
  if (parameter.isArray || value instanceof Uint8Array) {
    if (!(value instanceof Uint8Array) || value.length !== sizeBytes) throw fail(`so it takes ${sizeBytes} bytes`);
    new Uint8Array(view.buffer, offset, sizeBytes).set(value);
    return;
  }
  if (typeof value === "object") {
    if (sizeBytes !== 8) throw fail("and cannot hold an address");
    view.setBigUint64(offset, value.address, true);
    return;
  }
  if (type === "f32" || type === "f64") {
    if (typeof value !== "number") throw fail(`not ${typeof value}`);
    if (type === "f32") view.setFloat32(offset, value, true);
    else view.setFloat64(offset, value, true);
    return;
  }
  const whole = wholeNumber(value);
  if (whole === null) throw fail(`and ${value} is no whole number`);
  const bits = BigInt(sizeBytes) * 8n;
  // Types without a sign take either reading of their bits.
  const least = type.startsWith("u") ? 0n : -(1n << bits - 1n);
  const most = type.startsWith("s") ? (1n << bits - 1n) - 1n : (1n << bits) - 1n;
  if (whole < least || whole > most) throw fail(`and ${whole} does not fit`);
  for (let at = 0; at < sizeBytes; at++) view.setUint8(offset + at, Number(whole >> BigInt(8 * at) & 0xffn));
}

function wholeNumber(value: number | bigint | boolean): bigint | null {
  if (typeof value === "bigint") return value;
  return Number.isInteger(Number(value)) ? BigInt(Number(value)) : null;
}
