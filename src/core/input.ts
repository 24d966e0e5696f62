/**
 * Files that somebody names: read whole, with a limit that holds while reading.
 *
 * What stat says of a file is only a first look: devices without an end, pipes and growing files say nothing or 0.
 * @module
 */

import { BusbarError, systemError } from "./error.ts";
import { formatBytes } from "./units.ts";

/** How long a pipe may give nothing, in milliseconds. Signals wait as long, because the event loop does. */
const IDLE_LIMIT_MS = 2000;
const PIPE_SLICE_MS = 10;
const FIRST_CHUNK_BYTES = 1 << 16;

/** How an input is read. */
export interface InputOptions {
  /** More bytes than this are an error. */
  readonly limitBytes: number;
  /** What it is to be, for messages: `a recorded machine`. */
  readonly what: string;
  /** What is being done, for messages; `read` and what it is to be by default. */
  readonly operation?: string;
  /** What to do when it cannot be read. */
  readonly hint?: string;
}

/**
 * Opens a file in which places are looked up, so that it cannot be a pipe: opening one would wait for its other end.
 *
 * @throws {BusbarError} `usage` for a pipe or socket; else as open fails
 */
export function openSeekable(path: string): Deno.FsFile {
  try {
    const info = Deno.statSync(path);
    if (info.isFifo === true || info.isSocket === true) {
      throw new BusbarError("usage", `${path}: is a pipe`, {
        operation: "read",
        path,
        hint: "it has to be a file, not a pipe",
      });
    }
    return Deno.openSync(path, { read: true });
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}

/** Reads up to a number of bytes: 0 is the end, null nothing yet. */
type ReadSome = (into: Uint8Array) => number | null;

/**
 * The bytes of a file, device or pipe. A pipe is opened without blocking, and has 2 s to give something.
 *
 * @throws {BusbarError} `out-of-range` when there are more than the limit, `timeout` when a pipe gives nothing; else as
 * open and read fail
 */
export function readInput(path: string, options: InputOptions): Uint8Array<ArrayBuffer> {
  try {
    const info = Deno.statSync(path);
    if (info.isFile) {
      if (info.size > options.limitBytes) throw tooLarge(path, options);
      using file = Deno.openSync(path, { read: true });
      return readAll((into) => file.readSync(into) ?? 0, path, options, info.size + 1, false);
    }
    return readWithoutBlocking(path, options, info.isFifo === true);
  } catch (cause) {
    throw systemError(cause, operationOf(options), path, options.hint);
  }
}

/** As {@linkcode readInput}, as {@linkcode decodeText} reads it. */
export function readInputText(path: string, options: InputOptions): string {
  return decodeText(readInput(path, options));
}

/**
 * The text that bytes hold: UTF-8, or UTF-16 where they begin with its mark, as some shells write what is sent into a file.
 * What is neither becomes U+FFFD.
 */
export function decodeText(bytes: Uint8Array): string {
  const name = bytes[0] === 0xff && bytes[1] === 0xfe
    ? "utf-16le"
    : bytes[0] === 0xfe && bytes[1] === 0xff
    ? "utf-16be"
    : "utf-8";
  return new TextDecoder(name).decode(bytes);
}

function operationOf({ operation, what }: InputOptions): string {
  return operation ?? `read ${what}`;
}

function tooLarge(path: string, options: InputOptions): BusbarError {
  const { limitBytes, what, hint } = options;
  return new BusbarError("out-of-range", `${path}: more than ${formatBytes(limitBytes)} are too many for ${what}`, {
    operation: operationOf(options),
    path,
    hint,
  });
}

function readAll(
  read: ReadSome,
  path: string,
  options: InputOptions,
  expectedBytes: number,
  isPipe: boolean,
): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(Math.max(1, Math.min(expectedBytes, options.limitBytes + 1)));
  let size = 0;
  let idleMs = 0;
  for (;;) {
    const count = read(bytes.subarray(size));
    if (count === null || (count === 0 && size === 0 && isPipe)) {
      // A pipe that nobody has opened for writing reads as one that has ended.
      if (idleMs >= IDLE_LIMIT_MS) {
        throw new BusbarError("timeout", `${path}: nothing came for ${IDLE_LIMIT_MS / 1000} s`, {
          operation: operationOf(options),
          path,
          hint: "write it to a file first, and name that",
        });
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PIPE_SLICE_MS);
      idleMs += PIPE_SLICE_MS;
      continue;
    }
    if (count === 0) return bytes.subarray(0, size);
    idleMs = 0;
    size += count;
    if (size > options.limitBytes) throw tooLarge(path, options);
    if (size === bytes.length) {
      const larger = new Uint8Array(Math.min(2 * size, options.limitBytes + 1));
      larger.set(bytes);
      bytes = larger;
    }
  }
}

// Deno's own open has no O_NONBLOCK; Node's has, and is loaded only for what is no plain file.
declare const process: {
  getBuiltinModule(name: "node:fs"): {
    readonly constants: { readonly O_RDONLY: number; readonly O_NONBLOCK: number };
    openSync(path: string, flags: number): number;
    readSync(fd: number, into: Uint8Array): number;
    closeSync(fd: number): void;
  };
};

function readWithoutBlocking(path: string, options: InputOptions, isPipe: boolean): Uint8Array<ArrayBuffer> {
  const fs = process.getBuiltinModule("node:fs");
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    return readAll(
      (into) => {
        try {
          return fs.readSync(fd, into);
        } catch (error) {
          if (error instanceof Error && "code" in error && error.code === "EAGAIN") return null;
          throw error;
        }
      },
      path,
      options,
      FIRST_CHUNK_BYTES,
      isPipe,
    );
  } finally {
    fs.closeSync(fd);
  }
}
