/**
 * What a journal says, line by line: the format is in docs/design/undo.md.
 * @module
 */

import { crc32 } from "../crc32.ts";
import type { UndoProbe, UndoWrite } from "./change.ts";

/** Who wrote a journal. */
export interface JournalHeader {
  /** Version of the format. */
  readonly journal: 2;
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

/** What a journal file holds. */
export interface JournalContents {
  /** The first line; null when it is damaged or not there. */
  readonly header: JournalHeader | null;
  /** The changes that are not put back yet, in the order in which they were made. */
  readonly entries: readonly JournalEntry[];
  /** Where each of these begins in the file, in bytes, by `seq`. */
  readonly offsets: ReadonlyMap<number, number>;
  /** What cannot be read: the line's number, from 1, and why. */
  readonly damaged: readonly { readonly line: number; readonly reason: string }[];
  /** Bytes up to the end of the last whole line. */
  readonly sizeBytes: number;
}

/** Where the four letters of `state` stand in a line. */
export const STATE_AT: number = '{"state":"'.length;
/** The letters while a change is there, and once it was put back. Each differs, so that no damaged byte turns one into the other. */
const OPEN: Uint8Array = new TextEncoder().encode("open");
/** See {@linkcode STATE_AT}. */
export const BACK: Uint8Array = new TextEncoder().encode("back");
const LINE_FEED = 0x0a;
const SEAL = /^,"crc":"([0-9a-f]{8})"\}$/;
const SEAL_BYTES = ',"crc":"01234567"}'.length;

/** A line as it is written: the object's members, the CRC behind them, a line feed. */
export function sealLine(members: Record<string, unknown>): Uint8Array {
  const body = JSON.stringify(members).slice(0, -1);
  const crc = crc32(new TextEncoder().encode(body)).toString(16).padStart(8, "0");
  return new TextEncoder().encode(`${body},"crc":"${crc}"}\n`);
}

/** The members of a line without its CRC; a text that says what is wrong with it otherwise. */
function openLine(bytes: Uint8Array): { readonly members: object; readonly isUndone: boolean } | string {
  const body = bytes.slice(0, -SEAL_BYTES);
  const seal = SEAL.exec(new TextDecoder().decode(bytes.subarray(-SEAL_BYTES)));
  if (seal === null) return "it has no checksum";
  const isUndone = new TextDecoder().decode(body.subarray(0, STATE_AT + BACK.length)) === '{"state":"back';
  if (isUndone) body.set(OPEN, STATE_AT);
  if (crc32(body) !== Number.parseInt(seal[1] ?? "", 16)) return "its checksum is wrong";
  try {
    const members: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body) + "}");
    return typeof members === "object" && members !== null ? { members, isUndone } : "it is not a JSON object";
  } catch {
    return "it is not JSON";
  }
}

/** What the bytes of a journal file say. Never throws. */
export function readJournal(bytes: Uint8Array): JournalContents {
  let header: JournalHeader | null = null;
  const entries = new Map<number, JournalEntry>();
  const offsets = new Map<number, number>();
  const known = new Set<number>();
  const results: { line: number; seq: number; after: string | null }[] = [];
  const damaged: { line: number; reason: string }[] = [];
  let start = 0;
  let number = 0;
  for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
    number++;
    const opened = openLine(bytes.subarray(start, end));
    const offset = start;
    start = end + 1;
    if (typeof opened === "string") {
      damaged.push({ line: number, reason: opened });
    } else if (number === 1) {
      if (isHeader(opened.members)) header = opened.members;
      else damaged.push({ line: 1, reason: "it is not the header of a journal of version 2" });
    } else if (isResult(opened.members)) {
      results.push({ line: number, seq: opened.members.seq, after: opened.members.after });
    } else if (isEntry(opened.members) && !known.has(opened.members.seq)) {
      const { seq } = opened.members;
      known.add(seq);
      if (opened.isUndone) continue;
      entries.set(seq, opened.members);
      offsets.set(seq, offset);
    } else damaged.push({ line: number, reason: "it is neither a change nor a result" });
  }
  for (const { line, seq, after } of results) {
    const entry = entries.get(seq);
    if (entry !== undefined) entry.after = after;
    else if (!known.has(seq)) damaged.push({ line, reason: `it is the result of change ${seq}, which cannot be read` });
  }
  damaged.sort((one, other) => one.line - other.line);
  return { header, entries: [...entries.values()], offsets, damaged, sizeBytes: start };
}

type Members = Readonly<Record<string, unknown>>;

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null;
}

function isTextOrNull(value: unknown): value is string | null {
  return typeof value === "string" || value === null;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^([0-9a-f]{2})+$/.test(value);
}

function isPath(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("/");
}

function isHeader(value: object): value is JournalHeader {
  if (!isMembers(value)) return false;
  const texts = [value.startTime, value.bootId, value.command, value.createdAt];
  return value.journal === 2 && isCount(value.pid) && texts.every((text) => typeof text === "string");
}

function isResult(value: object): value is { seq: number; after: string | null } {
  return isMembers(value) && !("state" in value) && isCount(value.seq) && isTextOrNull(value.after);
}

function isProbe(value: unknown): value is UndoProbe {
  if (!isMembers(value) || !isPath(value.path)) return false;
  if (value.kind === "bytes") return isCount(value.offset) && isHex(value.mask);
  return value.kind === "text" || value.kind === "link" || value.kind === "presence";
}

function isWrite(value: unknown): value is UndoWrite {
  if (!isMembers(value) || !isPath(value.path)) return false;
  if ("text" in value) return typeof value.text === "string";
  if ("folder" in value) return value.folder === "make" || value.folder === "remove";
  return isCount(value.offset) && isHex(value.hex);
}

function isEntry(value: object): value is JournalEntry {
  if (!isMembers(value) || value.state !== "open") return false;
  return isCount(value.seq) && value.seq > 0 && typeof value.what === "string" && isProbe(value.probe) &&
    isTextOrNull(value.old) && Array.isArray(value.undo) && value.undo.every(isWrite) &&
    (value.after === undefined || isTextOrNull(value.after));
}
