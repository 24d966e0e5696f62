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
import { BusbarError } from "../error.ts";
import { type Host, ifPresent, ifReadable, thisMachine } from "../host.ts";
import {
  type Change,
  defaultProbe,
  defaultUndo,
  describeChange,
  describeWrite,
  type UndoProbe,
  type UndoWrite,
} from "./change.ts";
import { type JournalDisk, localDisk } from "./disk.ts";
import { findJournal } from "./found_journals.ts";
import { JournalFile, journalFolder, keptPath, removeJournal } from "./journal_file.ts";
import type { JournalEntry } from "./journal_reader.ts";
import type { OpenJournal } from "./open_journal.ts";
import { makeWrite, readState } from "./probe.ts";
import { putBack, type Restored, rollBackError } from "./roll_back.ts";

const openJournals = new Set<UndoJournal>();

/** Rolls back every journal of this process that is still open, newest first. For the end of a signal's grace time. */
export function rollBackAll(): Restored[] {
  return [...openJournals].reverse().flatMap((journal) => journal.rollBack());
}

/** How a journal is opened. */
export interface JournalOptions {
  /** The command line that it belongs to, shown by `busbar restore`. */
  readonly command: string;
  /** Where the file lives; by default where the machine keeps its own, or {@linkcode journalFolder}. */
  readonly folder?: string;
  /** Called with one line for each change, which is then not made. */
  readonly dryRun?: (line: string) => void;
  /** What the journal is written to; this machine's file system by default. Tests have one that fails. */
  readonly disk?: JournalDisk;
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
  #entries: JournalEntry[] = [];
  #file: OpenJournal | null = null;
  #damaged: readonly Restored[] = [];
  #seq = 0;

  /** Nothing is written until the first change. */
  constructor(host: Host, options: JournalOptions) {
    this.#host = host;
    this.#options = options;
    openJournals.add(this);
  }

