/**
 * Words for a POSIX shell: what is printed here can be pasted into one.
 * @module
 */

/**
 * One word, quoted only where a shell would otherwise change it.
 *
 * @example
 * ```ts
 * import { quoteWord } from "./shell_words.ts";
 * console.assert(quoteWord("it's") === `'it'\\''s'`);
 * ```
 */
export function quoteWord(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Several words, quoted and joined by spaces. */
export function quoteWords(words: readonly string[]): string {
  return words.map(quoteWord).join(" ");
}

/**
 * A command over several lines: the program on the first, then each option with its value on a line of its own.
 *
 * @param words the program and its arguments; those that begin with `-` start a line
 */
export function quoteCommand(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || word.startsWith("-")) lines.push(quoteWord(word));
    else lines[lines.length - 1] = `${last} ${quoteWord(word)}`;
  }
  return lines.join(" \\\n  ");
}
