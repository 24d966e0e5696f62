/**
 * Reads a text form: bytes in, batches out, with the file and the line in every error.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { AccessBatch } from "./batch.ts";
import { EntryCollector } from "./collect.ts";
import { type LineParser, quoted, type TextFormat, type TraceOptions } from "./format.ts";
import { LineError } from "./line_error.ts";
import { recogniseFormat, TEXT_FORMATS } from "./formats.ts";

/** A longer line is an error: no form has one. */
export const LINE_LIMIT = 4096;

/** Lines that are looked at to find out what form a file has. */
const RECOGNISE_LINES = 64;

/** Cuts bytes into lines, however they arrive. */
class LineCutter {
  readonly #decoder = new TextDecoder();
  #rest = "";

  cut(chunk: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines;
  }

  /** What stands behind the last end of line. */
  rest(): string {
    return this.#rest;
  }
}

/** Reads one file. Feed it bytes, take batches, then {@linkcode TextReader.end} it. */
export class TextReader {
  readonly #path: string;
  readonly #options: TraceOptions;
  readonly #cutter = new LineCutter();
  readonly #collector: EntryCollector = new EntryCollector();
  readonly #onProblem: ((problem: BusbarError) => void) | null;
  #format: TextFormat | null;
  #parser: LineParser | null = null;
  /** Lines that wait for a parser, with their numbers. */
  #waiting: (readonly [number: number, text: string])[] = [];
  #line = 0;

  /**
   * @param path for errors; `-` is standard input
   * @param format null finds it out
   * @param onProblem takes what is wrong, line by line, and reading goes on; null throws the first
   */
  constructor(
    path: string,
    format: TextFormat | null,
    options: TraceOptions,
    onProblem: ((problem: BusbarError) => void) | null = null,
  ) {
    this.#path = path === "-" ? "standard input" : path;
    this.#options = options;
    this.#format = format;
    this.#onProblem = onProblem;
  }

  /** The form of the file, null while nothing tells. */
  get format(): TextFormat | null {
    return this.#format;
  }

  /** Lines read so far. */
  get lines(): number {
    return this.#line;
  }

  /**
   * Takes the next bytes of the file.
   *
   * @throws {BusbarError} `malformed`, with the number of the line
   */
  feed(chunk: Uint8Array): AccessBatch[] {
    for (const line of this.#cutter.cut(chunk)) this.#take(line);
    if (this.#cutter.rest().length > LINE_LIMIT) throw this.#tooLong(this.#line + 1);
    return this.#collector.take();
  }

  /** The file is at its end. Gives the last batches. */
  end(): AccessBatch[] {
    const rest = this.#cutter.rest();
    if (rest !== "") this.#take(rest);
    if (this.#parser === null) this.#recognise();
    return this.#collector.takeAll();
  }

  #take(line: string): void {
    const text = line.endsWith("\r") ? line.slice(0, -1) : line;
    this.#line++;
    // These tell nothing, and a file may begin with any number of them.
    if (text.charCodeAt(0) === 0x23 || text.trim() === "") return;
    if (this.#parser !== null) return this.#parse(this.#parser, this.#line, text);
    this.#waiting.push([this.#line, text]);
    const tells = this.#format !== null || this.#waiting.length >= RECOGNISE_LINES ||
      recogniseFormat([text]) !== null;
    if (tells) this.#recognise();
  }

  /** Chooses the parser and hands it the lines that waited for it. */
  #recognise(): void {
    this.#format ??= recogniseFormat(this.#waiting.map(([, text]) => text));
    const [first] = this.#waiting;
    if (this.#format === null) {
      if (first === undefined) return;
      throw this.#problem(
        first[0],
        `${quoted(first[1])} is of no form that is known`,
        `name it with --format: ${TEXT_FORMATS.map((format) => format.name).join(", ")}, binary`,
      );
    }
    try {
      this.#parser = this.#format.parser(this.#options);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      throw new BusbarError("usage", error.message, { operation: "read a trace", hint: error.hint ?? undefined });
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [number, text] of waiting) this.#parse(this.#parser, number, text);
  }

  #parse(parser: LineParser, number: number, line: string): void {
    if (line.length > LINE_LIMIT) throw this.#tooLong(number);
    try {
      parser.line(line, this.#collector);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      const problem = this.#problem(number, error.message, error.hint);
      if (this.#onProblem === null) throw problem;
      this.#onProblem(problem);
    }
  }

  #tooLong(line: number): BusbarError {
    return this.#problem(line, `more than ${LINE_LIMIT} characters`, "is this a text file?");
  }

  #problem(line: number, message: string, hint: string | null): BusbarError {
    return new BusbarError("malformed", `${this.#path}:${line}: ${message}`, {
      operation: "read a trace",
      path: this.#path,
      hint: hint ?? undefined,
    });
  }
}
