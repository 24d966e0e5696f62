/**
 * Files as vectors: read and written piece by piece, never as a whole.
 * @module
 */

import { openSeekable } from "../core/input.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { checkShape, type ElementSource, sourceBytes } from "./vector.ts";

/** Elements in a file. */
export class ElementFile implements ElementSource, Disposable {
  readonly elements: number;
  readonly bits: number;
  readonly startBit: number;
  /** Bits at the end that make no element. */
  readonly leftoverBits: number;
  /** The file's length. */
  readonly sizeBytes: number;
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /** Opens a file of elements of `bits` bits. @throws {BusbarError} `malformed` when there is not one in it */
  constructor(path: string, bits: number, startBit = 0) {
    this.#path = path;
    this.bits = bits;
    this.startBit = startBit;
    checkShape(1, bits, startBit);
    this.#file = openSeekable(path);
    try {
      this.sizeBytes = this.#file.seekSync(0, Deno.SeekMode.End);
    } catch (cause) {
      this.#file.close();
      throw systemError(cause, "find the end of", path, "it has to be a file, not a pipe");
    }
    const available = 8 * this.sizeBytes - startBit;
    this.elements = Math.max(0, Math.floor(available / bits));
    this.leftoverBits = Math.max(0, available) % bits;
    if (this.elements > 0) return;
    this.#file.close();
    throw new BusbarError("malformed", `${path}: ${this.sizeBytes} bytes hold no element of ${bits} bits`, {
      operation: "read elements",
      path,
    });
  }

  fill(first: number, count: number, to: Uint8Array<ArrayBuffer>): void {
    this.#file.seekSync(first / 8 * this.bits, Deno.SeekMode.Start);
    const wanted = to.subarray(0, sourceBytes(this, count));
    for (let done = 0; done < wanted.length;) {
      const got = this.#file.readSync(wanted.subarray(done));
      if (got === null) {
        throw new BusbarError("malformed", `${this.#path}: it has become shorter while it was read`, {
          operation: "read elements",
          path: this.#path,
        });
      }
      done += got;
    }
  }

  /** Closes the file. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** How much of a result is kept for the screen. */
const HEAD_BYTES = 256;

/** Takes results piece by piece: into a file, and the first bytes for the screen. */
export class ResultFile implements Disposable {
  /** Bytes so far. */
  sizeBytes = 0;
  readonly #path: string;
  readonly #file: Deno.FsFile | null;
  readonly #pass: ((piece: Uint8Array) => void) | null;
  readonly #head = new Uint8Array(HEAD_BYTES);

  /**
   * Makes the file anew; without a path only the head is kept.
   *
   * @param pass what takes the pieces where the path is `-`: standard output
   */
  constructor(path: string | undefined, pass: (piece: Uint8Array) => void) {
    this.#path = path ?? "";
    this.#pass = path === "-" ? pass : null;
    try {
      this.#file = path === undefined || path === "-"
        ? null
        : Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (cause) {
      throw systemError(cause, "write", this.#path);
    }
  }

  /** The first bytes. */
  get head(): Uint8Array<ArrayBuffer> {
    return this.#head.subarray(0, Math.min(HEAD_BYTES, this.sizeBytes));
  }

  /** Takes the next piece. */
  put(piece: Uint8Array): void {
    if (this.sizeBytes < HEAD_BYTES) this.#head.set(piece.subarray(0, HEAD_BYTES - this.sizeBytes), this.sizeBytes);
    this.sizeBytes += piece.length;
    this.#pass?.(piece);
    try {
      for (let done = 0; this.#file !== null && done < piece.length;) {
        done += this.#file.writeSync(piece.subarray(done));
      }
    } catch (cause) {
      throw systemError(cause, "write", this.#path);
    }
  }

  /** Closes the file. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.#file?.close();
  }
}
