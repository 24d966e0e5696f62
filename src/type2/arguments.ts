/**
 * Arguments of a kernel as a Type 2 GPU takes them: slots of 8 bytes, a structure in as many as it needs.
 * @module
 */

import type { PtxKernel } from "../gpu/ptx.ts";

/**
 * Puts packed arguments into slots: each begins at a new slot and is filled up with zeros.
 *
 * @param kernel whose parameters say where each begins and how long it is
 * @param packed as {@linkcode packArguments} of `src/gpu/ptx.ts` makes them
 */
export function slotsOf(kernel: PtxKernel, packed: Uint8Array): Uint8Array<ArrayBuffer> {
  const count = kernel.parameters.reduce((sum, one) => sum + Math.ceil(one.sizeBytes / 8), 0);
  const slots = new Uint8Array(8 * count);
  let at = 0;
  for (const { offset, sizeBytes } of kernel.parameters) {
    slots.set(packed.subarray(offset, offset + sizeBytes), at);
    at += 8 * Math.ceil(sizeBytes / 8);
  }
  return slots;
}

/** The shape of a launch: threads in each direction. */
export interface LaunchShape {
  /** Blocks of the grid. */
  readonly grid: readonly [x: number, y: number, z: number];
  /** Threads of a block. */
  readonly block: readonly [x: number, y: number, z: number];
  /** Dynamic shared memory in bytes. */
  readonly sharedBytes: number;
}

const halves = (low: number, high: number): bigint => BigInt(low >>> 0) | BigInt(high >>> 0) << 32n;

/** PARAM0 to PARAM4 of a launch. */
export function launchParams(fn: number, shape: LaunchShape, slots: number): bigint[] {
  const { grid, block, sharedBytes } = shape;
  return [
    BigInt(fn),
    halves(grid[0], grid[1]),
    halves(grid[2], block[0]),
    halves(block[1], block[2]),
    halves(sharedBytes, slots),
  ];
}
