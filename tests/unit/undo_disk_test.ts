import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { readJournal } from "../../src/core/undo/journal_reader.ts";
import { crc32 } from "../../src/core/crc32.ts";
import { CHANGES, FOLDER, Knobs, type Outcome, runFortyChanges } from "./undo_disk.ts";
import { type Failure, MemoryDisk } from "./memory_disk.ts";

/** Bytes between the offsets that are tried: the full run takes every third, `BUSBAR_UNDO_STEP=1` all. */
const STEP = Number(Deno.env.get("BUSBAR_UNDO_STEP") ?? 31);

const whole = new MemoryDisk();
{
  const journal = new UndoJournal(new Knobs(), { command: "forty", folder: FOLDER, disk: whole });
  for (let i = 0; i < CHANGES; i++) {
    journal.change({ what: `knob ${i}`, write: { path: `/sys/knob${i}`, text: `turned ${i}` } });
  }
  journal.keepChanges();
}

function assertNothingLeft({ disk, machine, unrecorded, said }: Outcome, where: string): void {
  assertEquals(unrecorded, [], `${where}: changed without a record`);
  assertEquals(machine.turned, [], `${where}: left behind`);
  const bad = said.filter((one) => one instanceof Error || (one.outcome !== "restored" && one.outcome !== "unchanged"));
  assertEquals(bad, [], where);
  const leftFiles = [...disk.files.values()].filter(({ bytes }) => bytes.includes(0x0a));
  assertEquals(leftFiles, [], `${where}: a journal stays although everything is back`);
}

function fullSizeBytes(): number {
  const disk = new MemoryDisk();
  const journal = new UndoJournal(new Knobs(), { command: "forty", folder: FOLDER, disk });
  for (let i = 0; i < CHANGES; i++) {
    journal.change({ what: `knob ${i}`, write: { path: `/sys/knob${i}`, text: `turned ${i}` } });
  }
  const size = disk.usedBytes;
  journal.keepChanges();
  return size;
}

for (const ending of ["dispose", "kill"] as const) {
  Deno.test(`a disk that is full from any byte on, then ${ending}: everything is put back without any room`, () => {
    for (let capacityBytes = 0; capacityBytes <= fullSizeBytes(); capacityBytes += STEP) {
      assertNothingLeft(runFortyChanges({ capacityBytes, ending }), `full at ${capacityBytes}`);
    }
  });

  Deno.test(`a disk that is full at any byte and has room again, then ${ending}: no record joins a torn line`, () => {
    for (let capacityBytes = 0; capacityBytes <= fullSizeBytes(); capacityBytes += STEP) {
      const outcome = runFortyChanges({ capacityBytes, ending, roomComesBack: true });
      assertNothingLeft(outcome, `full at ${capacityBytes}, then room`);
    }
  });

  for (const failure of ["ENOSPC", "EIO", "short", "kill"] as const satisfies readonly Failure[]) {
    for (const often of ["once", "from then on"] as const) {
      Deno.test(`${failure} ${often} at each system call of the run, then ${ending}: nothing is left behind`, () => {
        for (let n = 0; n < whole.calls; n += failure === "short" ? 1 : Math.min(STEP, 5)) {
          const outcome = runFortyChanges({
            ending,
            failAt: (call) => call === n || (often === "from then on" && call > n) ? failure : null,
          });
          if (often === "from then on" && failure !== "kill") {
            // Nothing can be removed either: a journal may stay, whose changes are all put back.
            assertEquals([outcome.unrecorded, outcome.machine.turned], [[], []] as unknown[], `call ${n}`);
          } else assertNothingLeft(outcome, `call ${n}`);
        }
      });
    }
  }
}

Deno.test("any one byte damaged: what can be read is put back, the rest is named", () => {
  const disk = new MemoryDisk();
  const journal = new UndoJournal(new Knobs(), { command: "forty", folder: FOLDER, disk });
  for (let i = 0; i < CHANGES; i++) {
    journal.change({ what: `knob ${i}`, write: { path: `/sys/knob${i}`, text: `turned ${i}` } });
  }
  const [inode] = disk.files.values();
  const sound = inode?.bytes.slice() ?? new Uint8Array();
  journal.keepChanges();
  for (let at = 0; at < sound.length; at += STEP) {
    for (const value of [0, 0x0a, (sound[at] ?? 0) ^ 1]) {
      if (value === sound[at]) continue;
      const bytes = sound.slice();
      bytes[at] = value;
      const { entries, damaged } = readJournal(bytes);
      const lost = CHANGES - entries.length;
      const isTail = at === sound.length - 1;
      assert(isTail || damaged.length >= 1, `byte ${at} as ${value}: nothing is named`);
      // A line feed that is gone joins two lines, and one too many splits one: two lines at most.
      assert(lost <= 2, `byte ${at} as ${value}: ${lost} changes are lost`);
      for (const entry of entries) assertEquals(entry.old, `${entry.seq - 1}`);
    }
  }
});

