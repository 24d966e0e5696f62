/**
 * Text of `perf script` after `perf mem record`: samples of loads and stores.
 *
 * The columns are those of `-F`, in the order in which perf prints them whatever the order in `-F`:
 * comm, pid or tid, cpu, time, period, event, addr, data_src, weight, phys_addr.
 * @module
 */

import { type AccessBatch, DEFAULT_BYTES, Op, OP_MASK } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import {
  hexNumber,
  type LineParser,
  type LinePrinter,
  quoted,
  type TextFormat,
  ThreadNumbers,
  type TraceOptions,
} from "./format.ts";
import { LineError } from "./line_error.ts";
import { nsOf } from "../units.ts";

/** The columns that the manual tells to ask for. */
export const PERF_FIELDS = "tid,time,event,addr,phys_addr,weight,data_src";

/** What a column looks like; its first group is its value. */
const COLUMNS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["comm", /^(.+)$/],
  ["pid", /^(-?\d+)$/],
  ["tid", /^(?:-?\d+\/)?(-?\d+)$/],
  ["cpu", /^\[(\d+)\]$/],
  ["time", /^(\d+\.\d{6,9}):$/],
  ["period", /^(\d+)$/],
  ["event", /^(.+):$/],
  ["addr", /^([0-9a-f]+)$/],
  ["data_src", /^([0-9a-f]+)$/],
  ["weight", /^(\d+)$/],
  ["phys_addr", /^([0-9a-f]+)$/],
];

/** The columns that were asked for, in the order in which perf prints them. */
function columnsOf(fields: string): (readonly [name: string, pattern: RegExp])[] {
  const names = new Set(fields.split(",").map((name) => name.trim()).filter((name) => name !== ""));
  for (const name of names) {
    if (!COLUMNS.some(([known]) => known === name)) {
      throw new LineError(
        `perf column ${quoted(name)} is not known`,
        `use ${COLUMNS.map(([known]) => known).join(", ")}`,
      );
    }
  }
  return COLUMNS.filter(([name]) => names.has(name) && !(name === "pid" && names.has("tid")));
}

/** The words of a line by column, and what `data_src` means in perf's words; null when the line has not these columns. */
function wordsOf(
  text: string,
  columns: readonly (readonly [name: string, pattern: RegExp])[],
): { values: Map<string, string>; meaning: string } | null {
  // The meaning of data_src has blanks in it: it begins with a bar and ends where the columns behind it begin.
  const bar = text.indexOf("|");
  const words = (bar < 0 ? text : text.slice(0, bar)).trim().split(/\s+/);
  let meaning = "";
  if (bar >= 0) {
    const behind = columns.length - 1 - columns.findIndex(([name]) => name === "data_src");
    const rest = text.slice(bar).trim().split(/\s+/);
    words.push(...rest.slice(rest.length - behind));
    meaning = rest.slice(0, rest.length - behind).join(" ");
  }
  // A command's name may have blanks in it, and comes first.
  const more = words.length - columns.length;
  if (more > 0 && columns[0]?.[0] === "comm") words.splice(0, more + 1, words.slice(0, more + 1).join(" "));
  if (words.length !== columns.length) return null;
  const values = new Map<string, string>();
  for (const [i, [name, pattern]] of columns.entries()) {
    const value = pattern.exec(words[i] as string)?.[1];
    if (value === undefined) return null;
    values.set(name, value);
  }
  return { values, meaning };
}

class PerfParser implements LineParser {
  readonly #options: TraceOptions;
  readonly #threads = new ThreadNumbers();
  readonly #period: number;
  #columns: (readonly [name: string, pattern: RegExp])[] | null = null;
  #firstNs: bigint | null = null;

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#period = options.period ?? 1;
    if (!Number.isInteger(this.#period) || this.#period < 1 || this.#period > 65536) {
      throw new LineError(`period ${this.#period}`, "a sample stands for 1 to 65536 accesses");
    }
  }

  line(text: string, out: EntryCollector): void {
    const columns = this.#columns ??= columnsOf(this.#options.fields ?? PERF_FIELDS);
    const found = wordsOf(text, columns);
    if (found === null) {
      throw new LineError(
        `${quoted(text.trim())} has not the columns ${columns.map(([name]) => name).join(",")}`,
        "name the columns of perf script -F with --fields",
      );
    }
    const { values, meaning } = found;
    const [addr, phys] = [values.get("addr"), values.get("phys_addr")];
    const [time, tid, event] = [values.get("time") ?? "0.0", values.get("tid") ?? "0", values.get("event") ?? ""];
    const chosen = this.#options.physical === true ? phys : addr ?? phys;
    if (chosen === undefined) throw new LineError("no address among the columns", "perf script -F …,addr,phys_addr");
    const [seconds = "0", fraction = "0"] = time.split(".");
    const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
    // The clock of perf began at boot: only differences are time.
    this.#firstNs ??= ns;
    const timeNs = Number(ns - this.#firstNs);
    if (timeNs < 0) throw new LineError(`time ${time} is before the first of the file`, "perf script sorts by time");
    const address = hexNumber(chosen, "address");
    // The address of a sample that perf could not resolve is 0.
    if (address === 0) return;
    const write = meaning.includes("OP STORE") || (!meaning.includes("OP LOAD") && /store/i.test(event));
    const thread = this.#threads.of(tid);
    for (let n = 0; n < this.#period; n++) {
      out.access(timeNs, this.#options.host ?? 0, thread, write ? Op.Write : Op.Read, address, DEFAULT_BYTES);
    }
  }
}

const printer: LinePrinter = {
  head: "",
  print(batch: AccessBatch): string {
    let text = "";
    for (let i = 0; i < batch.count; i++) {
      const op = (batch.op[i] as number) & OP_MASK;
      if (op > Op.Prefetch) continue;
      const ns = BigInt(Math.round(nsOf(batch.time[i] as number)));
      const time = `${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, "0")}`;
      const address = (batch.address[i] as number).toString(16).padStart(16);
      const store = op === Op.Write;
      const meaning = store ? "5080022 |OP STORE|LVL L1 hit|" : "5080021 |OP LOAD|LVL L1 hit|";
      text += `${String(1000 + (batch.thread[i] as number)).padStart(7)} ${time}: `;
      text += `cpu/mem-${store ? "stores" : "loads"}/P: ${address} ${meaning} 0 ${address}\n`;
    }
    return text;
  },
};

/** Text of `perf script`. */
export const PERF: TextFormat = {
  name: "perf",
  title: `perf script -F ${PERF_FIELDS}, after perf mem record`,
  recognise: (line) =>
    /\s\d+\.\d{6,9}:\s/.test(line) && /\s[\w/.,=\-]*(mem|load|store|ibs)[\w/.,=\-]*:\S*\s/i.test(line),
  parser: (options) => new PerfParser(options),
  printer: () => printer,
  loses: "hosts, allocations, flushes, sizes, atomics, dependence, times below 1 ns",
};
