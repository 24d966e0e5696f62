/**
 * What a fuzz target in TypeScript is.
 * @module
 */

/** What came of one input. */
export interface Tried {
  /** What is wrong, or null. */
  readonly problem: string | null;
  /** What was found where tables decide, not code: no block of code is new there. */
  readonly features: readonly string[];
}

/** A fuzz target in TypeScript, with the corpus `tests/fuzz/corpus/NAME`. */
export interface ScriptTarget {
  /** Takes any bytes. May throw nothing but a BusbarError. */
  readonly run: (bytes: Uint8Array) => Promise<Tried>;
  /** Longest input in bytes. */
  readonly maxBytes: number;
  /** Words that make an input interesting, as text or hexadecimal digits behind `0x`. */
  readonly words: readonly string[];
  /** Offsets in bytes where words matter. */
  readonly places: readonly number[];
}
