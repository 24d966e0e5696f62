/**
 * Data that can be recognised: every block says which block it is, and all of it follows from a seed.
 * @module
 */

/** Bytes at the start of a block that name it: its address and the seed. */
const TAG_BYTES = 16;

/** What is wrong with a block. */
export interface Mismatch {
  /** The block. */
  readonly lba: bigint;
  /** First byte that differs, counted in the block. */
  readonly offset: number;
  /** In words: what was found there instead. */
  readonly text: string;
}

/** Fills blocks with data and recognises it. A block's bytes depend on its address, the seed and nothing else. */
export class BlockPattern {
  /** The seed. */
  readonly seed: number;
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Bytes from one block in memory to the next. */
  readonly strideBytes: number;
  readonly #expected: Uint8Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;

  /**
   * The data of one seed.
   *
   * @param blockBytes bytes of a block, a multiple of 4 and at least 16
   * @param strideBytes bytes from one block in memory to the next: more than a block where metadata lies between, which
   * is filled with zeros and not checked
   */
  constructor(seed: number, blockBytes: number, strideBytes: number = blockBytes) {
    this.seed = seed >>> 0;
    this.blockBytes = blockBytes;
    this.strideBytes = strideBytes;
    this.#expected = new Uint8Array(blockBytes);
    this.#words = new Uint32Array(this.#expected.buffer);
  }

  /** Fills memory with the blocks from `lba` on. */
  fill(memory: Uint8Array, lba: bigint): void {
    for (let at = 0; at < memory.length; at += this.strideBytes) {
      this.#make(lba + BigInt(at / this.strideBytes));
      memory.set(this.#expected, at);
      memory.fill(0, at + this.blockBytes, at + this.strideBytes);
    }
  }

  /** The first block that is not as {@linkcode fill} makes it, or null. */
  check(memory: Uint8Array, lba: bigint): Mismatch | null {
    for (let at = 0; at < memory.length; at += this.strideBytes) {
      const current = lba + BigInt(at / this.strideBytes);
      this.#make(current);
      const block = memory.subarray(at, at + this.blockBytes);
      const offset = firstDifference(block, this.#expected);
      if (offset >= 0) return { lba: current, offset, text: this.#explain(block, offset) };
    }
    return null;
  }

  #make(lba: bigint): void {
    const words = this.#words;
    words[0] = Number(lba & 0xffff_ffffn);
    words[1] = Number(lba >> 32n);
    words[2] = this.seed;
    words[3] = 0x62757362;
    // xorshift32, seeded by address and seed.
    let x = (Math.imul(words[0] ^ this.seed, 0x9e3779b1) ^ Math.imul(words[1] + 1, 0x85ebca6b)) >>> 0 || 1;
    for (let i = TAG_BYTES / 4; i < words.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[i] = x;
    }
  }

  #explain(block: Uint8Array, offset: number): string {
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    if (block.every((byte) => byte === 0)) return "it is all zeros";
    if (block.every((byte) => byte === 0xff)) return "it is all ones";
    if (view.getUint32(12, true) === 0x62757362) {
      const tag = view.getBigUint64(0, true);
      const seed = view.getUint32(8, true);
      if (seed !== this.seed) return `it holds block ${tag} of seed ${seed}`;
      return offset < TAG_BYTES ? `it holds block ${tag}` : `its bytes differ from ${offset} on`;
    }
    return "it holds something else";
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}
