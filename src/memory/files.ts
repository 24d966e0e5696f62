/**
 * What stat and open say about a path: the questions that the text interfaces of {@linkcode Host} do not answer.
 * @module
 */

import { Descriptor } from "../../ffi/fd.ts";
import { isDaxFile } from "../../ffi/memory.ts";
import { BusbarError, isBusbarError, systemError } from "../core/error.ts";

/** What a path is. */
export type FileKind = "file" | "directory" | "character device" | "block device" | "FIFO" | "socket" | "other";

/** What stat says about a path; symbolic links are followed. */
export interface FileStatus {
  /** What it is. */
  readonly kind: FileKind;
  /** Bytes of a file; devices say 0. */
  readonly sizeBytes: bigint;
  /** Permission bits. */
  readonly mode: number;
  /** User and group that own it. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** The device that the file lies on, as /proc/self/mountinfo writes it: `259:0`. */
  readonly onDevice: string;
  /** Number of a device file, `252:1`; of other files meaningless. */
  readonly device: string;
}

/** A file system that can be asked. Tests have one of their own. */
export interface Files {
  /** What stat says; null when nothing is there. Throws as stat fails otherwise. */
  status(path: string): FileStatus | null;
  /** Opens and closes it: why that failed, or null. Call it only for what is harmless to open. */
  whyNotOpen(path: string, writable: boolean): BusbarError | null;
  /** Whether the file's contents are accessed directly; null where the kernel does not tell. */
  isDax(path: string): boolean | null;
}

/** The files of this machine. */
export const localFiles: Files = {
  status(path: string): FileStatus | null {
    try {
      const info = Deno.statSync(path);
      return {
        kind: kindOf(info),
        sizeBytes: BigInt(info.size),
        mode: (info.mode ?? 0) & 0o7777,
        uid: info.uid ?? 0,
        gid: info.gid ?? 0,
        onDevice: deviceNumber(info.dev),
        device: deviceNumber(info.rdev ?? 0),
      };
    } catch (cause) {
      const error = systemError(cause, "stat", path);
      if (isBusbarError(error, "absent")) return null;
      throw error;
    }
  },

  whyNotOpen(path: string, writable: boolean): BusbarError | null {
    try {
      Descriptor.open(path, writable)[Symbol.dispose]();
      return null;
    } catch (error) {
      if (error instanceof BusbarError) return error;
      throw error;
    }
  },

  isDax: isDaxFile,
};

function kindOf(info: Deno.FileInfo): FileKind {
  if (info.isFile) return "file";
  if (info.isDirectory) return "directory";
  if (info.isCharDevice) return "character device";
  if (info.isBlockDevice) return "block device";
  if (info.isFifo) return "FIFO";
  return info.isSocket ? "socket" : "other";
}

/** The numbers in a dev_t of Linux: 12 bits of major, 20 of minor in two parts (glibc, sys/sysmacros.h). */
function deviceNumber(dev: number): string {
  const value = BigInt(dev);
  const major = value >> 8n & 0xfffn | value >> 32n & 0xfffff000n;
  const minor = value & 0xffn | value >> 12n & 0xffffff00n;
  return `${major}:${minor}`;
}
