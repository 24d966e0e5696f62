/**
 * Questions to a machine's text interfaces, of which many go in one batch, and their answers.
 * @module
 */

import type { BusbarError } from "./error.ts";

/** A call of a `Host` that reads and takes nothing but a path. */
export interface PathRequest {
  /** Which call. */
  readonly call: "readText" | "list" | "readLink" | "realPath" | "sizeBytes";
  /** Absolute path. */
  readonly path: string;
}

/** A part of a file, as `Host.readBytes` reads it. */
export interface BytesRequest {
  /** Which call. */
  readonly call: "readBytes";
  /** Absolute path. */
  readonly path: string;
  /** First byte. */
  readonly offset: number;
  /** Most bytes. */
  readonly sizeBytes: number;
}

/**
 * A folder with what lies below it. Only files that are named are read: in sysfs the reading of some has side effects or
 * takes seconds.
 */
export interface TreeRequest {
  /** Which call. */
  readonly call: "readTree";
  /** Absolute path of a folder. */
  readonly path: string;
  /** Folders on a way down from it that are looked into: 0 only itself, 1 also those in it. At most {@linkcode MAX_TREE_DEPTH}. */
  readonly depth: number;
  /** True: links that lie in it lead on, as in /sys/class and /sys/bus, which hold nothing else. Links further down do not. */
  readonly followLinks?: boolean;
  /** Names of files that are read, in whichever folder they are; `all` where the folder is known to hold only such. */
  readonly files: readonly string[] | "all";
}

/** The deepest tree that can be asked for. */
export const MAX_TREE_DEPTH = 16;
/** The most entries that a tree may have: all of /sys on a large server has about 200,000. */
export const MAX_TREE_ENTRIES = 500_000;
/** The most bytes that the files of a tree may have together. */
export const MAX_TREE_BYTES: number = 256 << 20;

/** What lies below a folder. Paths begin with that of the request; links in it are not resolved in them. */
export interface HostTree {
  /** Names in each folder that was looked into, sorted, or why it could not be. */
  readonly folders: ReadonlyMap<string, readonly string[] | BusbarError>;
  /** What each symbolic link holds. */
  readonly links: ReadonlyMap<string, string | BusbarError>;
  /** The contents of each file that was asked for and is there, or why it could not be read. */
  readonly files: ReadonlyMap<string, Uint8Array | BusbarError>;
}

/** One question. */
export type HostRequest = PathRequest | BytesRequest | TreeRequest;

/** What the call returned, or the error that it threw. */
export type HostAnswer = string | number | string[] | Uint8Array | HostTree | BusbarError;

/** The whole of a file as text. */
export function textOf(path: string): PathRequest {
  return { call: "readText", path };
}

/** The names in a folder. */
export function namesIn(path: string): PathRequest {
  return { call: "list", path };
}

/** What a link holds. */
export function linkAt(path: string): PathRequest {
  return { call: "readLink", path };
}

/** Where a path really is. */
export function realPathOf(path: string): PathRequest {
  return { call: "realPath", path };
}

/** The size of a file: what tells whether it exists. */
export function sizeOf(path: string): PathRequest {
  return { call: "sizeBytes", path };
}
