/**
 * Options of a run.
 * @module
 */

/** A value of an option: `true` gives the flag alone, `false` and null leave it out, a list is joined by commas. */
export type OptionValue = string | number | boolean | null | readonly (string | number)[];

/** Options by long name, without the dashes. */
export type Options = Readonly<Record<string, OptionValue>>;
