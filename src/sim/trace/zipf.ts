/**
 * Numbers of a zipf distribution.
 * @module
 */

import type { RandomStream } from "../random.ts";

/** Ranks 0 (the most frequent) up to a limit, by the method of Gray et al. (SIGMOD 1994), which YCSB uses too. */
export class Zipf {
  readonly #count: number;
  readonly #theta: number;
  readonly #zeta: number;
  readonly #alpha: number;
  readonly #eta: number;

  /**
   * @param count how many ranks there are
   * @param theta skew, above 0 and below 1
   */
  constructor(count: number, theta: number) {
    this.#count = count;
    this.#theta = theta;
    this.#zeta = zeta(count, theta);
    this.#alpha = 1 / (1 - theta);
    this.#eta = (1 - (2 / count) ** (1 - theta)) / (1 - zeta(2, theta) / this.#zeta);
  }

  /** The next rank. */
  next(random: RandomStream): number {
    const u = random.unit();
    const scaled = u * this.#zeta;
    if (scaled < 1 || this.#count === 1) return 0;
    if (scaled < 1 + 0.5 ** this.#theta) return 1;
    return Math.min(this.#count - 1, Math.floor(this.#count * (this.#eta * u - this.#eta + 1) ** this.#alpha));
  }
}

/** The sum of 1/i^theta; past a million terms the rest is an integral. */
function zeta(count: number, theta: number): number {
  const exact = Math.min(count, 1_000_000);
  let sum = 0;
  for (let i = 1; i <= exact; i++) sum += 1 / i ** theta;
  if (count > exact) sum += (count ** (1 - theta) - exact ** (1 - theta)) / (1 - theta);
  return sum;
}
