/**
 * Sizes, durations and numbers, as text for people and from text that people typed.
 * @module
 */

import { BusbarError } from "./error.ts";

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** Powers of two by the suffix that people type. `K` alone means KiB, as in QEMU and the kernel's command line. */
const SIZE_SUFFIXES: Readonly<Record<string, bigint>> = {
  "": 1n,
  b: 1n,
  k: 1n << 10n,
  kib: 1n << 10n,
  m: 1n << 20n,
  mib: 1n << 20n,
  g: 1n << 30n,
  gib: 1n << 30n,
  t: 1n << 40n,
  tib: 1n << 40n,
  kb: 1000n,
  mb: 1000n ** 2n,
  gb: 1000n ** 3n,
  tb: 1000n ** 4n,
};

/**
 * A byte count in its largest binary unit: whole where it is exact, else rounded to two decimals: `16 KiB`, `1.50 GiB`.
 *
 * @example
 * ```ts
 * import { formatBytes } from "./units.ts";
 * console.assert(formatBytes(16384n) === "16 KiB");
 * ```
 */
export function formatBytes(sizeBytes: bigint | number): string {
  return inUnits(BigInt(sizeBytes), 1024n, BINARY_UNITS);
}

const DECIMAL_UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"] as const;

/**
 * A byte count as capacities of drives are sold: whole where it is exact, else rounded to two decimals: `512.11 GB`, `4 kB`.
 *
 * @example
 * ```ts
 * import { formatDecimalBytes } from "./units.ts";
 * console.assert(formatDecimalBytes(67_108_864n) === "67.11 MB");
 * ```
 */
export function formatDecimalBytes(sizeBytes: bigint | number): string {
  return inUnits(BigInt(sizeBytes), 1000n, DECIMAL_UNITS);
}

function inUnits(sizeBytes: bigint, base: bigint, units: readonly string[]): string {
  let [unit, scale] = [0, 1n];
  while (unit < units.length - 1 && sizeBytes >= scale * base) [unit, scale] = [unit + 1, scale * base];
  if (sizeBytes % scale === 0n) return `${sizeBytes / scale} ${units[unit]}`;
  let hundredths = (sizeBytes * 100n + scale / 2n) / scale;
  // 999.999 kB is rounded to 1.00 MB.
  if (hundredths === base * 100n && unit < units.length - 1) [unit, hundredths] = [unit + 1, 100n];
  return `${hundredths / 100n}.${(hundredths % 100n).toString().padStart(2, "0")} ${units[unit]}`;
}

/**
 * Reads a byte count: `4096`, `0x1000`, `64K`, `64KiB`, `1.5GiB` (exact results only), `10MB` (decimal).
 *
 * @throws {BusbarError} `usage` when it is no size, negative or not a whole number of bytes
 *
 * @example
 * ```ts
 * import { parseBytes } from "@busbar/busbar";
 * console.assert(parseBytes("4KiB") === 4096n);
 * ```
 */
export function parseBytes(text: string): bigint {
  const match = /^(?:(0x[0-9a-f]+)|(\d+)(?:\.(\d+))?\s*([a-z]*))$/i.exec(text.trim());
  if (match === null) throw badSize(text);
  const [, hex, whole, fraction, suffix] = match;
  if (hex !== undefined) return BigInt(hex);
  const unit = SIZE_SUFFIXES[(suffix ?? "").toLowerCase()];
  if (unit === undefined || whole === undefined) throw badSize(text);
  if (fraction === undefined) return BigInt(whole) * unit;
  const denominator = 10n ** BigInt(fraction.length);
  const numerator = BigInt(whole + fraction) * unit;
  if (numerator % denominator !== 0n) {
    throw new BusbarError("usage", `'${text}' is not a whole number of bytes`, { hint: "write it in a smaller unit" });
  }
  return numerator / denominator;
}

function badSize(text: string): BusbarError {
  return new BusbarError("usage", `'${text}' is not a size`, {
    hint: "write bytes or a unit: 4096, 0x1000, 64KiB, 1GiB",
  });
}

/**
 * Reads an unsigned number, decimal or hexadecimal with `0x`.
 *
 * @param what the name of the number in the error: `offset`
 * @throws {BusbarError} `usage`
 */
export function parseUnsigned(text: string, what: string): bigint {
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) {
    throw new BusbarError("usage", `${what} '${text}' is not a number`, {
      hint: "write decimal or 0x and hexadecimal",
    });
  }
  return BigInt(text);
}

const DURATION_SUFFIXES: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
};

/**
 * Reads a duration and returns milliseconds: `500ms`, `2s`, `1.5s`, `5m`; a plain number is seconds.
 *
 * @throws {BusbarError} `usage` when it is none, or is not above zero
 */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const factor = match === null ? undefined : DURATION_SUFFIXES[(match[2] || "s").toLowerCase()];
  const milliseconds = Number(match?.[1]) * (factor ?? NaN);
  if (!Number.isFinite(milliseconds) || milliseconds <= 0) {
    throw new BusbarError("usage", `'${text}' is not a duration`, { hint: "write a number and a unit: 500ms, 2s, 5m" });
  }
  return milliseconds;
}

/** Milliseconds as people say them: `250 ms`, `7.5 s`, `2 min`. */
export function formatDurationMs(milliseconds: number): string {
  if (milliseconds < 1000) return `${trimZeros(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${trimZeros(milliseconds / 1000)} s`;
  return `${trimZeros(milliseconds / 60_000)} min`;
}

/** Microseconds as people say them: `80 µs`, `2.5 ms`, `5 s`. */
export function formatDurationUs(microseconds: bigint | number): string {
  const value = Number(microseconds);
  return value < 1000 ? `${trimZeros(value)} µs` : formatDurationMs(value / 1000);
}

function trimZeros(value: number): string {
  return Number(value.toFixed(2)).toString();
}

/** `0x` and at least `digits` hexadecimal digits. */
export function hex(value: bigint | number, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

/** Whole numbers as people write lists of them, in order: `0-3,8`. */
export function formatNumbers(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => first === last ? String(first) : `${first}-${last}`).join(",");
}

/**
 * Reads the size of a piece of memory as a person writes it. Unlike {@linkcode parseBytes} it wants a unit, because a
 * forgotten one is a size too small to notice, and a size above zero.
 *
 * @throws {BusbarError} `usage`
 */
export function parseMemorySize(text: string): bigint {
  const bytes = parseBytes(text);
  if (bytes <= 0n) {
    throw new BusbarError("usage", `'${text}' is no size of memory`, { hint: "write it as in 64MiB or 1GiB" });
  }
  if (/^\d+(?:\.\d+)?$/.test(text.trim())) {
    throw new BusbarError("usage", `'${text}' has no unit`, {
      hint: "put a unit behind it: B for bytes, KiB, MiB or GiB",
    });
  }
  return bytes;
}
