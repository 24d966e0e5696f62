/**
 * What a model file says of its tensors, and the checks that both formats share.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** A tensor in a file. */
export interface ModelTensor {
  /** Its name. */
  readonly name: string;
  /** The type of its elements, as the format names it: `F32`, `BF16`, `Q4_K`. */
  readonly type: string;
  /** Its dimensions; elements that differ in the last one only lie side by side. */
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly offset: number;
  /** Length in bytes. */
  readonly sizeBytes: number;
}

/** A model file, as its header describes it. */
export interface ModelHeader {
  /** The format: `safetensors`, or `GGUF v3`. */
  readonly format: string;
  /** Its tensors, in the order of the file. */
  readonly tensors: readonly ModelTensor[];
  /** What it says of itself; values that are lists are left out. */
  readonly metadata: ReadonlyMap<string, string | number | bigint | boolean>;
}

/** Most tensors of a file, and dimensions of a tensor. */
export const MOST_TENSORS: number = 1 << 20;
/** Most dimensions of a tensor. */
export const MOST_DIMENSIONS = 8;
const MOST_NAME_BYTES = 65_535;

/** An error for a header that cannot be so. */
export function wrongModel(path: string, what: string): BusbarError {
  return new BusbarError("malformed", `${path}: ${what}`, { operation: "read a model's header", path });
}

/** How many elements a shape has. @throws {BusbarError} `malformed` beyond 2^53 */
export function elementsOf(shape: readonly number[], path: string, name: string): number {
  if (shape.length > MOST_DIMENSIONS) throw wrongModel(path, `tensor '${name}' has ${shape.length} dimensions`);
  const elements = shape.reduce((product, one) => product * one, 1);
  const isPossible = shape.every((one) => Number.isSafeInteger(one) && one >= 0) && Number.isSafeInteger(elements);
  if (isPossible) return elements;
  throw wrongModel(path, `tensor '${name}' has the impossible shape ${shape.join(" × ")}`);
}

/**
 * Checks that tensors have names of their own, lie inside the file and do not overlap, and puts them in the order of the file.
 *
 * @param begin first byte of the data
 * @param isWhole the tensors together cover the data, without a hole, up to the end of the file
 * @throws {BusbarError} `malformed`
 */
export function checkTensors(
  tensors: readonly ModelTensor[],
  begin: number,
  fileBytes: number,
  isWhole: boolean,
  path: string,
): ModelTensor[] {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw wrongModel(path, `there are two tensors '${name}'`);
    if (name.length > MOST_NAME_BYTES) throw wrongModel(path, "a tensor's name is longer than 64 KiB");
    names.add(name);
  }
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
  let reached = begin;
  for (const { name, offset, sizeBytes } of sorted) {
    if (!Number.isSafeInteger(offset + sizeBytes) || offset + sizeBytes > fileBytes) {
      throw wrongModel(path, `tensor '${name}' ends at ${offset + sizeBytes}, the file at ${fileBytes}`);
    }
    if (offset < reached) throw wrongModel(path, `tensor '${name}' overlaps what is before it`);
    if (isWhole && offset !== reached) {
      throw wrongModel(path, `${offset - reached} bytes before tensor '${name}' are nobody's`);
    }
    reached = offset + sizeBytes;
  }
  if (isWhole && reached !== fileBytes) throw wrongModel(path, `${fileBytes - reached} bytes at its end are nobody's`);
  return sorted;
}
