/**
 * The pictures of a sweep, from its report alone: each by itself, or all on one page that needs nothing else.
 * @module
 */

import { type Field, numberOf, type SweepReport, type SweepRow } from "../../../src/sweep/mod.ts";
import type { Chart, Point } from "../chart/chart.ts";
import { drawCharts } from "../chart/draw.ts";
import { escapeMarkup } from "../markup.ts";
import { fieldText } from "./sweep_text.ts";

/** Heat maps of one field; the first combinations of the other parameters. */
const MAP_LIMIT = 12;
/** Points of the table on the page; the CSV has all. */
const ROW_LIMIT = 2000;

/** A picture and the name of its file. */
export interface SweepPicture {
  readonly name: string;
  readonly svg: string;
}

/** Charts of a sweep by name: each field over the first two parameters that vary, and the front of two objectives. */
function chartsOf(report: SweepReport): (readonly [string, Chart])[] {
  const varied = report.parameters.filter((name) =>
    new Set(report.rows.map((row) => fieldText(row.parameters[name] ?? null))).size > 1
  );
  const [across, down, ...others] = varied;
  const charts: (readonly [string, Chart])[] = [...frontOf(report)];
  const numeric = report.fields.filter((name) =>
    report.rows.some((row) => numberOf(row.fields[name] ?? null) !== null)
  );
  for (const field of across === undefined ? [] : numeric) {
    if (down === undefined) charts.push([field, lineOf(report, across ?? "", field)]);
    else charts.push(...mapsOf(report, [across ?? "", down], others, field));
  }
  return charts;
}

function frontOf({ rows, minimise, maximise }: SweepReport): (readonly [string, Chart])[] {
  const [first, second, ...rest] = [...minimise, ...maximise];
  if (first === undefined || second === undefined || rest.length > 0) return [];
  const pointsOf = (pareto: boolean): Point[] =>
    rows.filter((row) => row.pareto === pareto).flatMap((row): Point[] => {
      const at = (name: string): number | null => numberOf(row.fields[name] ?? row.parameters[name] ?? null);
      const [x, y] = [at(first), at(second)];
      return x === null || y === null ? [] : [[x, y]];
    });
  const front = pointsOf(true).sort(([a], [b]) => a - b);
  const side = (name: string): string => `${name}, ${minimise.includes(name) ? "less" : "more"} is better`;
  return [["pareto", {
    title: "Points that no other point beats",
    x: { title: side(first) },
    y: { title: side(second) },
    layers: [
      { kind: "dots", name: "beaten", points: pointsOf(false) },
      { kind: "line", name: "front", points: front },
    ],
  }]];
}

function lineOf({ rows }: SweepReport, across: string, field: string): Chart {
  const points = rows.flatMap((row): Point[] => {
    const [x, y] = [numberOf(row.parameters[across] ?? null), numberOf(row.fields[field] ?? null)];
    return x === null || y === null ? [] : [[x, y]];
  });
  if (points.length > 0) {
    return {
      title: `${field} by ${across}`,
      x: { title: across },
      y: { title: field },
      layers: [{ kind: "line", name: field, points: points.sort(([a], [b]) => a - b) }],
    };
  }
  return {
    title: `${field} by ${across}`,
    x: { title: field },
    y: { title: "", scale: "band" },
    height: 60 + 24 * rows.length,
    layers: [{
      kind: "stack",
      parts: rows.map((row) => ({
        bar: fieldText(row.parameters[across] ?? null),
        part: field,
        value: numberOf(row.fields[field] ?? null) ?? 0,
      })),
    }],
  };
}

function mapsOf(
  { rows }: SweepReport,
  [across, down]: readonly [string, string],
  others: readonly string[],
  field: string,
): (readonly [string, Chart])[] {
  const groups = Map.groupBy(
    rows,
    (row) => others.map((name) => `${name} ${fieldText(row.parameters[name] ?? null)}`).join(", "),
  );
  return [...groups].slice(0, MAP_LIMIT).map(([where, group], i) => {
    const name = groups.size === 1 ? field : `${field}-${i + 1}`;
    const text = (value: Field | undefined): string => fieldText(value ?? null);
    const cellOf = (row: SweepRow): { x: string; y: string; value: number | null; text: string } => ({
      x: text(row.parameters[across]),
      y: text(row.parameters[down]),
      value: numberOf(row.fields[field] ?? null),
      text: shortText(row.fields[field] ?? null),
    });
    const heights = new Set(group.map((row) => text(row.parameters[down]))).size;
    return [name, {
      title: `${field}${where === "" ? "" : ` (${where})`}`,
      x: { title: across, scale: "band" },
      y: { title: down, scale: "band" },
      height: 76 + 30 * heights,
      layers: [{ kind: "cells", title: field, cells: group.map(cellOf) }],
    }];
  });
}

function shortText(field: Field): string {
  const value = numberOf(field);
  return value === null ? "" : String(Number(value.toPrecision(4)));
}

/** Every picture of a sweep. */
export async function sweepPictures(report: SweepReport): Promise<SweepPicture[]> {
  const pictures: SweepPicture[] = [];
  for (const [name, chart] of chartsOf(report)) {
    pictures.push({ name: name.replaceAll(/[^\w.-]/g, "_"), svg: await drawCharts([chart]) });
  }
  return pictures;
}

/** One page with the table and every picture. */
export async function sweepPage(report: SweepReport): Promise<string> {
  const svg = await drawCharts(chartsOf(report).map(([, chart]) => chart));
  const title = escapeMarkup(`${report.tool}: ${report.rows.length} points`);
  const cells = (texts: readonly string[], tag: string): string =>
    `<tr>${texts.map((text) => `<${tag}>${escapeMarkup(text)}</${tag}>`).join("")}</tr>\n`;
  const rows = report.rows.slice(0, ROW_LIMIT).map((row) =>
    cells([
      row.pareto === true ? "*" : "",
      ...report.parameters.map((name) => fieldText(row.parameters[name] ?? null)),
      ...report.fields.map((name) => fieldText(row.fields[name] ?? null)),
      row.failure === null ? row.state : `failed: ${row.failure.message}`,
    ], "td")
  );
  const more = report.rows.length - rows.length;
  return `<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>${title}</title>\n` +
    `<style>body { font-family: sans-serif; margin: 2em; max-width: 60em } svg { max-width: 100% } ` +
    `table { border-collapse: collapse } td, th { padding: 0.2em 0.8em; text-align: right; ` +
    `border-bottom: 1px solid #ccc }</style>\n</head>\n<body>\n<h1>${title}</h1>\n` +
    `<p>${report.done} done, ${report.failed} failed, ${report.missing} not run. A point marked * is beaten by none.</p>\n` +
    `${svg}<table>\n${cells(["", ...report.parameters, ...report.fields, "state"], "th")}${rows.join("")}</table>\n` +
    `${more > 0 ? `<p>${more} more points are in the CSV.</p>\n` : ""}</body>\n</html>\n`;
}
