/**
 * Counters as tables: text, markdown, CSV and JSON.
 * @module
 */

import { changing, closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { checkIdentities, counterNote, type CounterValues } from "../../../src/memory/counters.ts";
import { documentSchema } from "../../cli/run.ts";

/** A column of a table of counters: what was counted during one run. */
export interface CounterColumn {
  /** What the run was. */
  readonly title: string;
  /** What was counted. */
  readonly values: CounterValues;
  /** How long it took in milliseconds; null for values since boot. */
  readonly durationMs: number | null;
  /** The exit status of the command; null where there was none. */
  readonly exitStatus: number | null;
}

/** Forms of the table. */
export const TABLE_FORMATS = ["text", "markdown", "csv"] as const;

/** A form of the table. */
export type TableFormat = typeof TABLE_FORMATS[number];

/** The table in one of its forms, line by line. A counter that the kernel does not have is `-`, not 0. */
export function counterTable(columns: readonly CounterColumn[], format: TableFormat): string[] {
  const names = [...new Set(columns.flatMap(({ values }) => [...values.keys()]))];
  const rows = names.map((name) => [name, ...columns.map(({ values }) => values.get(name)?.toString() ?? "-")]);
  const head = ["counter", ...columns.map(({ title }) => title)];
  if (format === "csv") return [head, ...rows].map((row) => row.map(csvCell).join(","));
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const padded = (row: readonly string[]): string[] =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0));
  if (format === "text") return [head, ...rows].map((row) => padded(row).join("  ").trimEnd());
  const rule = widths.map((width, i) => i === 0 ? `:${"-".repeat(width - 1)}` : `${"-".repeat(width - 1)}:`);
  return [padded(head.map((cell) => cell.replaceAll("|", "\\|"))), rule, ...rows.map(padded)].map((row) =>
    `| ${row.join(" | ")} |`
  );
}

function csvCell(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** What to say about each column besides its numbers: how long, identities that do not hold, notes. */
export function columnNotes(column: CounterColumn): string[] {
  const lines: string[] = [];
  if (column.durationMs !== null) {
    const status = column.exitStatus === null || column.exitStatus === 0 ? "" : `, exit status ${column.exitStatus}`;
    lines.push(`${column.title}: ${(column.durationMs / 1000).toFixed(2)} s${status}`);
  }
  for (const { formula, difference } of checkIdentities(column.values)) {
    if (difference === null || difference === 0n) continue;
    lines.push(`${column.title}: ${formula} is off by ${difference} (each processor's counts arrive a little late)`);
  }
  const note = counterNote(column.values);
  if (note !== null) lines.push(`${column.title}: ${note}`);
  return lines;
}

/** A column as JSON. */
export function columnJson(column: CounterColumn): JsonObject {
  return {
    title: column.title,
    durationMs: column.durationMs,
    exitStatus: column.exitStatus,
    counters: Object.fromEntries([...column.values].map(([name, value]) => [name, value?.toString() ?? null])),
    identities: checkIdentities(column.values).map(({ formula, difference }) => ({
      formula,
      difference: difference?.toString() ?? null,
    })),
    note: counterNote(column.values),
  };
}

const COLUMN_SCHEMA: JsonObject = closedObject({
  title: { type: "string" },
  durationMs: { type: ["number", "null"] },
  exitStatus: { type: ["integer", "null"] },
  counters: changing({ type: "object", additionalProperties: { type: ["string", "null"], pattern: "^[0-9]+$" } }),
  identities: {
    type: "array",
    items: closedObject({ formula: { type: "string" }, difference: { type: ["string", "null"] } }),
  },
  note: { type: ["string", "null"] },
});

/** The schema of what `numa_stats --json` prints, with `--interval` in each line. */
export function numaStatsSchema(): JsonObject {
  return documentSchema("numa_stats", [
    closedObject({ schema: { const: "numa_stats/1" }, runs: { type: "array", items: COLUMN_SCHEMA } }),
  ]);
}
