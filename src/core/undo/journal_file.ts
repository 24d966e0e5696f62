/**
 * A journal as a file: JSON Lines, first who wrote it, then a line for each change before it is made, another one with its
 * result, and one where it was put back. Each line is on disk before anything is done that depends on it.
 * @module
 */

import { BusbarError, systemError } from "../error.ts";
import { bootId, processStartTime } from "../process.ts";
import type { UndoProbe, UndoWrite } from "./change.ts";

/** Who wrote a journal. */
export interface JournalHeader {
  /** Version of the format. */
  readonly journal: 1;
  /** The process. */
  readonly pid: number;
  /** When it started, in clock ticks since boot. */
  readonly startTime: string;
  /** The boot that it ran in. */
  readonly bootId: string;
  /** Its command line. */
  readonly command: string;
  /** When the journal was made, ISO 8601. */
  readonly createdAt: string;
}

/** A change that was made, or is about to be. */
export interface JournalEntry {
  /** Its number, from 1. */
  readonly seq: number;
  /** What changes. */
  readonly what: string;
  /** Where its state is read from. */
  readonly probe: UndoProbe;
  /** The state before. */
  readonly old: string | null;
  /** What puts it back. */
  readonly undo: readonly UndoWrite[];
  /** Known when the change was a recorded side effect; else it follows in a line of its own. */
  after?: string | null;
}

/** A line behind the header. */
export type JournalLine =
  | JournalEntry
  | { readonly seq: number; readonly after: string | null }
  | { readonly seq: number; readonly dropped: true };

/** Where this user's journals live: `/run/busbar` for root, else the user's runtime or state folder. */
export function journalFolder(): string {
  const explicit = Deno.env.get("BUSBAR_JOURNAL_DIR");
  if (explicit) return explicit;
  if (Deno.uid() === 0) return "/run/busbar";
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  if (runtime) return `${runtime}/busbar`;
  const state = Deno.env.get("XDG_STATE_HOME") || `${Deno.env.get("HOME") ?? "/nonexistent"}/.local/state`;
  return `${state}/busbar/journals`;
}

/** A journal file that is written. */
export class JournalFile {
  /** Where it is. */
  readonly path: string;
  readonly #file: Deno.FsFile;

  private constructor(path: string, file: Deno.FsFile) {
    this.path = path;
    this.#file = file;
  }

  /**
   * Makes a journal of this process.
   *
   * @throws {BusbarError} as the folder and the file cannot be made
   */
  static create(folder: string, command: string): JournalFile {
    const header: JournalHeader = { journal: 1, ...self(), command, createdAt: new Date().toISOString() };
    try {
      Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (let n = 1;; n++) {
        const path = `${folder}/${header.pid}-${header.startTime}${n === 1 ? "" : `-${n}`}.jsonl`;
        const file = createNew(path);
        if (file === null) continue;
        file.writeSync(new TextEncoder().encode(JSON.stringify(header) + "\n"));
        file.syncSync();
        return new JournalFile(path, file);
      }
    } catch (cause) {
      throw systemError(
        cause,
        "create the undo journal in",
        folder,
        "without a journal nothing on the machine is changed",
      );
    }
  }

  /** Opens the journal that a dead process left, to note what is put back. */
  static reopen(path: string): JournalFile {
    try {
      return new JournalFile(path, Deno.openSync(path, { write: true, append: true }));
    } catch (cause) {
      throw systemError(cause, "open", path);
    }
  }

  /** Adds a line, and returns when it is on disk. */
  append(line: JournalLine): void {
    this.#file.writeSync(new TextEncoder().encode(JSON.stringify(line) + "\n"));
    this.#file.syncDataSync();
  }

  /** Closes it; the file stays. */
  close(): void {
    this.#file.close();
  }

  /** Closes it and removes the file. */
  remove(): void {
    this.#file.close();
    removeJournal(this.path);
  }
}

/** Creates a file; null where there is one. */
function createNew(path: string): Deno.FsFile | null {
  try {
    return Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return null;
    throw error;
  }
}

function self(): { pid: number; startTime: string; bootId: string } {
  const startTime = processStartTime(Deno.pid);
  if (startTime === null) throw new BusbarError("bug", "/proc does not show this process");
  return { pid: Deno.pid, startTime, bootId: bootId() };
}

/** Reads a journal file; null when it is none, or others could have written it. A torn last line was never acted on. */
export function parseJournal(path: string): { header: JournalHeader; entries: JournalEntry[] } | null {
  let text: string;
  try {
    const info = Deno.lstatSync(path);
    if (!info.isFile || info.uid !== Deno.uid() || ((info.mode ?? 0) & 0o022) !== 0) return null;
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
  const lines = text.split("\n").slice(0, -1);
  try {
    const header: JournalHeader = JSON.parse(lines[0] ?? "");
    if (header.journal !== 1 || typeof header.pid !== "number") return null;
    const entries = new Map<number, JournalEntry>();
    for (const line of lines.slice(1)) {
      const value: JournalEntry & { dropped?: true } = JSON.parse(line);
      const known = entries.get(value.seq);
      if (value.dropped) entries.delete(value.seq);
      else if (known === undefined) entries.set(value.seq, value);
      else known.after = value.after ?? null;
    }
    return { header, entries: [...entries.values()] };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Removes a journal file, and its folder when that was the last one. */
export function removeJournal(path: string): void {
  try {
    Deno.removeSync(path);
    Deno.removeSync(path.slice(0, path.lastIndexOf("/")));
  } catch {
    // The folder holds other journals, or another process was faster: both leave nothing to do.
  }
}
