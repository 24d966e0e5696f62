/**
 * Results of a sweep: one file a point, whole or not there, in one folder.
 *
 * `<id>.json` is a run that ended well, `<id>.failed.json` one that failed, so that the state of ten thousand points is
 * one listing. Files are written under a temporary name of the same folder, flushed, and renamed: a reader on a network
 * file system sees all of one or nothing.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import type { Options } from "./grid.ts";
import type { Point } from "./point.ts";

/** Why a run failed. */
export interface Failure {
  /** Code of the error. */
  readonly code: string;
  /** Its message. */
  readonly message: string;
  /** What to do about it; null when nothing was said. */
  readonly hint: string | null;
}

/** What came of a run. */
export type Outcome = { readonly result: unknown } | { readonly failure: Failure };

/** Where the points of a sweep stand. */
export type PointState = "missing" | "done" | "failed";

/** A result as it is kept. */
export type KeptResult =
  & {
    readonly schema: "sweep_point/1";
    readonly id: string;
    readonly options: Options;
    readonly commandLine: readonly string[];
  }
  & Outcome;

/** Bytes of one result. */
const SIZE_LIMIT = 256 * 2 ** 20;

/** The folder of a sweep's results. While it is held, nobody else runs points of it. */
export class Results implements Disposable {
  /** The folder. */
  readonly folder: string;
  readonly #lock: Deno.FsFile | null;

  private constructor(folder: string, lock: Deno.FsFile | null) {
    this.folder = folder;
    this.#lock = lock;
  }

  /** Opens a folder to read from. It need not exist. */
  static read(folder: string): Results {
    return new Results(folder, null);
  }

  /**
   * Opens a folder to run points, making it where it is missing.
   *
   * @throws {BusbarError} `busy` when another sweep runs in it
   */
  static hold(folder: string): Results {
    let lock: Deno.FsFile | null = null;
    let held = false;
    try {
      Deno.mkdirSync(folder, { recursive: true });
      lock = Deno.openSync(`${folder}/lock`, { create: true, write: true });
      held = lock.tryLockSync(true);
    } catch (cause) {
      lock?.close();
      throw systemError(cause, "open the folder of results", folder);
    }
    if (held) return new Results(folder, lock);
    lock.close();
    throw new BusbarError("busy", `${folder}: another sweep is running in it`, {
      operation: "open the folder of results",
      path: folder,
      hint: "wait for it, or choose another --output",
    });
  }

  /** The state of every point that has a file. */
  states(): Map<string, PointState> {
    const states = new Map<string, PointState>();
    try {
      for (const { name } of Deno.readDirSync(this.folder)) {
        const match = /^([0-9a-f]{24})(\.failed)?\.json$/.exec(name);
        if (match?.[1] === undefined) continue;
        // A point that failed and was tried again has both files until the older one is removed.
        if (match[2] === undefined) states.set(match[1], "done");
        else if (!states.has(match[1])) states.set(match[1], "failed");
      }
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw systemError(cause, "list results", this.folder);
    }
    return states;
  }

  /**
   * The result of a point, or null where there is none.
   *
   * @throws {BusbarError} `malformed` when the file is not a result of that point
   */
  load(id: string): KeptResult | null {
    for (const path of [`${this.folder}/${id}.json`, `${this.folder}/${id}.failed.json`]) {
      const text = textOf(path);
      if (text === null) continue;
      const kept = parse(text, path);
      if (kept.schema === "sweep_point/1" && kept.id === id && ("result" in kept || "failure" in kept)) return kept;
      throw malformed(path, "it is not the result of this point");
    }
    return null;
  }

  /** Keeps what came of a point. */
  store(point: Point, outcome: Outcome): void {
    const { id, options, commandLine } = point;
    const kept: KeptResult = { schema: "sweep_point/1", id, options, commandLine, ...outcome };
    const failed = `${this.folder}/${id}.failed.json`;
    writeWhole("failure" in outcome ? failed : `${this.folder}/${id}.json`, JSON.stringify(kept) + "\n");
    if (!("failure" in outcome)) removeIfThere(failed);
  }

  /** Forgets that a point failed, so that it counts as one that was never run. */
  forgetFailure(id: string): void {
    removeIfThere(`${this.folder}/${id}.failed.json`);
  }

  /** Gives the lock back. */
  [Symbol.dispose](): void {
    this.#lock?.close();
  }
}

function malformed(path: string, why: string, cause?: unknown): BusbarError {
  return new BusbarError("malformed", `${path}: ${why}`, {
    operation: "read a result",
    path,
    cause,
    hint: "remove the file, and the point runs again",
  });
}

function parse(text: string, path: string): KeptResult {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as KeptResult;
  } catch (cause) {
    throw malformed(path, "it is no JSON document", cause);
  }
  throw malformed(path, "it is no result");
}

function textOf(path: string): string | null {
  try {
    const { size } = Deno.statSync(path);
    if (size > SIZE_LIMIT) throw malformed(path, `${size} bytes are too many for a result`);
    return Deno.readTextFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw systemError(cause, "read a result", path);
  }
}

function writeWhole(path: string, text: string): void {
  // Processes of several machines may have the same number.
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    {
      using file = Deno.openSync(temporary, { write: true, create: true, truncate: true });
      const bytes = new TextEncoder().encode(text);
      for (let from = 0; from < bytes.length;) from += file.writeSync(bytes.subarray(from));
      file.syncDataSync();
    }
    Deno.renameSync(temporary, path);
  } catch (cause) {
    removeIfThere(temporary);
    throw systemError(cause, "write a result", path);
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw systemError(cause, "remove", path);
  }
}
