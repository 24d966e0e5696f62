/**
 * Journals on disk: whose they are, and what they would put back.
 * @module
 */

import { BusbarError, isBusbarError } from "../error.ts";
import { thisMachine } from "../host.ts";
import { processStartTime } from "../process.ts";
import { type JournalDisk, localDisk } from "./disk.ts";
import type { JournalContents } from "./journal_reader.ts";
import { isOfEarlierBoot, journalFolder, KEPT_PREFIX, lookAtJournal, type SeenJournal } from "./journal_file.ts";

/** The name that a journal's changes are kept under, or null. */
export function keptName(journal: Pick<FoundJournal, "path">): string | null {
  const file = journal.path.slice(journal.path.lastIndexOf("/") + 1);
  return file.startsWith(KEPT_PREFIX) ? file.slice(KEPT_PREFIX.length, -".jsonl".length) : null;
}

/** A journal file found on disk. */
export interface FoundJournal {
  /** The file. */
  readonly path: string;
  /** The process that wrote it; 0 when that cannot be read. */
  readonly pid: number;
  /** Its command line. */
  readonly command: string;
  /** When it was made, ISO 8601. */
  readonly createdAt: string;
  /**
   * `alive`: its process still runs. `locked`: another process puts it back just now. `dead`: to be restored. `kept`:
   * meant to stay until somebody asks for it. `earlier boot`: its changes went with the reboot.
   */
  readonly state: "alive" | "locked" | "dead" | "kept" | "earlier boot";
  /** What it would put back, newest first. */
  readonly changes: readonly { readonly what: string; readonly path: string; readonly old: string | null }[];
  /** What in it cannot be read: `line 3: its checksum is wrong`. */
  readonly damaged: readonly string[];
}

/** A file that has the name of a journal and is not believed. */
export interface RefusedJournal {
  /** The file. */
  readonly path: string;
  /** Why. */
  readonly reason: string;
}

/** Everything in a folder that has the name of a journal. */
export interface JournalList {
  /** The journals. */
  readonly journals: readonly FoundJournal[];
  /** Files that are not read, because they are no journals, cannot be read, or others could have written them. */
  readonly refused: readonly RefusedJournal[];
}

function listFolder(folder: string): string[] {
  try {
    return thisMachine.list(folder);
  } catch (error) {
    if (isBusbarError(error, "absent", "permission")) return [];
    throw error;
  }
}

/**
 * The journals in a folder, and the files that are none although they have the name of one. A folder that this user may
 * not look into, as in a home that is not theirs, holds none of theirs.
 *
 * @throws {BusbarError} when the folder cannot be listed for another reason
 */
export function listJournals(folder: string = journalFolder(), disk: JournalDisk = localDisk): JournalList {
  const journals: FoundJournal[] = [];
  const refused: RefusedJournal[] = [];
  for (const name of listFolder(folder).filter((name) => name.endsWith(".jsonl"))) {
    const path = `${folder}/${name}`;
    const found = findJournal(path, disk);
    if (typeof found === "string") refused.push({ path, reason: found });
    else if (found !== null) journals.push(found);
  }
  return { journals, refused };
}

/** The journals in a folder, as {@linkcode listJournals} finds them. */
export function findJournals(folder: string = journalFolder()): readonly FoundJournal[] {
  return listJournals(folder).journals;
}

/** The journal that a file holds; null when it is gone or holds no change, or why it is not believed. */
export function findJournal(path: string, disk: JournalDisk = localDisk): FoundJournal | string | null {
  let seen: SeenJournal | string;
  try {
    seen = lookAtJournal(path, disk);
  } catch (error) {
    if (isBusbarError(error, "absent")) return null;
    if (error instanceof BusbarError) return error.message;
    throw error;
  }
  if (typeof seen === "string") return seen;
  return describeJournal(path, seen.contents, (writer) => stateOf(path, seen, writer));
}

/**
 * What the contents of a journal tell; null when it holds no change, or why it is no journal.
 *
 * @param state whose it is, once it is known who wrote it
 */
export function describeJournal(
  path: string,
  { header, entries, damaged, sizeBytes }: JournalContents,
  state: (writer: { pid: number; startTime: string }) => FoundJournal["state"],
): FoundJournal | string | null {
  // Killed before its header was whole: it changed nothing.
  if (sizeBytes === 0) return null;
  if (header === null && entries.length === 0 && damaged.length === 1) return `it is no journal: ${damaged[0]?.reason}`;
  const writer = header ?? writerByName(path);
  return {
    path,
    pid: writer.pid,
    command: header?.command ?? "(its command line cannot be read)",
    createdAt: header?.createdAt ?? "(at a time that cannot be read)",
    state: state(writer),
    changes: entries.toReversed().map((entry) => ({ what: entry.what, path: entry.probe.path, old: entry.old })),
    damaged: damaged.map(({ line, reason }) => `line ${line}: ${reason}`),
  };
}

/** Who wrote a journal, by its file name. */
function writerByName(path: string): { pid: number; startTime: string } {
  const [, pid = "0", startTime = ""] = /\/(\d+)-(\d+)(-\d+)?\.jsonl$/.exec(path) ?? [];
  return { pid: Number(pid), startTime };
}

function stateOf(path: string, seen: SeenJournal, writer: { pid: number; startTime: string }): FoundJournal["state"] {
  if (isOfEarlierBoot(seen)) return "earlier boot";
  if (seen.isLocked) return isAlive(writer) ? "alive" : "locked";
  if (keptName({ path }) !== null) return "kept";
  return isAlive(writer) ? "alive" : "dead";
}

function isAlive(writer: { pid: number; startTime: string }): boolean {
  return writer.pid > 0 && processStartTime(writer.pid) === writer.startTime;
}
