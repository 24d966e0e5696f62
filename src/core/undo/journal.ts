/**
 * The undo journal: what busbar changes on a machine is put back.
 *
 * A change is first written to a journal file (what, the old state, how to put it back) and flushed to disk, then done.
 * Dispose, errors and signals replay the journal backwards. After SIGKILL the file is still there: `busbar restore`
 * finds journals whose process is dead and replays them. A state that somebody else changed since is reported,
 * not overwritten.
 * @module
 */

import { type Deadline, waitFor } from "../deadline.ts";
import { BusbarError, isBusbarError, systemError } from "../error.ts";
import { exists, type Host, ifPresent, ifReadable, thisMachine } from "../host.ts";

/**
 * One write to a file of the machine: text, or bytes at an offset (`hex`: lower-case digits, two for each byte). Or a
 * folder that is made or removed.
 */
export type UndoWrite =
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly offset: number; readonly hex: string }
  | { readonly path: string; readonly folder: "make" | "remove" };

/**
 * Where a state is read from, to tell the old one from the new one: a file's text, the last part of a symbolic link
 * (null when there is none), bytes under a mask, or whether there is anything (`present`, or null).
 */
export type UndoProbe =
  | { readonly kind: "text"; readonly path: string }
  | { readonly kind: "link"; readonly path: string }
  | { readonly kind: "bytes"; readonly path: string; readonly offset: number; readonly mask: string }
  | { readonly kind: "presence"; readonly path: string };

/** A change to the machine. */
export interface Change {
  /** What changes, as a person would say it: `PCI enable count of 0000:01:00.0`. */
  readonly what: string;
  /** The write that changes it; absent for the side effect of a later change, which is only recorded. */
  readonly write?: UndoWrite;
  /** Where the state is read from. By default the text of the file that is written. */
  readonly probe?: UndoProbe;
  /** How to put `old` back. By default it is written to the place the state is read from. */
  readonly undo?: (old: string | null) => UndoWrite[];
  /** The state after the change. By default it is read after the write. Needed for a side effect. */
  readonly after?: string | null;
}

/** What happened to one change at roll-back. */
export interface Restored {
  /** The change's description. */
  readonly what: string;
  /** The path whose state was put back. */
  readonly path: string;
  /**
   * `restored`: the old state is back. `unchanged`: it already was. `changed`: somebody else changed it since, and it
   * was left alone. `vanished`: the path does not exist any more. `failed`: writing failed, and the entry was kept.
   */
  readonly outcome: "restored" | "unchanged" | "changed" | "vanished" | "failed";
  /** The old state, the one that busbar left, and the one found at roll-back; null where there is none. */
  readonly old: string | null;
  /** The state that busbar left. */
  readonly left: string | null;
  /** The state found at roll-back. */
  readonly found: string | null;
  /** Why it failed. */
  readonly error: string | null;
}

interface Header {
  readonly journal: 1;
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
  readonly command: string;
  readonly createdAt: string;
}

interface Entry {
  readonly seq: number;
  readonly what: string;
  readonly probe: UndoProbe;
  readonly old: string | null;
  readonly undo: readonly UndoWrite[];
  /** Known when the change was a recorded side effect; else it follows in a line of its own. */
  after?: string | null;
}

const openJournals = new Set<UndoJournal>();

/** Rolls back every journal of this process that is still open, newest first. For the end of a signal's grace time. */
export function rollBackAll(): Restored[] {
  return [...openJournals].reverse().flatMap((journal) => journal.rollBack());
}

/** How a journal is opened. */
export interface JournalOptions {
  /** The command line that it belongs to, shown by `busbar restore`. */
  readonly command: string;
  /** Where the file lives; {@linkcode journalFolder} by default. */
  readonly folder?: string;
  /** Called with one line for each change, which is then not made. */
  readonly dryRun?: (line: string) => void;
}

/**
 * A journal of changes to a machine. Dispose puts everything back.
 *
 * @example
 * ```ts
 * import { thisMachine } from "../host.ts";
 * import { UndoJournal } from "./journal.ts";
 * const lines: string[] = [];
 * using journal = new UndoJournal(thisMachine, { command: "example", dryRun: (line) => lines.push(line) });
 * journal.change({ what: "host name", write: { path: "/proc/sys/kernel/hostname", text: "lab" } });
 * console.assert(lines.length === 1);
 * ```
 */
