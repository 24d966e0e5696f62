/**
 * What a text form of a trace is: a parser of lines and a printer of lines.
 * @module
 */

import type { AccessBatch } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import { LineError } from "./line_error.ts";

/** What the reader or writer of a form is told besides the file. */
export interface TraceOptions {
  /** Time of one instruction, for forms that count instructions: lackey, drmemtrace. Default 0.25 ns. */
  readonly nsPerInstruction?: number | undefined;
  /** Time of one tick or cycle, for forms that count them. Default: gem5 0.001 ns (1 ps), DRAMsim3 1 ns. */
  readonly nsPerTick?: number | undefined;
  /** Time from one entry to the next in forms without any time: Ramulator 2, allocation logs. Default 0. */
  readonly gapNs?: number | undefined;
  /** The columns of `perf script -F` or of gem5's decoder, separated by commas. */
  readonly fields?: string | undefined;
  /** perf: accesses that each sample stands for, 1 to 65,536. Default 1. */
  readonly period?: number | undefined;
  /** perf: take the physical address instead of the virtual one. */
  readonly physical?: boolean | undefined;
  /** The host that a form without hosts belongs to. Default 0. */
  readonly host?: number | undefined;
}

/** Reads one file of a form, line by line, from its start. */
export interface LineParser {
  /**
   * Takes one line, without its end and not empty.
   *
   * @throws {LineError} what is wrong with the line
   */
  line(text: string, out: EntryCollector): void;
}

/** Writes one file of a form. */
export interface LinePrinter {
  /** What the file begins with: lines, or nothing. */
  readonly head: string;
  /** The entries of a batch as lines. */
  print(batch: AccessBatch): string;
}

/** A text form of a trace. */
export interface TextFormat {
  /** Its name on the command line. */
  readonly name: string;
  /** What a line of it looks like, or where it comes from. */
  readonly title: string;
  /** True when a line of a file, not empty and no comment, shows that the file is of this form. */
  readonly recognise: (line: string) => boolean;
  /** A parser for one file. */
  readonly parser: (options: TraceOptions) => LineParser;
  /** A printer for one file. */
  readonly printer: (options: TraceOptions) => LinePrinter;
  /** What the form cannot carry, for the note of `convert`; empty when it carries all. */
  readonly loses: string;
}

/** Text of a file in an error: cut, and only what can be printed. */
export function quoted(text: string): string {
  const printable = text.slice(0, 41).replace(/[^\x20-\x7e]/g, "?");
  return `'${printable.length > 40 ? `${printable.slice(0, 40)}…` : printable}'`;
}

/**
 * Reads a whole number, decimal or hexadecimal with `0x`, that a float64 holds exactly.
 *
 * @throws {LineError}
 */
export function wholeNumber(text: string, what: string): number {
  const value = /^(?:\d{1,20}|0[xX][0-9a-fA-F]{1,16})$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw new LineError(`${what} ${quoted(text)} is no whole number below 2^53`);
  return value;
}

/**
 * As {@linkcode wholeNumber} for hexadecimal digits, with or without `0x`.
 *
 * @throws {LineError}
 */
export function hexNumber(text: string, what: string): number {
  const value = /^(?:0[xX])?[0-9a-fA-F]{1,16}$/.test(text) ? parseInt(text, 16) : NaN;
  if (!Number.isSafeInteger(value)) throw new LineError(`${what} ${quoted(text)} is no hexadecimal number below 2^53`);
  return value;
}

/**
 * Reads a number that is not negative and may have decimals or an exponent.
 *
 * @throws {LineError}
 */
export function decimalNumber(text: string, what: string): number {
  const value = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(value)) throw new LineError(`${what} ${quoted(text)} is no number that is zero or more`);
  return value;
}

/** Threads of a foreign trace by its own identifiers, numbered from 0 as they appear. */
export class ThreadNumbers {
  readonly #numbers = new Map<string, number>();

  /** The number of a thread; a new one when it is seen for the first time. */
  of(identifier: string): number {
    let number = this.#numbers.get(identifier);
    if (number === undefined) this.#numbers.set(identifier, number = this.#numbers.size);
    return number;
  }
}
