/**
 * Lists of numbers as CXLMemSim's users write them, read as C reads numbers: `85.5,.5,88.`.
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";

import type { Pair } from "../../src/sim/engine/network.ts";

/** One number without a sign, with or without decimals and exponent. */
export function plainNumber(text: string): number {
  const value = Number(text);
  if (/^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) && Number.isFinite(value)) return value;
  throw new InvalidArgumentError(text === "" ? "an empty field where a number was expected" : `'${text}' is no number`);
}

/** Numbers separated by commas. */
export function numberList(text: string): number[] {
  return text.split(",").map((field) => plainNumber(field.trim()));
}

/** One number for reads and writes, or two. */
export function pairOf(text: string): Pair {
  const [read, write, ...rest] = numberList(text);
  if (read === undefined || rest.length > 0) throw new InvalidArgumentError(`'${text}' is not one number or two`);
  return [read, write ?? read];
}

/** `r1,w1,r2,w2,…`. */
export function pairList(text: string): Pair[] {
  const numbers = numberList(text);
  if (numbers.length % 2 !== 0) {
    throw new InvalidArgumentError(
      `${numbers.length} numbers are half a pair too many: write read,write for each endpoint`,
    );
  }
  return Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i] as number, numbers[2 * i + 1] as number]);
}

const UNITS: Readonly<Record<string, number>> = { "": 2 ** 20, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Capacities: a bare number is MiB; K, M, G and T are powers of two. */
export function capacityList(text: string): number[] {
  return text.split(",").map((field) => {
    const match = /^(.*?)([kmgt]?)(?:i?b)?$/i.exec(field.trim());
    const unit = UNITS[(match?.[2] ?? "").toLowerCase()] ?? NaN;
    const bytes = plainNumber(match?.[1] ?? "") * unit;
    if (Number.isSafeInteger(bytes)) return bytes;
    throw new InvalidArgumentError(`'${field}' is no whole number of bytes below 2^53`);
  });
}

/** Processor numbers. */
export function processorList(text: string): number[] {
  return numberList(text).map((processor) => {
    if (Number.isInteger(processor) && processor < 65536) return processor;
    throw new InvalidArgumentError(`'${processor}' is no processor`);
  });
}

/** A command line in one text: split at blanks, quotes honoured. */
export function splitCommand(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote !== null) {
      if (c === quote) quote = null;
      else if (c === "\\" && quote === '"' && i + 1 < text.length) word = (word ?? "") + text[++i];
      else word = (word ?? "") + c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= "";
    } else if (c === "\\" && i + 1 < text.length) word = (word ?? "") + text[++i];
    else if (/\s/.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + c;
  }
  if (quote !== null) throw new InvalidArgumentError(`a ${quote} is missing in '${text}'`);
  if (word !== null) words.push(word);
  if (words.length === 0) throw new InvalidArgumentError("there is no program in it");
  return words;
}

/** Collects an option that may be given several times. */
export function collected(text: string, before: readonly string[] | undefined): string[] {
  return [...before ?? [], text];
}
