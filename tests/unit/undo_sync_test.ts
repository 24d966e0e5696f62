/** The journal is on the disk, not in the kernel's memory, before the machine is changed: a power cut must not lose it. */

import { assert, assertEquals } from "@std/assert";

import { UndoJournal } from "../../src/core/undo/journal.ts";
import { MadeUpMachine } from "./machines.ts";

/** Runs a body while every write and every sync of a file of this process is noted. */
function watchingFiles(body: (log: string[]) => void): void {
  const log: string[] = [];
  const { writeSync, syncSync, syncDataSync } = Deno.FsFile.prototype;
  Deno.FsFile.prototype.writeSync = function (data): number {
    log.push("write");
    return writeSync.call(this, data);
  };
  Deno.FsFile.prototype.syncSync = function (): void {
    log.push("sync");
    syncSync.call(this);
  };
  Deno.FsFile.prototype.syncDataSync = function (): void {
    log.push("sync");
    syncDataSync.call(this);
  };
  try {
    body(log);
  } finally {
    Object.assign(Deno.FsFile.prototype, { writeSync, syncSync, syncDataSync });
  }
}

Deno.test("every line of the journal is synced before the machine is written to, the first one too", () => {
  const folder = Deno.makeTempDirSync();
  try {
    watchingFiles((log) => {
      const machine = new MadeUpMachine().file("/sys/a", "1\n").file("/sys/b", "off\n");
      const writeText = machine.writeText.bind(machine);
      machine.writeText = (path, text): void => {
        log.push("machine");
        writeText(path, text);
      };
      const journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
      journal.change({ what: "knob a", write: { path: "/sys/a", text: "2" } });
      journal.change({ what: "knob b", write: { path: "/sys/b", text: "on" } });
      journal.rollBack();
      journal[Symbol.dispose]();
      assertEquals(log.filter((one) => one === "machine").length, 4, "two changes, and both put back");
      for (const [at, what] of log.entries()) {
        // A write that is not followed by its sync at once could be lost, and what comes next would not know.
        if (what === "write") assertEquals(log[at + 1], "sync", `write ${at} of ${log.join(" ")}`);
      }
      assert(log.indexOf("sync") < log.indexOf("machine"));
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
