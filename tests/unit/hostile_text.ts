/**
 * Random text that terminals and browsers obey, and the check that none of it arrives.
 * @module
 */

import { assert } from "@std/assert";

import type { Random } from "./random.ts";

const HARMFUL = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

/** Pieces that terminals and browsers obey, and plain ones between them. */
const PIECES: readonly string[] = [
  ..."abc <&\"'>`$\\/é漢",
  ...Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).filter((one) => one !== "\n" && one !== "\t"),
  ...Array.from({ length: 33 }, (_, code) => String.fromCharCode(0x7f + code)),
  ..."\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
  "\x1b]0;title\x07",
  "\x1b]8;;http://example.invalid\x1b\\",
  "\x1b[2J",
  "\x1b[31m",
  "\x9b31m",
  "\x1bP+q\x1b\\",
  "\ud800",
  "\udfff",
];

/** One to twenty pieces. */
export function randomText(random: Random): string {
  return Array.from({ length: 1 + random.below(20) }, () => random.pick(PIECES)).join("");
}

/** Fails when a control character other than tab and line break is in a text, with its place. */
export function assertHarmless(text: string, where: string): void {
  const found = HARMFUL.exec(text);
  const near = found === null ? "" : JSON.stringify(text.slice(Math.max(0, found.index - 20), found.index + 20));
  assert(found === null, `${where}: U+${found?.[0].charCodeAt(0).toString(16)} arrives raw: ${near}`);
}
