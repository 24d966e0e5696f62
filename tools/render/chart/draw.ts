/**
 * Draws charts with Observable Plot on a document of linkedom. Both are loaded when the first picture is drawn: no tool
 * pays for them that draws none.
 * @module
 */

import type { Markish, PlotOptions } from "@observablehq/plot";

import type {
  Axis,
  BoxLayer,
  CellLayer,
  Chart,
  IntervalLayer,
  Layer,
  LineLayer,
  SegmentLayer,
  StackLayer,
} from "./chart.ts";
import { DARK_STYLE, INK, PAPER, seriesColor } from "./colors.ts";
import { escapeMarkup, withoutControls } from "../markup.ts";

/** Width of every picture in pixels. */
export const CHART_WIDTH = 720;

const HEIGHT = 320;
/** Height of the title above each chart. */
const TITLE_HEIGHT = 28;
const NAME_HEIGHT = 16;

type Plot = typeof import("@observablehq/plot");

/** What Plot builds its elements with; Deno has no type of its own for it. */
type PlotDocument = NonNullable<PlotOptions["document"]>;

interface Drawing {
  readonly plot: Plot;
  readonly document: PlotDocument;
}

let drawing: Promise<Drawing> | undefined;

async function loadDrawing(): Promise<Drawing> {
  const [plot, { parseHTML }] = await Promise.all([import("@observablehq/plot"), import("linkedom")]);
  const page: { readonly document?: PlotDocument } = Object(parseHTML("<!DOCTYPE html><html><body></body></html>"));
  return { plot, document: page.document };
}

/**
 * One SVG with the charts below each other, which needs nothing else: literal colours, no scripts, no fonts to fetch.
 * Charts without any data are left out.
 */
export async function drawCharts(charts: readonly Chart[]): Promise<string> {
  const shown = charts.filter((chart) => chart.layers.some(hasData));
  const { plot, document } = await (drawing ??= loadDrawing());
  let top = 0;
  const parts: string[] = [];
  for (const chart of shown) {
    const height = chart.height ?? HEIGHT;
    parts.push(
      `<g transform="translate(0,${top})"><text x="12" y="20" font-size="14" font-weight="bold" fill="${INK}">` +
        `${escapeMarkup(chart.title)}</text><g transform="translate(0,${TITLE_HEIGHT})">` +
        `${drawOne(plot, document, chart, height)}</g></g>`,
    );
    top += TITLE_HEIGHT + height;
  }
  const height = Math.max(top, TITLE_HEIGHT);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CHART_WIDTH} ${height}" width="${CHART_WIDTH}" ` +
    `height="${height}" font-family="sans-serif" font-size="12">\n<style>${DARK_STYLE}</style>\n` +
    `<rect width="${CHART_WIDTH}" height="${height}" fill="${PAPER}"/>\n${parts.join("\n")}\n</svg>\n`;
}

function hasData(layer: Layer): boolean {
  switch (layer.kind) {
    case "line":
    case "dots":
      return layer.points.length > 0;
    case "intervals":
      return layer.bars.length > 0;
    case "stack":
      return layer.parts.length > 0;
    case "cells":
      return layer.cells.length > 0;
    case "segments":
      return layer.segments.length > 0;
    case "boxes":
      return layer.boxes.length > 0;
    case "rule":
      return false;
  }
}

function drawOne(plot: Plot, document: PlotDocument, chart: Chart, height: number): string {
  const layers = chart.layers.filter((layer) => layer.kind === "rule" || hasData(layer));
  const named: Layer[] = layers.filter(({ kind }) => kind === "line" || kind === "dots" || kind === "intervals");
  const marks = layers.flatMap((layer) => marksOf(plot, layer, seriesColor(Math.max(0, named.indexOf(layer))), chart));
  const cells = layers.find((layer) => layer.kind === "cells");
  const stack = layers.find((layer) => layer.kind === "stack");
  const segments = layers.find((layer) => layer.kind === "segments");
  const options: PlotOptions = {
    document,
    width: CHART_WIDTH,
    height,
    marginLeft: leftMargin(chart, layers),
    marginBottom: 44,
    marginRight: 32,
    marginTop: 16,
    style: { background: "none" },
    x: scaleOptions(chart.x),
    y: scaleOptions(chart.y),
    ...(cells === undefined ? {} : {
      color: { type: cells.scale === "log" ? "log" : "linear", scheme: "YlGnBu" },
    }),
    ...(segments === undefined ? {} : {
      color: { type: "linear", scheme: "YlOrRd", domain: segments.domain, clamp: true },
    }),
    ...(stack === undefined ? {} : {
      color: { domain: partNames(stack), range: partNames(stack).map((_, i) => seriesColor(i)) },
    }),
    marks,
  };
  const element = plot.plot(options);
  const names = stack === undefined
    ? named.map((layer, i) => ({ name: "name" in layer ? layer.name : "", color: seriesColor(i) }))
    : partNames(stack).map((name, i) => ({ name, color: seriesColor(i) }));
  const legend = cells !== undefined
    ? cellLegend(cells)
    : segments !== undefined
    ? legendText(`${segments.title}: light ${segments.domain[0]}, dark ${segments.domain[1]}`)
    : nameList(names, chart, layers);
  return standAlone(withoutControls(String(element.outerHTML))) + legend;
}

