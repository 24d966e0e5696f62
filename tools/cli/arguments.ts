/**
 * Parsers of option values, for every tool. Each throws with a sentence that names the value and shows a right one.
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";

import { BusbarError } from "../../src/core/error.ts";
import type { AccessBytes } from "../../src/core/mmio.ts";
import { formatDurationMs, parseBytes, parseDurationMs, parseMemorySize, parseUnsigned } from "../../src/core/units.ts";

/** A run of bytes: `0x1000+64`. */
export interface ByteRange {
  /** First byte. */
  readonly offset: number;
  /** How many. */
  readonly sizeBytes: number;
}

function refuse(text: string, sentence: string): never {
  throw new InvalidArgumentError(`'${text}' ${sentence}`);
}

/** `START+LENGTH`, both with units or in hexadecimal. */
export function byteRange(text: string): ByteRange {
  const [start, length, ...rest] = text.split("+");
  if (start === undefined || length === undefined || rest.length > 0) {
    refuse(text, "is no range: write START+LENGTH, as in 0x1000+64");
  }
  const range = { offset: Number(sizeOf(start, text)), sizeBytes: Number(sizeOf(length, text)) };
  if (range.sizeBytes === 0 || !Number.isSafeInteger(range.offset + range.sizeBytes)) {
    refuse(text, "is no range: its length is not usable");
  }
  return range;
}

function sizeOf(part: string, whole: string): bigint {
  try {
    return parseBytes(part);
  } catch {
    return refuse(whole, "is no range: write START+LENGTH, as in 0x1000+64");
  }
}

/** A register width in bytes. */
export function accessBytes(text: string): AccessBytes {
  switch (text) {
    case "1":
    case "2":
    case "4":
    case "8":
      return Number(text) as AccessBytes;
    default:
      return refuse(text, "is no access width: write 1, 2, 4 or 8 (bytes)");
  }
}

/** A BAR's number. */
export function barIndex(text: string): number {
  return /^[0-5]$/.test(text) ? Number(text) : refuse(text, "is no BAR: write 0 to 5");
}

/** A duration in milliseconds: `500ms`, `2s`. */
export function durationMs(text: string): number {
  return orRefuse(text, () => parseDurationMs(text), "is no duration: write it as in 500ms, 2s or 5m");
}

/** What the help of every option says that takes a time. */
export const TIME_HELP = "as in 500ms, 2s, 5m; a plain number is seconds";

/**
 * An option that takes a time, in milliseconds for the program.
 *
 * @param flags its name and `<time>`, or `[time]` where the time may be left out
 * @param description what the time is of
 * @param usual the default, as a person would type it
 */
export function timeOption<Flags extends string>(flags: Flags, description: string): TimeOption<Flags, undefined>;
export function timeOption<Flags extends string>(
  flags: Flags,
  description: string,
  usual: string,
): TimeOption<Flags, number>;
export function timeOption<Flags extends string>(
  flags: Flags,
  description: string,
  usual?: string,
): TimeOption<Flags, number | undefined> {
  const option = new Option(flags, `${description}, ${TIME_HELP}`).argParser(durationMs);
  return usual === undefined ? option : option.default(durationMs(usual), formatDurationMs(durationMs(usual)));
}

/** What {@linkcode timeOption} returns. */
export type TimeOption<Flags extends string, Default extends number | undefined> = Option<
  Flags,
  undefined,
  Default,
  number,
  false
>;

/** A size in bytes: `64KiB`. */
export function sizeBytes(text: string): bigint {
  return orRefuse(text, () => parseBytes(text), "is no size: write it as in 4096, 64KiB or 1GiB");
}

/** An unsigned number, decimal or hexadecimal. */
export function unsigned(text: string): bigint {
  return orRefuse(text, () => parseUnsigned(text, "number"), "is no number: write decimal or 0x and hexadecimal");
}

function orRefuse<T>(text: string, parse: () => T, sentence: string): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof BusbarError) refuse(text, sentence);
    throw error;
  }
}

/** A whole number from 1 on. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= 1 && Number.isSafeInteger(value)
    ? value
    : refuse(text, "is no whole number from 1 on");
}

/** A number above 0 and below 1. */
export function fraction(text: string): number {
  const value = Number(text);
  return /^0?\.\d+$/.test(text) && value > 0 ? value : refuse(text, "is no number between 0 and 1: write it as in 0.9");
}

/** A number above 0, whole or not. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  return /^\d*\.?\d+$/.test(text) && value > 0 && Number.isFinite(value) ? value : refuse(text, "is no number above 0");
}

/** A number from 0 to 1. */
export function ratio(text: string): number {
  const value = Number(text);
  return /^\d*\.?\d+$/.test(text) && value <= 1 ? value : refuse(text, "is no share: write a number from 0 to 1");
}

/** A size of memory, with a unit: `64MiB`. */
export function memorySize(text: string): bigint {
  try {
    return parseMemorySize(text);
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    throw new InvalidArgumentError(`${error.message}: ${error.hint}`);
  }
}

/** Processor numbers: `0-3,8`. */
export function cpuList(text: string): number[] {
  return text.split(",").flatMap((run) => {
    const [, first, last] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(run.trim()) ?? [];
    const [from, to] = [Number(first), Number(last ?? first)];
    if (first === undefined || to < from) refuse(text, "is no list of processors: write it as in 0-3,8");
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** A NUMA node's number. */
export function nodeNumber(text: string): number {
  return /^\d{1,4}$/.test(text) ? Number(text) : refuse(text, "is no node: write its number, as in 0");
}

/** Words that help and completion show for an argument, which the tool checks by itself. */
export function suggesting<Of extends { argChoices?: readonly string[] }>(argument: Of, words: readonly string[]): Of {
  argument.argChoices = words;
  return argument;
}
