/**
 * A journal as a file: who wrote it, then a line for each change before it is made and another one with its result. Each
 * line is on disk, whole, before anything is done that depends on it. The format is in docs/design/undo.md.
 * @module
 */

import { BusbarError, systemError } from "../error.ts";
import { ifPresent, ifReadable, thisMachine } from "../host.ts";
import { bootId, processStartTime } from "../process.ts";
import { whyOpenToOthers } from "../trust.ts";
import { type JournalDisk, localDisk, type OpenJournalFile } from "./disk.ts";
import type { OpenJournal } from "./open_journal.ts";
import {
  BACK,
  type JournalContents,
  type JournalEntry,
  type JournalHeader,
  readJournal,
  sealLine,
  STATE_AT,
} from "./journal_reader.ts";

/** How often a lock is tried, 5 ms apart, while somebody looks at the file. */
const LOCK_TRIES = 200;
/** How often a folder is made again that another run removes at the same moment. */
const FOLDER_TRIES = 20;
/** No run writes a journal of this size. */
const MAX_JOURNAL_BYTES = 256 << 20;
const NOTHING_CHANGED = "without a journal nothing on the machine is changed";

/** Where this user's journals live: `/run/busbar` for root, else the user's runtime or state folder. */
export function journalFolder(): string {
  const explicit = Deno.env.get("BUSBAR_JOURNAL_DIR");
  if (explicit) return absolute(explicit);
  if (Deno.uid() === 0) return "/run/busbar";
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  if (runtime) return `${absolute(runtime)}/busbar`;
  const state = Deno.env.get("XDG_STATE_HOME") || `${Deno.env.get("HOME") ?? "/nonexistent"}/.local/state`;
  return `${absolute(state)}/busbar/journals`;
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** A journal file that is open and locked. */
export class JournalFile implements OpenJournal {
  /** Where it is. */
  readonly path: string;
  readonly #file: OpenJournalFile;
  readonly #disk: JournalDisk;
  readonly #offsets: Map<number, number>;
  /** The end of the last whole line: what stands behind it was never acted on. */
  #end: number;
  #isBroken = false;

  private constructor(
    path: string,
    file: OpenJournalFile,
    disk: JournalDisk,
    end: number,
    offsets: Map<number, number>,
  ) {
    this.path = path;
    this.#file = file;
    this.#disk = disk;
    this.#end = end;
    this.#offsets = offsets;
  }

  /**
   * Makes a journal of this process.
   *
   * @throws {BusbarError} as the folder and the file cannot be made, or written to; `permission` where others could
   * write; then no file is left
   */
  static create(folder: string, command: string, disk: JournalDisk = localDisk): JournalFile {
    const header: JournalHeader = { journal: 2, ...self(), command, createdAt: new Date().toISOString() };
    try {
      const { path, file } = createIn(folder, `${header.pid}-${header.startTime}`, disk);
      const journal = new JournalFile(path, file, disk, 0, new Map());
      try {
        lock(file, path);
        journal.#appendLine({ ...header });
        return journal;
      } catch (error) {
        journal.remove();
        throw error;
      }
    } catch (cause) {
      throw systemError(cause, "create the undo journal in", folder, NOTHING_CHANGED);
    }
  }

  /**
   * Opens and locks the journal that a process left, and reads it.
   *
   * @throws {BusbarError} `busy` when its process or another restore has it, `absent` when it is gone, `permission` when
   * others could have written it
   */
  static reopen(path: string, disk: JournalDisk = localDisk): { file: JournalFile; contents: JournalContents } {
    let file: OpenJournalFile | null = null;
    try {
      const before = disk.status(path);
      const reason = whyNotBelieved(before, path);
      if (reason !== null) throw new BusbarError("permission", `${path}: ${reason}`, { path });
      file = disk.open(path, true);
      lock(file, path);
      // Whoever had the lock may have put everything back and removed the file; another one may have its name.
      const now = disk.status(path);
      const opened = file.status();
      if (now.ino !== opened.ino || now.dev !== opened.dev) {
        throw new BusbarError("absent", `${path}: no such journal`, { path });
      }
      const contents = readJournal(file.readAll(MAX_JOURNAL_BYTES));
      const journal = new JournalFile(path, file, disk, contents.sizeBytes, new Map(contents.offsets));
      return { file: journal, contents };
    } catch (cause) {
      file?.close();
      throw systemError(cause, "open", path);
    }
  }

  /** Records a change that is about to be made, and returns when the record is on disk. */
  appendChange(entry: JournalEntry): void {
    const offset = this.#end;
    this.#appendLine({ state: "open", ...entry });
    this.#offsets.set(entry.seq, offset);
  }

  /** Records what a change left, and returns when that is on disk. */
  appendResult(seq: number, after: string | null): void {
    this.#appendLine({ seq, after });
  }

  /**
   * Notes that a change is not there any more. It needs no room. When it fails nothing is lost: the next restore finds
   * that the old state is there.
   */
  markUndone(seq: number): void {
    const offset = this.#offsets.get(seq);
    if (offset === undefined) return;
    try {
      if (this.#file.write(offset + STATE_AT, BACK) === BACK.length) this.#file.sync();
    } catch {
      // Said above.
    }
  }

  /** Adds a line after the last whole one. When that fails the file is as long as before. */
  #appendLine(members: Record<string, unknown>): void {
    if (this.#isBroken) {
      throw new BusbarError("io", `${this.path}: an earlier record could not be written`, {
        operation: "write the undo journal",
        path: this.path,
        hint: NOTHING_CHANGED,
      });
    }
    const bytes = sealLine(members);
    let isSynced = true;
    try {
      let at = 0;
      while (at < bytes.length) {
        const count = this.#file.write(this.#end + at, bytes.subarray(at));
        if (count <= 0) throw new BusbarError("io", `${this.path}: only ${at} of ${bytes.length} bytes were accepted`);
        at += count;
      }
      isSynced = false;
      this.#file.sync();
    } catch (cause) {
      this.#cutBack();
      // After a failed fsync Linux may drop what was not written: what is on disk is not known any more.
      if (!isSynced) this.#isBroken = true;
      throw systemError(cause, "write the undo journal", this.path, NOTHING_CHANGED);
    }
    this.#end += bytes.length;
  }

  #cutBack(): void {
    try {
      this.#file.truncate(this.#end);
    } catch {
      this.#isBroken = true;
    }
  }

  /** {@inheritDoc OpenJournal.keepAs} */
  keepAs(name: string): void {
    const kept = keptPath(name, this.path.slice(0, this.path.lastIndexOf("/")));
    const earlier = ifPresent(() => lookAtJournal(kept, this.#disk));
    if (earlier !== null && typeof earlier !== "string" && isOfEarlierBoot(earlier)) removeJournal(kept, this.#disk);
    try {
      this.#disk.link(this.path, kept);
      this.#disk.remove(this.path);
    } catch (cause) {
      if (cause instanceof Deno.errors.AlreadyExists) throw alreadyKept(name);
      throw systemError(cause, "keep the undo journal as", kept);
    }
    this.close();
  }

  /** Closes it; the file stays. */
  close(): void {
    this.#file.close();
  }

  /** Removes the file, and its folder when that was the last one, and closes it: nobody else can lock what still has a name. */
  remove(): void {
    removeJournal(this.path, this.#disk);
    this.#file.close();
  }
}

function createIn(folder: string, name: string, disk: JournalDisk): { path: string; file: OpenJournalFile } {
  for (let n = 1, folders = 1;;) {
    disk.makeFolder(folder);
    const problem = disk.whyNotTrusted(folder);
    if (problem !== null) {
      throw new BusbarError("permission", `${folder}: no folder for an undo journal: ${problem}`, {
        operation: "create the undo journal in",
        path: folder,
        hint: `${NOTHING_CHANGED}; set BUSBAR_JOURNAL_DIR to a folder that only you may write`,
      });
    }
    const path = `${folder}/${name}${n === 1 ? "" : `-${n}`}.jsonl`;
    try {
      return { path, file: disk.create(path) };
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) n++;
      else if (error instanceof Deno.errors.NotFound && folders < FOLDER_TRIES) folders++;
      else throw error;
    }
  }
}

/** Takes the exclusive lock. Somebody who only looks has a shared one for a moment. */
function lock(file: OpenJournalFile, path: string): void {
  for (let i = 0; i < LOCK_TRIES; i++) {
    if (file.tryLock(true)) return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
  throw new BusbarError("busy", `${path}: its run, or another restore, is at work on it`, {
    operation: "lock",
    path,
    hint: "wait for that one to end",
  });
}

function self(): { pid: number; startTime: string; bootId: string } {
  const startTime = processStartTime(Deno.pid);
  if (startTime === null) throw new BusbarError("bug", "/proc does not show this process");
  return { pid: Deno.pid, startTime, bootId: bootId() };
}

function whyNotBelieved(info: Deno.FileInfo, path: string): string | null {
  if (!info.isFile) return "it is not a file";
  if (info.uid !== Deno.uid()) return `it belongs to user ${info.uid}`;
  return whyOpenToOthers(info, path);
}

/** A journal file as somebody finds it who only looks. */
export interface SeenJournal {
  /** What it holds. */
  readonly contents: JournalContents;
  /** True while its run, or a restore, works on it. */
  readonly isLocked: boolean;
  /** When it was last written to, in milliseconds since 1970; null where the file system does not say. */
  readonly writtenAtMs: number | null;
}

/**
 * Looks at a journal file.
 *
 * @returns why it is not believed, or what it holds
 * @throws {BusbarError} as it cannot be read; `absent` when it is gone
 */
export function lookAtJournal(path: string, disk: JournalDisk = localDisk): SeenJournal | string {
  let file: OpenJournalFile | null = null;
  try {
    const info = disk.status(path);
    const reason = whyNotBelieved(info, path);
    if (reason !== null) return reason;
    file = disk.open(path, false);
    const opened = file.status();
    if (opened.ino !== info.ino || opened.dev !== info.dev) return "another file took its place while it was read";
    const isLocked = !file.tryLock(false);
    const contents = readJournal(file.readAll(MAX_JOURNAL_BYTES));
    return { contents, isLocked, writtenAtMs: opened.mtime?.getTime() ?? null };
  } catch (cause) {
    throw systemError(cause, "read", path);
  } finally {
    file?.close();
  }
}

/** True when a journal was written before this boot, which undid its changes. */
export function isOfEarlierBoot({ contents: { header }, writtenAtMs }: SeenJournal): boolean {
  return header === null ? isOlderThanBoot(writtenAtMs) : header.bootId !== bootId();
}

/** True when a time is before this boot of the machine (proc(5), btime). Not known is not older. */
function isOlderThanBoot(timeMs: number | null): boolean {
  const [, seconds] = /^btime (\d+)$/m.exec(ifReadable(() => thisMachine.readText("/proc/stat")) ?? "") ?? [];
  return timeMs !== null && seconds !== undefined && timeMs < Number(seconds) * 1000;
}

/** The beginning of the name of a journal that is kept. */
export const KEPT_PREFIX = "kept-";

/** The file for changes that are kept under a name. @throws {BusbarError} `usage` for what is no such name */
export function keptPath(name: string, folder: string): string {
  if (!/^[\w.:-]+$/.test(name)) throw new BusbarError("usage", `'${name}' is no name for kept changes`);
  return `${folder}/${KEPT_PREFIX}${name}.jsonl`;
}

/** The error for a name that is taken. */
export function alreadyKept(name: string): BusbarError {
  return new BusbarError("busy", `changes are kept under the name '${name}' already`, {
    operation: "keep changes",
    hint: `busbar restore --kept ${name} puts those back first`,
  });
}

/** Removes a journal file, and its folder when that was the last one. */
export function removeJournal(path: string, disk: JournalDisk = localDisk): void {
  try {
    disk.remove(path);
    disk.remove(path.slice(0, path.lastIndexOf("/")));
  } catch {
    // The folder holds other journals, or another process was faster: both leave nothing to do.
  }
}