/** Long names of bands need room; numbers do not. */
function leftMargin(chart: Chart, layers: readonly Layer[]): number {
  if (chart.y.hidden === true) return 32;
  if (chart.y.scale !== "band") return 64;
  const texts = layers.flatMap((layer) =>
    layer.kind === "stack"
      ? layer.parts.map(({ bar }) => bar)
      : layer.kind === "cells"
      ? layer.cells.map(({ y }) => typeof y === "string" ? y : "")
      : []
  );
  const longest = texts.reduce((most, text) => Math.max(most, text.length), 0);
  return Math.min(CHART_WIDTH / 3, 24 + 7 * longest);
}

function scaleOptions(axis: Axis): NonNullable<PlotOptions["x"]> {
  const { tick } = axis;
  if (axis.hidden === true) return { axis: null, ...(axis.domain === undefined ? {} : { domain: axis.domain }) };
  return {
    label: axis.title,
    ...(axis.scale === "band"
      ? { type: "band" }
      : { type: axis.scale ?? "linear", grid: true, nice: axis.scale !== "log" }),
    ...(axis.scale === "log" ? { base: axis.base ?? 10 } : {}),
    ...(tick === undefined ? {} : { tickFormat: (value: unknown) => tick(Number(value)) }),
    ...(axis.ticks === undefined ? {} : { ticks: axis.ticks }),
    ...(axis.domain === undefined ? {} : { domain: axis.domain }),
  };
}

function marksOf(plot: Plot, layer: Layer, color: string, chart: Chart): Markish[] {
  switch (layer.kind) {
    case "line":
      return lineMarks(plot, layer, color);
    case "dots":
      return [plot.dot(layer.points.map(([x, y]) => ({ x, y })), { x: "x", y: "y", fill: color, stroke: PAPER, r: 5 })];
    case "intervals":
      return intervalMarks(plot, layer, color, chart.y);
    case "stack":
      return [
        plot.barX(layer.parts, { x: "value", y: "bar", fill: "part", order: partNames(layer) }),
        plot.ruleX([0], { stroke: INK }),
      ];
    case "cells":
      return cellMarks(plot, layer);
    case "segments":
      return segmentMarks(plot, layer);
    case "boxes":
      return boxMarks(plot, layer);
    case "rule": {
      const style = { stroke: INK, strokeDasharray: "3,3", strokeOpacity: 0.6 };
      return layer.axis === "x"
        ? [
          plot.ruleX([layer.value], style),
          plot.text([layer.name], {
            x: layer.value,
            frameAnchor: "bottom",
            dy: -4,
            dx: 4,
            textAnchor: "start",
            fill: INK,
          }),
        ]
        : [
          plot.ruleY([layer.value], style),
          plot.text([layer.name], { y: layer.value, frameAnchor: "right", dy: -6, textAnchor: "end", fill: INK }),
        ];
    }
  }
}

function lineMarks(plot: Plot, layer: LineLayer, color: string): Markish[] {
  const points = layer.points.map(([x, y], i) => ({ x, y, low: layer.spread?.[i]?.[0], high: layer.spread?.[i]?.[1] }));
  const spread = points.filter(({ low, high }) => low !== undefined && high !== undefined);
  return [
    ...(spread.length === 0
      ? []
      : [plot.ruleX(spread, { x: "x", y1: "low", y2: "high", stroke: color, strokeOpacity: 0.5 })]),
    plot.line(points, { x: "x", y: "y", stroke: color, strokeWidth: 2 }),
    plot.dot(points, { x: "x", y: "y", fill: color, r: 2.5 }),
  ];
}

/** A bar on a logarithmic axis stands on the axis' lower end: there is no 0. */
function intervalMarks(plot: Plot, layer: IntervalLayer, color: string, y: Axis): Markish[] {
  const base = y.scale === "log" ? y.domain?.[0] ?? 0.5 : 0;
  const bars = layer.bars.filter(({ value }) => value > base).map((bar) => ({ ...bar, base }));
  return [
    plot.rect(bars, { x1: "from", x2: "to", y1: "base", y2: "value", fill: color, insetLeft: 0.5, insetRight: 0.5 }),
  ];
}

