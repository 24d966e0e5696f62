/**
 * The undo journals of a machine: what killed runs left there, and putting it back.
 * @module
 */

import { type JournalList, listJournals } from "./found_journals.ts";
import { UndoJournal } from "./journal.ts";
import type { Restored } from "./roll_back.ts";

/** The journals of this user on a machine. */
export interface MachineJournals {
  /** All of them, and the files that are not believed. @throws {BusbarError} as the folder cannot be listed */
  list(): JournalList;
  /**
   * Puts back what a journal lists, newest change first.
   *
   * @throws {BusbarError} `absent` when it is gone, `busy` when its process is alive, `permission` when it is not believed
   */
  restore(path: string): Restored[];
}

/** Those of this machine. */
export const localJournals: MachineJournals = {
  list: () => listJournals(),
  restore: (path) => UndoJournal.restore(path),
};
