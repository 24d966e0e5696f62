/**
 * What is compared of a file system that is not read here: its beginning, where any mount for writing leaves traces.
 * @module
 */

import { createHash } from "node:crypto";

import type { ReadBytes } from "./bytes.ts";

const HEAD_BYTES = 128 << 10;

/** SHA-256 of the beginning of a file system. */
export async function hashOfHead(read: ReadBytes): Promise<string> {
  return createHash("sha256").update(await read(0, HEAD_BYTES)).digest("hex");
}
