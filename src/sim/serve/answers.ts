/**
 * Answers of the memory server, and the numbers of its requests.
 * @module
 */

import { type ServerResponse, STATUS_ERROR } from "./protocol.ts";

/** No bytes. */
export const NO_DATA: Uint8Array = new Uint8Array();

/** An answer that says no. */
export function refused(status: number = STATUS_ERROR): ServerResponse {
  return { status, latencyNs: 0n, oldValue: 0n, data: NO_DATA };
}

/** An answer. */
export function done(oldValue: number | bigint = 0n, data: Uint8Array = NO_DATA, latencyNs = 0): ServerResponse {
  return { status: 0, latencyNs: BigInt(Math.round(latencyNs)), oldValue: BigInt(oldValue), data };
}

/** A number of the wire as a number that is exact, or null. */
export function exact(value: bigint): number | null {
  return value <= 0x1f_ffff_ffff_ffffn ? Number(value) : null;
}
