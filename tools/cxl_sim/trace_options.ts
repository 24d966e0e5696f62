/**
 * Options of the subcommands that read a trace.
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";

/** A number above zero, with decimals. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (/^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError(`'${text}' is no number above zero`);
}

/** A size in bytes that a float64 holds exactly. */
export function safeSize(sizeBytes: bigint): number {
  const size = Number(sizeBytes);
  if (size > 0 && Number.isSafeInteger(size)) return size;
  throw new InvalidArgumentError(`${sizeBytes} bytes are not between 1 and 2^53`);
}

/** `NAME=VALUE`, collected. */
export function environmentEntry(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError(`'${text}' is no environment entry: write NAME=VALUE`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Numbers above zero, separated by commas. */
export function numberList(text: string): number[] {
  return text.split(",").map((part) => positiveNumber(part.trim()));
}
