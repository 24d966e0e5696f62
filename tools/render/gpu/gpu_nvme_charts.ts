/**
 * What `gpu_nvme` measured as charts: an SVG of its own, or in a page with the text.
 * @module
 */

import { stripAnsiCode } from "@std/fmt/colors";

import type { Histogram } from "../../../src/core/histogram.ts";
import type { DirectResult } from "../../../src/gpu/nvme/direct_job.ts";
import type { DrivePath, PathFigures } from "../../../src/gpu/nvme_paths.ts";
import type { Chart } from "../chart/chart.ts";
import { drawCharts } from "../chart/draw.ts";
import { escapeMarkup } from "../markup.ts";

const GIB = 2 ** 30;
const NS_PER_US = 1000;

/** Data moved, time of a command, and processor time, of each way that was measured. */
export function pathsCharts(ways: readonly DrivePath[]): Chart[] {
  const measured = ways.flatMap(({ name, figures }) =>
    figures === null || figures.bytes === 0 ? [] : [{ name, figures }]
  );
  const bars = (
    title: string,
    unit: string,
    valueOf: (figures: PathFigures) => readonly [string, number][],
  ): Chart => ({
    title,
    x: { title: unit },
    y: { title: "", scale: "band" },
    height: 60 + 24 * measured.length,
    layers: measured.length === 0 ? [] : [{
      kind: "stack",
      parts: measured.flatMap(({ name, figures }) =>
        valueOf(figures).map(([part, value]) => ({ bar: name, part, value }))
      ),
    }],
  });
  const percentile = ({ latency }: PathFigures, percent: number): number =>
    latency.hasPercentile(percent) ? latency.percentile(percent) / NS_PER_US : 0;
  return [
    bars("data moved", "GB/s", ({ bytes, elapsedMs }) => [["data", bytes / elapsedMs / 1e6]]),
    bars("time of a command, to the 50th and the 99th percentile", "µs", (figures) => [
      ["50 %", percentile(figures, 50)],
      ["to 99 %", Math.max(0, percentile(figures, 99) - percentile(figures, 50))],
    ]),
    bars("processor time", "seconds a GiB", ({ cpuSeconds, bytes }) => [["processor", cpuSeconds / (bytes / GIB)]]),
  ];
}

/** The times of the commands of one job: a chart each for building, ringing and waiting. */
export function timesCharts({ times }: DirectResult): Chart[] {
  const chart = (name: string, histogram: Histogram): Chart => ({
    title: `${name}, by the GPU's timer`,
    x: { title: "µs", scale: "log" },
    y: { title: "commands" },
    height: 180,
    layers: histogram.count === 0 ? [] : [{
      kind: "intervals",
      name,
      bars: histogram.octaves().map(({ from, to, count }) => ({
        from: Math.max(1, from) / NS_PER_US,
        to: to / NS_PER_US,
        value: count,
      })),
    }],
  });
  return [chart("build", times.build), chart("ring", times.ring), chart("wait", times.wait)];
}

/** The charts, one above the other. */
export async function gpuNvmeSvg(charts: readonly Chart[]): Promise<string> {
  return await drawCharts(charts);
}

/** A page with method, figures and charts. It needs nothing else. */
export async function gpuNvmeHtml(lines: readonly string[], charts: readonly Chart[]): Promise<string> {
  const text = lines.map((line) => escapeMarkup(stripAnsiCode(line)));
  return `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>gpu_nvme</title>
<style>body { font-family: sans-serif; max-width: 60em; margin: 2em auto } pre { overflow-x: auto }</style>
<h1>gpu_nvme</h1>
<pre>${text.join("\n")}</pre>
${await drawCharts(charts)}</html>
`;
}
