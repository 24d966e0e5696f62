/**
 * Where output to a path goes. A file is written under a temporary name and renamed; a device or a pipe is written to as it
 * is: a rename would take its name away from it, for every program of the machine.
 * @module
 */

import { BusbarError, systemError } from "./error.ts";

/** Where output goes. */
export interface OutputPlace {
  /** The file: of a symbolic link, what it leads to. */
  readonly path: string;
  /** The file is replaced as a whole; false for a device or a pipe, which takes what is written to it. */
  readonly isReplaced: boolean;
}

/**
 * What stands at a path, and how it is written to.
 *
 * @throws {BusbarError} `usage` for a pipe that nobody reads, whose opening would wait for its other end; else as stat fails
 */
export function outputPlace(path: string): OutputPlace {
  try {
    const info = Deno.statSync(path);
    if (info.isFile) return { path: Deno.realPathSync(path), isReplaced: true };
    if (info.isDirectory) return { path, isReplaced: true };
    if (info.isFifo === true && !hasReader(path)) {
      throw new BusbarError("usage", `${path}: is a pipe that nobody reads`, { operation: "write", path });
    }
    return { path, isReplaced: false };
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return { path, isReplaced: true };
    throw systemError(cause, "write", path);
  }
}

/** Writes all bytes to a device or a pipe. @throws what open and write throw */
export function writeThrough(path: string, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

// Deno's own open has no O_NONBLOCK; Node's has.
declare const process: {
  getBuiltinModule(name: "node:fs"): {
    readonly constants: { readonly O_WRONLY: number; readonly O_NONBLOCK: number };
    openSync(path: string, flags: number): number;
    closeSync(fd: number): void;
  };
};

function hasReader(path: string): boolean {
  const fs = process.getBuiltinModule("node:fs");
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK));
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENXIO") return false;
    throw error;
  }
}
