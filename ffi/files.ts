/**
 * What stat and open say about the paths of this machine.
 * @module
 */

import { BusbarError, isBusbarError, systemError } from "../src/core/error.ts";
import type { FileKind, Files, FileStatus } from "../src/core/files.ts";
import { Descriptor } from "./fd.ts";
import { isDaxFile } from "./memory.ts";

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