export class UndoJournal implements Disposable {
  readonly #host: Host;
  readonly #options: JournalOptions;
  #entries: Entry[] = [];
  #path: string | null = null;
  #file: Deno.FsFile | null = null;
  #seq = 0;

  /** Nothing is written until the first change. */
  constructor(host: Host, options: JournalOptions) {
    this.#host = host;
    this.#options = options;
    openJournals.add(this);
  }

  /** The journal that a dead process left in a file, ready to be rolled back. */
  static #adopt(host: Host, found: FoundJournal, entries: Entry[]): UndoJournal {
    const journal = new UndoJournal(host, { command: found.command });
    try {
      journal.#file = Deno.openSync(found.path, { write: true, append: true });
    } catch (cause) {
      openJournals.delete(journal);
      throw systemError(cause, "open", found.path);
    }
    journal.#path = found.path;
    journal.#entries = entries;
    return journal;
  }

  /**
   * Puts back what a dead process left, newest change first, and removes its journal. Entries that could not be put
   * back stay in it. Two restores at once are harmless: a state that is already back is left as it is.
   *
   * @throws {BusbarError} `absent` when there is no such journal, `busy` when its process is alive
   */
  static restore(path: string, host: Host = thisMachine): Restored[] {
    const found = findJournals(path.slice(0, path.lastIndexOf("/"))).find((journal) => journal.path === path);
    const parsed = found === undefined ? null : parseJournal(path);
    if (found === undefined || parsed === null) throw new BusbarError("absent", `${path}: no such journal`, { path });
    if (found.state === "alive") {
      throw new BusbarError("busy", `${path}: process ${found.pid} (${found.command}) is still running`, {
        path,
        hint: "stop it with Ctrl-C or kill: it puts its changes back itself",
      });
    }
    if (found.state === "earlier boot") {
      removeJournal(path);
      return [];
    }
    const journal = UndoJournal.#adopt(host, found, parsed.entries);
    try {
      return journal.rollBack();
    } finally {
      journal.#close();
    }
  }

  /** True when changes are only listed. */
  get isDryRun(): boolean {
    return this.#options.dryRun !== undefined;
  }

  /** The journal file, or null as long as nothing was changed. */
  get path(): string | null {
    return this.#path;
  }

  /**
   * Records a change and makes it.
   *
   * @throws {BusbarError} as the host's read and write do; then nothing was changed and nothing is recorded
   */
  change(change: Change): void {
    const begun = this.#begin(change);
    if (begun === null || change.write === undefined) return;
    let failure: unknown = null;
    try {
      write(this.#host, change.write);
    } catch (error) {
      failure = error ?? new BusbarError("bug", "a write threw nothing");
    }
    this.#finish(change, begun, failure);
  }

  /**
   * As {@linkcode UndoJournal.change}, for a write that the kernel may work on for long. The event loop goes on meanwhile,
   * so Ctrl-C and the limit work. A write that is given up goes on in the kernel until it is done or the process ends.
   *
   * @throws {BusbarError} `timeout` when the deadline comes first; the change stays recorded
   */
  async changeSlowly(change: Change, deadline: Deadline, signal?: AbortSignal): Promise<void> {
    const target = change.write;
    if (target === undefined || !("text" in target)) {
      throw new BusbarError("bug", `'${change.what}' writes no text`);
    }
    signal?.throwIfAborted();
    const begun = this.#begin(change);
    if (begun === null) return;
    let ended: { failure: unknown } | undefined;
    this.#host.writeTextSlowly(target.path, target.text).then(
      () => void (ended = { failure: null }),
      (error) => void (ended = { failure: error ?? new BusbarError("bug", "a write threw nothing") }),
    );
    const { failure } = await waitFor(() => ended, { deadline, what: change.what, path: target.path, signal });
    this.#finish(change, begun, failure);
  }

  /**
   * Writes to something that an earlier change created, and that goes when that change is put back: so there is nothing
   * to put back here. A dry run lists it.
   *
   * @throws {BusbarError} as the host's write does
   */
  changeInside(what: string, target: UndoWrite): void {
    if (this.#options.dryRun !== undefined) this.#options.dryRun(`${what}: ${describeWrite(target)}`);
    else write(this.#host, target);
  }

  /** Records a change that is about to be made; null in a dry run. */
  #begin(change: Change): { entry: Entry; old: string | null; probe: UndoProbe } | null {
    const probe = change.probe ?? defaultProbe(change);
    if (this.#options.dryRun !== undefined) {
      // What an earlier change of this dry run would have created is not there.
      const old = ifPresent(() => ({ state: readState(this.#host, probe) }));
      this.#options.dryRun(describe(change, probe, old === null ? "(not there yet)" : old.state));
      return null;
    }
    const old = readState(this.#host, probe);
    const undo = change.undo?.(old) ?? defaultUndo(probe, old, change.write);
    const entry: Entry = { seq: ++this.#seq, what: change.what, probe, old, undo };
    if (change.write === undefined) entry.after = change.after ?? null;
    this.#append(entry);
    this.#entries.push(entry);
    return { entry, old, probe };
  }

  /** Notes the result of a change that was made, or failed. */
  #finish(
    change: Change,
    { entry, old, probe }: { entry: Entry; old: string | null; probe: UndoProbe },
    failure: unknown,
  ): void {
    const now = ifReadable(() => ({ state: readState(this.#host, probe) }));
    if (failure !== null && (now === null || now.state === old)) {
      this.#entries = this.#entries.filter((one) => one !== entry);
      this.#append({ seq: entry.seq, dropped: true });
      this.#removeIfEmpty();
      throw failure;
    }
    if (change.after !== undefined) entry.after = change.after;
    else if (now !== null) entry.after = now.state;
    if (entry.after !== undefined) this.#append({ seq: entry.seq, after: entry.after });
    if (failure !== null) throw failure;
  }

  /**
   * Puts everything back, newest change first, and removes the journal file when nothing is left in it.
   * Entries whose write failed are kept, so that it can be called again.
   */
  rollBack(): Restored[] {
    const results: Restored[] = [];
    const kept: Entry[] = [];
    for (const entry of this.#entries.toReversed()) {
      const result = restore(this.#host, entry);
      results.push(result);
      if (result.outcome === "failed") kept.unshift(entry);
      else this.#append({ seq: entry.seq, dropped: true });
    }
    this.#entries = kept;
    this.#removeIfEmpty();
    return results;
  }

  /** Keeps every change made so far: they are no longer put back. */
  keepChanges(): void {
    this.#entries = [];
    this.#removeIfEmpty();
  }

  /**
   * Keeps every change made so far until somebody asks for it by name: {@linkcode UndoJournal.restoreKept}. For settings
   * that outlive the command that made them.
   *
   * @param name letters, digits, `.`, `:`, `_` and `-`
   * @throws {BusbarError} `busy` when there are kept changes of that name already
   */
  keepAs(name: string): void {
    if (this.#path === null || this.#entries.length === 0) return;
    const folder = this.#path.slice(0, this.#path.lastIndexOf("/"));
    const kept = keptPath(name, folder);
    if (ifPresent(() => thisMachine.sizeBytes(kept)) !== null) throw alreadyKept(name);
    try {
      Deno.renameSync(this.#path, kept);
    } catch (cause) {
      throw systemError(cause, "keep the undo journal as", kept);
    }
    this.#file?.close();
    this.#file = null;
    this.#path = null;
    this.#entries = [];
  }

  /**
   * Puts back what was kept under a name, newest change first.
   *
   * @throws {BusbarError} `absent` when nothing is kept under it
   */
  static restoreKept(name: string, host: Host = thisMachine, folder: string = journalFolder()): Restored[] {
    const found = findJournals(folder).find((journal) => journal.path === keptPath(name, folder));
    if (found === undefined) {
      throw new BusbarError("absent", `nothing is kept under the name '${name}'`, {
        operation: "restore",
        path: keptPath(name, folder),
        hint: "busbar restore lists what there is to put back",
      });
    }
    return UndoJournal.restore(found.path, host);
  }

  /**
   * Puts everything back and closes the journal.
   *
   * @throws {BusbarError} when something could not be put back or was changed by somebody else
   */
  [Symbol.dispose](): void {
    const results = this.rollBack();
    const path = this.#path;
    this.#close();
    const error = rollBackError(results, path);
    if (error !== null) throw error;
  }

  #close(): void {
    openJournals.delete(this);
    this.#file?.close();
    this.#file = null;
  }

  #append(line: Entry | { seq: number; after: string | null } | { seq: number; dropped: true }): void {
    if (this.#file === null) this.#create();
    const file = this.#file;
    if (file === null) return;
    file.writeSync(new TextEncoder().encode(JSON.stringify(line) + "\n"));
    file.syncDataSync();
  }

  #create(): void {
    const folder = this.#options.folder ?? journalFolder();
    const header: Header = {
      journal: 1,
      ...self(),
      command: this.#options.command,
      createdAt: new Date().toISOString(),
    };
    try {
      Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (let n = 1; this.#file === null; n++) {
        const path = `${folder}/${header.pid}-${header.startTime}${n === 1 ? "" : `-${n}`}.jsonl`;
        try {
          this.#file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
          this.#path = path;
        } catch (error) {
          if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
        }
      }
      this.#file.writeSync(new TextEncoder().encode(JSON.stringify(header) + "\n"));
      this.#file.syncSync();
    } catch (cause) {
      throw systemError(
        cause,
        "create the undo journal in",
        folder,
        "without a journal nothing on the machine is changed",
      );
    }
  }

  #removeIfEmpty(): void {
    if (this.#entries.length > 0 || this.#path === null) return;
    this.#file?.close();
    this.#file = null;
    removeJournal(this.#path);
    this.#path = null;
  }
}

const KEPT_PREFIX = "kept-";

function keptPath(name: string, folder: string): string {
  if (!/^[\w.:-]+$/.test(name)) throw new BusbarError("usage", `'${name}' is no name for kept changes`);
  return `${folder}/${KEPT_PREFIX}${name}.jsonl`;
}

function alreadyKept(name: string): BusbarError {
  return new BusbarError("busy", `changes are kept under the name '${name}' already`, {
    operation: "keep changes",
    hint: `busbar restore --kept ${name} puts those back first`,
  });
}

/** The name that a journal's changes are kept under, or null. */
export function keptName(journal: Pick<FoundJournal, "path">): string | null {
  const file = journal.path.slice(journal.path.lastIndexOf("/") + 1);
  return file.startsWith(KEPT_PREFIX) ? file.slice(KEPT_PREFIX.length, -".jsonl".length) : null;
}

/** The error that says what a roll-back could not put back, or null when all is well. */
function rollBackError(results: readonly Restored[], path: string | null): BusbarError | null {
  const failed = results.filter((result) => result.outcome === "failed");
  const changed = results.filter((result) => result.outcome === "changed");
  const first = failed[0] ?? changed[0];
  if (first === undefined) return null;
  const others = failed.length + changed.length - 1;
  const more = others === 0 ? "" : ` (and ${others} more)`;
  if (failed.length > 0) {
    return new BusbarError("io", `${first.what} could not be put back to '${first.old}': ${first.error}${more}`, {
      operation: "put back",
      path: first.path,
      hint: path === null ? undefined : `try again with: busbar restore (the journal is ${path})`,
    });
  }
  return new BusbarError(
    "busy",
    `${first.what} was left alone: somebody else changed it from '${first.left}' to '${first.found}'${more}`,
    { operation: "put back", path: first.path, hint: `before busbar it was '${first.old}'` },
  );
}

function defaultProbe(change: Change): UndoProbe {
  const target = change.write;
  if (target === undefined) throw new BusbarError("bug", `'${change.what}' has neither a write nor a probe`);
  if ("text" in target) return { kind: "text", path: target.path };
  if ("folder" in target) return { kind: "presence", path: target.path };
  return { kind: "bytes", path: target.path, offset: target.offset, mask: "ff".repeat(target.hex.length / 2) };
}

function defaultUndo(probe: UndoProbe, old: string | null, made: UndoWrite | undefined): UndoWrite[] {
  if (made !== undefined && "folder" in made) {
    return [{ path: made.path, folder: made.folder === "make" ? "remove" : "make" }];
  }
  if (old === null) throw new BusbarError("bug", `${probe.path}: no way back from a state that did not exist`);
  if (probe.kind === "text") return [{ path: probe.path, text: old }];
  if (probe.kind === "bytes") return [{ path: probe.path, offset: probe.offset, hex: old }];
  throw new BusbarError("bug", `${probe.path}: a ${probe.kind} is not put back by writing to it`);
}

/** The state as text: file text, link name, or the masked bytes in hexadecimal. */
function readState(host: Host, probe: UndoProbe): string | null {
  if (probe.kind === "text") return host.readText(probe.path);
  if (probe.kind === "link") return ifPresent(() => host.readLink(probe.path))?.split("/").at(-1) ?? null;
  if (probe.kind === "presence") return exists(host, probe.path) ? "present" : null;
  const mask = Uint8Array.fromHex(probe.mask);
  const bytes = host.readBytes(probe.path, probe.offset, mask.length);
  if (bytes.length < mask.length) throw new BusbarError("io", `${probe.path}: cut short`, { path: probe.path });
  return bytes.map((byte, i) => byte & (mask[i] ?? 0)).toHex();
}

function write(host: Host, target: UndoWrite): void {
  if ("text" in target) host.writeText(target.path, target.text);
  else if ("folder" in target) target.folder === "make" ? host.makeFolder(target.path) : host.removeFolder(target.path);
  else host.writeBytes(target.path, target.offset, Uint8Array.fromHex(target.hex));
}

/** Writes a masked state back without touching the bits outside the mask. */
function writeBack(host: Host, target: UndoWrite, probe: UndoProbe): void {
  if (
    "text" in target || "folder" in target || probe.kind !== "bytes" || target.path !== probe.path ||
    target.offset !== probe.offset
  ) {
    write(host, target);
    return;
  }
  const mask = Uint8Array.fromHex(probe.mask);
  const value = Uint8Array.fromHex(target.hex);
  const now = host.readBytes(probe.path, probe.offset, mask.length);
  const merged = value.map((byte, i) => ((now[i] ?? 0) & ~(mask[i] ?? 0)) | (byte & (mask[i] ?? 0)));
  host.writeBytes(target.path, target.offset, merged);
}

function restore(host: Host, entry: Entry): Restored {
  const left = entry.after ?? null;
  const result = (outcome: Restored["outcome"], found: string | null, error: string | null = null): Restored => ({
    what: entry.what,
    path: entry.probe.path,
    outcome,
    old: entry.old,
    left,
    found,
    error,
  });
  let found: string | null = null;
  try {
    found = readState(host, entry.probe);
    if (found === entry.old) return result("unchanged", found);
    // Killed between the write and the line that records its result: whatever is there is ours.
    if (entry.after !== undefined && found !== entry.after) return result("changed", found);
    for (const target of entry.undo) writeBack(host, target, entry.probe);
    const now = readState(host, entry.probe);
    return now === entry.old ? result("restored", found) : result("failed", now, `it is now '${now}'`);
  } catch (error) {
    if (isBusbarError(error, "absent")) return result("vanished", null);
    return result("failed", found, error instanceof Error ? error.message : String(error));
  }
}

function describe(change: Change, probe: UndoProbe, old: string | null): string {
  const target = change.write;
  if (target === undefined) return `${change.what}: ${old} → ${change.after} (follows by itself; ${probe.path})`;
  return `${change.what}: ${old} → ${describeWrite(target)}`;
}

function describeWrite(target: UndoWrite): string {
  if ("folder" in target) return `${target.folder} the folder ${target.path}`;
  return `write '${("text" in target ? target.text : target.hex).trim()}' to ${target.path}`;
}

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

function self(): { pid: number; startTime: string; bootId: string } {
  const startTime = processStartTime(Deno.pid);
  if (startTime === null) throw new BusbarError("bug", "/proc does not show this process");
  return { pid: Deno.pid, startTime, bootId: bootId() };
}

function bootId(): string {
  return thisMachine.readText("/proc/sys/kernel/random/boot_id");
}

/** When a process started, in clock ticks since boot (proc(5), field 22 of stat), or null when it does not exist. */
export function processStartTime(pid: number): string | null {
  const stat = ifPresent(() => thisMachine.readText(`/proc/${pid}/stat`));
  // The command name is in parentheses and may itself hold spaces and parentheses.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
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

/** Reads a journal file; null when it is none, or others could have written it. A torn last line was never acted on. */
function parseJournal(path: string): { header: Header; entries: Entry[] } | null {
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
    const header: Header = JSON.parse(lines[0] ?? "");
    if (header.journal !== 1 || typeof header.pid !== "number") return null;
    const entries = new Map<number, Entry>();
    for (const line of lines.slice(1)) {
      const value: Entry & { dropped?: true } = JSON.parse(line);
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
function removeJournal(path: string): void {
  try {
    Deno.removeSync(path);
    Deno.removeSync(path.slice(0, path.lastIndexOf("/")));
  } catch {
    // The folder holds other journals, or another process was faster: both leave nothing to do.
  }
}
