/**
 * Files that tools write because they were asked to.
 * @module
 */

import { systemError } from "../../src/core/error.ts";
import { outputPlace, writeThrough } from "../../src/core/output_path.ts";
import { printBytes } from "./output.ts";

/**
 * Writes a whole file or none of it: to a temporary name beside it first. `-` is standard output; a device or a pipe is
 * written to as it is.
 */
export function writeOutput(path: string, contents: string | Uint8Array): void {
  const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
  if (path === "-") return printBytes(bytes);
  const place = outputPlace(path);
  if (!place.isReplaced) {
    try {
      return writeThrough(path, bytes);
    } catch (cause) {
      throw systemError(cause, "write", path);
    }
  }
  const temporary = `${place.path}.${Deno.pid}.tmp`;
  try {
    Deno.writeFileSync(temporary, bytes);
    Deno.renameSync(temporary, place.path);
  } catch (cause) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was never made, or the folder is gone: the first error says it all.
    }
    throw systemError(cause, "write", path);
  }
}

/** Makes a folder for files that a tool writes. One that is there is used. */
export function makeOutputFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw systemError(cause, "make folder", path);
  }
}

/** A file of lines that are written as they come. `-` is standard output. */
export class LineFile implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile | null;

  /** Makes the file, or empties it. @param head its first line */
  constructor(path: string, head: string) {
    this.#path = path;
    try {
      this.#file = path === "-" ? null : Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (cause) {
      throw systemError(cause, "write", path);
    }
    this.write(head);
  }

  /** Adds a line. */
  write(line: string): void {
    const bytes = new TextEncoder().encode(`${line}\n`);
    // Text for people goes to standard error where a file is standard output.
    if (this.#file === null) return printBytes(bytes);
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (cause) {
      throw systemError(cause, "write", this.#path);
    }
  }

  [Symbol.dispose](): void {
    this.#file?.close();
  }
}
