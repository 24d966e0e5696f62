/**
 * The header of a GGUF file, versions 2 and 3, with the lowest byte first.
 *
 * Source: ggml docs/gguf.md; sizes of quantized blocks from ggml-common.h.
 * @module
 */

import type { ReadBytes } from "../files/bytes.ts";
import { checkTensors, elementsOf, type ModelHeader, type ModelTensor, MOST_TENSORS, wrongModel } from "./model.ts";

const MAGIC = "GGUF";
const MOST_PAIRS = 1 << 16;
const MOST_HEADER_BYTES = 512 << 20;
const FIRST_READ_BYTES = 1 << 16;
const MOST_KEY_BYTES = 65_535;
const MOST_TEXT_BYTES = 64 << 20;
const MOST_NESTING = 4;
const DEFAULT_ALIGNMENT = 32;
const MOST_ALIGNMENT = 1 << 20;
/** Text of the metadata that is kept for showing. */
const MOST_SHOWN_BYTES = 1024;
const GGUF_MOST_DIMENSIONS = 4;

/** Types of tensors: name, elements of a block, bytes of a block. */
const TYPES: Readonly<Record<number, readonly [name: string, elements: number, bytes: number]>> = {
  0: ["F32", 1, 4],
  1: ["F16", 1, 2],
  2: ["Q4_0", 32, 18],
  3: ["Q4_1", 32, 20],
  6: ["Q5_0", 32, 22],
  7: ["Q5_1", 32, 24],
  8: ["Q8_0", 32, 34],
  9: ["Q8_1", 32, 36],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  12: ["Q4_K", 256, 144],
  13: ["Q5_K", 256, 176],
  14: ["Q6_K", 256, 210],
  15: ["Q8_K", 256, 292],
  16: ["IQ2_XXS", 256, 66],
  17: ["IQ2_XS", 256, 74],
  18: ["IQ3_XXS", 256, 98],
  19: ["IQ1_S", 256, 50],
  20: ["IQ4_NL", 32, 18],
  21: ["IQ3_S", 256, 110],
  22: ["IQ2_S", 256, 82],
  23: ["IQ4_XS", 256, 136],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  29: ["IQ1_M", 256, 56],
  30: ["BF16", 1, 2],
  34: ["TQ1_0", 256, 54],
  35: ["TQ2_0", 256, 66],
  39: ["MXFP4", 32, 17],
};

/** Bytes of a value of the metadata, by its type; text and lists have none of their own. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const TYPE_TEXT = 8, TYPE_LIST = 9, TYPE_U32 = 4;

/** True for the first bytes of a GGUF file. */
export function looksLikeGguf(head: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(head.subarray(0, 4)) === MAGIC;
}

/** The header goes on behind what was read. */
class NeedsMore extends Error {}

/** Goes through a header from front to back. */
class Cursor {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: string;
  readonly #isAll: boolean;

  constructor(bytes: Uint8Array, isAll: boolean, path: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#isAll = isAll;
    this.#path = path;
  }

  #take(sizeBytes: number): number {
    const at = this.at;
    if (at + sizeBytes > this.#bytes.length) {
      if (this.#isAll) throw wrongModel(this.#path, "its header goes beyond its end");
      throw new NeedsMore();
    }
    this.at += sizeBytes;
    return at;
  }

