/**
 * Samples as a heat map of pages by time. Addresses that nobody touched take no room in it.
 * @module
 */

import type { HeatSamples } from "./heat_samples.ts";
import { nsOf } from "./units.ts";

const ROWS = 48;
const COLUMNS = 64;

/** A heat map: counts of sampled accesses. */
export interface HeatMap {
  /** One sample stands for so many accesses. */
  readonly every: number;
  /** Edges of the columns in ns of trace time, one more than there are columns. */
  readonly timesNs: readonly number[];
  /** Rows of addresses, lowest first: what a row holds, and its counts by column. */
  readonly rows: readonly { readonly from: string; readonly to: string; readonly counts: readonly number[] }[];
}

/** The heat map of samples; null without any. */
export function heatMapOf(samples: HeatSamples, pageBytes: number): HeatMap | null {
  const { count } = samples;
  if (count === 0) return null;
  const pageOf = (i: number): number => Math.floor((samples.address[i] as number) / pageBytes);
  const pages = [...new Set(Array.from({ length: count }, (_, i) => pageOf(i)))].sort((a, b) => a - b);
  const rows = Math.min(ROWS, pages.length);
  const rowOfPage = new Map(pages.map((page, i) => [page, Math.floor(i * rows / pages.length)]));
  const first = samples.time[0] as number;
  const span = Math.max(1, (samples.time[count - 1] as number) - first + 1);
  const columns = Math.min(COLUMNS, count);
  const counts = Array.from({ length: rows }, () => Array.from({ length: columns }, () => 0));
  for (let i = 0; i < count; i++) {
    const row = counts[rowOfPage.get(pageOf(i)) ?? 0] as number[];
    const column = Math.min(columns - 1, Math.floor(((samples.time[i] as number) - first) * columns / span));
    row[column] = (row[column] ?? 0) + 1;
  }
  return {
    every: samples.every,
    timesNs: Array.from({ length: columns + 1 }, (_, i) => nsOf(first + span * i / columns)),
    rows: counts.map((row, i) => {
      const inRow = pages.filter((page) => rowOfPage.get(page) === i);
      const address = (page: number): string => `0x${(page * pageBytes).toString(16)}`;
      return { from: address(inRow[0] ?? 0), to: address((inRow[inRow.length - 1] ?? 0) + 1), counts: row };
    }),
  };
}
