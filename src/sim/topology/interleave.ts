/**
 * Interleave: which target an address of a window belongs to, and where in it. Modulo arithmetic, as the kernel's.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Ways that the CXL specification allows. */
export const WAYS: readonly number[] = [1, 2, 3, 4, 6, 8, 12, 16];

/** A window is a multiple of this times its ways (the kernel's rule for regions): 256 MiB. */
export const WINDOW_UNIT_BYTES: number = 256 * 2 ** 20;

/** A window of host physical addresses over some targets. */
export interface Window {
  /** The first address. */
  readonly baseAddress: number;
  /** Bytes. */
  readonly sizeBytes: number;
  /** Bytes to one target before the next: a power of two, 256…16384. */
  readonly granularityBytes: number;
  /** Targets in order; how many there are is the number of ways. Endpoint numbers. */
  readonly targets: readonly number[];
  /** Address arithmetic: `modulo`, or what is refused: `xor`. */
  readonly arithmetic?: "modulo" | "xor" | undefined;
}

/** Where an address lies. */
export interface DecodedAddress {
  /** The place in the list of targets. */
  readonly position: number;
  /** Byte offset in that device's share. */
  readonly offset: number;
}

/** What is wrong with a window, or nothing. */
export function windowProblems(window: Window): string[] {
  const problems: string[] = [];
  const { baseAddress, sizeBytes, granularityBytes, targets } = window;
  const ways = targets.length;
  if (window.arithmetic === "xor") {
    problems.push("XOR arithmetic (CXL fixed memory windows) is not modelled: modulo is");
  }
  if (!WAYS.includes(ways)) problems.push(`${ways} ways: there are ${WAYS.join(", ")}`);
  const power = Number.isInteger(Math.log2(granularityBytes));
  if (!power || granularityBytes < 256 || granularityBytes > 16384) {
    problems.push(`a granularity of ${granularityBytes} bytes is no power of two from 256 to 16384`);
  }
  if (!(sizeBytes > 0) || sizeBytes % (WINDOW_UNIT_BYTES * ways) !== 0) {
    problems.push(`a size of ${sizeBytes} bytes is no multiple of 256 MiB × ${ways} ways`);
  }
  if (!Number.isInteger(baseAddress) || baseAddress < 0 || baseAddress + sizeBytes > 2 ** 52) {
    problems.push(`base ${baseAddress} and size do not lie below 2^52`);
  }
  if (new Set(targets).size !== ways) problems.push("a target stands there twice");
  return problems;
}

/**
 * Target and offset of an address.
 *
 * @throws {BusbarError} `out-of-range` outside the window
 */
export function decodeAddress(window: Window, address: number): DecodedAddress {
  const relative = address - window.baseAddress;
  if (!(relative >= 0 && relative < window.sizeBytes)) {
    throw new BusbarError("out-of-range", `address 0x${address.toString(16)} lies outside the window`, {
      operation: "decode an address",
    });
  }
  const ways = window.targets.length;
  const granule = Math.floor(relative / window.granularityBytes);
  return {
    position: granule % ways,
    offset: Math.floor(granule / ways) * window.granularityBytes + relative % window.granularityBytes,
  };
}

/** The address that lies at an offset of a target: the inverse of {@linkcode decodeAddress}. */
export function encodeAddress(window: Window, { position, offset }: DecodedAddress): number {
  const { granularityBytes, targets } = window;
  const granule = Math.floor(offset / granularityBytes) * targets.length + position;
  return window.baseAddress + granule * granularityBytes + offset % granularityBytes;
}

/**
 * Two levels as one: the root decoder picks the host bridge, a switch below it picks the device.
 *
 * @param rootWays ways of the root decoder, whose granularity is the window's
 * @returns bridge (position at the root) and the position below it of a position among all devices
 */
export function splitPosition(position: number, rootWays: number): { readonly bridge: number; readonly below: number } {
  return { bridge: position % rootWays, below: Math.floor(position / rootWays) };
}