  /**
   * Puts back what a dead process left, newest change first, and removes its journal. Entries that could not be put
   * back stay in it, and so does what cannot be read: it is among the results as `damaged`. Two restores at once are
   * harmless: the second one waits for the first, for up to a second.
   *
   * @throws {BusbarError} `absent` when there is no such journal, `permission` when others could have written it, `busy`
   * when its process is alive or another restore is at work on it
   */
  static restore(path: string, host: Host = thisMachine, disk: JournalDisk = localDisk): Restored[] {
    const found = findJournal(path, disk);
    if (typeof found === "string") {
      throw new BusbarError("permission", `${path}: no such journal can be believed: ${found}`, { path });
    }
    if (found === null) throw new BusbarError("absent", `${path}: no such journal`, { path });
    if (found.state === "alive") {
      throw new BusbarError("busy", `${path}: process ${found.pid} (${found.command}) is still running`, {
        path,
        hint: "stop it with Ctrl-C or kill: it puts its changes back itself",
      });
    }
    if (found.state === "earlier boot") {
      removeJournal(path, disk);
      return [];
    }
    const { file, contents } = JournalFile.reopen(path, disk);
    const journal = new UndoJournal(host, { command: found.command, disk });
    journal.#file = file;
    journal.#entries = [...contents.entries];
    journal.#damaged = contents.damaged.map(({ line, reason }) => damagedLine(path, line, reason));
    try {
      return [...journal.rollBack(), ...journal.#damaged];
    } finally {
      journal.#close();
    }
  }

  /** True when changes are only listed. */
  get isDryRun(): boolean {
    return this.#options.dryRun !== undefined;
  }

  /**
   * Says no to what comes next. A dry run lists the refusal and goes on, so that it tells what would be written.
   *
   * @throws {BusbarError} the error given, unless it is a dry run
   */
  refuse(error: BusbarError): void {
    if (this.#options.dryRun === undefined) throw error;
    this.#options.dryRun(`would be refused: ${error.message}`);
  }

  /** The journal file, or null as long as nothing was changed. */
  get path(): string | null {
    return this.#file?.path ?? null;
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
      makeWrite(this.#host, change.write);
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
    else makeWrite(this.#host, target);
  }

  /** Records a change that is about to be made; null in a dry run. */
  #begin(change: Change): { entry: JournalEntry; old: string | null; probe: UndoProbe } | null {
    const probe = change.probe ?? defaultProbe(change);
    if (this.#options.dryRun !== undefined) {
      // What an earlier change of this dry run would have created is not there.
      const old = ifPresent(() => ({ state: readState(this.#host, probe) }));
      this.#options.dryRun(describeChange(change, probe, old === null ? "(not there yet)" : old.state));
      return null;
    }
    const old = readState(this.#host, probe);
    const undo = change.undo?.(old) ?? defaultUndo(probe, old, change.write);
    const entry: JournalEntry = { seq: ++this.#seq, what: change.what, probe, old, undo };
    if (change.write === undefined) entry.after = change.after ?? null;
    try {
      this.#openFile().appendChange(entry);
    } catch (error) {
      this.#removeIfEmpty();
      throw error;
    }
    this.#entries.push(entry);
    return { entry, old, probe };
  }

  /** Notes the result of a change that was made, or failed. */
  #finish(
    change: Change,
    { entry, old, probe }: { entry: JournalEntry; old: string | null; probe: UndoProbe },
    failure: unknown,
  ): void {
    const now = ifReadable(() => ({ state: readState(this.#host, probe) }));
    if (failure !== null && (now === null || now.state === old)) {
      this.#entries = this.#entries.filter((one) => one !== entry);
      this.#file?.markUndone(entry.seq);
      this.#removeIfEmpty();
      throw failure;
    }
    if (change.after !== undefined) entry.after = change.after;
    else if (now !== null) entry.after = now.state;
    try {
      if (entry.after !== undefined && change.write !== undefined) this.#file?.appendResult(entry.seq, entry.after);
    } catch (error) {
      throw failure ?? error;
    }
    if (failure !== null) throw failure;
  }

  /**
   * Puts everything back, newest change first, and removes the journal file when nothing is left in it.
   * Entries whose write failed are kept, so that it can be called again. It needs no room on the journal's disk.
   */
  rollBack(): Restored[] {
    const results: Restored[] = [];
    const kept: JournalEntry[] = [];
    for (const entry of this.#entries.toReversed()) {
      const result = putBack(this.#host, entry);
      results.push(result);
      if (result.outcome === "failed") kept.unshift(entry);
      else this.#file?.markUndone(entry.seq);
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
    if (this.#entries.length === 0) return;
    this.#file?.keepAs(name);
    this.#file = null;
    this.#entries = [];
  }

  /**
   * Puts back what was kept under a name, newest change first.
   *
   * @throws {BusbarError} `absent` when nothing is kept under it
   */
  static restoreKept(name: string, host: Host = thisMachine, folder: string = journalFolder()): Restored[] {
    const path = keptPath(name, folder);
    if (findJournal(path) === null) {
      throw new BusbarError("absent", `nothing is kept under the name '${name}'`, {
        operation: "restore",
        path,
        hint: "busbar restore lists what there is to put back",
      });
    }
    return UndoJournal.restore(path, host);
  }

  /**
   * Puts everything back and closes the journal.
   *
   * @throws {BusbarError} when something could not be put back or was changed by somebody else
   */
  [Symbol.dispose](): void {
    const results = this.rollBack();
    const { path } = this;
    this.#close();
    const error = rollBackError(results, path);
    if (error !== null) throw error;
  }

  #close(): void {
    openJournals.delete(this);
    this.#file?.close();
    this.#file = null;
  }

  #openFile(): OpenJournal {
    this.#file ??= this.#openElsewhere() ?? JournalFile.create(
      this.#options.folder ?? journalFolder(),
      this.#options.command,
      this.#options.disk ?? localDisk,
    );
    return this.#file;
  }

  /** A machine that keeps journals of itself has the journal, unless the options say where it lies here. */
  #openElsewhere(): OpenJournal | null {
    const { command, folder, disk } = this.#options;
    return folder === undefined && disk === undefined ? this.#host.openJournal?.(command) ?? null : null;
  }

  #removeIfEmpty(): void {
    if (this.#entries.length > 0 || this.#damaged.length > 0) return;
    this.#file?.remove();
    this.#file = null;
  }
}

function damagedLine(path: string, line: number, reason: string): Restored {
  const error = `line ${line} of ${path} cannot be read: ${reason}; what it changed is not known`;
  return { what: `line ${line}`, path, outcome: "damaged", old: null, left: null, found: null, error };
}
