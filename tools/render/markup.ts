/**
 * Text for HTML and SVG: the one place where it is escaped.
 * @module
 */

/** Text that may stand between tags and in attributes. What XML does not allow at all becomes U+FFFD. */
export function escapeMarkup(text: string): string {
  // Characters that XML does not allow at all come from broken or hostile files.
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]/gu, "\ufffd").replace(
    /[&<>"']/g,
    (c) => `&#${c.charCodeAt(0)};`,
  );
}
