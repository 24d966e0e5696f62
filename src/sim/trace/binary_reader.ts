/**
 * Reads a binary trace from bytes as they arrive: header, whole records, and nothing behind them.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { AccessBatch } from "./batch.ts";
import { BinaryDecoder, type BinaryHeader, decodeHeader, HEADER_BYTES, RECORD_BYTES } from "./binary.ts";

/** Reads one file: {@linkcode BinaryReader.feed} bytes, {@linkcode BinaryReader.take} entries until there are none. */
export class BinaryReader {
  readonly #path: string;
  #bytes = new Uint8Array(1 << 19);
  #words = new Uint32Array(this.#bytes.buffer);
  #held = 0;
  #used = 0;
  #header: BinaryHeader | null = null;
  #decoder: BinaryDecoder | null = null;

  /** @param path the file, for errors */
  constructor(path: string) {
    this.#path = path;
  }

  /** The header, null before it has arrived. */
  get header(): BinaryHeader | null {
    return this.#header;
  }

  /**
   * Takes the next bytes of the file.
   *
   * @throws {BusbarError} `malformed` when they begin with no header of a binary trace
   */
  feed(chunk: Uint8Array): void {
    // What is left is less than a batch, most often less than a record.
    this.#bytes.copyWithin(0, this.#used, this.#held);
    this.#held -= this.#used;
    this.#used = 0;
    if (this.#held + chunk.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.ceil((this.#held + chunk.length) / 65536) * 65536);
      larger.set(this.#bytes.subarray(0, this.#held));
      this.#bytes = larger;
      this.#words = new Uint32Array(larger.buffer);
    }
    this.#bytes.set(chunk, this.#held);
    this.#held += chunk.length;
    if (this.#header !== null || this.#held < HEADER_BYTES) return;
    this.#header = decodeHeader(this.#bytes.subarray(0, HEADER_BYTES), this.#path);
    this.#decoder = new BinaryDecoder(this.#header, this.#path);
    this.#used = HEADER_BYTES;
  }

  /**
   * Appends entries to a batch until it is full or the bytes are used up.
   *
   * @returns how many
   * @throws {BusbarError} `malformed`, with the number of the record
   */
  take(batch: AccessBatch): number {
    const header = this.#header;
    const decoder = this.#decoder;
    if (header === null || decoder === null) return 0;
    const before = batch.count;
    const from = this.#used / RECORD_BYTES;
    const records = Math.floor(this.#held / RECORD_BYTES);
    const next = decoder.decode(this.#words.subarray(0, records * 4), from, batch);
    this.#used = next * RECORD_BYTES;
    if (BigInt(decoder.records) > header.records) {
      throw this.#wrong(`more than the ${header.records} records that its header says`);
    }
    return batch.count - before;
  }

  /**
   * The file is at its end and everything was taken.
   *
   * @throws {BusbarError} `malformed` when the file is cut: the count of the header disagrees with what came
   */
  end(): void {
    if (this.#header === null) decodeHeader(this.#bytes.subarray(0, this.#held), this.#path);
    const records = this.#decoder?.records ?? 0;
    const expected = this.#header?.records ?? 0n;
    const rest = this.#held - this.#used;
    if (rest > 0) {
      const what = rest >= RECORD_BYTES ? "an allocation without its size" : `${rest} bytes of a record`;
      throw this.#wrong(`ends in ${what} after record ${records}`);
    }
    if (BigInt(records) !== expected) throw this.#wrong(`${records} records, and its header says ${expected}`);
  }

  #wrong(found: string): BusbarError {
    return new BusbarError("malformed", `${this.#path}: ${found}`, {
      operation: "read a binary trace",
      path: this.#path,
      hint: "the file is cut or damaged: record or convert it again",
    });
  }
}
