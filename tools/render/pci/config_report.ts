/**
 * All of configuration space for people and as JSON, and a function's errors.
 * @module
 */

import { bold, cyan, dim, yellow } from "@std/fmt/colors";

import { type Fact, Unknown } from "../../../src/core/fact.ts";
import { closedObject, type JsonObject, rowsToJson } from "../../../src/core/layout_json.ts";
import { textLines } from "../../../src/core/layout_text.ts";
import { hex } from "../../../src/core/units.ts";
import type { AerCounts } from "../../../src/pci/aer.ts";
import type { ConfigReport, ReportedPart, ReportedRegister } from "../../../src/pci/config_report.ts";
import type { ErrorChange, ErrorSample } from "../../../src/pci/error_watch.ts";
import type { PciFunction } from "../../../src/pci/function.ts";
import { columns } from "../../cli/table.ts";
import { hexLines } from "./hexdump.ts";
import { FUNCTION_SCHEMA, functionJson, functionLine } from "./pci.ts";

/** The lines of everything. A `*` marks what differs from its value after reset. */
export function reportLines(fn: PciFunction, report: ConfigReport): string[] {
  return [
    functionLine(fn),
    ...report.parts.flatMap((part) => ["", partHead(part), ...partLines(part)]),
    ...(fn.configEnds === null ? [] : ["", yellow(fn.configEnds)]),
  ];
}

function partHead({ name, capability, offset, source }: ReportedPart): string {
  const version = capability?.list === "extended" ? `, version ${capability.version}` : "";
  const place = capability === null ? "" : ` at ${hex(offset)} (ID ${hex(capability.id, 2)}${version})`;
  return `${bold(name)}${place}${source === null ? "" : dim(`  ${source}`)}`;
}

function partLines(part: ReportedPart): string[] {
  if (part.bytes !== null) {
    return ["  no table decodes it:", ...hexLines(part.bytes, part.offset, 4).map((line) => `  ${line}`)];
  }
  const rows = part.registers.flatMap((register) => registerRows(register, part.offset));
  return columns(rows, "  ");
}

function registerRows({ decoded, changed }: ReportedRegister, base: number): string[][] {
  const resets = new Map((changed ?? []).map(({ field, reset }) => [field, reset]));
  return textLines([decoded], base).map(({ kind, place, name, value, text, remark }) => {
    const reset = resets.get(kind === "row" ? "" : name);
    const isChanged = kind === "row" ? resets.size > 0 : reset !== undefined;
    const note = [...(reset === undefined ? [] : [`${reset} after reset`]), ...(remark === null ? [] : [remark])];
    const tail = note.length === 0 ? text : `${text}  ${yellow(`[${note.join("; ")}]`)}`;
    const mark = isChanged ? "*" : " ";
    return kind === "row"
      ? [mark, place, bold(name), cyan(value), tail]
      : [mark, "", `  ${name}`, `  ${value}`, `${dim(`[${place}]`)} ${tail}`];
  });
}

/** The lines of a function's errors: what is not 0. */
export function errorLines(fn: PciFunction, sample: ErrorSample): string[] {
  const lines = [functionLine(fn)];
  for (const [severity, counts] of Object.entries(sample.counts)) {
    lines.push(`  ${severity.padEnd(12)} ${countsText(counts)}`);
  }
  lines.push(
    `  ${"link".padEnd(12)} ${sample.link instanceof Unknown ? `? (${sample.link.reason})` : sample.link ?? "-"}`,
  );
  for (const [name, value] of Object.entries(sample.registers)) lines.push(`  ${name.padEnd(12)} ${value}`);
  return lines;
}

function countsText(counts: Fact<AerCounts>): string {
  if (counts instanceof Unknown) return `? (${counts.reason})`;
  if (counts === null) return "the kernel counts none here";
  const seen = Object.entries(counts).filter(([, count]) => count > 0n);
  return seen.length === 0 ? "none" : seen.map(([name, count]) => `${name} ${count}`).join(", ");
}

