/**
 * Health for people and as JSON.
 * @module
 */

import { bold, red } from "@std/fmt/colors";

import type { DeviceSample, HealthEvent, HealthMonitor } from "../../../src/core/health_monitor.ts";
import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import type { MetricValue } from "../../../src/core/metrics.ts";
import { formatDecimalBytes } from "../../../src/core/units.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";
import { printable } from "../../../src/core/printable.ts";

const TOOL = "health";

interface Column {
  readonly title: string;
  /** Names of metrics without `busbar_`; the values of all labels are added. */
  readonly of: readonly string[];
  readonly text: (sum: number) => string;
}

const plain = (value: number): string => String(value);
const COLUMNS: readonly Column[] = [
  { title: "TEMP", of: ["nvme_temperature_celsius", "cxl_temperature_celsius"], text: (value) => `${value} °C` },
  {
    title: "WARNING",
    of: ["nvme_critical_warning", "cxl_health_status"],
    text: (value) => value === 0 ? "none" : `0x${value.toString(16)}`,
  },
  { title: "SPARE", of: ["nvme_available_spare_ratio"], text: (value) => `${Math.round(100 * value)} %` },
  { title: "USED", of: ["nvme_used_ratio", "cxl_used_ratio"], text: (value) => `${Math.round(100 * value)} %` },
  { title: "WRITTEN", of: ["nvme_written_bytes"], text: (value) => formatDecimalBytes(BigInt(Math.round(value))) },
  { title: "MEDIA ERRORS", of: ["nvme_media_errors"], text: plain },
  { title: "ERROR LOG", of: ["nvme_error_log_entries"], text: plain },
  {
    title: "AER",
    of: ["pci_correctable_errors", "pci_nonfatal_errors", "pci_fatal_errors"],
    text: plain,
  },
  { title: "LINK", of: ["pci_link_gigatransfers"], text: (value) => value === 0 ? "down" : `${value} GT/s` },
  { title: "CXL EVENTS", of: ["cxl_trace_events"], text: plain },
];

/** A line for each device. Columns that no device has are left out. */
export function healthLines(monitor: HealthMonitor): string[] {
  const { samples } = monitor;
  const shown = COLUMNS.filter(({ of }) => samples.some((sample) => sumOf(sample, of) !== null));
  const rows = samples.map((sample) => [
    sample.device,
    ...shown.map((column) => {
      const sum = sumOf(sample, column.of);
      return sum === null ? "-" : column.text(sum);
    }),
    sample.problem === null ? "" : red(printable(sample.problem)),
  ]);
  const [head = "", ...rest] = columns([["DEVICE", ...shown.map(({ title }) => title), ""], ...rows]);
  return [bold(head), ...rest, ...monitor.breaches.map(({ device, text }) => red(`${device}: ${text}`))];
}

function sumOf({ values }: DeviceSample, names: readonly string[]): number | null {
  const own = values.filter(({ row }) => names.some((name) => row.name === `busbar_${name}`));
  return own.length === 0 ? null : own.reduce((sum, { value }) => sum + Number(value), 0);
}

/** `2026-01-01T00:00:00.000Z nvme0: nvme_temperature_celsius is 75: beyond nvme_temperature_celsius>70`. */
export function eventLine({ timeMs, device, kind, text }: HealthEvent): string {
  const mark = { beyond: "!", back: " ", lost: "?", found: " " }[kind];
  return `${new Date(timeMs).toISOString()} ${mark} ${device}: ${printable(text)}`;
}

/** A look as a document, or as a line of JSON Lines. */
export function healthJson(monitor: HealthMonitor, events: readonly HealthEvent[]): JsonObject {
  return {
    schema: `${TOOL}/1`,
    time: new Date(monitor.timeMs ?? 0).toISOString(),
    devices: monitor.samples.map(({ device, values, problem }) => ({
      device,
      problem,
      metrics: values.map(valueJson),
    })),
    beyond: monitor.breaches.map((breach) => ({ ...breach })),
    events: events.map(({ device, kind, text }) => ({ device, kind, text })),
  };
}

function valueJson({ row, labels, value }: MetricValue): JsonObject {
  return { name: row.name, type: row.type, labels: { ...labels }, value: value.toString() };
}

/** The schema of the document. */
export function healthSchema(): JsonObject {
  const text = { type: "string" };
  const list = (items: JsonObject): JsonObject => ({ type: "array", items });
  return documentSchema(TOOL, [closedObject({
    schema: { const: `${TOOL}/1` },
    time: text,
    devices: list(closedObject({
      device: text,
      problem: { type: ["string", "null"] },
      metrics: list(closedObject({
        name: { type: "string", pattern: "^busbar_" },
        type: { enum: ["gauge", "counter"] },
        labels: { type: "object", additionalProperties: text },
        value: { type: "string", pattern: "^-?[0-9.]+$" },
      })),
    })),
    beyond: list(closedObject({ device: text, threshold: text, text })),
    events: list(closedObject({ device: text, kind: { enum: ["beyond", "back", "lost", "found"] }, text })),
  })]);
}
