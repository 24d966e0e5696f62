/**
 * Words for the three shells.
 * @module
 */

import { printable } from "../../src/core/printable.ts";

/** A word as it stands in a shell script. */
export function quoted(word: string): string {
  return `'${printable(word).replaceAll("'", `'\\''`)}'`;
}

/** The first sentence of a description, without its full stop: what a shell shows beside a word. */
export function brief(description: string): string {
  return printable(/^(.*?)[.](?: |$)/s.exec(description)?.[1] ?? description).replace(/\s+/g, " ");
}
