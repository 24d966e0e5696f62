/**
 * Numbers that look random and are the same on every machine: the generator of every synthetic trace.
 * @module
 */

/** A seeded stream of numbers: xoshiro128** (Blackman and Vigna), seeded by splitmix32. */
export class RandomStream {
  readonly #state: Uint32Array<ArrayBuffer> = new Uint32Array(4);

  /** A stream that depends on `seed` alone. */
  constructor(seed: number) {
    let value = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      value = (value + 0x9e3779b9) >>> 0;
      let mixed = value ^ (value >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      this.#state[i] = mixed ^ (mixed >>> 15);
    }
  }

  /** 32 bits. */
  next(): number {
    const state = this.#state;
    const s1 = state[1] as number;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s1 << 9;
    state[2] = (state[2] as number) ^ (state[0] as number);
    state[3] = (state[3] as number) ^ s1;
    state[1] = s1 ^ (state[2] as number);
    state[0] = (state[0] as number) ^ (state[3] as number);
    state[2] = (state[2] as number) ^ shifted;
    const s3 = state[3] as number;
    state[3] = (s3 << 11) | (s3 >>> 21);
    return result;
  }

  /** A number from 0 up to 1, with 53 bits. */
  unit(): number {
    return ((this.next() >>> 5) * 67108864 + (this.next() >>> 6)) / 9007199254740992;
  }

  /** A whole number from 0 up to `limit`, at most 2^53. */
  below(limit: number): number {
    return Math.floor(this.unit() * limit);
  }

  /** A waiting time of a Poisson process, of this mean. */
  exponential(mean: number): number {
    return -Math.log(1 - this.unit()) * mean;
  }
}
