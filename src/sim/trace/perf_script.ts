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

/** A column as a piece of a regular expression. perf pads with blanks. */
const COLUMNS: readonly (readonly [name: string, pattern: string])[] = [
  ["comm", String.raw`(?<comm>.+?)`],
  ["pid", String.raw`(?<pid>-?\d+)`],
  ["tid", String.raw`(?:-?\d+/)?(?<tid>-?\d+)`],
  ["cpu", String.raw`\[(?<cpu>\d+)\]`],
  ["time", String.raw`(?<time>\d+\.\d{6,9}):`],
  ["period", String.raw`(?<period>\d+)`],
  ["event", String.raw`(?<event>\S+):`],
  ["addr", String.raw`(?<addr>[0-9a-f]+)`],
  ["data_src", String.raw`(?<source>[0-9a-f]+)(?:\s+(?<meaning>\|.*?(?=\s+\d+(?:\s|$)|\s*$)))?`],
  ["weight", String.raw`(?<weight>\d+)`],
  ["phys_addr", String.raw`(?<phys>[0-9a-f]+)`],
];

function patternOf(fields: string): { pattern: RegExp; names: Set<string> } {
  const names = new Set(fields.split(",").map((name) => name.trim()).filter((name) => name !== ""));
  for (const name of names) {
    if (!COLUMNS.some(([known]) => known === name)) {
      throw new LineError(
        `perf column ${quoted(name)} is not known`,
        `use ${COLUMNS.map(([known]) => known).join(", ")}`,
      );
    }
  }
  const parts = COLUMNS.filter(([name]) => names.has(name) && !(name === "pid" && names.has("tid")));
  return { pattern: new RegExp(`^\\s*${parts.map(([, pattern]) => pattern).join("\\s+")}\\s*$`), names };
}

class PerfParser implements LineParser {
  readonly #options: TraceOptions;
  readonly #threads = new ThreadNumbers();
  readonly #period: number;
  #pattern: { pattern: RegExp; names: Set<string> } | null = null;
  #firstNs: bigint | null = null;

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#period = options.period ?? 1;
    if (!Number.isInteger(this.#period) || this.#period < 1 || this.#period > 65536) {
      throw new LineError(`period ${this.#period}`, "a sample stands for 1 to 65536 accesses");
    }
  }

  line(text: string, out: EntryCollector): void {
    const { pattern, names } = this.#pattern ??= patternOf(this.#options.fields ?? PERF_FIELDS);
    const found = pattern.exec(text)?.groups;
    if (found === undefined) {
      throw new LineError(
        `${quoted(text.trim())} has not the columns ${[...names].join(",")}`,
        "name the columns of perf script -F with --fields",
      );
    }
    const { time = "0.0", tid = "0", event = "", addr, phys, meaning = "" } = found;
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
