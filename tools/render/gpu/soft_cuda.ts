/**
 * What `soft_cuda ptx` prints.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import type { ModuleReport } from "../../../src/gpu/soft/module_report.ts";
import { columns } from "../../cli/table.ts";
import { printable } from "../../../src/core/printable.ts";

/** What the words about exactness promise. */
const PROMISES = {
  exact: "bit for bit what hardware gives",
  approximate: "within the error that the PTX ISA states, not the same bits as hardware",
  ignored: "a hint: no effect here",
} as const;

/** The report as lines. */
export function ptxLines(file: string, report: ModuleReport): string[] {
  const lines: string[] = [];
  if (report.target !== null) lines.push(`${file}: PTX ${report.ptxVersion}, ${report.target}`);
  if (report.kernels.length > 0) {
    lines.push("", "kernels");
    lines.push(...columns([
      ["name", "parameters", "registers", "shared", "local"],
      ...report.kernels.map((kernel) => [
        printable(kernel.name),
        String(kernel.parameters),
        String(kernel.registers),
        `${kernel.sharedBytes} B`,
        `${kernel.localBytes + kernel.stackBytes} B`,
      ]),
    ], "  "));
  }
  for (const [exactness, promise] of Object.entries(PROMISES)) {
    const these = report.instructions.filter((instruction) => instruction.exactness === exactness);
    if (these.length === 0) continue;
    lines.push("", `${exactness}: ${promise}`);
    lines.push(...columns(
      these.map(({ spelling, count, firstLine }) => [printable(spelling), `${count} ×`, `from line ${firstLine}`]),
      "  ",
    ));
  }
  if (report.problems.length > 0) {
    lines.push("", `${file}: does not load (${report.result})`);
    for (const { line, spelling, text } of report.problems) {
      const where = line === null ? "" : `line ${line}: `;
      lines.push(`  ${where}${spelling === "" ? "" : `${printable(spelling)}: `}${printable(text)}`);
    }
  }
  return lines;
}

/** The text with the threads that ran each line before it. */
export function countedLines(text: string, counts: ReadonlyMap<number, bigint>): string[] {
  if (counts.size === 0) return ["", "no line of this text ran: the program loads another one"];
  const width = Math.max(...[...counts.values()].map((count) => count.toString().length));
  return [
    "",
    ...text.split("\n").map((line, i) =>
      `${(counts.get(i + 1)?.toString() ?? "").padStart(width)}  ${printable(line)}`
    ),
  ];
}

/** The report as a document. */
export function ptxDocument(
  file: string,
  report: ModuleReport,
  counts: ReadonlyMap<number, bigint> | null,
): JsonObject {
  return {
    schema: "soft_cuda/1",
    file,
    result: report.result,
    ptxVersion: report.ptxVersion,
    target: report.target,
    kernels: report.kernels.map((kernel) => ({ ...kernel })),
    instructions: report.instructions.map((instruction) => ({ ...instruction })),
    problems: report.problems.map((problem) => ({ ...problem })),
    counts: counts === null ? null : [...counts].map(([line, threads]) => ({ line, threads: threads.toString() })),
  };
}

/** The schema of {@linkcode ptxDocument}. */
export function ptxSchema(): JsonObject {
  const text = { type: "string" };
  const maybe = { type: ["string", "null"] };
  const whole = { type: "integer", minimum: 0 };
  return closedObject({
    schema: { const: "soft_cuda/1" },
    file: text,
    result: whole,
    ptxVersion: maybe,
    target: maybe,
    kernels: {
      type: "array",
      items: closedObject({
        name: text,
        registers: whole,
        sharedBytes: whole,
        localBytes: whole,
        stackBytes: whole,
        parameters: whole,
      }),
    },
    instructions: {
      type: "array",
      items: closedObject({
        spelling: text,
        exactness: { enum: ["exact", "approximate", "ignored"] },
        firstLine: whole,
        count: whole,
      }),
    },
    problems: {
      type: "array",
      items: closedObject({ result: whole, line: { type: ["integer", "null"] }, spelling: text, text }),
    },
    counts: {
      type: ["array", "null"],
      items: closedObject({ line: whole, threads: { type: "string", pattern: "^[0-9]+$" } }),
    },
  });
}
