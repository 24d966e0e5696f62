/**
 * What stat and open say about a path: the questions that the text interfaces of a `Host` do not answer.
 * @module
 */

import type { BusbarError } from "./error.ts";

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
