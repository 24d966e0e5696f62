/**
 * Latency as curves: by working set, and under load. An SVG of its own, or in a page with the tables.
 * @module
 */

import { stripAnsiCode } from "@std/fmt/colors";

import { formatBytes } from "../../../src/core/units.ts";
import type { BenchResult } from "../../../src/memory/membench.ts";
import type { Chart } from "../chart/chart.ts";
import { drawCharts } from "../chart/draw.ts";
import { escapeMarkup } from "../markup.ts";
import { benchLines } from "./membench.ts";

/** Both charts, one above the other; a chart without points is left out. */
export async function benchCurves(results: readonly BenchResult[]): Promise<string> {
  return await drawCharts(benchCharts(results));
}

function benchCharts(results: readonly BenchResult[]): Chart[] {
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
      layers: results.map(({ name, latency }) => ({
        kind: "line",
        name,
        points: (latency ?? []).map((point) => [point.workingSetBytes, point.medianNs] as const),
      })),
    },
    {
      title: "latency under load",
      x: { title: "load, GB/s" },
      y,
      layers: results.map(({ name, loaded }) => ({
        kind: "line",
        name,
        points: (loaded ?? []).map((point) => [point.bytesPerSecond / 1e9, point.medianNs] as const),
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
export async function benchHtml(environment: readonly string[], results: readonly BenchResult[]): Promise<string> {
  const text = [...environment, "", ...benchLines(results)].map((line) => escapeMarkup(stripAnsiCode(line)));
  return `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>membench</title>
<style>body { font-family: sans-serif; max-width: 60em; margin: 2em auto } pre { overflow-x: auto }</style>
<h1>membench</h1>
<pre>${text.join("\n")}</pre>
${await benchCurves(results)}</html>
`;
}
