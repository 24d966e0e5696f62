/**
 * A process for undo_tmpfs_test.ts: changes 40 files through a journal in the folder given, and kills itself after one
 * of them, or when the journal's disk is full; or restores what is there.
 * @module
 */

import { thisMachine } from "../../src/core/host.ts";
import { findJournals } from "../../src/core/undo/found_journals.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";

const [knobs = "", folder = "", killAfter = ""] = Deno.args;

if (killAfter === "restore") {
  for (const { path } of findJournals(folder)) {
    for (const { what, outcome } of UndoJournal.restore(path)) {
      if (outcome !== "restored" && outcome !== "unchanged") throw new Error(`${what}: ${outcome}`);
    }
  }
} else {
  const journal = new UndoJournal(thisMachine, { command: "forty", folder });
  try {
    for (let i = 0; i < 40; i++) {
      journal.change({ what: `knob ${i}`, write: { path: `${knobs}/${i}`, text: `turned ${i}` } });
      if (i === Number(killAfter)) break;
    }
  } catch (error) {
    // Full: it is killed where it stands.
    if (!String(error).includes("ENOSPC")) throw error;
    Deno.stdout.writeSync(new TextEncoder().encode("full\n"));
  }
  Deno.kill(Deno.pid, "SIGKILL");
}
