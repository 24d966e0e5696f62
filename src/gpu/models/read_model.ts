/**
 * Which format a model file has, and its header.
 * @module
 */

import type { ReadBytes } from "../files/bytes.ts";
import { looksLikeGguf, readGguf } from "./gguf.ts";
import { type ModelHeader, wrongModel } from "./model.ts";
import { looksLikeSafetensors, readSafetensors } from "./safetensors.ts";

const HEAD_BYTES = 16;

/**
 * Reads and checks the header of a model file.
 *
 * @param read reads bytes of the file
 * @param fileBytes its length
 * @throws {BusbarError} `malformed` for a file that is neither safetensors nor GGUF, or whose header is wrong
 */
export async function readModelHeader(read: ReadBytes, fileBytes: number, path: string): Promise<ModelHeader> {
  const head = await read(0, Math.min(HEAD_BYTES, fileBytes));
  if (looksLikeGguf(head)) return await readGguf(read, fileBytes, path);
  if (looksLikeSafetensors(head)) return await readSafetensors(read, fileBytes, path);
  throw wrongModel(path, "neither safetensors nor GGUF");
}
