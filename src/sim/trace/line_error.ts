/**
 * The error of a parser of lines.
 * @module
 */

/** What is wrong with a line; who knows the file and the number of the line makes a BusbarError of it. */
export class LineError extends Error {
  /** What to do, or null. */
  readonly hint: string | null;

  /** `message` says what was found. */
  constructor(message: string, hint: string | null = null) {
    super(message);
    this.hint = hint;
  }
}