Deno.test("the checksum is that of zlib", () => {
  assertEquals(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

Deno.test("two journals of one process, and a restore of one that is being restored", () => {
  const disk = new MemoryDisk();
  const machine = new Knobs();
  const one = new UndoJournal(machine, { command: "one", folder: FOLDER, disk });
  const two = new UndoJournal(machine, { command: "two", folder: FOLDER, disk });
  one.change({ what: "knob 1", write: { path: "/sys/knob1", text: "x" } });
  two.change({ what: "knob 2", write: { path: "/sys/knob2", text: "y" } });
  assertEquals(disk.files.size, 2);
  let code = "";
  try {
    UndoJournal.restore(one.path ?? "", machine, disk);
  } catch (error) {
    code = error instanceof BusbarError ? error.code : String(error);
  }
  assertEquals(code, "busy");
  two[Symbol.dispose]();
  one[Symbol.dispose]();
  assertEquals([machine.turned, disk.files.size], [[], 0] as unknown[]);
});

Deno.test("a journal that another restore removes before the lock is had is gone, also when a new one has its name", () => {
  const disk = new MemoryDisk();
  const machine = new Knobs();
  const journal = new UndoJournal(machine, { command: "one", folder: FOLDER, disk });
  journal.change({ what: "knob 1", write: { path: "/sys/knob1", text: "x" } });
  const path = journal.path ?? "";
  journal.keepAs("name");
  const kept = [...disk.files.keys()][0] ?? "";
  let locks = 0;
  disk.failAt = (_, name): null => {
    // The first lock is that of a look at it; before the second one another restore is done.
    if (name === "flock" && ++locks === 2) {
      disk.files.delete(kept);
      disk.create(kept);
    }
    return null;
  };
  const error = assertThrows(() => UndoJournal.restore(kept, machine, disk), BusbarError);
  assertEquals([error.code, machine.turned, path === kept], ["absent", ["/sys/knob1"], false] as unknown[]);
});

Deno.test("a journal that belongs to another user is not played back", () => {
  const disk = new MemoryDisk();
  const machine = new Knobs();
  const journal = new UndoJournal(machine, { command: "one", folder: FOLDER, disk });
  journal.change({ what: "knob 1", write: { path: "/sys/knob1", text: "x" } });
  journal.keepAs("name");
  const kept = [...disk.files.keys()][0] ?? "";
  const owner = disk.uid ?? 0;
  disk.uid = owner + 1;
  const error = assertThrows(() => UndoJournal.restore(kept, machine, disk), BusbarError);
  assertEquals([error.code, machine.turned], ["permission", ["/sys/knob1"]] as unknown[]);
  assertStringIncludes(error.message, `it belongs to user ${owner + 1}`);
  disk.uid = owner;
  UndoJournal.restore(kept, machine, disk);
  assertEquals(machine.turned, []);
});

Deno.test("changes are not kept under a name that holds others; both stay on disk, and the hint puts the first back", () => {
  const disk = new MemoryDisk();
  const machine = new Knobs();
  const [first, second] = ["one", "two"].map((command) => new UndoJournal(machine, { command, folder: FOLDER, disk }));
  assert(first !== undefined && second !== undefined);
  first.change({ what: "knob 1", write: { path: "/sys/knob1", text: "x" } });
  first.keepAs("name");
  second.change({ what: "knob 2", write: { path: "/sys/knob2", text: "x" } });
  const error = assertThrows(() => second.keepAs("name"), BusbarError);
  assertEquals([error.code, error.hint], ["busy", "busbar restore --kept name puts those back first"]);
  assertEquals(disk.files.size, 2);
  second[Symbol.dispose]();
  assertEquals([machine.turned, disk.files.size], [["/sys/knob1"], 1] as unknown[]);
});
