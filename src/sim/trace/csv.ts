/**
 * Our own text forms: CSV and JSON lines.
 *
 * `timeNs,host,op,address,bytes,thread,flags`: bytes may be left out (64), and so may the last two; flag `d` is an
 * address that depends on the load before. The size of an allocation (op M) stands in the place of bytes.
 * @module
 */

import { type AccessBatch, DEFAULT_BYTES, DEPENDENT, Op, OP_LETTERS, OP_MASK } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import { decimalNumber, type LineParser, type LinePrinter, quoted, type TextFormat, wholeNumber } from "./format.ts";
import { LineError } from "./line_error.ts";
import { nsOf } from "../units.ts";

function opNumber(letter: string): number {
  const op = letter.length === 1 ? OP_LETTERS.indexOf(letter.toUpperCase()) : -1;
  if (op < 0) {
    throw new LineError(
      `op ${quoted(letter)} is unknown`,
      "R read, W write, A atomic, P prefetch, F flush, I invalidate, B barrier, M allocation, U its end",
    );
  }
  return op;
}

function isDependent(flags: string): boolean {
  if (flags !== "" && flags !== "d") throw new LineError(`flags ${quoted(flags)} are unknown`, "the one flag is d");
  return flags === "d";
}

/** Hands over what a line says, whatever form it has. */
function put(
  out: EntryCollector,
  timeNs: number,
  host: number,
  op: number,
  address: number,
  bytes: number | null,
  thread: number,
  dependent: boolean,
): void {
  if (op === Op.Allocate) {
    if (bytes === null) throw new LineError("an allocation without its size");
    return out.allocation(timeNs, host, thread, address, bytes);
  }
  const event = op === Op.Barrier || op === Op.Free;
  out.access(timeNs, host, thread, dependent ? op | DEPENDENT : op, address, event ? 0 : bytes ?? DEFAULT_BYTES);
}

class CsvParser implements LineParser {
  #first = true;

  line(text: string, out: EntryCollector): void {
    const fields = text.split(",");
    for (let i = 0; i < fields.length; i++) fields[i] = (fields[i] as string).trim();
    const first = this.#first;
    this.#first = false;
    // A first line of names, as a spreadsheet writes it.
    if (first && fields[0] === "timeNs") return;
    if (fields.length < 4 || fields.length > 7) {
      throw new LineError(`${fields.length} fields`, "timeNs,host,op,address,bytes,thread,flags: four to seven");
    }
    const [time = "", host = "", letter = "", address = "", bytes = ""] = fields;
    const last = fields.length === 6 && !/^\d*$/.test(fields[5] as string);
    const thread = last ? "" : fields[5] ?? "";
    const flags = last ? fields[5] as string : fields[6] ?? "";
    put(
      out,
      decimalNumber(time, "time"),
      wholeNumber(host, "host"),
      opNumber(letter),
      wholeNumber(address, "address"),
      bytes === "" ? null : wholeNumber(bytes, "bytes"),
      thread === "" ? 0 : wholeNumber(thread, "thread"),
      isDependent(flags),
    );
  }
}

function field(object: Record<string, unknown>, name: string): string | null {
  const value = object[name];
  if (value === undefined || value === null) return null;
  if (typeof value === "number" || typeof value === "string") return String(value);
  throw new LineError(`${name} is neither a number nor text`);
}

const JSON_FIELDS = ["timeNs", "host", "op", "address", "bytes", "thread", "flags"];

class JsonLinesParser implements LineParser {
  line(text: string, out: EntryCollector): void {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new LineError("is not JSON", "one object a line");
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      throw new LineError("is no JSON object");
    }
    const object = parsed as Record<string, unknown>;
    const unknown = Object.keys(object).find((name) => !JSON_FIELDS.includes(name));
    if (unknown !== undefined) throw new LineError(`field ${quoted(unknown)} is unknown`, JSON_FIELDS.join(", "));
    const needed = (name: string): string => {
      const value = field(object, name);
      if (value === null) throw new LineError(`${name} is missing`);
      return value;
    };
    const bytes = field(object, "bytes");
    put(
      out,
      decimalNumber(needed("timeNs"), "time"),
      wholeNumber(field(object, "host") ?? "0", "host"),
      opNumber(needed("op")),
      wholeNumber(needed("address"), "address"),
      bytes === null ? null : wholeNumber(bytes, "bytes"),
      wholeNumber(field(object, "thread") ?? "0", "thread"),
      isDependent(field(object, "flags") ?? ""),
    );
  }
}

/** What a line says of an entry, for both forms; null for the second half of an allocation. */
interface Line {
  readonly timeNs: number;
  readonly host: number;
  readonly letter: string;
  readonly address: number;
  readonly bytes: number;
  readonly thread: number;
  readonly dependent: boolean;
}

function* linesOf(batch: AccessBatch): Generator<Line> {
  for (let i = 0; i < batch.count; i++) {
    const code = batch.op[i] as number;
    const op = code & OP_MASK;
    const allocation = op === Op.Allocate;
    yield {
      timeNs: nsOf(batch.time[i] as number),
      host: batch.host[i] as number,
      letter: OP_LETTERS[op] ?? "?",
      address: batch.address[i] as number,
      bytes: allocation ? batch.address[i + 1] as number : batch.bytes[i] as number,
      thread: batch.thread[i] as number,
      dependent: (code & DEPENDENT) !== 0,
    };
    if (allocation) i++;
  }
}

const csvPrinter: LinePrinter = {
  head: "# timeNs,host,op,address,bytes,thread,flags\n",
  print(batch: AccessBatch): string {
    let text = "";
    for (const line of linesOf(batch)) {
      text += `${line.timeNs},${line.host},${line.letter},0x${line.address.toString(16)},${line.bytes}`;
      if (line.thread !== 0 || line.dependent) text += `,${line.thread},${line.dependent ? "d" : ""}`;
      text += "\n";
    }
    return text;
  },
};

const jsonPrinter: LinePrinter = {
  head: "",
  print(batch: AccessBatch): string {
    let text = "";
    for (const line of linesOf(batch)) {
      const { timeNs, host, letter, bytes, thread, dependent } = line;
      const address = `0x${line.address.toString(16)}`;
      const more = { ...(thread === 0 ? {} : { thread }), ...(dependent ? { flags: "d" } : {}) };
      text += `${JSON.stringify({ timeNs, host, op: letter, address, bytes, ...more })}\n`;
    }
    return text;
  },
};

/** Comma-separated values, our form for people. */
export const CSV: TextFormat = {
  name: "csv",
  title: "timeNs,host,op,address,bytes,thread,flags",
  recognise: (line) => /^\s*(timeNs\s*,|[\d.][\d.eE+-]*\s*,\s*\d+\s*,\s*[RWAPFIBMU]\s*,)/i.test(line),
  parser: () => new CsvParser(),
  printer: () => csvPrinter,
  loses: "",
};

/** The same as one JSON object a line. */
export const JSON_LINES: TextFormat = {
  name: "jsonl",
  title: "one JSON object a line, with the names of the CSV form",
  recognise: (line) => /^\s*\{/.test(line),
  parser: () => new JsonLinesParser(),
  printer: () => jsonPrinter,
  loses: "",
};
