/**
 * The changes that `deno task mutate` tries.
 * @module
 */

/** One change to one place of the sources. */
export interface Mutant {
  /** What is wrong then, in words. */
  readonly name: string;
  /** The file. */
  readonly file: string;
  /** What stands there, exactly once. */
  readonly find: string;
  /** What is put in its place. */
  readonly replace: string;
  /** The test files of which one has to fail. */
  readonly tests: readonly string[];
  /** Why no test can notice; left out where one has to. */
  readonly survives?: string;
}

/** Reads the list. */
export function readMutants(path: string): readonly Mutant[] {
  return JSON.parse(Deno.readTextFileSync(path));
}

/** The text of the file with the change; null when its place is not there, or is there more than once. */
export function textWith(mutant: Mutant, text: string): string | null {
  return text.split(mutant.find).length === 2 ? text.replace(mutant.find, () => mutant.replace) : null;
}
