/**
 * Text that another machine sent, made fit to be shown.
 * @module
 */

/** The text without control characters but line breaks, cut to its last 2,000 characters. */
export function shownText(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll("\r\n", "\n").replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g, "?").slice(-2000);
}
