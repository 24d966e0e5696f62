/**
 * Text that a file or device gave, made harmless for a terminal.
 * @module
 */

/** Control characters, which a terminal would obey, as `\\xNN`; all else as it is. */
export function printable(text: string): string {
  return text.replace(/(?!\t)\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
