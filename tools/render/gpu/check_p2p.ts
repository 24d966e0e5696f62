/**
 * The chain between a GPU and a drive, for people, and its JSON schema.
 * @module
 */

import { bold, dim, green, red, yellow } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import type { P2pReport } from "../../../src/gpu/p2p/report.ts";
import type { P2pOutcome } from "../../../src/gpu/p2p/check.ts";

const STEPS: Readonly<Record<number, string>> = {
  1: "devices",
  2: "the way between them",
  3: "ACS, IOMMU and what the kernel allows",
  4: "drivers and privilege",
  5: "CUDA",
  6: "BAR0 mapped into the GPU",
  7: "one write to the drive",
  8: "one read from the drive",
};

const COLORS: Readonly<Record<P2pOutcome, (text: string) => string>> = {
  pass: green,
  warn: yellow,
  fail: red,
  unknown: yellow,
  "not run": dim,
};

/** The report as lines. Rules are shown on request, or all lines would be twice as many. */
export function p2pLines(report: P2pReport, verbose: boolean): string[] {
  const lines = [`${report.drive} from ${report.gpu ?? "no GPU"}${report.class === null ? "" : ` (${report.class})`}`];
  let step = 0;
  for (const check of report.checks) {
    if (check.step !== step) {
      step = check.step;
      lines.push(bold(`${step} ${STEPS[step]}`));
    }
    lines.push(`  ${COLORS[check.outcome](check.outcome.padEnd(7))}  ${check.name}: ${check.text}`);
    lines.push(dim(`           ${check.evidence}`));
    if (verbose) lines.push(dim(`           ${check.rule}`));
    if (check.remedy !== null) lines.push(`           → ${check.remedy}`);
  }
  if (report.stopped !== null) lines.push(`ended at ${report.stopped}`);
  lines.push("", `level: ${report.level}`);
  for (const { tier, title, answer, reason } of report.tiers) {
    lines.push(`tier ${tier} (${title}): ${answer}: ${reason}`);
  }
  return [...lines, bold(report.summary)];
}

/** The schema of the report. */
export function p2pSchema(): JsonObject {
  const text = { type: "string" };
  const maybe = { type: ["string", "null"] };
  const answer = { enum: ["yes", "no", "unknown"] };
  return closedObject({
    schema: { const: "check_p2p/1" },
    drive: text,
    gpu: maybe,
    class: maybe,
    checks: {
      type: "array",
      items: closedObject({
        step: { type: "integer", minimum: 1, maximum: 8 },
        name: text,
        outcome: { enum: ["pass", "warn", "fail", "unknown", "not run"] },
        text,
        evidence: text,
        rule: text,
        remedy: maybe,
      }),
    },
    stopped: maybe,
    level: { enum: ["none", "mapped", "writes arrive", "reads return"] },
    verdict: answer,
    summary: text,
    tiers: {
      type: "array",
      items: closedObject({ tier: { enum: [1, 2, 3] }, title: text, answer, reason: text }),
    },
  });
}
