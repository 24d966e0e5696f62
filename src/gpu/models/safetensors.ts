/**
 * The header of a safetensors file.
 *
 * Source: the format as huggingface/safetensors describes it in its README ("Format").
 * @module
 */

import type { ReadBytes } from "../files/bytes.ts";
import { checkTensors, elementsOf, type ModelHeader, type ModelTensor, MOST_TENSORS, wrongModel } from "./model.ts";

const LENGTH_BYTES = 8;
/** The limit of the format's own reader. */
const MOST_HEADER_BYTES = 100_000_000;

/** Bits of an element. */
const TYPE_BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** True for bytes that can begin a safetensors file: a length, and a header that is JSON. */
export function looksLikeSafetensors(head: Uint8Array): boolean {
  return head.length > LENGTH_BYTES && head[LENGTH_BYTES] === 0x7b && head[7] === 0 && head[6] === 0;
}

/**
 * Reads and checks a header.
 *
 * @param read reads bytes of the file
 * @param fileBytes its length
 * @throws {BusbarError} `malformed` with the first thing that is wrong
 */
export async function readSafetensors(read: ReadBytes, fileBytes: number, path: string): Promise<ModelHeader> {
  const wrong = (what: string): Error => wrongModel(path, what);
  if (fileBytes < LENGTH_BYTES) throw wrong("shorter than the length of a header");
  const length = await read(0, LENGTH_BYTES);
  const headerBytes = Number(new DataView(length.buffer, length.byteOffset).getBigUint64(0, true));
  if (headerBytes < 2 || headerBytes > MOST_HEADER_BYTES || LENGTH_BYTES + headerBytes > fileBytes) {
    throw wrong(`a header of ${headerBytes} bytes in a file of ${fileBytes}`);
  }
  const header = parse(await read(LENGTH_BYTES, headerBytes), path);
  const begin = LENGTH_BYTES + headerBytes;
  const metadata = new Map<string, string>();
  const tensors: ModelTensor[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") {
      for (const [key, one] of Object.entries(objectOf(value, "__metadata__", path))) {
        if (typeof one !== "string") throw wrong(`metadata '${key}' is no text`);
        metadata.set(key, one);
      }
    } else {
      tensors.push(tensorOf(name, value, begin, path));
    }
  }
  if (tensors.length > MOST_TENSORS) throw wrong(`${tensors.length} tensors`);
  // JSON.parse drops the first of two tensors of one name; its bytes are then nobody's, which is refused.
  return { format: "safetensors", tensors: checkTensors(tensors, begin, fileBytes, true, path), metadata };
}

function parse(bytes: Uint8Array, path: string): Readonly<Record<string, unknown>> {
  if (bytes[0] !== 0x7b) throw wrongModel(path, "its header does not begin with {");
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return objectOf(value, "the header", path);
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError) throw wrongModel(path, "its header is no JSON");
    // So deep that the parser gave up.
    if (cause instanceof RangeError) throw wrongModel(path, "its header is nested too deeply");
    throw cause;
  }
}

function objectOf(value: unknown, what: string, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw wrongModel(path, `${what} is no object`);
}

function numbersOf(value: unknown, what: string, path: string): number[] {
  const isList = Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && one >= 0);
  if (!isList) throw wrongModel(path, `${what} is no list of whole numbers`);
  return value.map(Number);
}

function tensorOf(name: string, value: unknown, begin: number, path: string): ModelTensor {
  const { dtype, shape: shapeOf, data_offsets: offsets, ...others } = objectOf(value, `tensor '${name}'`, path);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw wrongModel(path, `tensor '${name}' has '${unknown}', which is not known`);
  const bits = typeof dtype === "string" && Object.hasOwn(TYPE_BITS, dtype) ? TYPE_BITS[dtype] : undefined;
  if (typeof dtype !== "string" || bits === undefined) {
    throw wrongModel(path, `tensor '${name}' has elements of type ${JSON.stringify(dtype) ?? "nothing"}`);
  }
  const shape = numbersOf(shapeOf, `the shape of tensor '${name}'`, path);
  const [from, end, ...more] = numbersOf(offsets, `the place of tensor '${name}'`, path);
  if (from === undefined || end === undefined || more.length > 0 || end < from) {
    throw wrongModel(path, `the place of tensor '${name}' is no begin and end`);
  }
  const wanted = elementsOf(shape, path, name) * bits / 8;
  if (wanted !== end - from) {
    throw wrongModel(path, `tensor '${name}' has ${end - from} bytes, its shape and type ask for ${wanted}`);
  }
  return { name, type: dtype, shape, offset: begin + from, sizeBytes: end - from };
}
