/**
 * Values of NVMe structures in words: temperatures, times, capacities, identifiers.
 * @module
 */

import { formatBytes, formatDecimalBytes, formatDurationMs, formatDurationUs } from "../../core/units.ts";
import { versionText } from "./registers.ts";

/** Words for a value, or `not reported` for 0. */
export function reported(words: (value: bigint) => string): (value: bigint) => string {
  return (value) => value === 0n ? "not reported" : words(value);
}

/** A temperature in kelvin, as degrees Celsius. */
export function celsius(kelvin: bigint): string {
  return `${kelvin - 273n} °C`;
}

/** A temperature in kelvin, of which 0 means that there is none. */
export const temperature: (kelvin: bigint) => string = reported(celsius);

/** A time in microseconds, of which 0 means that there is none. */
export const microseconds: (value: bigint) => string = reported(formatDurationUs);

/** A time in milliseconds. */
export function milliseconds(value: bigint): string {
  return formatDurationMs(Number(value));
}

/** A time in units of 100 ms. */
export function tenths(value: bigint): string {
  return formatDurationMs(Number(value) * 100);
}

/** A time in seconds, of which all ones (32 bits) means that there is none. */
export function secondsOrUnknown(value: bigint): string {
  return value === 0xffff_ffffn ? "not reported" : formatDurationMs(Number(value) * 1000);
}

/** A time in minutes. */
export function minutes(value: bigint): string {
  return `${value} min`;
}

/** A percentage. */
export function percent(value: bigint): string {
  return `${value} %`;
}

/** A capacity in bytes, as it is sold and as it is computed with. */
export function capacity(sizeBytes: bigint): string {
  const binary = formatBytes(sizeBytes);
  return sizeBytes < 1000n ? binary : `${formatDecimalBytes(sizeBytes)} (${binary})`;
}

/** A size in units of 4 KiB. */
export function units4K(value: bigint): string {
  return formatBytes(value << 12n);
}

/** A size in units of 64 KiB. */
export function units64K(value: bigint): string {
  return formatBytes(value << 16n);
}

/** Data units of logs: a thousand blocks of 512 bytes each. */
export function dataUnits(value: bigint): string {
  return formatDecimalBytes(value * 512_000n);
}

/** A number that is stored as one less than it is, with what it counts. */
export function zeroBased(one: string, many: string = `${one}s`): (value: bigint) => string {
  return (value) => counted(value + 1n, one, many);
}

/** A number with what it counts. */
export function counted(value: bigint, one: string, many: string = `${one}s`): string {
  return `${value} ${value === 1n ? one : many}`;
}

/** A number of which 0 means that there is no limit. */
export function noLimit(words: (value: bigint) => string): (value: bigint) => string {
  return (value) => value === 0n ? "no limit" : words(value);
}

/** A power of two in units of the smallest memory page (CAP.MPSMIN), of which 0 means no limit. */
export const pagesPowerOf2: (value: bigint) => string = noLimit((value) =>
  `2^${value} × the smallest memory page (${value > 40n ? "beyond any drive" : formatBytes(4096n << value)} for 4 KiB)`
);

/** A version of the specification; older ones than 1.2 do not say. */
export function version(value: bigint): string {
  return value === 0n ? "before 1.2" : versionText(value);
}

/** An OUI: three bytes as the register of manufacturers writes them. */
export function oui(value: bigint): string {
  return value.toString(16).padStart(6, "0").toUpperCase().replace(/(..)(..)(..)/, "$1-$2-$3");
}

function ouiOf(bytes: Uint8Array, at: number): string {
  return `OUI ${bytes.subarray(at, at + 3).toHex().toUpperCase().replace(/(..)(..)(..)/, "$1-$2-$3")}`;
}

function reportedBytes(words: (bytes: Uint8Array) => string): (bytes: Uint8Array) => string {
  return (bytes) => bytes.every((byte) => byte === 0) ? "not reported" : words(bytes);
}

/** An EUI-64: it begins with the manufacturer's OUI. */
export const eui64: (bytes: Uint8Array) => string = reportedBytes((bytes) => ouiOf(bytes, 0));

/** An NGUID or FGUID: the manufacturer's OUI follows eight bytes of its own. */
export const nguid: (bytes: Uint8Array) => string = reportedBytes((bytes) => ouiOf(bytes, 8));

/** A UUID as it is written, from its bytes in order. */
export const uuid: (bytes: Uint8Array) => string = reportedBytes((bytes) =>
  bytes.toHex().replace(/(.{8})(.{4})(.{4})(.{4})(.*)/, "$1-$2-$3-$4-$5")
);

/** Power: a number and its scale, 1 for 0.1 mW and 2 for 10 mW. */
export function power(value: bigint, scale: bigint): string {
  if (scale === 0n || value === 0n) return "not reported";
  if (scale === 3n) return "scale not defined";
  const watts = Number(value) / (scale === 1n ? 10_000 : 100);
  return `${Number(watts.toFixed(4))} W`;
}

/** I/O command sets by identifier (CSI). */
export const COMMAND_SETS: Readonly<Record<number, string>> = {
  0: "NVM",
  1: "Key Value",
  2: "Zoned Namespace",
  3: "Subsystem Local Memory",
  4: "Computational Programs",
};

/** Transports by type. */
export const TRANSPORT_TYPES: Readonly<Record<number, string>> = {
  0: "not over a fabric",
  1: "RDMA",
  2: "Fibre Channel",
  3: "TCP",
  254: "within the host",
};
