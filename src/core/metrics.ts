/**
 * Metrics: numbers about devices at a moment, and their text for Prometheus and others.
 *
 * Sources: OpenMetrics 1.0 (specification of the text format), Prometheus exposition formats (text format 0.0.4).
 * @module
 */

/** A kind of number. */
export interface MetricRow {
  /** Its name without a suffix: `busbar_nvme_temperature_celsius`. */
  readonly name: string;
  /** `counter` only grows, and has the suffix `_total` in text. */
  readonly type: "gauge" | "counter";
  /** One sentence. */
  readonly help: string;
}

/** A number about a device. */
export interface MetricValue {
  /** Which kind. */
  readonly row: MetricRow;
  /** What it is of: `device`, and what tells it from others of the device. */
  readonly labels: Readonly<Record<string, string>>;
  /** The number; integers that need more than 53 bits are bigint. */
  readonly value: number | bigint;
}

/** The two text forms. */
export type MetricFormat = "openmetrics" | "prometheus";

/** Content types, as HTTP names the forms. */
export const METRIC_CONTENT_TYPES: Readonly<Record<MetricFormat, string>> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
};

/** The text of values, by kind, in the order in which the kinds come first. */
export function formatMetrics(values: readonly MetricValue[], format: MetricFormat): string {
  const byRow = new Map<MetricRow, MetricValue[]>();
  for (const value of values) byRow.set(value.row, [...byRow.get(value.row) ?? [], value]);
  const lines: string[] = [];
  for (const [row, all] of byRow) {
    const sample = row.type === "counter" ? `${row.name}_total` : row.name;
    // The older form knows no suffixes: there a counter is called as its samples are.
    const family = format === "openmetrics" ? row.name : sample;
    lines.push(`# HELP ${family} ${escapeHelp(row.help, format)}`, `# TYPE ${family} ${row.type}`);
    for (const { labels, value } of all) lines.push(`${sample}${labelText(labels)} ${numberText(value)}`);
  }
  if (format === "openmetrics") lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

/** Text of devices may hold anything. */
function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function escapeHelp(text: string, format: MetricFormat): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return format === "openmetrics" ? escaped.replaceAll('"', '\\"') : escaped;
}

function numberText(value: number | bigint): string {
  if (typeof value === "bigint" || Number.isFinite(value)) return value.toString();
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
