/**
 * Latency as curves: by working set, and under load. An SVG of its own, or in a page with the tables.
 * @module
 */

import { stripAnsiCode } from "@std/fmt/colors";

import { formatBytes } from "../../../src/core/units.ts";
import type { CacheSize } from "../../../src/memory/bench_environment.ts";
import type { BenchResult } from "../../../src/memory/membench.ts";
import type { Chart, RuleLayer } from "../chart/chart.ts";
import { INK, INK_DARK, PAPER, PAPER_DARK } from "../chart/colors.ts";
import { drawCharts } from "../chart/draw.ts";
import { escapeMarkup } from "../markup.ts";
import { benchLines } from "./membench.ts";

/**
 * Both charts, one above the other; a chart without points is left out.
 *
 * @param caches their sizes: where they lie among the working sets
 */
export async function benchCurves(results: readonly BenchResult[], caches: readonly CacheSize[]): Promise<string> {
  return await drawCharts(benchCharts(results, cacheRules(results, caches)));
}

/** A line at the size of each cache, where the working sets reach on both sides of it. */
function cacheRules(results: readonly BenchResult[], caches: readonly CacheSize[]): RuleLayer[] {
  const sizes = results.flatMap(({ latency }) => (latency ?? []).map(({ workingSetBytes }) => workingSetBytes));
  const [smallest, largest] = [Math.min(...sizes), Math.max(...sizes)];
  return caches.filter(({ sizeBytes }) => sizeBytes > smallest && sizeBytes < largest).map(({ name, sizeBytes }) => ({
    kind: "rule",
    axis: "x",
    value: sizeBytes,
    name: `${name} ${formatBytes(sizeBytes)}`,
  }));
}

function benchCharts(results: readonly BenchResult[], rules: readonly RuleLayer[]): Chart[] {
  const y = { title: "latency, ns", scale: "log" } as const;
  return [
    {
      title: "latency by working set",
      x: {
        title: "working set",
        scale: "log",
        base: 2,
        ticks: workingSets(results),
        tick: (value) => formatBytes(value),
      },
      y,
      layers: [
        ...rules,
        ...results.map(({ name, latency }) => ({
          kind: "line" as const,
          name,
          points: (latency ?? []).map((point) => [point.workingSetBytes, point.medianNs] as const),
          spread: (latency ?? []).map(({ bestNs, worstNs }) => [bestNs, worstNs] as const),
        })),
      ],
    },
    {
      title: "latency under load",
      x: { title: "load, GB/s" },
      y,
      layers: results.map(({ name, loaded }) => ({
        kind: "line",
        name,
        points: (loaded ?? []).map((point) => [point.bytesPerSecond / 1e9, point.medianNs] as const),
        spread: (loaded ?? []).map(({ bestNs, worstNs }) => [bestNs, worstNs] as const),
      })),
    },
  ];
}

/** Every other size that was measured, so that their names have room. */
function workingSets(results: readonly BenchResult[]): number[] {
  const sizes = results.flatMap(({ latency }) => (latency ?? []).map(({ workingSetBytes }) => workingSetBytes));
  const sorted = [...new Set(sizes)].sort((a, b) => a - b);
  return sorted.length <= 10 ? sorted : sorted.filter((_, i) => i % 2 === 0);
}

/** A page with machine, method, tables and curves. It needs nothing else. */
export async function benchHtml(
  environment: readonly string[],
  results: readonly BenchResult[],
  caches: readonly CacheSize[],
): Promise<string> {
  const charts = benchCharts(results, cacheRules(results, caches));
  return await benchPage("membench", [...environment, "", ...benchLines(results)], charts);
}

/** A page with text and charts, for wide and narrow, light and dark screens. It needs nothing else. */
export async function benchPage(title: string, text: readonly string[], charts: readonly Chart[]): Promise<string> {
  const lines = text.map((line) => escapeMarkup(stripAnsiCode(line)));
  return `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>:root { color-scheme: light dark }
body { font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 12px; background: ${PAPER}; color: ${INK} }
pre, .charts { overflow-x: auto } svg { width: 100%; max-width: 720px; min-width: 560px; height: auto }
@media screen and (prefers-color-scheme: dark) { body { background: ${PAPER_DARK}; color: ${INK_DARK} } }</style>
<h1>${title}</h1>
<pre>${lines.join("\n")}</pre>
<div class="charts">${await drawCharts(charts)}</div></html>
`;
}
