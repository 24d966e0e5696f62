/**
 * The binary trace: a 32-byte header and 16-byte records, little-endian.
 *
 * Header: `BBTRACE1` · u16 version 1 · u16 record size 16 · u32 flags · f64 ns in a tick · u64 records.
 * Record: u64 (bits 0–51 address, 52–63 thread) · u32 ticks since the last record of the same host and thread ·
 * u8 op (bit 7: dependent) · u8 host · u16 bytes.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { checkTicks, TICKS_PER_NS } from "../units.ts";
import { type AccessBatch, HOST_LIMIT, Op, OP_MASK, THREAD_LIMIT } from "./batch.ts";

/** The first eight bytes of a binary trace. */
export const MAGIC = "BBTRACE1";

/** Bytes of the header. */
export const HEADER_BYTES = 32;

/** Bytes of a record. */
export const RECORD_BYTES = 16;

/** The record count of a trace whose recorder has not finished: it writes the true one last. */
export const UNFINISHED: bigint = 0xffff_ffff_ffff_ffffn;

/** Header flag: streams are not merged by time; each is in order by itself. Such a trace is read whole and ordered. */
export const FLAG_UNMERGED = 1;

/** Header flag: a cache filter ran in the recorder, so hits of that cache are missing. */
export const FLAG_FILTERED = 2;

/** Header flag: time is a count of instructions, so gaps are compute time alone. */
export const FLAG_INSTRUCTIONS = 4;

/** The header of a binary trace. */
export interface BinaryHeader {
  /** `FLAG_…` bits. */
  readonly flags: number;
  /** Nanoseconds in a tick of the file, above zero. */
  readonly nsPerTick: number;
  /** Records in the file, or {@linkcode UNFINISHED}. */
  readonly records: bigint;
}

/** The header as bytes. */
export function encodeHeader(header: BinaryHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  view.setUint16(8, 1, true);
  view.setUint16(10, RECORD_BYTES, true);
  view.setUint32(12, header.flags, true);
  view.setFloat64(16, header.nsPerTick, true);
  view.setBigUint64(24, header.records, true);
  return bytes;
}

/** True when bytes begin as a binary trace does. */
export function isBinaryTrace(bytes: Uint8Array): boolean {
  for (let i = 0; i < MAGIC.length; i++) if (bytes[i] !== MAGIC.charCodeAt(i)) return false;
  return true;
}

/**
 * Reads the header.
 *
 * @param path the file, for the error
 * @throws {BusbarError} `malformed` when it is cut, foreign, of another version, or its recorder did not finish
 */
export function decodeHeader(bytes: Uint8Array, path: string): BinaryHeader {
  const wrong = (found: string, hint: string): BusbarError =>
    new BusbarError("malformed", `${path}: ${found}`, { operation: "read a binary trace", path, hint });
  if (bytes.length < HEADER_BYTES) {
    throw wrong(`${bytes.length} bytes, where the header of a binary trace has ${HEADER_BYTES}`, "the file is cut");
  }
  if (!isBinaryTrace(bytes)) throw wrong(`does not begin with ${MAGIC}`, "cxl_sim convert makes a binary trace");
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const version = view.getUint16(8, true);
  const recordBytes = view.getUint16(10, true);
  if (version !== 1 || recordBytes !== RECORD_BYTES) {
    throw wrong(`version ${version} with records of ${recordBytes} bytes is not known`, "convert the trace again");
  }
  const nsPerTick = view.getFloat64(16, true);
  if (!(nsPerTick > 0 && nsPerTick < 1e9)) throw wrong(`${nsPerTick} ns in a tick`, "convert the trace again");
  const records = view.getBigUint64(24, true);
  if (records === UNFINISHED) throw wrong("its recorder did not finish", "record again, or look why it ended");
  return { flags: view.getUint32(12, true), nsPerTick, records };
}

/** Turns records into batches. Keeps each stream's time, so one decoder reads one file from its start. */
export class BinaryDecoder {
  readonly #times: Float64Array<ArrayBuffer> = new Float64Array(HOST_LIMIT * THREAD_LIMIT);
  readonly #scale: number;
  readonly #path: string;
  #record = 0;

  /** A decoder of the records after `header`. */
  constructor(header: BinaryHeader, path: string) {
    this.#scale = header.nsPerTick * TICKS_PER_NS;
    this.#path = path;
  }

