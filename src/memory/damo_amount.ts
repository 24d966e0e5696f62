/**
 * Amounts as damo writes them: `100 ms`, `4.000 KiB`, `10,000`, `5 %`, `max`.
 *
 * Source: damo 2.4 and 3.0.
 * @module
 */

import { NO_LIMIT } from "./damon_plan.ts";

/** Units of time with their nanoseconds, the largest first. */
export const DURATION_UNITS: readonly (readonly [name: string, nanoseconds: bigint])[] = [
  ["d", 86_400_000_000_000n],
  ["h", 3_600_000_000_000n],
  ["m", 60_000_000_000n],
  ["s", 1_000_000_000n],
  ["ms", 1_000_000n],
  ["us", 1000n],
  ["ns", 1n],
];

/** Units of size, each 1024 times the one before. */
export const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** Numbers without a unit. */
export const PLAIN: ReadonlyMap<string, bigint> = new Map([["", 1n]]);
/** Nanoseconds of each unit of time. */
export const NANOSECONDS: ReadonlyMap<string, bigint> = new Map(DURATION_UNITS);
/** Bytes of each unit of size. */
export const BYTES: ReadonlyMap<string, bigint> = new Map([
  ["", 1n],
  ...SIZE_UNITS.map((name, i) => [name, 1n << BigInt(10 * i)] as const),
]);

/** `4.000 KiB`, `10,000`, `max`, or a plain number; null when it is none, or no whole number of units. */
export function parseAmount(value: unknown, units: ReadonlyMap<string, bigint>): bigint | null {
  if (value === "max") return NO_LIMIT;
  const text = typeof value === "number" || typeof value === "bigint" ? String(value) : value;
  if (typeof text !== "string") return null;
  const match = /^(\d+)(?:\.(\d+))?\s*([A-Za-z]*)$/.exec(text.replaceAll(",", "").trim());
  const unit = units.get(match?.[3] ?? "-");
  if (match === null || unit === undefined) return null;
  const [, whole = "", fraction = ""] = match;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  return scaled % scale === 0n ? scaled / scale : null;
}

/** A time in units of `unitNs`: text with a unit, or a plain number of those units. */
export function parseTime(value: unknown, unitNs: bigint): bigint | null {
  const plain = parseAmount(value, PLAIN);
  if (plain !== null) return plain;
  const nanoseconds = parseAmount(value, NANOSECONDS);
  return nanoseconds === null || nanoseconds % unitNs !== 0n ? null : nanoseconds / unitNs;
}

/** A share in percent: `5 %`; null when it is none. */
export function parsePercent(value: unknown): number | null {
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value.trim()) : null;
  return match === null ? null : Number(match[1]);
}
