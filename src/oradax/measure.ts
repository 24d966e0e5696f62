/**
 * How fast the software coprocessor is on one core, as a ratio to what reading the same memory costs in the same run. Both
 * are measured in processor time, so a machine that does other things meanwhile changes little.
 * @module
 */

import { SoftOradax, type SoftOradaxMemory } from "../../ffi/soft_oradax.ts";
import { buildCcb } from "./ccb.ts";
import type { Ccb, CcbData } from "./ccb_command.ts";
import { completionError, MOST_SUBMIT_UNITS, readCompletion } from "./transport.ts";

/** Commands that are measured. */
export const MEASURED_COMMANDS = ["scan", "extract", "select", "translate"] as const;

/** A command that is measured. */
export type MeasuredCommand = typeof MEASURED_COMMANDS[number];

/** What is measured. */
export interface MeasureOptions {
  /** Bytes of input; 64 MiB by default. */
  readonly inputBytes?: number;
  /** Times that each is run, of which the fastest counts; 5 by default. */
  readonly repeat?: number;
  /** `auto`, `avx512`, `avx2`, `neon` or `portable`. */
  readonly loops?: string;
}

/** What one command with one width costs. */
export interface Measurement {
  /** The command. */
  readonly command: MeasuredCommand;
  /** Width of an element in bits. */
  readonly bits: number;
  /** How many elements went in. */
  readonly elements: number;
  /** Bytes that they take. */
  readonly inputBytes: number;
  /** Bytes that came out. */
  readonly outputBytes: number;
  /** Processor time of the fastest run. */
  readonly seconds: number;
  /** Input and output bytes in a second, divided by the bytes that a sum in C reads in a second. */
  readonly ratio: number;
}

/** Widths of the table that `deno task bench` prints. */
export const MEASURED_WIDTHS: readonly number[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32];

const OUTPUT_BYTES = 128 << 20;
const MOST_ELEMENTS = 1 << 24;

/** A software coprocessor with one unit, and memory to measure it with. Dispose frees it. */
export class OradaxMeasure implements Disposable {
  /** The name of the loops that are measured. */
  readonly loops: string;
  readonly #soft: SoftOradax;
  readonly #input: SoftOradaxMemory;
  readonly #mask: SoftOradaxMemory;
  readonly #output: SoftOradaxMemory;
  readonly #table: SoftOradaxMemory;
  readonly #inputBytes: number;
  readonly #repeat: number;