  /** Records decoded so far. */
  get records(): number {
    return this.#record;
  }

  /**
   * Appends records to `batch` until it is full or the bytes end. The order between streams is not checked here.
   *
   * @param words the records, aligned: little-endian u32, four in a record
   * @param from the first record of `words` to decode
   * @returns the first record that was not decoded: all of them, but for a full batch or an allocation without its size
   * @throws {BusbarError} `malformed`, with the number of the record
   */
  decode(words: Uint32Array, from: number, batch: AccessBatch): number {
    const records = words.length >>> 2;
    const { time, address, bytes, op, host, thread } = batch;
    const times = this.#times;
    const scale = this.#scale;
    let at = batch.count;
    let record = from;
    for (; record < records && at < batch.capacity; record++) {
      const word = record << 2;
      const high = words[word + 1] as number;
      const kind = words[word + 3] as number;
      const code = kind & OP_MASK;
      const hostNumber = (kind >>> 8) & 0xff;
      if (code > Op.Wait || hostNumber >= HOST_LIMIT) throw this.#wrong(this.#record + record - from, kind);
      // An allocation waits for its size: both go into one batch.
      if (code === Op.Allocate && (record + 1 >= records || at >= batch.capacity - 1)) break;
      const threadNumber = high >>> 20;
      const stream = hostNumber * THREAD_LIMIT + threadNumber;
      const low = (high & 0xfffff) * 4294967296 + (words[word] as number);
      const ticks = (words[word + 2] as number) + (code === Op.Wait ? low : 0);
      const now = (times[stream] as number) + ticks;
      times[stream] = now;
      if (code === Op.Wait) continue;
      time[at] = scale === 1 ? now : Math.round(now * scale);
      address[at] = low;
      bytes[at] = kind >>> 16;
      op[at] = kind & 0xff;
      host[at] = hostNumber;
      thread[at] = threadNumber;
      at++;
    }
    this.#record += record - from;
    if (at > batch.count) checkTicks(time[at - 1] as number, `${this.#path}: record ${this.#record}`);
    batch.count = at;
    return record;
  }

  #wrong(record: number, kind: number): BusbarError {
    return new BusbarError(
      "malformed",
      `${this.#path}: record ${record}: op ${kind & OP_MASK}, host ${(kind >>> 8) & 0xff} is no access`,
      { operation: "read a binary trace", path: this.#path, hint: "convert or record the trace again" },
    );
  }
}

/** Turns batches into records, in ticks of 1/1024 ns. One encoder writes one file from its start. */
export class BinaryEncoder {
  readonly #times: Float64Array<ArrayBuffer> = new Float64Array(HOST_LIMIT * THREAD_LIMIT);
  #records = 0n;

  /** Records made so far: what the header's count must say in the end. */
  get records(): bigint {
    return this.#records;
  }

  /** The header of the file, with the count of the records made so far. */
  header(flags = 0): BinaryHeader {
    return { flags, nsPerTick: 1 / TICKS_PER_NS, records: this.#records };
  }

  /** The records of a batch. */
  encode(batch: AccessBatch): Uint8Array<ArrayBuffer> {
    // At most one Wait before each record.
    const words = new Uint32Array(batch.count * 8);
    let word = 0;
    const put = (low: number, high: number, ticks: number, kind: number): void => {
      words[word++] = low;
      words[word++] = high;
      words[word++] = ticks;
      words[word++] = kind;
    };
    for (let i = 0; i < batch.count; i++) {
      const host = batch.host[i] as number;
      const thread = batch.thread[i] as number;
      const stream = host * THREAD_LIMIT + thread;
      let gap = (batch.time[i] as number) - (this.#times[stream] as number);
      this.#times[stream] = batch.time[i] as number;
      const address = batch.address[i] as number;
      const tag = (thread << 20) >>> 0;
      if (gap > 0xffffffff) {
        put(gap >>> 0, (tag | Math.floor(gap / 4294967296)) >>> 0, 0, Op.Wait | (host << 8));
        gap = 0;
      }
      const kind = (batch.op[i] as number) | (host << 8) | ((batch.bytes[i] as number) << 16);
      put(address >>> 0, (tag | Math.floor(address / 4294967296)) >>> 0, gap, kind >>> 0);
    }
    this.#records += BigInt(word >>> 2);
    return new Uint8Array(words.buffer, 0, word * 4);
  }
}
