/**
 * Text that a file, a device or another program gave, made harmless for a terminal: the one place where that is done.
 * @module
 */

/**
 * What a terminal obeys or what turns the order of characters around: C0 and C1 controls, and the bidirectional controls
 * of Unicode (UAX 9, table 4), with the separators of lines and paragraphs.
 */
const HARMFUL = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const HARMFUL_IN_JSON = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
/** The same, with the colours of the tools in front: a bracket may hold only numbers, so it moves nothing. */
// deno-lint-ignore no-control-regex
const HARMFUL_OR_COLOR = /(\x1b\[\d{1,3}(?:;\d{1,3}){0,4}m)|[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/**
 * One line: control characters, also line breaks, as `\xNN` and `\uNNNN`; a tab and all else as it is.
 *
 * @example
 * ```ts
 * import { printable } from "./printable.ts";
 * console.assert(printable("nvme\x1b]0;x\x07") === "nvme\\x1b]0;x\\x07");
 * ```
 */
export function printable(text: string): string {
  return text.replace(HARMFUL, (one) => one === "\t" ? one : escaped(one));
}

/**
 * Lines that are about to be printed: as {@linkcode printable}, but line breaks stay.
 *
 * @param keepColors leaves colours (SGR sequences) as they are; for terminals that are to show them
 */
export function printableLines(text: string, keepColors = false): string {
  if (!keepColors) return text.replace(HARMFUL, (one) => one === "\t" || one === "\n" ? one : escaped(one));
  return text.replace(
    HARMFUL_OR_COLOR,
    (one, color: string | undefined) => color !== undefined || one === "\t" || one === "\n" ? one : escaped(one),
  );
}

/** JSON text whose strings hold no harmful character: JSON itself escapes only the C0 controls. */
export function printableJson(json: string): string {
  return json.replace(HARMFUL_IN_JSON, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
