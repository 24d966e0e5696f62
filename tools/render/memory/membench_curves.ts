/**
 * Latency as curves: by working set, and under load. An SVG of its own, or in a page with the tables.
 * @module
 */

import { stripAnsiCode } from "@std/fmt/colors";

import { formatBytes } from "../../../src/core/units.ts";
import type { BenchResult } from "../../../src/memory/membench.ts";
import { benchLines } from "./membench.ts";

/** A curve: points in its own units. */
interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

interface Axis {
  readonly title: string;
  readonly isLogarithmic: boolean;
  readonly tick: (value: number) => string;
}

const WIDTH = 720;
const HEIGHT = 320;
const LEFT = 64;
const RIGHT = 16;
const TOP = 28;
const BOTTOM = 48;
/** Colours that people with any colour vision tell apart (Okabe and Ito). */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"] as const;

/** Both charts, one above the other; a chart without points is left out. */
export function benchCurves(results: readonly BenchResult[]): string {
  const latency = results.map(({ name, latency }) => ({
    name,
    points: (latency ?? []).map((point) => [point.workingSetBytes, point.medianNs] as const),
  }));
  const loaded = results.map(({ name, loaded }) => ({
    name,
    points: (loaded ?? []).map((point) => [point.bytesPerSecond / 1e9, point.medianNs] as const),
  }));
  const nanoseconds: Axis = { title: "ns", isLogarithmic: true, tick: (value) => String(value) };
  const bytes: Axis = { title: "working set", isLogarithmic: true, tick: (value) => formatBytes(value) };
  const load: Axis = {
    title: "load, GB/s",
    isLogarithmic: false,
    tick: (value) => String(Number(value.toPrecision(3))),
  };
  const charts = [
    { title: "latency by working set", curves: latency, x: bytes },
    { title: "latency under load", curves: loaded, x: load },
  ].filter(({ curves }) => curves.some(({ points }) => points.length > 0));
  const height = Math.max(1, charts.length) * HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="white"/>
${charts.map(({ title, curves, x }, i) => chart(title, curves, x, nanoseconds, i * HEIGHT)).join("\n")}
</svg>
`;
}

/** A page with machine, method, tables and curves. It needs nothing else. */
export function benchHtml(environment: readonly string[], results: readonly BenchResult[]): string {
  const text = [...environment, "", ...benchLines(results)].map((line) => escape(stripAnsiCode(line))).join("\n");
  return `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>membench</title>
<style>body { font-family: sans-serif; max-width: 60em; margin: 2em auto } pre { overflow-x: auto }</style>
<h1>membench</h1>
<pre>${text}</pre>
${benchCurves(results)}</html>
`;
}

function chart(title: string, curves: readonly Curve[], x: Axis, y: Axis, top: number): string {
  const drawn = curves.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const xs = scale(all.map(([value]) => value), x, LEFT, WIDTH - RIGHT);
  const ys = scale(all.map(([, value]) => value), y, top + HEIGHT - BOTTOM, top + TOP);
  const parts = [
    text(LEFT, top + 16, title, "start", "bold"),
    text((LEFT + WIDTH) / 2, top + HEIGHT - 8, x.title, "middle"),
    text(8, top + TOP, y.title, "start"),
    ...xs.ticks.map((value) => {
      const at = round(xs.place(value));
      return `<path d="M${at} ${top + TOP}V${top + HEIGHT - BOTTOM}" stroke="#ddd"/>` +
        text(at, top + HEIGHT - BOTTOM + 16, x.tick(value), "middle");
    }),
    ...ys.ticks.map((value) => {
      const at = round(ys.place(value));
      return `<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="#ddd"/>` + text(LEFT - 6, at + 4, y.tick(value), "end");
    }),
    ...drawn.map(({ name, points }, i) => {
      const color = COLORS[i % COLORS.length] ?? "black";
      const line = points.map(([a, b]) => `${round(xs.place(a))},${round(ys.place(b))}`).join(" ");
      return `<polyline points="${line}" fill="none" stroke="${color}" stroke-width="2"/>` +
        text(LEFT + 8, top + TOP + 14 + 16 * i, name, "start", "normal", color);
    }),
  ];
  return parts.join("\n");
}

interface Scale {
  readonly place: (value: number) => number;
  readonly ticks: readonly number[];
}

/** From values to places between two ends; ticks at powers of 4 or 10, or at round steps. */
function scale(values: readonly number[], axis: Axis, from: number, to: number): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!axis.isLogarithmic) {
    const end = high > 0 ? high : 1;
    const step = 10 ** Math.floor(Math.log10(end));
    const fine = end / step < 3 ? step / 2 : step;
    const ticks = Array.from({ length: Math.floor(end / fine + 1e-9) + 1 }, (_, i) => i * fine);
    return { place: (value) => from + value / end * (to - from), ticks };
  }
  const base = axis.title === "working set" ? 4 : 10;
  const log = (value: number): number => Math.log(Math.max(value, Number.MIN_VALUE)) / Math.log(base);
  const [first, last] = [Math.floor(log(low) + 1e-9), Math.max(Math.ceil(log(high) - 1e-9), Math.floor(log(low)) + 1)];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => base ** (first + i));
  return { place: (value) => from + (log(value) - first) / (last - first) * (to - from), ticks };
}

function text(x: number, y: number, content: string, anchor: string, weight = "normal", color = "black"): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-weight="${weight}" fill="${color}">${
    escape(content)
  }</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
