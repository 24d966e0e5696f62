/**
 * Merges the traces of one program's threads into one, by time. A record says how long after the one before of its own
 * thread it comes, so merging moves records and changes none.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import { decodeHeader, encodeHeader, HEADER_BYTES, RECORD_BYTES } from "../trace/binary.ts";
import { Op, OP_MASK } from "../trace/batch.ts";
import { OutputFile } from "./output.ts";

/** Memory for the pieces of all streams together, in bytes. */
const MEMORY_BYTES = 64 << 20;
const LARGEST_PIECE = 1 << 20;

/** One thread's trace. It is opened for each piece, so thousands of threads need no descriptors. */
class Stream {
  readonly #path: string;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  #offset = HEADER_BYTES;
  #records = 0;
  #at = 0;
  #left: number;
  /** Time of the current record, in ticks of the file. */
  time = 0;

  constructor(path: string, records: number, pieceBytes: number) {
    this.#path = path;
    this.bytes = new Uint8Array(pieceBytes);
    this.#words = new Uint32Array(this.bytes.buffer);
    this.#left = records;
  }

  /** Byte offset of the current record in {@linkcode Stream.bytes}. */
  get at(): number {
    return this.#at * RECORD_BYTES;
  }

  /** Goes to the next record; false at the end. */
  next(): boolean {
    this.#at++;
    if (this.#at >= this.#records && !this.#read()) return false;
    const word = this.#at * 4;
    this.time += this.#words[word + 2] as number;
    if (((this.#words[word + 3] as number) & OP_MASK) === Op.Wait) {
      this.time += (this.#words[word] as number) + ((this.#words[word + 1] as number) & 0xfffff) * 4294967296;
    }
    return true;
  }

  #read(): boolean {
    const records = Math.min(this.#left, this.bytes.length / RECORD_BYTES);
    if (records === 0) return false;
    try {
      using file = Deno.openSync(this.#path);
      file.seekSync(this.#offset, Deno.SeekMode.Start);
      const piece = this.bytes.subarray(0, records * RECORD_BYTES);
      for (let from = 0; from < piece.length;) {
        const length = file.readSync(piece.subarray(from));
        if (length === null) throw new BusbarError("malformed", `${this.#path}: is shorter than its header says`);
        from += length;
      }
    } catch (cause) {
      throw systemError(cause, "read", this.#path);
    }
    this.#offset += records * RECORD_BYTES;
    this.#left -= records;
    this.#records = records;
    this.#at = 0;
    return true;
  }
}

/** Fixes the place of the first stream in a heap ordered by time, then number of the thread. */
function siftDown(heap: [Stream, number][]): void {
  const first = heap[0];
  if (first === undefined) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && before(right, heap[child] as [Stream, number])) child++;
    const smaller = heap[child] as [Stream, number];
    if (!before(smaller, first)) break;
    heap[at] = smaller;
    at = child;
  }
  heap[at] = first;
}

function before(a: [Stream, number], b: [Stream, number]): boolean {
  return a[0].time < b[0].time || (a[0].time === b[0].time && a[1] < b[1]);
}

/** The header of a thread's trace. */
function readHeader(path: string): ReturnType<typeof decodeHeader> {
  const bytes = new Uint8Array(HEADER_BYTES);
  let length: number | null;
  try {
    using file = Deno.openSync(path);
    length = file.readSync(bytes);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
  return decodeHeader(bytes.subarray(0, length ?? 0), path);
}

/**
 * Merges traces into one file.
 *
 * @param paths the traces, one for each thread, in the order of the threads' numbers; all with ticks of one length
 * @returns the records written
 */
export function mergeTraces(paths: readonly string[], output: string): bigint {
  const headers = paths.map(readHeader);
  const [first] = headers;
  if (first === undefined) throw new BusbarError("bug", "no trace to merge");
  const pieceBytes = Math.min(LARGEST_PIECE, Math.max(4096, Math.floor(MEMORY_BYTES / paths.length / 4096) * 4096));
  const heap: [Stream, number][] = [];
  headers.forEach((header, number) => {
    const stream = new Stream(paths[number] ?? "", Number(header.records), pieceBytes);
    if (stream.next()) heap.push([stream, number]);
  });
  heap.sort((a, b) => before(a, b) ? -1 : 1);
  const records = headers.reduce((sum, header) => sum + header.records, 0n);
  using file = OutputFile.create(output);
  file.write(encodeHeader({ ...first, records }));
  const buffer = new Uint8Array(LARGEST_PIECE);
  let used = 0;
  while (heap.length > 0) {
    const [stream] = heap[0] as [Stream, number];
    const at = stream.at;
    if (used === buffer.length) {
      file.write(buffer);
      used = 0;
    }
    for (let i = 0; i < RECORD_BYTES; i++) buffer[used + i] = stream.bytes[at + i] as number;
    used += RECORD_BYTES;
    if (!stream.next()) {
      const last = heap.pop() as [Stream, number];
      if (heap.length > 0) heap[0] = last;
    }
    siftDown(heap);
  }
  file.write(buffer.subarray(0, used));
  file.commit();
  return records;
}