  skip(sizeBytes: number): void {
    this.#take(sizeBytes);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** A length, count or place: beyond 2^53 nothing of this world has so many. */
  u64(what: string): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw wrongModel(this.#path, `${what} is ${value}`);
    return Number(value);
  }

  text(mostBytes: number, what: string): Uint8Array {
    const length = this.u64(`the length of ${what}`);
    if (length > mostBytes) throw wrongModel(this.#path, `${what} has ${length} bytes`);
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  name(what: string): string {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(this.text(MOST_KEY_BYTES, what));
    } catch (cause) {
      if (cause instanceof TypeError) throw wrongModel(this.#path, `${what} is no UTF-8`);
      throw cause;
    }
  }

  scalar(type: number): number | bigint | boolean {
    const at = this.#take(VALUE_BYTES[type] ?? 0);
    switch (type) {
      case 0:
        return this.#view.getUint8(at);
      case 1:
        return this.#view.getInt8(at);
      case 2:
        return this.#view.getUint16(at, true);
      case 3:
        return this.#view.getInt16(at, true);
      case 4:
        return this.#view.getUint32(at, true);
      case 5:
        return this.#view.getInt32(at, true);
      case 6:
        return this.#view.getFloat32(at, true);
      case 7: {
        const value = this.#view.getUint8(at);
        if (value > 1) throw wrongModel(this.#path, `a truth value of ${value}`);
        return value === 1;
      }
      case 10:
        return this.#view.getBigUint64(at, true);
      case 11:
        return this.#view.getBigInt64(at, true);
      default:
        return this.#view.getFloat64(at, true);
    }
  }

  skipList(depth: number): void {
    const type = this.u32(), count = this.u64("the length of a list");
    if (depth > MOST_NESTING) throw wrongModel(this.#path, "lists in lists in lists");
    const each = VALUE_BYTES[type];
    if (each !== undefined) {
      if (!Number.isSafeInteger(each * count)) throw wrongModel(this.#path, `a list of ${count} values`);
      return this.skip(each * count);
    }
    if (type !== TYPE_TEXT && type !== TYPE_LIST) throw wrongModel(this.#path, `a list of values of type ${type}`);
    // Each takes 8 bytes at least, so a false count ends with the file.
    for (let i = 0; i < count; i++) {
      if (type === TYPE_TEXT) this.text(MOST_TEXT_BYTES, "a text");
      else this.skipList(depth + 1);
    }
  }
}

/**
 * Reads and checks a header.
 *
 * @param read reads bytes of the file
 * @param fileBytes its length
 * @throws {BusbarError} `malformed` with the first thing that is wrong; `unsupported` for other versions
 */
export async function readGguf(read: ReadBytes, fileBytes: number, path: string): Promise<ModelHeader> {
  const most = Math.min(fileBytes, MOST_HEADER_BYTES);
  for (let length = Math.min(FIRST_READ_BYTES, most);; length = Math.min(4 * length, most)) {
    try {
      return parse(await read(0, length), length === most, fileBytes, path);
    } catch (error) {
      // How long a header is, only the header says: from the front again, with more of it.
      if (!(error instanceof NeedsMore)) throw error;
    }
  }
}

function parse(bytes: Uint8Array, isAll: boolean, fileBytes: number, path: string): ModelHeader {
  const wrong = (what: string): Error => wrongModel(path, what);
  if (!looksLikeGguf(bytes)) throw wrong("does not begin with GGUF");
  const cursor = new Cursor(bytes, isAll, path);
  cursor.skip(MAGIC.length);
  const version = cursor.u32();
  if (version !== 2 && version !== 3) {
    const isSwapped = (version & 0xffff) === 0 && version !== 0;
    throw wrong(isSwapped ? "its highest bytes come first" : `GGUF version ${version}: 2 and 3 are read`);
  }
  const tensorCount = cursor.u64("the number of tensors"), pairs = cursor.u64("the number of metadata");
  if (tensorCount > MOST_TENSORS || pairs > MOST_PAIRS) throw wrong(`${tensorCount} tensors, ${pairs} metadata`);
  const { metadata, alignment } = readMetadata(cursor, pairs, path);
  const infos = Array.from({ length: tensorCount }, () => readTensor(cursor, alignment, path));
  const begin = Math.ceil(cursor.at / alignment) * alignment;
  const tensors = infos.map((one): ModelTensor => ({ ...one, offset: begin + one.offset }));
  return { format: `GGUF v${version}`, tensors: checkTensors(tensors, begin, fileBytes, false, path), metadata };
}

function readMetadata(
  cursor: Cursor,
  pairs: number,
  path: string,
): { readonly metadata: Map<string, string | number | bigint | boolean>; readonly alignment: number } {
  const metadata = new Map<string, string | number | bigint | boolean>();
  const keys = new Set<string>();
  let alignment = DEFAULT_ALIGNMENT;
  for (let i = 0; i < pairs; i++) {
    const key = cursor.name("a key");
    if (keys.has(key)) throw wrongModel(path, `there are two values '${key}'`);
    keys.add(key);
    const type = cursor.u32();
    if (type === TYPE_TEXT) {
      const text = cursor.text(MOST_TEXT_BYTES, `'${key}'`);
      metadata.set(key, new TextDecoder().decode(text.subarray(0, MOST_SHOWN_BYTES)));
    } else if (type === TYPE_LIST) {
      cursor.skipList(1);
    } else if (VALUE_BYTES[type] !== undefined) {
      const value = cursor.scalar(type);
      metadata.set(key, value);
      if (key !== "general.alignment") continue;
      const isPossible = type === TYPE_U32 && typeof value === "number" && value >= 8 && value <= MOST_ALIGNMENT &&
        Number.isInteger(Math.log2(value));
      if (!isPossible) throw wrongModel(path, `an alignment of ${value}`);
      alignment = value;
    } else {
      throw wrongModel(path, `'${key}' has a value of type ${type}`);
    }
  }
  return { metadata, alignment };
}

/** A tensor, with its place from the start of the data. */
function readTensor(cursor: Cursor, alignment: number, path: string): ModelTensor {
  const name = cursor.name("a tensor's name");
  const dimensions = cursor.u32();
  if (dimensions > GGUF_MOST_DIMENSIONS) throw wrongModel(path, `tensor '${name}' has ${dimensions} dimensions`);
  const sizes = Array.from({ length: dimensions }, () => cursor.u64(`a dimension of tensor '${name}'`));
  const type = cursor.u32(), offset = cursor.u64(`the place of tensor '${name}'`);
  const known = TYPES[type];
  if (known === undefined) throw wrongModel(path, `tensor '${name}' has elements of type ${type}`);
  const [typeName, blockElements, blockBytes] = known;
  const row = sizes[0] ?? 1;
  if (row % blockElements !== 0) {
    throw wrongModel(path, `tensor '${name}' has rows of ${row} elements, ${typeName} comes in ${blockElements}`);
  }
  if (offset % alignment !== 0) throw wrongModel(path, `tensor '${name}' is not aligned to ${alignment} bytes`);
  const sizeBytes = elementsOf(sizes, path, name) / blockElements * blockBytes;
  if (!Number.isSafeInteger(sizeBytes)) throw wrongModel(path, `tensor '${name}' has ${sizeBytes} bytes`);
  // The format counts dimensions from the one whose elements lie side by side.
  return { name, type: typeName, shape: sizes.toReversed(), offset, sizeBytes };
}
