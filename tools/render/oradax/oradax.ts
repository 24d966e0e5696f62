/**
 * What `oradax` found and did, as text and JSON.
 * @module
 */

import { bold, dim } from "@std/fmt/colors";

import { closedObject, type JsonObject, rowsSchema, rowsToJson } from "../../../src/core/layout_json.ts";
import { textLines } from "../../../src/core/layout_text.ts";
import { formatBytes, formatDurationMs } from "../../../src/core/units.ts";
import { type DecodedCcb } from "../../../src/oradax/ccb.ts";
import { CCB_LAYOUTS } from "../../../src/oradax/ccb_tables.ts";
import { MEASURED_COMMANDS, type Measurement } from "../../../src/oradax/measure.ts";
import { COMPLETION_AREAS, MOST_SUBMIT_UNITS, type OradaxTransport } from "../../../src/oradax/transport.ts";
import type { ElementSource } from "../../../src/oradax/vector.ts";
import { documentSchema } from "../../cli/run.ts";
import { hexLines } from "../pci/hexdump.ts";
import { columns } from "../../cli/table.ts";

/** A command over a file. */
export interface OradaxRun {
  readonly action: string;
  readonly path: string;
  readonly device: OradaxTransport;
  readonly source: ElementSource & { readonly leftoverBits: number; readonly sizeBytes: number };
  /** Ones found, or elements that came out. */
  readonly count: number;
  readonly output: "bits" | "indexes" | "count" | "elements";
  readonly head: Uint8Array<ArrayBuffer>;
  readonly outputBytes: number;
  readonly to: string | null;
  readonly elapsedMs: number;
}

/** A device in one line. */
export function deviceLine(device: OradaxTransport): string {
  return `${device.name}: DAX${device.dax} (${device.dax === 1 ? "SPARC M7" : "SPARC M8"}), ${device.engine}`;
}

/** What the device is, for people. */
export function infoLines(device: OradaxTransport): string[] {
  return [
    deviceLine(device),
    `CCB versions 0${device.dax === 2 ? " and 1" : ""}, ${COMPLETION_AREAS} completion areas, ` +
    `${MOST_SUBMIT_UNITS} × 64 bytes of CCBs in a submission`,
  ];
}

/** What the device is, for programs. */
export function infoJson(device: OradaxTransport): JsonObject {
  return {
    schema: "oradax/1",
    action: "info",
    device: device.name,
    kind: device.kind,
    dax: device.dax,
    engine: device.engine,
    ccbVersions: device.dax === 2 ? [0, 1] : [0],
    completionAreas: COMPLETION_AREAS,
    submissionUnits: MOST_SUBMIT_UNITS,
  };
}

/** A command over a file, for people: what came of it, and the beginning of the output. */
export function runLines(run: OradaxRun): string[] {
  const { source, elapsedMs } = run;
  const rate = formatBytes(Math.round(source.sizeBytes / Math.max(elapsedMs, 0.001) * 1000));
  const found = run.output === "elements" ? "came out" : "found";
  const lines = [
    deviceLine(run.device),
    `${bold(run.action)} ${run.path}: ${source.elements} elements of ${source.bits} bits, ${
      bold(String(run.count))
    } ${found}, ` +
    `in ${formatDurationMs(Math.round(elapsedMs))} (${rate}/s)`,
  ];
  if (source.leftoverBits > 0) lines.push(`${source.leftoverBits} bits at the end make no element`);
  if (run.to !== null) {
    return [
      ...lines,
      `${formatBytes(run.outputBytes)} of ${run.output} in ${run.to === "-" ? "standard output" : run.to}`,
    ];
  }
  if (run.output === "count" || run.head.length === 0) return lines;
  lines.push(...(run.output === "indexes" ? indexLines(run.head) : hexLines(run.head, 0, 1)));
  const hidden = run.outputBytes - run.head.length;
  return hidden > 0 ? [...lines, dim(`… and ${formatBytes(hidden)} more: --to FILE writes all`)] : lines;
}

function indexLines(head: Uint8Array<ArrayBuffer>): string[] {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const indexes = Array.from({ length: head.length / 4 }, (_, i) => String(view.getUint32(4 * i)));
  const rows = Array.from({ length: Math.ceil(indexes.length / 8) }, (_, i) => indexes.slice(8 * i, 8 * i + 8));
  return columns(rows);
}

