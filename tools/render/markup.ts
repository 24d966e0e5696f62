/**
 * Text for HTML and SVG: the one place where it is escaped.
 * @module
 */

/** C0 and C1 controls but tab and line feed, surrogates, bidirectional controls: they come from broken or hostile files. */
const HARMFUL =
  // deno-lint-ignore no-control-regex
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe\uffff]|[\ud800-\udfff]/gu;

/** Markup that another library made, without the characters that may not be in it: each becomes U+FFFD. */
export function withoutControls(markup: string): string {
  return markup.replace(HARMFUL, "\ufffd");
}

/**
 * Text that may stand between tags and in attributes. What XML does not allow at all, and what turns the order of
 * characters around, becomes U+FFFD.
 */
export function escapeMarkup(text: string): string {
  return withoutControls(text).replace(
    /[&<>"']/g,
    (c) => `&#${c.charCodeAt(0)};`,
  );
}
