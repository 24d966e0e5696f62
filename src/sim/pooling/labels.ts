/**
 * The label storage area of a device.
 * @module
 */

/** Bytes that are read and written inside bounds. */
export class LabelStorage {
  readonly #bytes: Uint8Array;

  /** Storage of `sizeBytes`, all zero. */
  constructor(sizeBytes: number) {
    this.#bytes = new Uint8Array(sizeBytes);
  }

  /** Bytes that there are. */
  get sizeBytes(): number {
    return this.#bytes.length;
  }

  /** A copy of a range, or null when it is not inside. */
  read(offset: number, sizeBytes: number): Uint8Array | null {
    return this.#inside(offset, sizeBytes) ? this.#bytes.slice(offset, offset + sizeBytes) : null;
  }

  /** Writes bytes; false when they are not inside. */
  write(offset: number, bytes: Uint8Array): boolean {
    if (!this.#inside(offset, bytes.length)) return false;
    this.#bytes.set(bytes, offset);
    return true;
  }

  #inside(offset: number, sizeBytes: number): boolean {
    return Number.isSafeInteger(offset) && offset >= 0 && sizeBytes > 0 && offset + sizeBytes <= this.#bytes.length;
  }
}