/** A command over a file, for programs. */
export function runJson(run: OradaxRun): JsonObject {
  return {
    schema: "oradax/1",
    action: run.action,
    device: run.device.name,
    engine: run.device.engine,
    file: run.path,
    width: run.source.bits,
    elements: run.source.elements.toString(),
    leftoverBits: run.source.leftoverBits,
    count: run.count.toString(),
    output: run.output,
    outputBytes: run.outputBytes.toString(),
    head: run.head.toHex(),
    to: run.to,
    elapsedMs: run.elapsedMs,
  };
}

/** A CCB for people. */
export function ccbLines(ccb: DecodedCcb): string[] {
  const lines = textLines(ccb.rows).map((line) => [
    line.kind === "row" ? line.place : "",
    line.kind === "row" ? line.name : `  ${line.name}`,
    line.value,
    (line.kind === "row" ? line.text : `[${line.place}] ${line.text}`) +
    (line.remark === null ? "" : ` (${line.remark})`),
  ]);
  return [bold(ccb.command), ...columns(lines)];
}

/** A CCB for programs. */
export function ccbJson(ccb: DecodedCcb): JsonObject {
  return { schema: "oradax/1", action: "decode", command: ccb.command, words: rowsToJson(ccb.rows) };
}

/** What was measured, for people: one line for each width. */
export function benchLines(loops: string, readRate: number, results: readonly Measurement[]): string[] {
  const widths = [...new Set(results.map(({ bits }) => bits))];
  const cell = (bits: number, command: string): string =>
    results.find((one) => one.bits === bits && one.command === command)?.ratio.toFixed(2) ?? "";
  return [
    `${loops} loops, one core; a read-only sum in C reads ${formatBytes(Math.round(readRate))}/s`,
    "(input + output) bytes in a second, divided by that:",
    ...columns([
      ["width", ...MEASURED_COMMANDS],
      ...widths.map((bits) => [String(bits), ...MEASURED_COMMANDS.map((command) => cell(bits, command))]),
    ]),
  ];
}

/** What was measured, for programs. */
export function benchJson(loops: string, readRate: number, results: readonly Measurement[]): JsonObject {
  return {
    schema: "oradax/1",
    action: "bench",
    loops,
    readBytesPerSecond: Math.round(readRate),
    results: results.map(({ command, bits, elements, inputBytes, outputBytes, seconds, ratio }) => ({
      command,
      bits,
      elements,
      inputBytes,
      outputBytes,
      seconds,
      ratio,
    })),
  };
}

const TEXT: JsonObject = { type: "string" };
const DECIMAL: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const COUNT: JsonObject = { type: "integer", minimum: 0 };

/** The schema of everything that `oradax --json` prints. */
export function oradaxSchema(): JsonObject {
  const head = { schema: { const: "oradax/1" } };
  const layouts = Object.values(CCB_LAYOUTS).flatMap(({ short, long }) => [short, long]);
  return documentSchema("oradax", [
    closedObject({
      ...head,
      action: { const: "info" },
      device: TEXT,
      kind: { enum: ["driver", "soft"] },
      dax: { enum: [1, 2] },
      engine: TEXT,
      ccbVersions: { type: "array", items: COUNT },
      completionAreas: COUNT,
      submissionUnits: COUNT,
    }),
    closedObject({
      ...head,
      action: { enum: ["scan", "extract", "select", "translate"] },
      device: TEXT,
      engine: TEXT,
      file: TEXT,
      width: COUNT,
      elements: DECIMAL,
      leftoverBits: COUNT,
      count: DECIMAL,
      output: { enum: ["bits", "indexes", "count", "elements"] },
      outputBytes: DECIMAL,
      head: { type: "string", pattern: "^[0-9a-f]*$" },
      to: { type: ["string", "null"] },
      elapsedMs: { type: "number", minimum: 0 },
    }),
    closedObject({
      ...head,
      action: { const: "decode" },
      command: TEXT,
      words: { anyOf: layouts.map((layout) => rowsSchema(layout.rows)) },
    }),
    closedObject({
      ...head,
      action: { const: "bench" },
      loops: TEXT,
      readBytesPerSecond: COUNT,
      results: {
        type: "array",
        items: closedObject({
          command: { enum: MEASURED_COMMANDS },
          bits: COUNT,
          elements: COUNT,
          inputBytes: { type: "number", minimum: 0 },
          outputBytes: COUNT,
          seconds: { type: "number", minimum: 0 },
          ratio: { type: "number", minimum: 0 },
        }),
      },
    }),
  ]);
}
