/**
 * Writes traces of any form.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { yieldToEventLoop } from "../../core/deadline.ts";
import { AccessBatch, type TraceSource } from "../trace/batch.ts";
import { BinaryEncoder, encodeHeader, FLAG_UNMERGED } from "../trace/binary.ts";
import type { TraceOptions } from "../trace/format.ts";
import { BINARY_FORMAT, formatByName, TEXT_FORMATS } from "../trace/formats.ts";
import { OutputFile } from "./output.ts";

/** How a trace is written. */
export interface WriteTraceOptions extends TraceOptions {
  /** The form; by the ending of the name where it is left out. */
  readonly format?: string | undefined;
  /** Flags of the trace that is read, for the header of a binary one. */
  readonly flags?: number | undefined;
  /** Takes text for standard output, when the path is `-`. */
  readonly print?: ((text: string) => void) | undefined;
  /** Called with the accesses written so far. */
  readonly onProgress?: ((accesses: number) => void) | undefined;
  /** Ends the writing; nothing is written. */
  readonly signal?: AbortSignal | undefined;
}

/** What was written. */
export interface WrittenTrace {
  /** The form. */
  readonly format: string;
  /** Entries that were read. */
  readonly accesses: number;
  /** What the form cannot carry; empty when it carries all. */
  readonly loses: string;
}

/** The forms by the ending of a file's name. */
const ENDINGS: Readonly<Record<string, string>> = {
  bbt: BINARY_FORMAT,
  csv: "csv",
  jsonl: "jsonl",
  lackey: "lackey",
  perf: "perf",
  gem5: "gem5",
  alloc: "alloc",
};

function formatOf(path: string, format: string | undefined): string {
  if (/\.(gz|zst)$/.test(path)) {
    throw new BusbarError("usage", `${path}: traces are read packed, and written unpacked`, {
      operation: "write a trace",
      path,
      hint: "write to - and pack what comes: cxl_sim convert … - --to csv | gzip > FILE.gz",
    });
  }
  const chosen = format ?? (path === "-" ? "csv" : ENDINGS[path.slice(path.lastIndexOf(".") + 1)]);
  if (chosen === BINARY_FORMAT || (chosen !== undefined && formatByName(chosen) !== null)) return chosen;
  throw new BusbarError(
    "usage",
    chosen === undefined ? `${path}: its name tells no form` : `'${chosen}' is no form of a trace`,
    {
      operation: "write a trace",
      path,
      hint: `--to ${[BINARY_FORMAT, ...TEXT_FORMATS.map((one) => one.name)].join(", ")}`,
    },
  );
}

/**
 * Writes all of a source. The file appears when it is complete.
 *
 * @param path the file; `-` is standard output, for text
 * @throws {BusbarError} `usage`: the form; `out-of-range`: the disk is full; whatever the source throws
 */
export async function writeTrace(
  source: TraceSource,
  path: string,
  options: WriteTraceOptions = {},
): Promise<WrittenTrace> {
  const format = formatOf(path, options.format);
  const text = formatByName(format);
  if (path === "-" && text === null) {
    throw new BusbarError("usage", "a binary trace cannot go to standard output: its header is written last", {
      operation: "write a trace",
      path,
      hint: "name a file, or --to csv",
    });
  }
  using file = path === "-" ? null : OutputFile.create(path);
  const put = (chunk: string): void => {
    if (chunk === "") return;
    if (file === null) options.print?.(chunk);
    else file.write(new TextEncoder().encode(chunk));
  };
  const encoder = new BinaryEncoder();
  const printer = text?.printer(options);
  // What comes out of a source is in order, whatever the file said.
  const flags = (options.flags ?? 0) & ~FLAG_UNMERGED;
  if (printer !== undefined) put(printer.head);
  else file?.write(encodeHeader(encoder.header(flags)));
  const batch = new AccessBatch();
  let accesses = 0;
  let yielded = performance.now();
  while (await source.read(batch) > 0) {
    if (printer !== undefined) put(printer.print(batch));
    else file?.write(encoder.encode(batch));
    accesses += batch.count;
    options.onProgress?.(accesses);
    if (performance.now() - yielded < 50) continue;
    await yieldToEventLoop(options.signal);
    yielded = performance.now();
  }
  if (printer === undefined) file?.writeHead(encodeHeader(encoder.header(flags)));
  file?.commit();
  return { format, accesses, loses: text?.loses ?? "" };
}
