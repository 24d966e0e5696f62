/**
 * Memory of which only the pages that were written exist.
 * @module
 */

const PAGE_BYTES = 4096;

/** Bytes by address. Memory is all zero at first. */
export class SparseMemory {
  /** Addresses are below this. */
  readonly sizeBytes: number;
  readonly #limitPages: number;
  readonly #pages = new Map<number, Uint8Array>();

  /**
   * @param sizeBytes how much there seems to be
   * @param limitBytes how much may really be written
   */
  constructor(sizeBytes: number, limitBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#limitPages = Math.floor(limitBytes / PAGE_BYTES);
  }

  /** Bytes that are really held. */
  get heldBytes(): number {
    return this.#pages.size * PAGE_BYTES;
  }

  /** Copies bytes out. The caller has checked the range. */
  read(address: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const offset = (address + done) % PAGE_BYTES;
      const count = Math.min(into.length - done, PAGE_BYTES - offset);
      const page = this.#pages.get((address + done - offset) / PAGE_BYTES);
      if (page === undefined) into.fill(0, done, done + count);
      else into.set(page.subarray(offset, offset + count), done);
      done += count;
    }
  }

  /** Copies bytes in, all or none; false when the limit would be passed. The caller has checked the range. */
  write(address: number, from: Uint8Array): boolean {
    const first = Math.floor(address / PAGE_BYTES);
    const last = Math.floor((address + from.length - 1) / PAGE_BYTES);
    let missing = 0;
    for (let number = first; number <= last; number++) if (!this.#pages.has(number)) missing++;
    if (this.#pages.size + missing > this.#limitPages) return false;
    for (let done = 0; done < from.length;) {
      const offset = (address + done) % PAGE_BYTES;
      const count = Math.min(from.length - done, PAGE_BYTES - offset);
      this.#page((address + done - offset) / PAGE_BYTES).set(from.subarray(done, done + count), offset);
      done += count;
    }
    return true;
  }

  /**
   * Replaces eight little-endian bytes by what `next` makes of them, or leaves them where that is null. The caller has
   * checked the range.
   *
   * @returns what was there; null when the limit would be passed
   */
  update(address: number, next: (old: bigint) => bigint | null): bigint | null {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    this.read(address, bytes);
    const old = view.getBigUint64(0, true);
    const value = next(old);
    if (value === null) return old;
    view.setBigUint64(0, BigInt.asUintN(64, value), true);
    return this.write(address, bytes) ? old : null;
  }

  #page(number: number): Uint8Array {
    let page = this.#pages.get(number);
    if (page === undefined) this.#pages.set(number, page = new Uint8Array(PAGE_BYTES));
    return page;
  }
}
