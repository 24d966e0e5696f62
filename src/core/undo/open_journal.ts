/**
 * A journal that changes are written to: a file of this machine, or one that another machine keeps of itself.
 * @module
 */

import type { JournalEntry } from "./journal_reader.ts";

/** A journal that is open and locked. Every line is on disk, whole, when its call returns. */
export interface OpenJournal {
  /** Where it is, on the machine that keeps it. */
  readonly path: string;
  /** Records a change that is about to be made. */
  appendChange(entry: JournalEntry): void;
  /** Records what a change left. */
  appendResult(seq: number, after: string | null): void;
  /** Notes that a change is not there any more. A failure loses nothing: the next restore finds that the old state is there. */
  markUndone(seq: number): void;
  /**
   * Keeps it under a name until somebody asks for it, and closes it.
   *
   * @throws {BusbarError} `busy` when something is kept under that name already
   */
  keepAs(name: string): void;
  /** Removes and closes it. */
  remove(): void;
  /** Closes it; what it lists is still to be put back. */
  close(): void;
}
