/**
 * Requests and answers of the agent as bytes. What an operation takes is in `operations.ts`; `csrc/agent/agent.h` tells how
 * frames are laid out.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type Operation, type OperationName, OPERATIONS } from "./operations.ts";

/** The largest frame that an agent takes. */
export const MAX_REQUEST_BYTES: number = 16 << 20;
/** The largest that is taken from an agent: `MAX_ANSWER` there, and the heads of answers that found no room. */
export const MAX_ANSWER_BYTES: number = 128 << 20;
/** The longest path, with the zero byte that ends it there. */
const MAX_PATH_BYTES = 4096;

/** What stands for an argument. */
export type ArgumentValue = string | number | bigint | Uint8Array;

/** An operation with its arguments. */
export interface Ask {
  /** Which one. */
  readonly operation: OperationName;
  /** What it takes, in the order of the table. */
  readonly arguments: readonly ArgumentValue[];
}

/** An answer to one operation. */
export interface Reply {
  /** 0 or a count, or a negative error number. */
  readonly status: number;
  /** What came with it; empty after an error. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Makes the question for an operation. */
export function ask(operation: OperationName, ...args: readonly ArgumentValue[]): Ask {
  return { operation, arguments: args };
}

const encoder = new TextEncoder();

/** An operation as bytes: its number, the length of its arguments, and these. */
export function encodeAsk({ operation, arguments: values }: Ask): Uint8Array<ArrayBuffer> {
  const row: Operation = OPERATIONS[operation];
  if (row.arguments.length !== values.length) throw new BusbarError("bug", `${operation}: ${values.length} arguments`);
  const parts = row.arguments.map(({ type }, i) => encodeArgument(type, values[i] ?? 0, operation));
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new Uint8Array(6 + size);
  const view = new DataView(whole.buffer);
  view.setUint16(0, row.number, true);
  view.setUint32(2, size, true);
  let at = 6;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function encodeArgument(type: string, value: ArgumentValue, operation: string): Uint8Array {
  if (type === "u32" || type === "u64") {
    if (typeof value !== "number" && typeof value !== "bigint") throw new BusbarError("bug", `${operation}: no number`);
    const view = new DataView(new ArrayBuffer(type === "u32" ? 4 : 8));
    if (type === "u32") view.setUint32(0, Number(value), true);
    else view.setBigUint64(0, BigInt(value), true);
    return new Uint8Array(view.buffer);
  }
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  if (!(bytes instanceof Uint8Array)) throw new BusbarError("bug", `${operation}: no bytes`);
  if (type === "path") {
    const path = typeof value === "string" ? value : "";
    if (path.includes("\0")) throw new BusbarError("usage", "a path cannot hold a NUL character", { path });
    if (bytes.length >= MAX_PATH_BYTES) throw new BusbarError("usage", "file name too long (ENAMETOOLONG)", { path });
  }
  const head = type === "path" ? 2 : 4;
  const whole = new Uint8Array(head + bytes.length);
  const view = new DataView(whole.buffer);
  if (head === 2) view.setUint16(0, bytes.length, true);
  else view.setUint32(0, bytes.length, true);
  whole.set(bytes, head);
  return whole;
}

/** A frame: its length, its number, operations. */
export function encodeFrame(number: number, asks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = asks.reduce((sum, part) => sum + part.length, 4);
  const whole = new Uint8Array(4 + size);
  const view = new DataView(whole.buffer);
  view.setUint32(0, size, true);
  view.setUint32(4, number, true);
  let at = 8;
  for (const part of asks) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Takes the answers of a frame apart, what stands behind its length and its number.
 *
 * @param count how many operations were asked for
 * @returns null for what is no answer to them
 */
export function decodeReplies(frame: Uint8Array<ArrayBuffer>, count: number): Reply[] | null {
  const replies: Reply[] = [];
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let at = 0;
  while (at < frame.length) {
    if (replies.length === count || frame.length - at < 8) return null;
    const status = view.getInt32(at, true);
    const size = view.getUint32(at + 4, true);
    at += 8;
    if (size > frame.length - at) return null;
    replies.push({ status, bytes: frame.subarray(at, at + size) });
    at += size;
  }
  return replies.length === count ? replies : null;
}

/** Reads what an answer holds, one after the other. Whoever sends less or more than it should is no agent. */
export class ReplyReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  /** At the start of an answer. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** True when nothing is left. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** An unsigned number of 8 bits. */
  u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  /** An unsigned number of 16 bits. */
  u16(): number {
    return this.#view.getUint16(this.#skip(2), true);
  }

  /** An unsigned number of 32 bits. */
  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  /** A signed number of 32 bits. */
  i32(): number {
    return this.#view.getInt32(this.#skip(4), true);
  }

  /** An unsigned number of 64 bits. */
  u64(): bigint {
    return this.#view.getBigUint64(this.#skip(8), true);
  }

  /** So many bytes; the rest by default. */
  bytes(size: number = this.#bytes.length - this.#at): Uint8Array<ArrayBuffer> {
    const start = this.#skip(size);
    return this.#bytes.subarray(start, start + size);
  }

  /** Text up to a zero byte, which is skipped. */
  untilZero(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    const text = this.text((end < 0 ? this.#bytes.length : end) - this.#at);
    this.#skip(1);
    return text;
  }

  /** So many bytes as text. */
  text(size?: number): string {
    return new TextDecoder().decode(this.bytes(size));
  }

  #skip(size: number): number {
    const start = this.#at;
    if (size > this.#bytes.length - start) {
      throw new BusbarError("io", "an answer is shorter than it should be", { operation: "read an answer" });
    }
    this.#at += size;
    return start;
  }
}