/** `12:00:00.000  correctable.RxErr 0 → 1`. */
export function errorChangeLine(time: Date, { name, before, after }: ErrorChange): string {
  return `${time.toISOString().slice(11, 23)}  ${bold(name)} ${before} → ${yellow(after)}`;
}

/** Everything as a JSON document. */
export function reportJson(fn: PciFunction, report: ConfigReport, sample: ErrorSample | null): JsonObject {
  return {
    schema: "config/1",
    device: functionJson(fn),
    configBytes: fn.config.length,
    parts: report.parts.map((part) => ({
      name: part.name,
      list: part.capability?.list ?? null,
      id: part.capability?.id ?? null,
      version: part.capability?.version ?? null,
      offset: part.offset,
      source: part.source,
      registers: rowsToJson(part.registers.map(({ decoded }) => decoded)),
      differsFromReset: part.registers.flatMap(({ decoded, changed }) =>
        (changed ?? []).map(({ field, value, reset }) => ({
          register: decoded.row.name,
          field: field === "" ? null : field,
          value: value.toString(),
          reset: reset.toString(),
        }))
      ),
      bytes: part.bytes === null ? null : part.bytes.toHex(),
    })),
    errors: sample === null ? null : sampleJson(sample),
    problems: [...report.problems],
    isWhole: { ...report.isWhole },
  };
}

function sampleJson({ counts, link, registers }: ErrorSample): JsonObject {
  const numbers = (fact: Fact<AerCounts>): JsonObject | null =>
    fact === null || fact instanceof Unknown
      ? null
      : Object.fromEntries(Object.entries(fact).map(([name, count]) => [name, count.toString()]));
  return {
    correctable: numbers(counts.correctable),
    nonfatal: numbers(counts.nonfatal),
    fatal: numbers(counts.fatal),
    link: typeof link === "string" ? link : null,
    registers: { ...registers },
  };
}

/** A look at the errors, as a document or a line. */
export function errorsJson(
  fn: PciFunction,
  time: Date,
  sample: ErrorSample,
  changes: readonly ErrorChange[],
): JsonObject {
  return {
    schema: "config/1",
    name: fn.name,
    time: time.toISOString(),
    errors: sampleJson(sample),
    changes: changes.map((change) => ({ ...change })),
  };
}

const TEXT: JsonObject = { type: "string" };
const COUNTS: JsonObject = {
  type: ["object", "null"],
  additionalProperties: { type: "string", pattern: "^[0-9]+$" },
};
const SAMPLE: JsonObject = closedObject({
  correctable: COUNTS,
  nonfatal: COUNTS,
  fatal: COUNTS,
  link: { type: ["string", "null"] },
  registers: { type: "object", additionalProperties: { type: "string", pattern: "^0x[0-9a-f]+$" } },
});

/** The schemas of both documents. */
export function reportSchemas(): JsonObject[] {
  const number = { type: ["integer", "null"], minimum: 0 };
  const list = (items: JsonObject): JsonObject => ({ type: "array", items });
  return [
    closedObject({
      schema: { const: "config/1" },
      device: FUNCTION_SCHEMA,
      configBytes: { type: "integer", minimum: 64, maximum: 4096 },
      parts: list(closedObject({
        name: TEXT,
        list: { enum: ["standard", "extended", null] },
        id: number,
        version: number,
        offset: { type: "integer", minimum: 0, maximum: 4095 },
        source: { type: ["string", "null"] },
        registers: { type: "object" },
        differsFromReset: list(closedObject({
          register: TEXT,
          field: { type: ["string", "null"] },
          value: { type: "string", pattern: "^[0-9]+$" },
          reset: { type: "string", pattern: "^[0-9]+$" },
        })),
        bytes: { type: ["string", "null"], pattern: "^[0-9a-f]*$" },
      })),
      errors: { anyOf: [SAMPLE, { type: "null" }] },
      problems: list(TEXT),
      isWhole: closedObject({ standard: { type: "boolean" }, extended: { type: "boolean" } }),
    }),
    closedObject({
      schema: { const: "config/1" },
      name: TEXT,
      time: TEXT,
      errors: SAMPLE,
      changes: list(closedObject({ name: TEXT, before: TEXT, after: TEXT })),
    }),
  ];
}
