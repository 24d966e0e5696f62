/**
 * Numbers that C sources name, read from their text: enumerators, and tables by index.
 * @module
 */

/**
 * The enumerators of C source, by name. It knows numbers, shifts, `|`, `*`, `+` and names that come before; an enumerator
 * with another value, such as a `sizeof`, is left out.
 */
export function enumerators(source: string): Map<string, number> {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/[^\n]*/g, " ");
  const known = new Map<string, number>();
  for (const [, body = ""] of code.matchAll(/\benum(?:\s+\w+)?\s*\{([^}]*)\}/g)) {
    let next: number | null = 0;
    for (const item of body.split(",").map((one) => one.trim()).filter((one) => one !== "")) {
      const [name = "", ...rest] = item.split("=").map((one) => one.trim());
      const value: number | null = rest.length === 0 ? next : evaluate(rest.join("="), known);
      if (value !== null) known.set(name, value);
      next = value === null ? null : value + 1;
    }
  }
  return known;
}

/** The value of an expression; null for one that is not understood. */
function evaluate(expression: string, known: ReadonlyMap<string, number>): number | null {
  // From the loosest binding to the tightest.
  const operators: readonly (readonly [string, (a: number, b: number) => number])[] = [
    ["|", (a, b) => (a | b) >>> 0],
    ["<<", (a, b) => a * 2 ** b],
    ["+", (a, b) => a + b],
    ["*", (a, b) => a * b],
  ];
  for (const [operator, apply] of operators) {
    const at = expression.lastIndexOf(operator);
    if (at <= 0) continue;
    const left = evaluate(expression.slice(0, at).trim(), known);
    const right = evaluate(expression.slice(at + operator.length).trim(), known);
    return left === null || right === null ? null : apply(left, right);
  }
  if (/^(0[xX][0-9a-fA-F]+|\d+)[uUlL]*$/.test(expression)) return Number(expression.replace(/[uUlL]+$/, ""));
  return known.get(expression) ?? null;
}

/** The entries `[index] = {first, …}` or `[index] = first` of an array in C source: index and first word, in order. */
export function indexedEntries(source: string, array: string): [number, string][] {
  const start = source.search(new RegExp(`\\b${array}\\[[^\\]]*\\]\\s*=\\s*\\{`));
  if (start < 0) throw new Error(`there is no array ${array}`);
  const body = source.slice(start, source.indexOf("\n};", start));
  const known = enumerators(source);
  return [...body.matchAll(/\[(\w+)\]\s*=\s*\{?\s*(\w+)/g)].map(([, index = "", first = ""]) => {
    const value = evaluate(index, known) ?? NaN;
    return [value, first];
  });
}
