/**
 * Standard output and error of the tools. A reader that closes the pipe ends the tool quietly; a full disk is an error.
 * No control character of a file or device passes: only line breaks, tabs and, at a terminal, colours.
 * @module
 */

import { getColorEnabled, setColorEnabled } from "@std/fmt/colors";

import { BusbarError, systemError } from "../../src/core/error.ts";
import { printable, printableJson, printableLines } from "../../src/core/printable.ts";

/** Thrown when nobody reads standard output any more; `run` turns it into exit status 0. */
export class PipeClosed extends Error {}

const encoder = new TextEncoder();

/** Colours only for a person at a terminal, and never with NO_COLOR. */
export function setUpColors(): void {
  setColorEnabled(Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR"));
}

let textStream: typeof Deno.stdout | typeof Deno.stderr = Deno.stdout;

/** From now on {@linkcode print} writes to standard error: standard output is the contents of a file. */
export function redirectText(): void {
  textStream = Deno.stderr;
}

/** Writes text and a line break to standard output. @throws {BusbarError} as the write fails, on a full disk for one */
export function print(text: string): void {
  writeOut(encoder.encode(printableLines(text, getColorEnabled()) + "\n"), textStream);
}

/** Writes bytes to standard output. */
export function printBytes(bytes: Uint8Array): void {
  writeOut(bytes);
}

let documents = 0;

/** True when a JSON document stands on standard output: there is room for one. */
export function hasPrintedJson(): boolean {
  return documents > 0;
}

/** Writes one JSON document to standard output: indented, ending with a line break. */
export function printJson(document: unknown): void {
  documents++;
  writeOut(encoder.encode(printableJson(JSON.stringify(document, null, 2)) + "\n"));
}

/** Pieces of this many characters are written at once. */
const PIECE_CHARACTERS = 1 << 20;

/**
 * Writes one JSON document as {@linkcode printJson} would, with a last member whose items are made while they are written: so
 * a list of hundreds of megabytes needs no memory of that size.
 *
 * @param document the document with that list empty, and last
 */
export function printJsonWithList(
  document: Readonly<Record<string, unknown>>,
  member: string,
  items: Iterable<unknown>,
): void {
  const end = `"${member}": []\n}`;
  const text = JSON.stringify(document, null, 2);
  if (!text.endsWith(end)) throw new BusbarError("bug", `${member} is not the last member, or not empty`);
  documents++;
  let piece = text.slice(0, -"]\n}".length);
  let isEmpty = true;
  for (const item of items) {
    piece += `${isEmpty ? "" : ","}\n    ${JSON.stringify(item, null, 2).replaceAll("\n", "\n    ")}`;
    isEmpty = false;
    if (piece.length < PIECE_CHARACTERS) continue;
    writeOut(encoder.encode(printableJson(piece)));
    piece = "";
  }
  writeOut(encoder.encode(`${printableJson(piece)}${isEmpty ? "" : "\n  "}]\n}\n`));
}

/** Writes a JSON schema to standard output: for programs, in one line. */
export function printSchema(schema: unknown): void {
  documents++;
  printJsonLine(schema);
}

/** Writes one line of JSON Lines to standard output. */
export function printJsonLine(document: unknown): void {
  writeOut(encoder.encode(printableJson(JSON.stringify(document)) + "\n"));
}

/** Writes a line to standard error: progress, warnings, errors. Where that cannot be written, nobody can be told. */
export function note(text: string): void {
  try {
    writeFully(Deno.stderr, encoder.encode(printableLines(text, getColorEnabled()) + "\n"));
  } catch {
    // Said above.
  }
}

function writeOut(bytes: Uint8Array, stream: typeof textStream = Deno.stdout): void {
  try {
    writeFully(stream, bytes);
  } catch (cause) {
    if (cause instanceof PipeClosed) throw cause;
    throw systemError(cause, "write", stream === Deno.stdout ? "standard output" : "standard error");
  }
}

function writeFully(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += stream.writeSync(bytes.subarray(at));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new PipeClosed();
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      // The other end made the pipe non-blocking and is slow to read.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Draws a line on standard error over the one drawn before; an empty one clears it. For terminals. */
export function noteInPlace(text: string): void {
  try {
    writeFully(Deno.stderr, encoder.encode(`\r\x1b[K${printable(text)}`));
  } catch {
    // As for a note.
  }
}
