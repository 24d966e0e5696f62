/**
 * Files of blocks: what `nvme_io` reads into and writes from.
 * @module
 */

import { openSeekable } from "../../core/input.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import type { TransferPlan } from "./transfer_plan.ts";

/** How much is kept for the screen when there is no file. */
const HEAD_BYTES = 4096;
/** More than this is not taken from standard input, which has to be kept in memory. */
const MOST_INPUT_BYTES = 1 << 30;

/** Takes blocks in any order: into a file at their place, or, without one, the first few for the screen. */
export class BlockFile implements Disposable {
  readonly #plan: TransferPlan;
  readonly #file: Deno.FsFile | null;
  readonly #head: Uint8Array<ArrayBuffer>;

  /** Opens the file of a plan. @param path the file; made anew */
  constructor(path: string | undefined, plan: TransferPlan) {
    this.#plan = plan;
    const total = Number(plan.blocks) * plan.memoryBytes;
    this.#head = new Uint8Array(path === undefined ? Math.min(HEAD_BYTES, total) : 0);
    try {
      this.#file = path === undefined ? null : Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (cause) {
      throw systemError(cause, "write", path ?? "");
    }
  }

  /** The first bytes, where there is no file. */
  get head(): Uint8Array {
    return this.#head;
  }

  /** Takes the blocks from `lba` on. */
  put(lba: bigint, bytes: Uint8Array): void {
    const at = Number(lba - this.#plan.lba) * this.#plan.memoryBytes;
    if (this.#file === null) {
      if (at < this.#head.length) this.#head.set(bytes.subarray(0, this.#head.length - at), at);
      return;
    }
    this.#file.seekSync(at, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }

  /** Closes the file. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.#file?.close();
  }
}

/** How much may wait for an earlier block. */
const MOST_WAITING_BYTES = 64 << 20;

/** Takes blocks in any order, and passes their bytes on in the order of the range: to standard output. */
export class BlockStream {
  readonly #pass: (bytes: Uint8Array) => void;
  readonly #blockBytes: number;
  readonly #waiting = new Map<bigint, Uint8Array<ArrayBuffer>>();
  #next: bigint;
  #waitingBytes = 0;

  /** Puts blocks in order. @param pass takes them */
  constructor(plan: TransferPlan, pass: (bytes: Uint8Array) => void) {
    this.#pass = pass;
    this.#next = plan.lba;
    this.#blockBytes = plan.memoryBytes;
  }

  /** Takes the blocks from `lba` on. @throws {BusbarError} `device-failed` when too many overtook an earlier one */
  put(lba: bigint, bytes: Uint8Array): void {
    if (lba !== this.#next) {
      this.#waitingBytes += bytes.length;
      if (this.#waitingBytes > MOST_WAITING_BYTES) {
        throw new BusbarError("device-failed", `block ${this.#next} is late: 64 MiB behind it came earlier`, {
          operation: "read blocks",
          hint: "--output FILE takes blocks in any order",
        });
      }
      this.#waiting.set(lba, bytes.slice());
      return;
    }
    this.#send(bytes);
    for (let held; (held = this.#waiting.get(this.#next)) !== undefined;) {
      this.#waiting.delete(this.#next);
      this.#waitingBytes -= held.length;
      this.#send(held);
    }
  }

  #send(bytes: Uint8Array): void {
    this.#pass(bytes);
    this.#next += BigInt(bytes.length / this.#blockBytes);
  }
}

/** Gives blocks in any order: of a file, piece by piece, or of standard input, which is read to its end first. */
export class BlockSource implements Disposable {
  /** All of it. */
  readonly sizeBytes: number;
  readonly #path: string;
  readonly #file: Deno.FsFile | null;
  readonly #bytes: Uint8Array;

  private constructor(path: string, file: Deno.FsFile | null, bytes: Uint8Array, sizeBytes: number) {
    this.#path = path;
    this.#file = file;
    this.#bytes = bytes;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Opens a file, or reads standard input for `-`.
   *
   * @throws {BusbarError} `usage` without a path, `malformed` when there is nothing or too much, or the system's error
   */
  static async open(path: string | undefined): Promise<BlockSource> {
    if (path === undefined) {
      throw new BusbarError("usage", "what is to be written?", { hint: "--input FILE, or --pattern SEED" });
    }
    try {
      if (path === "-") {
        const bytes = await readAll(Deno.stdin.readable);
        return new BlockSource("standard input", null, bytes, bytes.length);
      }
      const file = openSeekable(path);
      try {
        return new BlockSource(path, file, new Uint8Array(0), file.seekSync(0, Deno.SeekMode.End));
      } catch (error) {
        file.close();
        throw error;
      }
    } catch (cause) {
      if (cause instanceof BusbarError) throw cause;
      throw systemError(cause, "read", path);
    }
  }

  /**
   * How many blocks it holds.
   *
   * @throws {BusbarError} `malformed` when it is no whole number of blocks
   */
  blocks(blockBytes: number): bigint {
    if (this.sizeBytes > 0 && this.sizeBytes % blockBytes === 0) return BigInt(this.sizeBytes / blockBytes);
    throw new BusbarError(
      "malformed",
      `${this.#path}: ${this.sizeBytes} bytes are no whole number of blocks of ${blockBytes} bytes`,
      {
        operation: "read blocks",
        path: this.#path,
        hint: this.sizeBytes === 0
          ? "an empty file, or a device: pass what a device holds through a pipe, with --input -"
          : this.#file === null
          ? `pad it with zeros: … | dd bs=${blockBytes} iflag=fullblock conv=sync | … --input -`
          : `pad it with zeros: truncate -s %${blockBytes} '${this.#path}'`,
      },
    );
  }

  /** Fills `to` with the bytes from `offset` on. @throws {BusbarError} `malformed` when the file has become shorter */
  take(offset: number, to: Uint8Array): void {
    if (this.#file === null) return to.set(this.#bytes.subarray(offset, offset + to.length));
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let done = 0; done < to.length;) {
      const count = this.#file.readSync(to.subarray(done));
      if (count === null) {
        throw new BusbarError("malformed", `${this.#path}: it has become shorter while it was read`, {
          operation: "read blocks",
          path: this.#path,
        });
      }
      done += count;
    }
  }

  /** Closes the file. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.#file?.close();
  }
}

async function readAll(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream) {
    sizeBytes += chunk.length;
    if (sizeBytes > MOST_INPUT_BYTES) {
      throw new BusbarError("malformed", "standard input: more than 1 GiB", {
        operation: "read blocks",
        hint: "write it to a file, and give that with --input",
      });
    }
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}
