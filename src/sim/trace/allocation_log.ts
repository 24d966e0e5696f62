/**
 * Allocation logs: `M base size` and `U base`, for placement by object. A time and a thread may stand behind.
 * @module
 */

import { type AccessBatch, Op, OP_MASK } from "./batch.ts";
import type { EntryCollector } from "./collect.ts";
import {
  decimalNumber,
  type LineParser,
  type LinePrinter,
  quoted,
  type TextFormat,
  type TraceOptions,
  wholeNumber,
} from "./format.ts";
import { LineError } from "./line_error.ts";
import { nsOf } from "../units.ts";

class AllocationLogParser implements LineParser {
  readonly #gapNs: number;
  readonly #host: number;
  #timeNs = 0;

  constructor(options: TraceOptions) {
    this.#gapNs = options.gapNs ?? 0;
    this.#host = options.host ?? 0;
  }

  line(text: string, out: EntryCollector): void {
    const [kind = "", base = "", ...rest] = text.trim().split(/\s+/);
    const allocation = kind === "M";
    if ((!allocation && kind !== "U") || rest.length > (allocation ? 3 : 2) || (allocation && rest.length === 0)) {
      throw new LineError(
        `${quoted(text)} is no line of an allocation log`,
        "M base size [timeNs [thread]] or U base [timeNs [thread]]",
      );
    }
    const size = allocation ? wholeNumber(rest.shift() ?? "", "size") : 0;
    const [time, thread] = rest;
    if (time !== undefined) this.#timeNs = decimalNumber(time, "time");
    const of = thread === undefined ? 0 : wholeNumber(thread, "thread");
    const address = wholeNumber(base, "base");
    if (allocation) out.allocation(this.#timeNs, this.#host, of, address, size);
    else out.access(this.#timeNs, this.#host, of, Op.Free, address, 0);
    if (time === undefined) this.#timeNs += this.#gapNs;
  }
}

const printer: LinePrinter = {
  head: "",
  print(batch: AccessBatch): string {
    let text = "";
    for (let i = 0; i < batch.count; i++) {
      const op = (batch.op[i] as number) & OP_MASK;
      const base = `0x${(batch.address[i] as number).toString(16)}`;
      const when = `${nsOf(batch.time[i] as number)} ${batch.thread[i]}`;
      if (op === Op.Allocate) text += `M ${base} ${batch.address[i + 1]} ${when}\n`;
      if (op === Op.Free) text += `U ${base} ${when}\n`;
    }
    return text;
  },
};

/** An allocation log. */
export const ALLOCATION_LOG: TextFormat = {
  name: "alloc",
  title: "M base size, U base: an allocation log",
  recognise: (line) =>
    /^\s*(M\s+(0x[0-9a-fA-F]+|\d+)\s+(0x[0-9a-fA-F]+|\d+)|U\s+(0x[0-9a-fA-F]+|\d+))(\s+[\d.]+){0,2}\s*$/.test(line),
  parser: (options: TraceOptions) => new AllocationLogParser(options),
  printer: () => printer,
  loses: "everything but allocations; hosts",
};
