/**
 * Bytes as text: offset, words as wide as they were read, characters.
 * @module
 */

import { dim } from "@std/fmt/colors";

import { littleEndian } from "../../../src/core/mmio.ts";

const LINE_BYTES = 16;

/**
 * Lines of 16 bytes. Words are shown as numbers, highest digit first, so a 32-bit register reads as the specification
 * prints it. Lines equal to the one before are folded into one `*`, as hexdump does.
 *
 * @param offset of the first byte
 * @param wordBytes how wide the accesses were
 */
export function hexLines(bytes: Uint8Array, offset: number, wordBytes: number): string[] {
  const lines: string[] = [];
  let previous: string | null = null;
  let folded = false;
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const chunk = bytes.subarray(at, at + LINE_BYTES);
    const text = lineText(chunk, wordBytes);
    const last = at + LINE_BYTES >= bytes.length;
    if (text === previous && !last) {
      if (!folded) lines.push("*");
      folded = true;
      continue;
    }
    lines.push(`${dim((offset + at).toString(16).padStart(8, "0"))}  ${text}`);
    previous = text;
    folded = false;
  }
  return lines;
}

function lineText(chunk: Uint8Array, wordBytes: number): string {
  const words: string[] = [];
  for (let at = 0; at < chunk.length; at += wordBytes) {
    const word = chunk.subarray(at, at + wordBytes);
    words.push(littleEndian(word).toString(16).padStart(2 * word.length, "0"));
  }
  const width = (LINE_BYTES / wordBytes) * (2 * wordBytes + 1) - 1;
  const characters = Array.from(chunk, (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".");
  return `${words.join(" ").padEnd(width)}  ${characters.join("")}`;
}
