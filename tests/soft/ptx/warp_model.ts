/**
 * What the lanes of a warp give each other: shuffles, votes, matches, reductions.
 *
 * Source: PTX ISA 9.0, shfl.sync, vote.sync, match.sync, redux.sync, elect.sync.
 * @module
 */

/** Where a lane reads from, and whether that is in range; out of range it reads itself. */
export interface ShuffleSource {
  readonly lane: number;
  readonly inRange: boolean;
}

/** `b` is the distance, mask or index; `c` the clamp in bits 0 to 4 and the segment mask in bits 8 to 12. */
export function shuffleSource(mode: string, lane: number, b: number, c: number): ShuffleSource {
  const value = b & 31, clamp = c & 31, segment = c >> 8 & 31;
  const most = lane & segment | clamp & ~segment;
  const least = lane & segment;
  const [source, inRange] = shuffled(mode, lane, value, segment, least, most);
  return { lane: inRange ? source : lane, inRange };
}

function shuffled(
  mode: string,
  lane: number,
  value: number,
  segment: number,
  least: number,
  most: number,
): [number, boolean] {
  switch (mode) {
    case "up":
      return [lane - value, lane - value >= most];
    case "down":
      return [lane + value, lane + value <= most];
    case "bfly":
      return [lane ^ value, (lane ^ value) <= most];
    default: {
      const source = least | value & ~segment;
      return [source, source <= most];
    }
  }
}

export function lanesOf(mask: number, count: number = 32): number[] {
  return Array.from({ length: count }, (_, lane) => lane).filter((lane) => (mask >>> lane & 1) === 1);
}

export function ballot(lanes: readonly number[], isSet: (lane: number) => boolean): bigint {
  return lanes.reduce((bits, lane) => isSet(lane) ? bits | 1n << BigInt(lane) : bits, 0n);
}

/** The operations of redux.sync on 32 bits. */
export function reduce(operation: string, isSigned: boolean, values: readonly bigint[]): bigint {
  const read = (bits: bigint): bigint => isSigned ? BigInt.asIntN(32, bits) : bits;
  const result = values.map(read).reduce((a, b) => {
    switch (operation) {
      case "add":
        return a + b;
      case "min":
        return a < b ? a : b;
      case "max":
        return a > b ? a : b;
      case "and":
        return a & b;
      case "or":
        return a | b;
      default:
        return a ^ b;
    }
  });
  return BigInt.asUintN(32, result);
}
