/**
 * Memory in which nobody may write: what was freed is somebody's now, and a drive that goes on would write into it.
 * @module
 */

import { assert } from "@std/assert";
import { Buffer } from "node:buffer";

import { pause } from "../../src/core/deadline.ts";

const PART = new Uint8Array(1 << 20).fill(0xc5);

/** Fills memory, waits, and fails where somebody wrote into it. @param bytes whole MiB */
export async function watchCanary(bytes: Uint8Array, durationMs: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += PART.length) bytes.set(PART, at);
  await pause(durationMs);
  for (let at = 0; at < bytes.length; at += PART.length) {
    const isSame = Buffer.compare(bytes.subarray(at, at + PART.length), PART) === 0;
    assert(isSame, `somebody wrote into the canary, at ${at}`);
  }
}
