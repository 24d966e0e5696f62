/**
 * Aligned columns.
 * @module
 */

import { getColorEnabled, stripAnsiCode } from "@std/fmt/colors";

import { printableLines } from "../../src/core/printable.ts";

/** Columns of text, each as wide as its widest cell, two spaces apart; the last one is not padded. */
export function columns(given: readonly (readonly string[])[], indent = ""): string[] {
  const rows = given.map((row) => row.map((cell) => printableLines(cell, getColorEnabled()).replaceAll("\n", "\\x0a")));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.slice(0, -1).entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  }
  return rows.map((row) => {
    const cells = row.map((cell, i) => i === row.length - 1 ? cell : cell + " ".repeat((widths[i] ?? 0) - width(cell)));
    return (indent + cells.join("  ")).trimEnd();
  });
}

/** Characters on the screen: colour codes take none. */
function width(cell: string): number {
  return [...stripAnsiCode(cell)].length;
}
