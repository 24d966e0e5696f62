// deno-std carries no declarations.

/** The number of insertions, deletions and substitutions that turn one text into the other. */
export function levenshteinDistance(a: string, b: string): number;
