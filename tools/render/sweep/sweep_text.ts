/**
 * The result of a sweep as text and CSV.
 * @module
 */

import type { Field, SweepReport } from "../../../src/sweep/mod.ts";
import { printable } from "../../../src/core/printable.ts";
import { columns } from "../../cli/table.ts";

/** A value for people: seven digits are enough. */
export function fieldText(field: Field): string {
  if (field === null) return "-";
  return typeof field === "number" ? String(Number(field.toPrecision(7))) : String(field);
}

/** The report, line by line. */
export function sweepLines(report: SweepReport & { readonly incomplete: boolean }): string[] {
  const { rows, parameters, fields, done, failed, missing } = report;
  const objectives = [
    ...report.minimise.map((name) => `least ${name}`),
    ...report.maximise.map((name) => `most ${name}`),
  ];
  const table = columns([
    ["", ...parameters, ...fields, ""],
    ...rows.map((row) => [
      row.pareto === true ? "*" : "",
      ...parameters.map((name) => fieldText(row.parameters[name] ?? null)),
      ...fields.map((name) => fieldText(row.fields[name] ?? null)),
      row.failure === null ? row.state === "missing" ? "not run" : "" : `failed: ${row.failure.message}`,
    ]),
  ]);
  return [
    `${
      report.incomplete ? "INCOMPLETE: " : ""
    }${report.tool}: ${rows.length} points, ${done} done, ${failed} failed, ` +
    `${missing} not run`,
    ...objectives.length === 0 ? [] : [`* not beaten by any other point: ${objectives.join(", ")}`],
    "",
    ...table,
    ...failed === 0 ? [] : ["", "--retry runs the points again that failed"],
  ];
}

/** Control characters in the names and values of a sweep file are written as escapes: a terminal would obey them. */
function csvCell(text: string): string {
  const shown = printable(text);
  return /[",]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
}

/** One line for each point. */
export function sweepCsv({ rows, parameters, fields }: SweepReport): string {
  const exact = (field: Field): string => field === null ? "" : String(field);
  const lines = [
    [...parameters, ...fields, "state", "pareto"],
    ...rows.map((row) => [
      ...parameters.map((name) => exact(row.parameters[name] ?? null)),
      ...fields.map((name) => exact(row.fields[name] ?? null)),
      row.state,
      exact(row.pareto),
    ]),
  ];
  return lines.map((cells) => cells.map(csvCell).join(",") + "\n").join("");
}
