/**
 * Journals on disk: whose they are, and what they would put back.
 * @module
 */

import { BusbarError, isBusbarError } from "../error.ts";
import { ifPresent, thisMachine } from "../host.ts";
import { bootId, processStartTime } from "../process.ts";
import { journalFolder, parseJournal } from "./journal_file.ts";

const KEPT_PREFIX = "kept-";

/** The file for changes that are kept under a name. @throws {BusbarError} `usage` for what is no such name */
export function keptPath(name: string, folder: string): string {
  if (!/^[\w.:-]+$/.test(name)) throw new BusbarError("usage", `'${name}' is no name for kept changes`);
  return `${folder}/${KEPT_PREFIX}${name}.jsonl`;
}

/** The name that a journal's changes are kept under, or null. */
export function keptName(journal: Pick<FoundJournal, "path">): string | null {
  const file = journal.path.slice(journal.path.lastIndexOf("/") + 1);
  return file.startsWith(KEPT_PREFIX) ? file.slice(KEPT_PREFIX.length, -".jsonl".length) : null;
}

/** A journal file found on disk. */
export interface FoundJournal {
  /** The file. */
  readonly path: string;
  /** The process that wrote it. */
  readonly pid: number;
  /** Its command line. */
  readonly command: string;
  /** When it was made, ISO 8601. */
  readonly createdAt: string;
  /**
   * `alive`: its process still runs. `dead`: to be restored. `kept`: meant to stay until somebody asks for it.
   * `earlier boot`: its changes went with the reboot.
   */
  readonly state: "alive" | "dead" | "kept" | "earlier boot";
  /** What it would put back, newest first. */
  readonly changes: readonly { readonly what: string; readonly path: string; readonly old: string | null }[];
}

function listJournals(folder: string): string[] {
  try {
    return thisMachine.list(folder);
  } catch (error) {
    if (isBusbarError(error, "absent", "permission")) return [];
    throw error;
  }
}

/**
 * The journals in a folder. Files that are not journals, or that somebody else could have written, are skipped. A folder
 * that this user may not look into, as in a home that is not theirs, holds none of theirs.
 *
 * @throws {BusbarError} when the folder cannot be listed for another reason
 */
export function findJournals(folder: string = journalFolder()): FoundJournal[] {
  const found: FoundJournal[] = [];
  const names = listJournals(folder);
  for (const name of names.filter((name) => name.endsWith(".jsonl"))) {
    const path = `${folder}/${name}`;
    const parsed = ifPresent(() => parseJournal(path));
    if (parsed === null) continue;
    const { header, entries } = parsed;
    const alive = processStartTime(header.pid) === header.startTime;
    const kept = keptName({ path }) !== null;
    found.push({
      path,
      pid: header.pid,
      command: header.command,
      createdAt: header.createdAt,
      state: header.bootId !== bootId() ? "earlier boot" : kept ? "kept" : alive ? "alive" : "dead",
      changes: entries.toReversed().map((entry) => ({ what: entry.what, path: entry.probe.path, old: entry.old })),
    });
  }
  return found;
}