function cellMarks(plot: Plot, layer: CellLayer): Markish[] {
  const full = layer.cells.filter(({ value }) => value !== null);
  const bands = full.filter(({ x, y }) => typeof x === "string" && typeof y === "string");
  const rectangles = full.flatMap(({ x, y, value }) =>
    typeof x === "string" || typeof y === "string" ? [] : [{ x1: x[0], x2: x[1], y1: y[0], y2: y[1], value }]
  );
  const written = layer.cells.filter(({ x, y, text }) =>
    typeof x === "string" && typeof y === "string" && text !== undefined
  );
  return [
    ...(bands.length === 0 ? [] : [plot.cell(bands, { x: "x", y: "y", fill: "value", inset: 0.5 })]),
    ...(rectangles.length === 0
      ? []
      : [plot.rect(rectangles, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "value" })]),
    ...(written.length === 0
      ? []
      : [plot.text(written, { x: "x", y: "y", text: "text", fill: INK, stroke: PAPER, strokeWidth: 3 })]),
  ];
}

/** Where the text of a segment stands, from its beginning to its end. */
const LABEL_AT = 0.42;

function segmentMarks(plot: Plot, layer: SegmentLayer): Markish[] {
  const all = layer.segments.map(({ from, to, value, text, side }) => ({
    ...{ x1: from[0], y1: from[1], x2: to[0], y2: to[1], value, text, side },
    // Nearer to the beginning: links that meet in one place meet at their other end.
    ...{ x: from[0] + (to[0] - from[0]) * LABEL_AT, y: from[1] + (to[1] - from[1]) * LABEL_AT },
  }));
  const ends = { x1: "x1", y1: "y1", x2: "x2", y2: "y2" } as const;
  const words = (side: "above" | "below"): Markish =>
    plot.text(all.filter((one) => one.side === side), {
      ...{ x: "x", y: "y", text: "text", fill: INK, stroke: PAPER, strokeWidth: 3 },
      dy: side === "above" ? -11 : 12,
    });
  return [
    // A dark edge, so that a light line is seen on light ground.
    plot.link(all, { ...ends, stroke: INK, strokeWidth: 8, strokeOpacity: 0.5 }),
    plot.link(all.filter(({ value }) => value !== null), { ...ends, stroke: "value", strokeWidth: 6 }),
    words("above"),
    words("below"),
  ];
}

function boxMarks(plot: Plot, layer: BoxLayer): Markish[] {
  const boxes = layer.boxes.map(({ at: [x, y], text }) => {
    const lines = text.split("\n");
    return { x, y, text, wide: Math.max(...lines.map((line) => line.length)), lines: lines.length };
  });
  return [
    ...boxes.map(({ x, y, wide, lines }) =>
      plot.rect([{ x, y }], {
        ...{ x1: "x", x2: "x", y1: "y", y2: "y", fill: PAPER, stroke: INK, rx: 4 },
        ...{
          insetLeft: -6 - 3.5 * wide,
          insetRight: -6 - 3.5 * wide,
          insetTop: -4 - 8 * lines,
          insetBottom: -4 - 8 * lines,
        },
      })
    ),
    plot.text(boxes, { x: "x", y: "y", text: "text", fill: INK, lineHeight: 1.2 }),
  ];
}

function partNames(layer: StackLayer): string[] {
  return [...new Set(layer.parts.map(({ part }) => part))];
}

/** Names in their colours, at the top left of the chart's area, or in a row above stacked bars. */
function nameList(
  names: readonly { readonly name: string; readonly color: string }[],
  chart: Chart,
  layers: readonly Layer[],
): string {
  if (layers.some((layer) => layer.kind === "stack")) {
    let x = 12;
    return names.map(({ name, color }) => {
      const part = `<rect x="${x}" y="0" width="10" height="10" fill="${color}"/>` +
        `<text x="${x + 14}" y="9" fill="${INK}">${escapeMarkup(name)}</text>`;
      x += 30 + 7 * name.length;
      return part;
    }).join("");
  }
  const left = leftMargin(chart, layers) + 8;
  return names.map(({ name, color }, i) =>
    `<text x="${left}" y="${28 + NAME_HEIGHT * i}" fill="${color}" stroke="${PAPER}" stroke-width="3" ` +
    `paint-order="stroke">${escapeMarkup(name)}</text>`
  ).join("");
}

/** What the colours of a heat map stand for: the two ends in words. */
function cellLegend(layer: CellLayer): string {
  const values = layer.cells.map(({ value }) => value).filter((value) => value !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const text = `${layer.title}: light ${String(Number(low.toPrecision(3)))}, dark ${
    String(Number(high.toPrecision(3)))
  }`;
  return legendText(text);
}

function legendText(text: string): string {
  return `<text x="${CHART_WIDTH - 12}" y="9" text-anchor="end" fill="${INK}">${escapeMarkup(text)}</text>`;
}

/** Literal colours in place of the reader's, no style sheet of its own, and a name for the language. */
function standAlone(svg: string): string {
  return svg
    .replace(/<style>[\s\S]*?<\/style>/g, "")
    .replace(/ class="[^"]*"/, "")
    .replaceAll("currentColor", INK)
    .replaceAll("var(--plot-background)", PAPER)
    .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ');
}
