/**
 * Operands for the forms: edges of each type, and the same pseudo-random numbers at every run.
 * @module
 */

import { BF16, F16, F32, F64, type Format, infinityBits, largestBits, signBit, widthBits } from "./float_model.ts";

/** Pseudo-random numbers that depend on the seed alone. */
export class Random {
  #state: number;

  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (const letter of seed) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
    this.#state = hash >>> 0;
  }

  /** 32 bits. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ mixed >>> 16, 0x21f0aaad);
    mixed = Math.imul(mixed ^ mixed >>> 15, 0x735a2d97);
    return (mixed ^ mixed >>> 15) >>> 0;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  bits(width: number): bigint {
    let bits = 0n;
    for (let at = 0; at < width; at += 32) bits = bits << 32n | BigInt(this.next());
    return bits & ((1n << BigInt(width)) - 1n);
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.below(list.length)];
    if (item === undefined) throw new Error("a choice among nothing");
    return item;
  }
}

/** Edges of an integer of so many bits, as bits, then numbers of every magnitude. */
export function integers(width: number): bigint[] {
  const random = new Random(`integers ${width}`);
  const top = 1n << BigInt(width - 1);
  const all = (1n << BigInt(width)) - 1n;
  const pattern = (byte: bigint): bigint => BigInt(`0x${byte.toString(16).padStart(2, "0").repeat(width / 8)}`);
  const edges = [0n, 1n, all, top, top - 1n, top + 1n, 2n, all - 1n, 3n, 7n, pattern(0x55n), pattern(0xaan), 100n];
  const sized = Array.from({ length: 14 }, () => {
    const bits = random.bits(1 + random.below(width));
    return random.below(2) === 0 ? bits : all ^ bits;
  });
  return [...edges, 1n << BigInt(width / 2), (1n << BigInt(width / 2)) - 1n, ...sized];
}

/** Shift counts, positions and lengths: around each multiple of 8, and far out. */
export const COUNTS: readonly bigint[] = [
  ...[0, 1, 2, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64, 65, 127, 128, 255].map(BigInt),
  0x100n,
  0x101n,
  0x110n,
  0xffff_ff05n,
  0xffff_ffffn,
  0x8000_0000n,
];

/** Edges of a floating-point format: zeros, ones, subnormals, infinities, NaNs with payloads, halves, and powers of two. */
export function floats(format: Format): bigint[] {
  const { fractionBits } = format;
  const unit = 1n << BigInt(fractionBits);
  const bias = (1n << BigInt(format.exponentBits - 1)) - 1n;
  const power = (exponent: number, fraction: bigint = 0n): bigint =>
    ((bias + BigInt(exponent)) << BigInt(fractionBits)) + fraction;
  const half = unit >> 1n;
  const positive = [
    0n,
    power(0),
    1n,
    unit - 1n,
    unit,
    unit + 1n,
    largestBits(format),
    infinityBits(format),
    infinityBits(format) | half,
    infinityBits(format) + 1n,
    signBit(format) - 1n,
    power(-1),
    power(0, half),
    power(1, half >> 1n),
    power(1, half | half >> 1n),
    power(0, 1n),
    power(-1, unit - 1n),
    power(-fractionBits - 1),
    power(-fractionBits - 1, 1n),
    power(-fractionBits),
    power(2, half + 5n),
    power(fractionBits > 7 ? 7 : 6),
    power(fractionBits > 7 ? 12 : 7, 3n),
    unit >> 1n,
  ];
  return positive.flatMap((bits) => [bits, bits | signBit(format)]);
}

/** Numbers of a format whose exponents lie close together, so that sums cancel and products stay in range. */
function nearOne(format: Format, random: Random, spread: number): bigint {
  const bias = 2 ** (format.exponentBits - 1) - 1;
  const exponent = bias + random.below(2 * spread + 1) - spread;
  // Few low bits set: halfway cases come up.
  const fraction = random.below(2) === 0
    ? random.bits(format.fractionBits)
    : random.bits(4) << BigInt(format.fractionBits - 4);
  const sign = random.below(2) === 0 ? 0n : signBit(format);
  return sign | BigInt(exponent) << BigInt(format.fractionBits) | fraction;
}

function anyFloat(format: Format, random: Random): bigint {
  return random.bits(widthBits(format));
}

/** Rows of operands of one format: edges against edges, numbers near each other, and any bits. */
export function floatRows(format: Format, count: number, seed: string, limit: number = 150): bigint[][] {
  const random = new Random(seed);
  const edges = floats(format);
  if (count === 1) {
    const rows = edges.map((bits) => [bits]);
    while (rows.length < limit) {
      rows.push([random.below(3) === 0 ? anyFloat(format, random) : nearOne(format, random, 12)]);
    }
    return rows;
  }
  const rows: bigint[][] = [];
  for (let at = 0; at < Math.min(edges.length, limit / 3); at++) {
    rows.push(Array.from({ length: count }, (_, place) => place === 0 ? edges[at] ?? 0n : random.pick(edges)));
  }
  while (rows.length < limit) {
    const choice = random.below(8);
    rows.push(Array.from({ length: count }, () => {
      if (choice < 2) return random.pick(edges);
      if (choice < 3) return anyFloat(format, random);
      return nearOne(format, random, choice < 6 ? 3 : format.fractionBits + 2);
    }));
  }
  return rows;
}

/** Rows of operands with values from a list each: all of the first list, then chosen at random. */
export function rowsOf(lists: readonly (readonly bigint[])[], seed: string, limit: number = 120): bigint[][] {
  const total = lists.reduce((product, list) => product * list.length, 1);
  if (total <= limit) {
    return lists.reduce<bigint[][]>((rows, list) => rows.flatMap((row) => list.map((item) => [...row, item])), [[]]);
  }
  const random = new Random(seed);
  const longest = Math.max(...lists.map((list) => list.length));
  const rows = Array.from(
    { length: longest },
    (_, at) => lists.map((list) => at < list.length ? list[at] ?? 0n : random.pick(list)),
  );
  while (rows.length < limit) rows.push(lists.map((list) => random.pick(list)));
  return rows;
}

/** Rows of two halves each, packed into 32 bits: the low half is a row of its own. */
export function packedRows(rows: readonly (readonly bigint[])[]): bigint[][] {
  return rows.map((row, index) => {
    const other = rows[(index * 7 + 3) % rows.length] ?? row;
    return row.map((low, place) => (other[place] ?? 0n) << 16n | low);
  });
}

export const FORMATS: Readonly<Record<string, Format>> = { f16: F16, bf16: BF16, f32: F32, f64: F64 };
