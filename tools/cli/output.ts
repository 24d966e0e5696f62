/**
 * Standard output and error of the tools. A reader that closes the pipe ends the tool quietly.
 * @module
 */

import { setColorEnabled } from "@std/fmt/colors";

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

/** Writes text and a line break to standard output. */
export function print(text: string): void {
  writeFully(textStream, encoder.encode(text + "\n"));
}

/** Writes bytes to standard output. */
export function printBytes(bytes: Uint8Array): void {
  writeFully(Deno.stdout, bytes);
}

let documents = 0;

/** True when a JSON document stands on standard output: there is room for one. */
export function hasPrintedJson(): boolean {
  return documents > 0;
}

/** Writes one JSON document to standard output: indented, ending with a line break. */
export function printJson(document: unknown): void {
  documents++;
  print(JSON.stringify(document, null, 2));
}

/** Writes one line of JSON Lines to standard output. */
export function printJsonLine(document: unknown): void {
  print(JSON.stringify(document));
}

/** Writes a line to standard error: progress, warnings, errors. */
export function note(text: string): void {
  try {
    writeFully(Deno.stderr, encoder.encode(text + "\n"));
  } catch (error) {
    if (!(error instanceof PipeClosed)) throw error;
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
    writeFully(Deno.stderr, encoder.encode(`\r\x1b[K${text}`));
  } catch (error) {
    if (!(error instanceof PipeClosed)) throw error;
  }
}
