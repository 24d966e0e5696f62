/**
 * Label storage of a device: a few bytes that outlive it.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Bytes that can be read and written inside their bounds. */
export class LabelStorage {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** Zeroed storage. */
  constructor(sizeBytes: number) {
    this.#bytes = new Uint8Array(sizeBytes);
  }

  /** Bytes there are. */
  get sizeBytes(): number {
    return this.#bytes.length;
  }

  /**
   * A copy of some bytes.
   *
   * @throws {BusbarError} `out-of-range`
   */
  read(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    this.#check(offset, sizeBytes);
    return this.#bytes.slice(offset, offset + sizeBytes);
  }

  /**
   * Writes bytes.
   *
   * @throws {BusbarError} `out-of-range`; nothing is written then
   */
  write(offset: number, bytes: Uint8Array): void {
    this.#check(offset, bytes.length);
    this.#bytes.set(bytes, offset);
  }

  #check(offset: number, sizeBytes: number): void {
    if (Number.isInteger(offset) && offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.#bytes.length) return;
    throw new BusbarError("out-of-range", `bytes ${offset} to ${offset + sizeBytes} of ${this.#bytes.length}`, {
      operation: "use label storage",
    });
  }
}
