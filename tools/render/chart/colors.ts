/**
 * The colours of every picture: literal ones first, so that a viewer without style sheets (librsvg, an e-mail) shows them;
 * a style sheet on top for dark screens.
 * @module
 */

/** Text and axes. */
export const INK = "#1f2328";
/** Text and axes on a dark screen. */
export const INK_DARK = "#e6edf3";
/** The ground. */
export const PAPER = "#ffffff";
/** The ground on a dark screen. */
export const PAPER_DARK = "#0d1117";

/** Colours of series, which people with any colour vision tell apart on light and dark, in the order they are given out. */
export const SERIES: readonly string[] = ["#0f4bfe", "#bc3e0d", "#099762", "#c079d7", "#cc841f", "#2f7095", "#7b7279"];

/** The colour of the nth series; they repeat after seven. */
export function seriesColor(index: number): string {
  return SERIES[index % SERIES.length] ?? INK;
}

/** Style rules that turn the literal colours of a picture around on a dark screen. */
export const DARK_STYLE: string = `@media (prefers-color-scheme: dark) { [fill="${INK}"] { fill: ${INK_DARK} } ` +
  `[stroke="${INK}"] { stroke: ${INK_DARK} } [fill="${PAPER}"] { fill: ${PAPER_DARK} } ` +
  `[stroke="${PAPER}"] { stroke: ${PAPER_DARK} } }`;
