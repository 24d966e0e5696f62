/**
 * Random numbers with a seed that is printed, so that a failure can be repeated with `BUSBAR_SEED`.
 * @module
 */

/** A generator of random bytes and numbers. */
export class Random {
  /** The seed it was made with. */
  readonly seed: number;
  #state: number;

  /** Takes `BUSBAR_SEED` where it is set; prints the seed. */
  constructor(what: string, seed: number = Number(Deno.env.get("BUSBAR_SEED") ?? Math.floor(Math.random() * 2 ** 32))) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
    // deno-lint-ignore no-console
    console.log(`${what}: BUSBAR_SEED=${this.seed}`);
  }

  /** 32 random bits (mulberry32). */
  uint32(): number {
    this.#state = this.#state + 0x6d2b79f5 >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ t >>> 15, t | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return (t ^ t >>> 14) >>> 0;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.uint32() % limit;
  }

  /** One of the values. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** Random bytes; often runs of equal ones, because those are the values that hardware shows when it is broken. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    const style = this.below(8);
    if (style === 0) return bytes.fill(0xff);
    if (style === 1) return bytes;
    for (let i = 0; i < count; i++) bytes[i] = this.uint32();
    if (style === 2) bytes.fill(this.uint32(), this.below(count + 1));
    return bytes;
  }

  /** Random bytes with no runs, a multiple of 4 of them: for data whose every block must differ from every other. */
  noise(count: number): Uint8Array<ArrayBuffer> {
    const words = new Uint32Array(count / 4);
    for (let i = 0; i < words.length; i++) words[i] = this.uint32();
    return new Uint8Array(words.buffer);
  }
}
