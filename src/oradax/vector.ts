/**
 * Vectors of elements that the coprocessor works on, wherever they lie.
 * @module
 */

import { copyNumbers } from "../../ffi/oradax.ts";
import { BusbarError } from "../core/error.ts";
import type { CcbInput } from "./ccb_command.ts";

/** Numbers of the host, which go in and come out in its byte order; bytes stand as they are. */
export type NumberArray = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** Elements that can be had piece by piece. */
export interface ElementSource {
  /** How many there are. */
  readonly elements: number;
  /** Width of one in bits: whole bytes up to 128 bits, or 1 to 15 bits, with DAX2 up to 23. */
  readonly bits: number;
  /** First bit of the first byte of every piece, 0 the most significant. */
  readonly startBit: number;
  /**
   * Puts the bytes that hold `count` elements from element `first` on, most significant bit first, into `to`. `first` is
   * a multiple of 512.
   */
  fill(first: number, count: number, to: Uint8Array<ArrayBuffer>): void;
}

/** Pieces begin at a multiple of so many elements: then every stream of every width begins at a whole byte. */
export const PIECE_ELEMENTS = 512;

/** Bytes that `count` elements take. */
export function sourceBytes(source: Pick<ElementSource, "bits" | "startBit">, count: number): number {
  return Math.ceil((source.startBit + count * source.bits) / 8);
}

/** What a packed vector is like. */
export interface PackedOptions {
  /** Width of an element in bits. */
  readonly bits: number;
  /** How many there are; as many as fit by default. */
  readonly elements?: number;
  /** First bit of the first byte. */
  readonly startBit?: number;
}

/**
 * Elements that are packed into bytes, most significant bit first, as the coprocessor has them.
 *
 * @throws {BusbarError} `out-of-range` when there are fewer bytes than elements
 *
 * @example
 * ```ts
 * import { openOradaxSession, packed } from "@busbar/busbar";
 * using session = openOradaxSession("soft:oradax");
 * const found = await session.scanValue(packed(Uint8Array.of(7, 8, 7), { bits: 8 }), 7);
 * console.assert(found.count === 2);
 * ```
 */
export function packed(bytes: Uint8Array, options: PackedOptions): ElementSource {
  const { bits, startBit = 0 } = options;
  const elements = options.elements ?? Math.floor((8 * bytes.length - startBit) / bits);
  checkShape(elements, bits, startBit);
  if (sourceBytes({ bits, startBit }, elements) > bytes.length) {
    throw new BusbarError("out-of-range", `${bytes.length} bytes do not hold ${elements} elements of ${bits} bits`);
  }
  return {
    elements,
    bits,
    startBit,
    fill(first, count, to): void {
      const at = first / 8 * bits;
      to.set(bytes.subarray(at, at + sourceBytes({ bits, startBit }, count)));
    },
  };
}

/** Checks what a source says of itself. @throws {BusbarError} `out-of-range` */
export function checkShape(elements: number, bits: number, startBit: number): void {
  const isPacked = bits % 8 !== 0;
  const fits = Number.isInteger(bits) && bits >= 1 && bits <= (isPacked ? 23 : 128);
  if (!fits) {
    throw new BusbarError("out-of-range", `elements of ${bits} bits`, {
      hint: "1 to 23 bits (15 on DAX1), or whole bytes up to 128 bits",
    });
  }
  if (!Number.isSafeInteger(elements) || elements < 1) {
    throw new BusbarError("out-of-range", `a vector of ${elements} elements`, { hint: "it has at least one" });
  }
  if (!Number.isInteger(startBit) || startBit < 0 || startBit > (isPacked ? 7 : 0)) {
    throw new BusbarError("out-of-range", `first bit ${startBit}`, { hint: "0 to 7, and 0 for whole bytes" });
  }
}

/** The numbers of a typed array. */
export function numbers(array: NumberArray): ElementSource {
  const size = array.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const source = packed(bytes, { bits: 8 * size });
  if (size === 1) return source;
  return {
    ...source,
    fill(first, count, to): void {
      copyNumbers(to, bytes.subarray(first * size, (first + count) * size), size);
    },
  };
}

/** A source as the primary input of a CCB. */
export function primaryInput(source: ElementSource, address: bigint, count: number, isCounted: boolean): CcbInput {
  const isPacked = source.bits % 8 !== 0;
  return {
    address,
    format: isPacked ? "bits" : "bytes",
    elementSize: isPacked ? source.bits : source.bits / 8,
    startBit: source.startBit,
    length: isCounted ? count : count * source.bits,
    unit: isCounted ? "elements" : "bits",
  };
}
