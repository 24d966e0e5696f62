/**
 * Opens a trace of any form: a source of accesses in trace order.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { AccessBatch } from "../trace/batch.ts";
import { FLAG_UNMERGED, isBinaryTrace, MAGIC } from "../trace/binary.ts";
import { BinaryReader } from "../trace/binary_reader.ts";
import { CSV } from "../trace/csv.ts";
import type { TraceOptions } from "../trace/format.ts";
import { BINARY_FORMAT, formatByName, TEXT_FORMATS } from "../trace/formats.ts";
import { OrderCheck } from "../trace/order.ts";
import { OrderedSource, outOfOrder } from "../trace/ordered.ts";
import { TextReader } from "../trace/text_reader.ts";
import { OUTPUT_LIMIT, readBytes } from "./input.ts";

/** How a trace is opened. */
export interface OpenTraceOptions extends TraceOptions {
  /** The form: `binary` or a name of `TEXT_FORMATS`; found out when it is left out. */
  readonly format?: string | undefined;
  /** What may come out of a packed file at most, in bytes. */
  readonly limitBytes?: number | undefined;
}

/** A trace that is being read. Dispose closes the file. */
export interface OpenTrace extends AsyncDisposable {
  /** Its path, `-` for standard input. */
  readonly path: string;
  /** The name of its form. */
  readonly format: string;
  /** Flags of a binary trace's header; 0 for text. */
  readonly flags: number;
  /** The next accesses, in trace order. */
  read(batch: AccessBatch): Promise<number>;
}

/**
 * Opens a trace and finds out its form.
 *
 * @throws {BusbarError} as {@linkcode readBytes}; `malformed` when it is of no form that is known, or its first lines
 * are wrong; `usage` for a form that does not exist
 */
export async function openTrace(path: string, options: OpenTraceOptions = {}): Promise<OpenTrace> {
  const { format } = options;
  if (format !== undefined && format !== BINARY_FORMAT && formatByName(format) === null) {
    throw new BusbarError("usage", `'${format}' is no form of a trace`, {
      operation: "open a trace",
      hint: `use ${[BINARY_FORMAT, ...TEXT_FORMATS.map((one) => one.name)].join(", ")}`,
    });
  }
  const bytes = readBytes(path, options.limitBytes ?? OUTPUT_LIMIT);
  try {
    const head = await headOf(bytes);
    const binary = format === undefined ? head.length > 0 && looksBinary(head) : format === BINARY_FORMAT;
    return binary ? await openBinary(path, head, bytes) : await openText(path, head, bytes, options);
  } catch (error) {
    await bytes.return(undefined);
    throw error;
  }
}

/** The first bytes, enough for a magic. */
async function headOf(bytes: AsyncGenerator<Uint8Array>): Promise<Uint8Array> {
  let head = new Uint8Array();
  while (head.length < MAGIC.length) {
    const next = await bytes.next();
    if (next.done === true) break;
    const longer = new Uint8Array(head.length + next.value.length);
    longer.set(head);
    longer.set(next.value, head.length);
    head = longer;
  }
  return head;
}

/** True for our magic, and for what is no text, so that a foreign binary file is called that. */
function looksBinary(head: Uint8Array): boolean {
  return isBinaryTrace(head) || head.subarray(0, 512).includes(0);
}

async function openBinary(path: string, head: Uint8Array, bytes: AsyncGenerator<Uint8Array>): Promise<OpenTrace> {
  const name = path === "-" ? "standard input" : path;
  const reader = new BinaryReader(name);
  reader.feed(head);
  let ended = false;
  const more = async (): Promise<void> => {
    const next = await bytes.next();
    if (next.done !== true) return reader.feed(next.value);
    ended = true;
    reader.end();
  };
  while (reader.header === null) await more();
  const { flags } = reader.header;
  const check = new OrderCheck();
  /** Straight into the caller's batch: a binary trace says itself whether it is merged. */
  const merged = async (batch: AccessBatch): Promise<number> => {
    batch.count = 0;
    while (reader.take(batch) === 0 && !ended) await more();
    if (check.check(batch) >= 0) throw outOfOrder(name);
    return batch.count;
  };
  const unmerged = new OrderedSource(
    async () => {
      const batch = new AccessBatch();
      while (reader.take(batch) === 0 && !ended) await more();
      return batch.count === 0 ? null : [batch];
    },
    name,
    true,
  );
  return opened(
    path,
    BINARY_FORMAT,
    flags,
    (flags & FLAG_UNMERGED) === 0 ? merged : (batch) => unmerged.read(batch),
    bytes,
  );
}

async function openText(
  path: string,
  head: Uint8Array,
  bytes: AsyncGenerator<Uint8Array>,
  options: OpenTraceOptions,
): Promise<OpenTrace> {
  const reader = new TextReader(path, options.format === undefined ? null : formatByName(options.format), options);
  let ended = false;
  const more = async (): Promise<AccessBatch[]> => {
    const next = await bytes.next();
    ended = next.done === true;
    return next.done === true ? reader.end() : reader.feed(next.value);
  };
  let waiting = reader.feed(head);
  while (reader.format === null && !ended) waiting = [...waiting, ...await more()];
  const source = new OrderedSource(
    async () => {
      const first = waiting;
      waiting = [];
      return first.length > 0 ? first : ended ? null : await more();
    },
    path,
    false,
  );
  // A file without any line of a form is an empty trace of ours.
  return opened(path, reader.format?.name ?? CSV.name, 0, (batch) => source.read(batch), bytes);
}

function opened(
  path: string,
  format: string,
  flags: number,
  read: (batch: AccessBatch) => Promise<number>,
  bytes: AsyncGenerator<Uint8Array>,
): OpenTrace {
  return {
    path,
    format,
    flags,
    read,
    async [Symbol.asyncDispose](): Promise<void> {
      await bytes.return(undefined);
    },
  };
}

/**
 * Everything that is wrong with a trace, line by line, up to `limit` problems; none when it can be read to its end.
 * A binary trace tells its first problem only.
 */
export async function checkTrace(path: string, options: OpenTraceOptions = {}, limit = 100): Promise<BusbarError[]> {
  const problems: BusbarError[] = [];
  const bytes = readBytes(path, options.limitBytes ?? OUTPUT_LIMIT);
  try {
    const head = await headOf(bytes);
    const binary = options.format === undefined ? looksBinary(head) : options.format === BINARY_FORMAT;
    const format = options.format === undefined ? null : formatByName(options.format);
    if (binary) {
      await using trace = await openTrace(path, options);
      const batch = new AccessBatch();
      while (await trace.read(batch) > 0);
      return problems;
    }
    const reader = new TextReader(path, format, options, (problem) => problems.push(problem));
    reader.feed(head);
    for await (const chunk of bytes) {
      reader.feed(chunk);
      if (problems.length >= limit) return problems.slice(0, limit);
    }
    reader.end();
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    problems.push(error);
  } finally {
    await bytes.return(undefined);
  }
  return problems.slice(0, limit);
}