  /** Fills the memory: takes a second. */
  constructor(options: MeasureOptions = {}) {
    const { inputBytes = 64 << 20, repeat = 5, loops = "auto" } = options;
    this.#soft = SoftOradax.open("soft:oradax", new Map([["units", "1"], ["loops", loops]]));
    this.loops = this.#soft.loops;
    this.#inputBytes = inputBytes;
    this.#repeat = repeat;
    const page = (sizeBytes: number): number => 2 ** Math.ceil(Math.log2(sizeBytes + 8192));
    this.#input = this.#soft.allocate(inputBytes + 4096, page(inputBytes));
    this.#mask = this.#soft.allocate(inputBytes, page(inputBytes));
    this.#output = this.#soft.allocate(OUTPUT_BYTES, OUTPUT_BYTES);
    this.#table = this.#soft.allocate(8192, 8192);
    for (const memory of [this.#input, this.#mask]) fillWithNoise(memory.bytes);
    this.#output.bytes.fill(1);
    this.#table.bytes.fill(0x5a);
  }

  /** Bytes that a sum in C reads in a second. */
  readRate(): number {
    const runs = Array.from({ length: 2 * this.#repeat }, () => this.#soft.readNs(this.#input, this.#inputBytes));
    return this.#inputBytes / Math.min(...runs) * 1e9;
  }

  /** Runs a command over elements of `bits` bits. */
  measure(command: MeasuredCommand, bits: number, readRate: number = this.readRate()): Measurement {
    const elements = Math.floor(8 * this.#inputBytes / bits / 512) * 512;
    const bytes = bits <= 8 ? 1 : bits <= 16 ? 2 : 4;
    const ccbs: Uint8Array<ArrayBuffer>[] = [];
    let outputAt = 0;
    for (let first = 0; first < elements; first += MOST_ELEMENTS) {
      const count = Math.min(MOST_ELEMENTS, elements - first);
      // Bits are counted with a limit of 2^24 too, elements of 1 bit fit exactly.
      const most = command === "translate" ? Math.floor(MOST_ELEMENTS / bits / 512) * 512 : count;
      for (let part = 0; part < count; part += most) {
        const size = Math.min(most, count - part);
        const room = size * bytes + 64;
        if (outputAt + room > OUTPUT_BYTES) outputAt = 0;
        ccbs.push(buildCcb(this.#ccb(command, bits, bytes, first + part, size, outputAt)));
        outputAt += Math.ceil(room / 64) * 64;
      }
    }
    let [outputBytes, seconds] = [0, Infinity];
    for (let i = 0; i < this.#repeat; i++) {
      const run = this.#run(ccbs);
      outputBytes = run.outputBytes;
      seconds = Math.min(seconds, run.seconds);
    }
    const inputBytes = elements * bits / 8;
    const ratio = (inputBytes + outputBytes) / seconds / readRate;
    return { command, bits, elements, inputBytes, outputBytes, seconds, ratio };
  }

  /** Ends the device and frees the memory. */
  [Symbol.dispose](): void {
    this.#soft[Symbol.dispose]();
  }

  #ccb(command: MeasuredCommand, bits: number, bytes: 1 | 2 | 4, first: number, count: number, outputAt: number): Ccb {
    const isPacked = bits % 8 !== 0;
    const isCounted = command !== "translate";
    const data: CcbData = {
      primary: {
        address: this.#input.address + BigInt(first * bits / 8),
        format: isPacked ? "bits" : "bytes",
        elementSize: isPacked ? bits : bits / 8,
        length: isCounted ? count : count * bits,
        unit: isCounted ? "elements" : "bits",
      },
      output: { address: this.#output.address + BigInt(outputAt), format: "bits" },
    };
    const output = { ...data.output, format: `bytes${bytes}` as const, padLeft: true };
    switch (command) {
      case "scan":
        return { command: "scanRange", ...data, first: { value: 1n << BigInt(bits - 1) }, second: { value: 1n } };
      case "translate":
        return { command: "translate", ...data, table: { address: this.#table.address, version: 0 } };
      case "extract":
        return { command: "extract", ...data, output };
      case "select":
        return {
          command: "select",
          ...data,
          output,
          secondary: { address: this.#mask.address + BigInt(first / 8 % this.#inputBytes) },
        };
    }
  }

  /** Carries out CCBs, as many as fit in a submission at a time, and adds up what came of them. */
  #run(ccbs: readonly Uint8Array<ArrayBuffer>[]): { outputBytes: number; seconds: number } {
    let [outputBytes, runNs] = [0, 0n];
    for (let at = 0; at < ccbs.length; at += MOST_SUBMIT_UNITS) {
      const some = ccbs.slice(at, at + MOST_SUBMIT_UNITS);
      const array = new Uint8Array(64 * some.length);
      for (const [i, ccb] of some.entries()) array.set(ccb, 64 * i);
      this.#soft.handle.submit(0, array);
      for (const i of some.keys()) {
        while (this.#soft.handle.wait(i, 50_000) === 0);
        const completion = readCompletion(this.#soft.handle.completion(i));
        if (completion.status !== 1) throw completionError("soft:oradax", completion);
        outputBytes += completion.outputBytes;
        runNs += completion.runTime;
      }
    }
    return { outputBytes, seconds: Number(runNs) / 1e9 };
  }
}

function fillWithNoise(bytes: Uint8Array<ArrayBuffer>): void {
  const piece = crypto.getRandomValues(new Uint8Array(65536));
  for (let at = 0; at < bytes.length; at += piece.length) bytes.set(piece.subarray(0, bytes.length - at), at);
}
