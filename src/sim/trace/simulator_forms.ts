/**
 * Traces of other simulators: gem5's packet text, Ramulator 2, DRAMsim3.
 * @module
 */

import { type AccessBatch, DEFAULT_BYTES, Op, OP_MASK } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import { decimalNumber, type LineParser, quoted, type TextFormat, type TraceOptions, wholeNumber } from "./format.ts";
import { LineError } from "./line_error.ts";
import { nsOf } from "../units.ts";

const GEM5_NS_PER_TICK = 0.001;

/** The columns that gem5's decoder prints, by how many there are behind the size. */
const GEM5_TAILS: readonly (readonly string[])[] = [[], ["tick"], ["flags", "tick"], ["flags", "tick", "pc"]];

class Gem5Parser implements LineParser {
  readonly #nsPerTick: number;
  readonly #host: number;
  readonly #columns: readonly string[] | null;
  #firstTick: number | null = null;

  constructor(options: TraceOptions) {
    this.#nsPerTick = options.nsPerTick ?? GEM5_NS_PER_TICK;
    this.#host = options.host ?? 0;
    this.#columns = options.fields === undefined ? null : options.fields.split(",").map((name) => name.trim());
  }

  line(text: string, out: EntryCollector): void {
    const fields = text.split(",").map((field) => field.trim());
    const columns = this.#columns ?? columnsOf(fields);
    if (columns === null || fields.length !== columns.length) {
      throw new LineError(
        `${quoted(text)} has not the columns of a packet trace`,
        "[id,]cmd,addr,size[,flags],tick[,pc]",
      );
    }
    const value = (name: string): string => {
      const at = columns.indexOf(name);
      if (at < 0) throw new LineError(`column '${name}' is missing`, "name the columns with --fields");
      return fields[at] as string;
    };
    const command = value("cmd");
    const tick = wholeNumber(value("tick"), "tick");
    // A simulation's trace begins long after its tick 0: only differences are time.
    this.#firstTick ??= tick;
    const timeNs = (tick - this.#firstTick) * this.#nsPerTick;
    if (timeNs < 0) throw new LineError(`tick ${tick} is before the first of the file`, "sort the file by tick");
    if (command === "u") return;
    if (command !== "r" && command !== "w") throw new LineError(`cmd ${quoted(command)} is unknown`, "r, w or u");
    const address = wholeNumber(value("addr"), "addr");
    const bytes = wholeNumber(value("size"), "size");
    out.access(timeNs, this.#host, 0, command === "r" ? Op.Read : Op.Write, address, bytes);
  }
}

function columnsOf(fields: readonly string[]): readonly string[] | null {
  const identified = !/^[rwu]$/.test(fields[0] ?? "");
  const tail = GEM5_TAILS[fields.length - (identified ? 4 : 3)];
  if (tail === undefined || tail.length === 0) return null;
  return [...(identified ? ["id"] : []), "cmd", "addr", "size", ...tail];
}

/** Reads and writes alone are left of a batch in these forms. */
function* plainAccesses(
  batch: AccessBatch,
): Generator<[write: boolean, address: number, bytes: number, timeNs: number]> {
  for (let i = 0; i < batch.count; i++) {
    const op = (batch.op[i] as number) & OP_MASK;
    const time = nsOf(batch.time[i] as number);
    const address = batch.address[i] as number;
    const bytes = batch.bytes[i] as number;
    if (op === Op.Read || op === Op.Prefetch || op === Op.Atomic) yield [false, address, bytes, time];
    if (op === Op.Write || op === Op.Atomic) yield [true, address, bytes, time];
  }
}

const LOSES_MOST = "hosts, threads, allocations, flushes, atomics, dependence";

/** Text that gem5's decoder of packet traces prints. */
export const GEM5: TextFormat = {
  name: "gem5",
  title: "[id,]cmd,addr,size[,flags],tick[,pc] of gem5's packet trace decoder",
  recognise: (line) => /^(\d+,)?[rwu],\d+,\d+(,\d+){1,3}$/.test(line),
  parser: (options) => new Gem5Parser(options),
  printer: (options) => {
    const nsPerTick = options.nsPerTick ?? GEM5_NS_PER_TICK;
    return {
      head: "",
      print: (batch) =>
        plainAccesses(batch).map(([write, address, bytes, timeNs]) =>
          `${write ? "w" : "r"},${address},${bytes},${Math.round(timeNs / nsPerTick)}\n`
        ).toArray().join(""),
    };
  },
  loses: LOSES_MOST,
};

class Ramulator2Parser implements LineParser {
  readonly #gapNs: number;
  readonly #host: number;
  #timeNs = 0;

  constructor(options: TraceOptions) {
    this.#gapNs = options.gapNs ?? 0;
    this.#host = options.host ?? 0;
  }

  line(text: string, out: EntryCollector): void {
    const [kind = "", address = "", ...rest] = text.trim().split(/\s+/);
    if ((kind !== "LD" && kind !== "ST") || rest.length > 0) {
      throw new LineError(`${quoted(text)} is no line of Ramulator 2`, "LD addr or ST addr");
    }
    out.access(
      this.#timeNs,
      this.#host,
      0,
      kind === "LD" ? Op.Read : Op.Write,
      wholeNumber(address, "address"),
      DEFAULT_BYTES,
    );
    this.#timeNs += this.#gapNs;
  }
}

/** Load-store traces of Ramulator 2. */
export const RAMULATOR2: TextFormat = {
  name: "ramulator2",
  title: "LD addr, ST addr of Ramulator 2",
  recognise: (line) => /^\s*(LD|ST)\s+(0x[0-9a-fA-F]+|\d+)\s*$/.test(line),
  parser: (options) => new Ramulator2Parser(options),
  printer: () => ({
    head: "",
    print: (batch) =>
      plainAccesses(batch).map(([write, address]) => `${write ? "ST" : "LD"} 0x${address.toString(16)}\n`).toArray()
        .join(""),
  }),
  loses: `${LOSES_MOST}, times, sizes`,
};

class Dramsim3Parser implements LineParser {
  readonly #nsPerTick: number;
  readonly #host: number;

  constructor(options: TraceOptions) {
    this.#nsPerTick = options.nsPerTick ?? 1;
    this.#host = options.host ?? 0;
  }

  line(text: string, out: EntryCollector): void {
    const [address = "", kind = "", cycle = "", ...rest] = text.trim().split(/\s+/);
    if (!["READ", "WRITE"].includes(kind) || rest.length > 0) {
      throw new LineError(`${quoted(text)} is no line of DRAMsim3`, "0xaddr READ cycle or 0xaddr WRITE cycle");
    }
    const timeNs = decimalNumber(cycle, "cycle") * this.#nsPerTick;
    out.access(
      timeNs,
      this.#host,
      0,
      kind === "READ" ? Op.Read : Op.Write,
      wholeNumber(address, "address"),
      DEFAULT_BYTES,
    );
  }
}

/** Traces of DRAMsim3. */
export const DRAMSIM3: TextFormat = {
  name: "dramsim3",
  title: "0xaddr READ cycle, 0xaddr WRITE cycle of DRAMsim3",
  recognise: (line) => /^\s*0x[0-9a-fA-F]+\s+(READ|WRITE)\s+\d+\s*$/.test(line),
  parser: (options) => new Dramsim3Parser(options),
  printer: (options) => {
    const nsPerTick = options.nsPerTick ?? 1;
    return {
      head: "",
      print: (batch) =>
        plainAccesses(batch).map(([write, address, , timeNs]) =>
          `0x${address.toString(16).toUpperCase()} ${write ? "WRITE" : "READ"} ${Math.round(timeNs / nsPerTick)}\n`
        ).toArray().join(""),
    };
  },
  loses: `${LOSES_MOST}, sizes, times between cycles`,
};
