/**
 * Which points no other point beats in everything.
 * @module
 */

/**
 * The Pareto front: a point is on it unless another one is at least as good in every objective and better in one.
 *
 * @param costs of each point, less is better; null for a point that is left out
 * @returns true for each point on the front
 */
export function paretoFront(costs: readonly (readonly number[] | null)[]): boolean[] {
  const order = costs.flatMap((cost, i) => cost === null ? [] : [i]);
  const costOf = (i: number): readonly number[] => costs[i] ?? [];
  // In this order a point can only be beaten by one before it.
  order.sort((a, b) => compare(costOf(a), costOf(b)));
  const front: number[] = [];
  for (const i of order) if (!front.some((other) => dominates(costOf(other), costOf(i)))) front.push(i);
  const marked = new Set(front);
  return costs.map((_, i) => marked.has(i));
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) {
    const other = b[i] ?? 0;
    if (value !== other) return value < other ? -1 : 1;
  }
  return 0;
}

function dominates(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, i) => value <= (b[i] ?? 0)) && a.some((value, i) => value < (b[i] ?? 0));
}
