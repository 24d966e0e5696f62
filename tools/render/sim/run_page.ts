/**
 * The pictures of a run, from its report alone: each by itself, or all on one page that needs nothing else.
 * @module
 */

import type { RunReport } from "../../../src/sim/report_document.ts";
import type { Chart, Point } from "../chart/chart.ts";
import { drawCharts } from "../chart/draw.ts";
import { escapeMarkup } from "../markup.ts";
import { loadedChart } from "./loaded_chart.ts";
import { runLines } from "./run_text.ts";
import { topologyChart } from "./topology_chart.ts";

/** A picture and the name of its file. */
export interface RunPicture {
  readonly name: string;
  readonly svg: string;
}

/** Charts of a run by name; one without data is left out. */
function chartsOf(report: RunReport): (readonly [string, Chart])[] {
  const { rows } = report.epochs;
  const lineBytes = Number(report.config.lineBytes ?? 64);
  const byNode = (value: (row: RunReport["epochs"]["rows"][number], node: number) => number): Chart["layers"] =>
    // One epoch is no course of time.
    rows.length < 2 ? [] : report.nodes.map(({ name, node }) => ({
      kind: "line",
      name,
      points: rows.map((row): Point => [row.startNs / 1e6, value(row, node)]),
    }));
  const time = { title: "trace time, ms" };
  const parts = report.attribution.filter(({ ns }) => ns > 0);
  const links = report.links.filter(({ utilisation }) => utilisation !== null);
  const { latency, heat } = report;
  const topology = topologyChart(report);
  const loaded = loadedChart(report);
  return [
    ...topology === null ? [] : [["topology", topology] as const],
    ...loaded === null ? [] : [["loaded-latency", loaded] as const],
    ["attribution", {
      title: "Where the time goes",
      x: { title: "time, ns" },
      y: { title: "", scale: "band" },
      height: 120,
      layers: parts.length === 0 ? [] : [{
        kind: "stack",
        parts: parts.map(({ part, ns }) => ({ bar: "run", part, value: ns })),
      }],
    }],
    ["links", {
      title: "Utilisation of links",
      x: { title: "share of the run, %", domain: [0, 100] },
      y: { title: "", scale: "band" },
      height: 60 + 24 * links.length,
      layers: links.length === 0 ? [] : [{
        kind: "stack",
        parts: links.map(({ name, utilisation }) => ({ bar: name, part: "busy", value: 100 * (utilisation ?? 0) })),
      }],
    }],
    ["latency", {
      title: "Latency",
      x: { title: "latency, ns", scale: "log" },
      y: { title: "accesses" },
      layers: latency === null ? [] : [{
        kind: "intervals",
        name: "accesses",
        bars: latency.histogram.map(({ fromNs, toNs, count }) => ({ from: fromNs, to: toNs, value: count })),
      }],
    }],
    ["bandwidth", {
      title: "Bandwidth by node",
      x: time,
      y: { title: "GB/s of trace time" },
      layers: byNode((row, node) => {
        const lines = (row.readLines[node] ?? 0) + (row.writeLines[node] ?? 0);
        return row.lengthNs === 0 ? 0 : lines * lineBytes / row.lengthNs;
      }),
    }],
    ["occupancy", {
      title: "Memory used by node",
      x: time,
      y: { title: "MiB" },
      layers: byNode((row, node) => (row.usedBytes[node] ?? 0) / 2 ** 20),
    }],
    ["moves", {
      title: "Pages moved to each node",
      x: time,
      y: { title: "pages in an epoch" },
      layers: rows.some(({ movedIn }) => movedIn.some((count) => count > 0))
        ? byNode((row, node) => row.movedIn[node] ?? 0)
        : [],
    }],
    ["heat", {
      title: "Heat of pages",
      x: { title: "trace time, ms" },
      y: { title: "address", tick: (row) => heat?.rows[Math.floor(row)]?.from ?? "" },
      height: 60 + 12 * (heat?.rows.length ?? 0),
      // Nothing but loads that wait for each other: trace time stands still.
      layers: heat === null || (heat.timesNs.at(-1) ?? 0) - (heat.timesNs[0] ?? 0) < 1 ? [] : [{
        kind: "cells",
        title: `samples, one for ${heat.every} accesses`,
        cells: heat.rows.flatMap(({ counts }, row) =>
          counts.map((value, i) => ({
            x: [(heat.timesNs[i] ?? 0) / 1e6, (heat.timesNs[i + 1] ?? 0) / 1e6] as const,
            y: [row, row + 1] as const,
            value: value === 0 ? null : value,
          }))
        ),
      }],
    }],
  ];
}

/** Every picture of a run that has data. */
export async function runPictures(report: RunReport): Promise<RunPicture[]> {
  const pictures: RunPicture[] = [];
  for (const [name, chart] of chartsOf(report)) {
    if (chart.layers.length > 0) pictures.push({ name, svg: await drawCharts([chart]) });
  }
  return pictures;
}

/** One page with the tables and every picture. */
export async function runPage(report: RunReport): Promise<string> {
  const svg = await drawCharts(chartsOf(report).map(([, chart]) => chart));
  const title = escapeMarkup(`cxl_sim: ${report.trace.source}`);
  const notes = report.notes.map((note) => `<li>${escapeMarkup(note)}</li>`).join("\n");
  return `<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>${title}</title>\n` +
    `<style>body { font-family: sans-serif; margin: 2em; max-width: 60em } pre { overflow-x: auto } svg { max-width: 100% }</style>\n` +
    `</head>\n<body>\n<h1>${title}</h1>\n<pre>${escapeMarkup(runLines(report).join("\n"))}</pre>\n` +
    `<ul>\n${notes}\n</ul>\n${svg}</body>\n</html>\n`;
}
