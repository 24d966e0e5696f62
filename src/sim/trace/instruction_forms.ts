/**
 * Forms that count instructions: valgrind's lackey and the text of DynamoRIO's drmemtrace.
 * Time is the number of instructions, so gaps are compute time alone.
 * @module
 */

import { type AccessBatch, Op, OP_MASK } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import {
  hexNumber,
  type LineParser,
  type LinePrinter,
  quoted,
  type TextFormat,
  ThreadNumbers,
  type TraceOptions,
  wholeNumber,
} from "./format.ts";
import { LineError } from "./line_error.ts";
import { nsOf } from "../units.ts";

/** Time of one instruction where nothing else is said, in ns: four instructions a nanosecond. */
export const NS_PER_INSTRUCTION = 0.25;

/** More instructions are not written for one gap: a file of nothing but instructions helps nobody. */
const INSTRUCTION_LIMIT = 1_000_000;

class LackeyParser implements LineParser {
  readonly #nsPerInstruction: number;
  readonly #host: number;
  #instructions = 0;

  constructor(options: TraceOptions) {
    this.#nsPerInstruction = options.nsPerInstruction ?? NS_PER_INSTRUCTION;
    this.#host = options.host ?? 0;
  }

  line(text: string, out: EntryCollector): void {
    // Valgrind's own messages, and what the program printed in between cannot be told from damage: only those pass.
    if (text.startsWith("==") || text.startsWith("--")) return;
    if (text.startsWith("I ")) {
      this.#instructions++;
      return;
    }
    const match = /^ ([LSM])\s+([0-9a-fA-F]+),(\d+)$/.exec(text);
    if (match === null) {
      throw new LineError(`${quoted(text)} is no line of lackey`, "run valgrind with --log-file=FILE");
    }
    const [, kind = "", address = "", bytes = ""] = match;
    const timeNs = this.#instructions * this.#nsPerInstruction;
    const at = hexNumber(address, "address");
    const size = wholeNumber(bytes, "size");
    if (kind !== "S") out.access(timeNs, this.#host, 0, Op.Read, at, size);
    if (kind !== "L") out.access(timeNs, this.#host, 0, Op.Write, at, size);
  }
}

/** Counts how many instructions make up a time. */
class InstructionCount {
  readonly #nsPerInstruction: number;
  #instructions = 0;

  constructor(options: TraceOptions) {
    this.#nsPerInstruction = options.nsPerInstruction ?? NS_PER_INSTRUCTION;
  }

  /** Instructions since the entry before. */
  advance(ticks: number): number {
    const now = Math.round(nsOf(ticks) / this.#nsPerInstruction);
    const gap = Math.max(0, now - this.#instructions);
    this.#instructions = Math.max(now, this.#instructions);
    return Math.min(gap, INSTRUCTION_LIMIT);
  }
}

/** True for what these forms can say: loads and stores; an atomic is both. */
function isPlain(op: number): boolean {
  return op === Op.Read || op === Op.Write || op === Op.Atomic || op === Op.Prefetch;
}

class LackeyPrinter implements LinePrinter {
  readonly head: string = "";
  readonly #count: InstructionCount;

  constructor(options: TraceOptions) {
    this.#count = new InstructionCount(options);
  }

  print(batch: AccessBatch): string {
    let text = "";
    for (let i = 0; i < batch.count; i++) {
      const op = (batch.op[i] as number) & OP_MASK;
      if (!isPlain(op)) continue;
      text += "I  00000000,1\n".repeat(this.#count.advance(batch.time[i] as number));
      const letter = op === Op.Write ? "S" : op === Op.Atomic ? "M" : "L";
      text += ` ${letter} ${(batch.address[i] as number).toString(16).padStart(8, "0")},${batch.bytes[i]}\n`;
    }
    return text;
  }
}

/** Text of valgrind's lackey: ` L 1ffe,8`. */
export const LACKEY: TextFormat = {
  name: "lackey",
  title: "valgrind --tool=lackey --trace-mem=yes",
  recognise: (line) => /^( [LSM] |I {2})[0-9a-fA-F]+,\d+$/.test(line),
  parser: (options) => new LackeyParser(options),
  printer: (options) => new LackeyPrinter(options),
  loses: "hosts, threads, allocations, flushes, dependence, times between instructions",
};

class DrmemtraceParser implements LineParser {
  readonly #nsPerInstruction: number;
  readonly #host: number;
  readonly #threads = new ThreadNumbers();
  readonly #times: number[] = [];
  #latestNs = 0;

  constructor(options: TraceOptions) {
    this.#nsPerInstruction = options.nsPerInstruction ?? NS_PER_INSTRUCTION;
    this.#host = options.host ?? 0;
  }

  line(text: string, out: EntryCollector): void {
    const match = /^\s*\d+\s+\d+:\s+(\d+)\s+(.*)$/.exec(text);
    if (match === null) {
      // The table's head, its rule, and what the tool says at its end.
      if (/^(Output format:|<--|-{8,}|View tool results:|\s+\d+ : total|\s*T\d+ )/.test(text)) return;
      throw new LineError(`${quoted(text)} is no line of drmemtrace's view tool`, "drrun -t drmemtrace -tool view");
    }
    const [, tid = "", record = ""] = match;
    const thread = this.#threads.of(tid);
    // A thread begins where the others are.
    const timeNs = this.#times[thread] ??= this.#latestNs;
    if (record.startsWith("<") || record.startsWith("<--")) return;
    if (record.startsWith("ifetch") || record.startsWith("non-fetched instr")) {
      this.#times[thread] = timeNs + this.#nsPerInstruction;
      this.#latestNs = Math.max(this.#latestNs, timeNs + this.#nsPerInstruction);
      return;
    }
    const access = /^(read|write|prefetch\w*|flush)\s+(\d+) byte\(s\) @ (0x[0-9a-fA-F]+)/.exec(record);
    if (access === null) {
      // Lines that disassembly continues on begin with the bytes of an instruction.
      if (/^[0-9a-f]{2}( |$)/.test(record)) return;
      throw new LineError(`record ${quoted(record)} is unknown`);
    }
    const [, kind = "", bytes = "", address = ""] = access;
    const op = kind === "read" ? Op.Read : kind === "write" ? Op.Write : kind === "flush" ? Op.Flush : Op.Prefetch;
    out.access(timeNs, this.#host, thread, op, hexNumber(address, "address"), wholeNumber(bytes, "size"));
  }
}

class DrmemtracePrinter implements LinePrinter {
  readonly head: string = "Output format:\n<--record#-> <--instr#->: <---tid---> <record details>\n" +
    "------------------------------------------------------------\n";
  readonly #options: TraceOptions;
  readonly #counts: InstructionCount[] = [];
  #record = 0;
  #instruction = 0;

  constructor(options: TraceOptions) {
    this.#options = options;
  }

  print(batch: AccessBatch): string {
    let text = "";
    const put = (tid: number, details: string): void => {
      text += `${String(++this.#record).padStart(12)}${String(this.#instruction).padStart(12)}:`;
      text += `${String(tid).padStart(12)} ${details}\n`;
    };
    for (let i = 0; i < batch.count; i++) {
      const op = (batch.op[i] as number) & OP_MASK;
      if (!isPlain(op) && op !== Op.Flush) continue;
      const thread = batch.thread[i] as number;
      const tid = 1000 + thread;
      const count = this.#counts[thread] ??= new InstructionCount(this.#options);
      for (let n = count.advance(batch.time[i] as number); n > 0; n--) {
        this.#instruction++;
        put(tid, "ifetch       1 byte(s) @ 0x0000000000000000 90                   nop");
      }
      const size = `${String(batch.bytes[i]).padStart(2)} byte(s) @ 0x${hex16(batch.address[i] as number)}`;
      const words = op === Op.Flush
        ? ["flush"]
        : op === Op.Prefetch
        ? ["prefetch"]
        : op === Op.Atomic
        ? ["read", "write"]
        : [op === Op.Read ? "read" : "write"];
      for (const word of words) put(tid, `${word.padEnd(9)} ${size} by PC 0x0000000000000000`);
    }
    return text;
  }
}

function hex16(value: number): string {
  return value.toString(16).padStart(16, "0");
}

/** Text of DynamoRIO's `drrun -t drmemtrace -tool view`. */
export const DRMEMTRACE: TextFormat = {
  name: "drmemtrace",
  title: "DynamoRIO's drmemtrace, text of -tool view",
  recognise: (line) =>
    /^(Output format:$|<--record#)/.test(line) || /^\s*\d+\s+\d+:\s+\d+\s+(<|ifetch|read|write)/.test(line),
  parser: (options) => new DrmemtraceParser(options),
  printer: (options) => new DrmemtracePrinter(options),
  loses: "hosts, allocations, invalidations, dependence, times between instructions",
};
