/**
 * Files that appear whole or not at all: written under a temporary name, renamed when they are complete.
 * @module
 */

import { BusbarError, errnoOf, systemError } from "../../core/error.ts";
import { outputPlace } from "../../core/output_path.ts";

const ENOSPC = 28;
const EFBIG = 27;
const EDQUOT = 122;

/** The error of a write that failed. Nothing is left behind, so a full disk is an error of the request. */
export function writeError(cause: unknown, path: string): BusbarError {
  const errno = errnoOf(cause);
  return errno === null
    ? systemError(cause, "write", path)
    : noRoomError(errno, path) ?? systemError(cause, "write", path);
}

/** The error for a disk, quota or file size limit that is used up, or null for another error number. */
export function noRoomError(errno: number, path: string): BusbarError | null {
  const why =
    { [ENOSPC]: "the disk is full", [EDQUOT]: "the quota is used up", [EFBIG]: "the file would be too large" }[errno];
  if (why === undefined) return null;
  return new BusbarError("out-of-range", `${path}: ${why}`, {
    operation: "write",
    path,
    hint: "nothing was written: free space, or write less with --max-bytes",
  });
}

/** A file being written. Without {@linkcode OutputFile.commit} dispose removes it. */
export class OutputFile implements Disposable {
  readonly #path: string;
  /** Null where the file keeps its name: a device or a pipe. */
  readonly #temporary: string | null;
  readonly #file: Deno.FsFile;
  #open = true;

  private constructor(path: string, temporary: string | null, file: Deno.FsFile) {
    this.#path = path;
    this.#temporary = temporary;
    this.#file = file;
  }

  /**
   * Creates the temporary file, in the folder of `path`. A device or a pipe is opened as it is.
   *
   * @throws {BusbarError} as open fails
   */
  static create(path: string): OutputFile {
    const place = outputPlace(path);
    const temporary = place.isReplaced ? `${place.path}.${Deno.pid}.tmp` : null;
    try {
      if (temporary === null) return new OutputFile(path, null, Deno.openSync(path, { write: true }));
      const file = Deno.openSync(temporary, { write: true, create: true, truncate: true, mode: 0o644 });
      return new OutputFile(place.path, temporary, file);
    } catch (cause) {
      throw systemError(cause, "create", path);
    }
  }

  /**
   * Appends bytes.
   *
   * @throws {BusbarError} `out-of-range` when the disk is full
   */
  write(bytes: Uint8Array): void {
    try {
      for (let from = 0; from < bytes.length;) from += this.#file.writeSync(bytes.subarray(from));
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
  }

  /** Overwrites the first bytes of the file. */
  writeHead(bytes: Uint8Array): void {
    try {
      this.#file.seekSync(0, Deno.SeekMode.Start);
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
    this.write(bytes);
  }

  /** Gives the file its name. */
  commit(): void {
    this.#close();
    if (this.#temporary === null) return;
    try {
      Deno.renameSync(this.#temporary, this.#path);
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
  }

  /** Closes the file, and removes it when it was not committed. */
  [Symbol.dispose](): void {
    this.#close();
    if (this.#temporary === null) return;
    try {
      Deno.removeSync(this.#temporary);
    } catch {
      // It has its name, or never was.
    }
  }

  #close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
  }
}
