/**
 * What every tool that moves blocks says of them: how much, how long each command took, what was wrong.
 * @module
 */

import { red } from "@std/fmt/colors";

import { type Histogram, valuesForPercentile } from "../../../src/core/histogram.ts";
import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes } from "../../../src/core/units.ts";
import type { TransferPlan } from "../../../src/nvme/jobs/transfer_plan.ts";

/** Microseconds with one decimal. */
export function microseconds(nanoseconds: number): string {
  return (nanoseconds / 1000).toFixed(1);
}

/** What was moved. The last transfer of a range may be shorter than the others. */
export function amountMoved(plan: TransferPlan, { transfers, bytes }: { transfers: number; bytes: number }): string {
  const sizeBytes = plan.transferBlocks * plan.namespace.blockBytes;
  return transfers * sizeBytes === bytes
    ? `${transfers} × ${formatBytes(sizeBytes)}`
    : `${formatBytes(bytes)} in ${transfers} transfers of at most ${formatBytes(sizeBytes)}`;
}

/** A block that is not as the pattern says. */
export interface Mismatch {
  /** The block. */
  readonly lba: bigint;
  /** Bytes into it. */
  readonly offset: number;
  /** What is there, and what should be. */
  readonly text: string;
}

/** What a verification found, in one line; none for other actions that went well. */
export function verifiedLines(action: string, mismatch: Mismatch | null): string[] {
  if (mismatch !== null) return [red(`block ${mismatch.lba} is wrong at byte ${mismatch.offset}: ${mismatch.text}`)];
  return action === "verify" ? ["every block is as the pattern says"] : [];
}

/** The mismatch for programs. */
export function mismatchJson(mismatch: Mismatch | null): JsonObject | null {
  return mismatch === null ? null : { lba: mismatch.lba.toString(), offset: mismatch.offset, text: mismatch.text };
}

/** The schema of {@linkcode mismatchJson}. */
export function mismatchSchema(): JsonObject {
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  const integer = { type: "integer", minimum: 0 };
  return { anyOf: [{ type: "null" }, closedObject({ lba: decimal, offset: integer, text: { type: "string" } })] };
}

/** What so few values cannot tell, or null. */
export function missingPercentiles(
  histogram: Histogram,
  percentiles: readonly number[],
  what: string = "transfer",
): string | null {
  const first = percentiles.find((percent) => !histogram.hasPercentile(percent));
  if (first === undefined) return null;
  const { count } = histogram;
  return `${count} ${what}${count === 1 ? "" : "s"}: ${first} % needs ${valuesForPercentile(first)}`;
}

/** Times in microseconds for programs; null for a percentile that so few values cannot tell. */
export function timesJson(
  histogram: Histogram,
  percentiles: readonly number[],
): Readonly<Record<string, number | JsonObject>> {
  return {
    min: histogram.min / 1000,
    mean: histogram.mean / 1000,
    max: histogram.max / 1000,
    percentiles: Object.fromEntries(
      percentiles.map((percent) => [
        String(percent),
        histogram.hasPercentile(percent) ? histogram.percentile(percent) / 1000 : null,
      ]),
    ),
  };
}

/** The members of the schema of {@linkcode timesJson}. */
export function timesMembers(percentiles: readonly number[]): Readonly<Record<string, JsonObject>> {
  const number = { type: "number", minimum: 0 };
  return {
    min: number,
    mean: number,
    max: number,
    percentiles: closedObject(
      Object.fromEntries(percentiles.map((percent) => [String(percent), { type: ["number", "null"], minimum: 0 }])),
    ),
  };
}
