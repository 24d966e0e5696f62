/**
 * What was found out about a machine: a value, that there is none, or why it is not known. The three are never mixed up:
 * what a recording does not hold may well be on the machine.
 * @module
 */

/** Why something is not known. */
export class Unknown {
  /** In a few words, to stand after a colon: `not recorded`. */
  readonly reason: string;

  /** Something is not known for this reason, in a few words: `not recorded`. */
  constructor(reason: string) {
    this.reason = reason;
  }

  /** Text that claims nothing. */
  toString(): string {
    return `not known: ${this.reason}`;
  }
}

/**
 * A value, null for none, or why it is not known.
 *
 * @example
 * ```ts
 * import { type Fact, Unknown, valueOf } from "./fact.ts";
 * const driver: Fact<string> = new Unknown("not recorded");
 * console.assert(driver !== null && valueOf(driver) === null);
 * ```
 */
export type Fact<T> = T | null | Unknown;

/** The value; null where there is none and where it is not known, for code to which the two are the same. */
export function valueOf<T>(fact: Fact<T>): T | null {
  return fact instanceof Unknown ? null : fact;
}
