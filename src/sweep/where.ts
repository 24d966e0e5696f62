/**
 * Conditions on the parameters of a point: `window <= 32`, `model != epoch or window > 4`.
 * @module
 */

import type { Options, OptionValue } from "./option.ts";

/** Compares two values. */
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";

/** One side of a comparison: a parameter or option by its name, or a value. */
export type Side = { readonly name: string } | { readonly value: string | number | boolean };

/** Two sides that are compared. */
export interface ComparedSides {
  /** The parameter or option. */
  readonly left: Side;
  /** How. */
  readonly how: Comparison;
  /** What it is compared with. */
  readonly right: Side;
}

/** A condition. */
export interface Condition {
  /** As it was written. */
  readonly text: string;
  /** It is fulfilled when one of these holds. */
  readonly any: readonly ComparedSides[];
}

const PARTS = /^\s*(\S+|"[^"]*")\s*(==|!=|<=|>=|<|>)\s*("[^"]*"|\S+)\s*$/;

/**
 * Reads a condition.
 *
 * @param names the parameters and options of the grid; other words are values
 * @returns what is wrong with it, as text, where it is none
 */
export function readCondition(text: string, names: ReadonlySet<string>): Condition | string {
  const any: ComparedSides[] = [];
  for (const part of text.split(/\s+or\s+/)) {
    const [, left = "", how = "", right = ""] = PARTS.exec(part) ?? [];
    if (how === "") return `'${part}' is no comparison: NAME == VALUE, with ==, !=, <, <=, > or >=`;
    if (!names.has(left)) return `'${left}' is neither a parameter nor an option`;
    any.push({ left: { name: left }, how: how as Comparison, right: sideOf(right, names) });
  }
  return { text, any };
}

function sideOf(word: string, names: ReadonlySet<string>): Side {
  if (word.startsWith('"')) return { value: word.slice(1, -1) };
  if (names.has(word)) return { name: word };
  if (word === "true" || word === "false") return { value: word === "true" };
  return { value: /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(word) ? Number(word) : word };
}

/** Whether a point fulfils a condition. */
export function fulfils({ any }: Condition, options: Options): boolean {
  const valueOf = (side: Side): OptionValue => "name" in side ? options[side.name] ?? null : side.value;
  return any.some(({ left, how, right }) => compare(valueOf(left), how, valueOf(right)));
}

function compare(left: OptionValue, how: Comparison, right: OptionValue): boolean {
  const text = (value: OptionValue): string => Array.isArray(value) ? value.join(",") : String(value);
  if (how === "==") return text(left) === text(right);
  if (how === "!=") return text(left) !== text(right);
  // Numbers are compared as numbers; what is none has no order.
  const [a, b] = [Number(left ?? NaN), Number(right ?? NaN)];
  if (how === "<") return a < b;
  if (how === "<=") return a <= b;
  return how === ">" ? a > b : a >= b;
}
