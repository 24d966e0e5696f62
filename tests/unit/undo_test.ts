import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";

import { Deadline, pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import type { Host } from "../../src/core/host.ts";
import { findJournals } from "../../src/core/undo/found_journals.ts";
import { rollBackAll, UndoJournal } from "../../src/core/undo/journal.ts";
import { sealLine } from "../../src/core/undo/journal_reader.ts";
import { MadeUpMachine } from "./machines.ts";

/** Runs `body` with a folder for journals, which must be gone or empty afterwards. */
function withFolder(body: (folder: string) => void): void {
  const parent = Deno.makeTempDirSync();
  try {
    body(`${parent}/journals`);
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
}

function machineWithKnobs(): MadeUpMachine {
  return new MadeUpMachine().file("/sys/a", "1\n").file("/sys/b", "off\n").file(
    "/sys/config",
    Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7),
  );
}

function journalOn(host: Host, folder: string): UndoJournal {
  return new UndoJournal(host, { command: "test", folder });
}

const A = { what: "knob a", write: { path: "/sys/a", text: "2" } };
const B = { what: "knob b", write: { path: "/sys/b", text: "on" } };

function lines(journal: UndoJournal): Record<string, unknown>[] {
  return Deno.readTextFileSync(journal.path ?? "").trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("changes are put back newest first, and the journal file is gone afterwards", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    {
      using journal = journalOn(machine, folder);
      journal.change(A);
      journal.change(B);
      assertEquals([machine.readText("/sys/a"), machine.readText("/sys/b")], ["2", "on"]);
      assertEquals(
        findJournals(folder).map((found) => [found.state, found.changes.map((change) => change.what)]),
        [["alive", ["knob b", "knob a"]]] as unknown[],
      );
    }
    assertEquals(machine.writes, ["/sys/a=2", "/sys/b=on", "/sys/b=off", "/sys/a=1"]);
    assertEquals(findJournals(folder), []);
    assertThrows(() => Deno.statSync(folder), Deno.errors.NotFound);
  });
});

Deno.test("the journal is on disk, private, before the machine is changed", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    let seen = "";
    machine.onWrite = (): void => {
      const [entry] = Array.from(Deno.readDirSync(folder));
      const path = `${folder}/${entry?.name}`;
      seen = Deno.readTextFileSync(path);
      assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
      assertEquals((Deno.statSync(folder).mode ?? 0) & 0o777, 0o700);
    };
    using journal = journalOn(machine, folder);
    journal.change(A);
    assert(seen.includes('"what":"knob a"') && seen.includes('"old":"1"'), seen);
    assert(/\/\d+-\d+\.jsonl$/.test(journal.path ?? ""), journal.path ?? "");
  });
});

Deno.test("a write that fails and changed nothing leaves nothing to undo; one that failed half-way is undone", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    machine.onWrite = (): void => {
      throw new BusbarError("busy", "taken");
    };
    using journal = journalOn(machine, folder);
    assertThrows(() => journal.change(A), BusbarError, "taken");
    assertEquals([journal.path, findJournals(folder)], [null, []] as unknown[]);
    machine.onWrite = (path): void => {
      machine.onWrite = (): void => {};
      machine.file(path, "half\n");
      throw new BusbarError("io", "interrupted");
    };
    assertThrows(() => journal.change(A), BusbarError, "interrupted");
    assertEquals(journal.rollBack().map((restored) => restored.outcome), ["restored"]);
    assertEquals(machine.readText("/sys/a"), "1");
  });
});

Deno.test("what somebody else changed since is reported and left alone", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    const journal = journalOn(machine, folder);
    journal.change(A);
    machine.file("/sys/a", "99\n");
    const error = assertThrows(() => journal[Symbol.dispose](), BusbarError);
    assertEquals([error.code, error.message], [
      "busy",
      "knob a was left alone: somebody else changed it from '2' to '99'",
    ]);
    assertEquals(machine.readText("/sys/a"), "99");
    assertEquals(findJournals(folder), []);
  });
});

Deno.test("a state that shows otherwise than it is written is compared with what was read after the write", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs().file("/sys/mode", "[off] on\n");
    machine.onWrite = (path, text): void => {
      if (path === "/sys/mode") queueMicrotask(() => {});
      void text;
    };
    const shows: Host = new FaultyHost(machine, [{
      call: "readText",
      path: "/sys/mode",
      after: 1,
      times: 2,
      value: "off [on]",
    }]);
    const journal = journalOn(shows, folder);
    journal.change({
      what: "mode",
      write: { path: "/sys/mode", text: "on" },
      undo: () => [{ path: "/sys/mode", text: "off" }],
    });
    assertEquals(journal.rollBack().map((restored) => [restored.outcome, restored.found]), [["failed", "off"]]);
    // It reads "off" now, where "[off] on" stood at first: said, not hidden. The entry stays for another try.
    machine.file("/sys/mode", "[off] on\n");
    assertEquals(journal.rollBack().map((restored) => restored.outcome), ["unchanged"]);
    journal[Symbol.dispose]();
  });
});

Deno.test("bytes are put back under their mask; the bits around them stay as they are", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    {
      using journal = journalOn(machine, folder);
      journal.change({
        what: "bits",
        probe: { kind: "bytes", path: "/sys/config", offset: 4, mask: "0300" },
        after: "0300",
      });
      // The kernel sets the bits, and somebody sets others.
      machine.file("/sys/config", Uint8Array.of(0, 1, 2, 3, 0xf7, 0xaa, 6, 7));
    }
    assertEquals(machine.readBytes("/sys/config", 4, 2), Uint8Array.of(0xf4, 0xaa));
  });
});

Deno.test("a link is a state too: undo runs the writes that bring it back", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs().link("/sys/dev/driver", "../drivers/nvme").file("/sys/dev/unbind", "").file(
      "/sys/probe",
      "",
    );
    machine.onWrite = (path): void => {
      if (path === "/sys/dev/unbind") machine.links.delete("/sys/dev/driver");
      if (path === "/sys/probe") machine.link("/sys/dev/driver", "../drivers/nvme");
    };
    {
      using journal = journalOn(machine, folder);
      journal.change({
        what: "driver",
        write: { path: "/sys/dev/unbind", text: "0000:01:00.0" },
        probe: { kind: "link", path: "/sys/dev/driver" },
        undo: () => [{ path: "/sys/probe", text: "0000:01:00.0" }],
      });
      assertEquals(machine.links.has("/sys/dev/driver"), false);
    }
    assertEquals(machine.readLink("/sys/dev/driver"), "../drivers/nvme");
  });
});

Deno.test("a path that vanished is said to be gone; a write that fails keeps its entry for busbar restore", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    const journal = journalOn(machine, folder);
    journal.change(A);
    journal.change(B);
    machine.files.delete("/sys/b");
    machine.onWrite = (): void => {
      throw new BusbarError("permission", "locked");
    };
    assertEquals(journal.rollBack().map((restored) => restored.outcome), ["vanished", "failed"]);
    const error = assertThrows(
      () => journal[Symbol.dispose](),
      BusbarError,
      "knob a could not be put back to '1': locked",
    );
    assert(error.hint?.startsWith("try again with: busbar restore"));
    assertEquals(findJournals(folder).map((found) => found.changes.map((change) => change.what)), [["knob a"]]);
  });
});

Deno.test("a dry run lists every change and makes none", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    const said: string[] = [];
    {
      using journal = new UndoJournal(machine, { command: "test", folder, dryRun: (line) => said.push(line) });
      journal.change(A);
      journal.change({ what: "side effect", probe: { kind: "text", path: "/sys/b" }, after: "on" });
    }
    assertEquals(said, ["knob a: 1 → write '2' to /sys/a", "side effect: off → on (follows by itself; /sys/b)"]);
    assertEquals(machine.writes, []);
    assertThrows(() => Deno.statSync(folder), Deno.errors.NotFound);
  });
});

Deno.test("without a place for the journal nothing is changed", () => {
  const machine = machineWithKnobs();
  using journal = journalOn(machine, "/proc/busbar");
  const error = assertThrows(() => journal.change(A), BusbarError);
  assert(error.hint?.includes("nothing on the machine is changed"));
  assertEquals(machine.writes, []);
});

Deno.test("rollBackAll puts back what every open journal changed, newest journal first", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    using first = journalOn(machine, folder);
    using second = journalOn(machine, folder);
    first.change(A);
    second.change(B);
    assertEquals(rollBackAll().map((restored) => restored.what), ["knob b", "knob a"]);
    assertEquals([first.path, second.path], [null, null]);
  });
});

Deno.test("changes that are to stay are kept", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    {
      using journal = journalOn(machine, folder);
      journal.change(A);
      journal.keepChanges();
    }
    assertEquals(machine.readText("/sys/a"), "2");
    assertEquals(findJournals(folder), []);
  });
});

/** Leaves a journal as a killed process does: its file as it was at that moment, with a pid that is no longer that process. */
function killAfter(folder: string, machine: MadeUpMachine, body: (journal: UndoJournal) => void, cutBytes = 0): string {
  const journal = journalOn(machine, folder);
  body(journal);
  const text = withHeader(Deno.readTextFileSync(journal.path ?? ""), { startTime: "1" });
  journal.keepChanges();
  journal[Symbol.dispose]();
  const dead = `${folder}/${Deno.pid}-1.jsonl`;
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  Deno.writeTextFileSync(dead, text.slice(0, text.length - cutBytes), { mode: 0o600 });
  return dead;
}

/** A journal with other members in its first line. */
function withHeader(text: string, members: Record<string, unknown>): string {
  const [first = "", ...rest] = text.split("\n");
  const { crc: _, ...header } = JSON.parse(first);
  return [new TextDecoder().decode(sealLine({ ...header, ...members })).trimEnd(), ...rest].join("\n");
}

Deno.test("the journal of a killed process is found and restored, also when its last line is torn", () => {
  // The last line, {"seq":2,"after":"on","crc":"01234567"}, has 40 bytes; a tear in the line before it means a write that
  // never was.
  for (const cut of [0, 1, 10, 40, 60]) {
    withFolder((folder) => {
      const machine = machineWithKnobs();
      const dead = killAfter(folder, machine, (journal) => {
        journal.change(A);
        journal.change(B);
      }, cut);
      const [found] = findJournals(folder);
      assertEquals([found?.path, found?.state, found?.command], [dead, "dead", "test"]);
      const restored = UndoJournal.restore(dead, machine).map((one) => [one.what, one.outcome]);
      assertEquals(restored, cut <= 40 ? [["knob b", "restored"], ["knob a", "restored"]] : [["knob a", "restored"]]);
      assertEquals([machine.readText("/sys/a"), machine.readText("/sys/b")], ["1", cut <= 40 ? "off" : "on"]);
      assertEquals(findJournals(folder), []);
      assertThrows(() => UndoJournal.restore(dead, machine), BusbarError, "no such journal");
    });
  }
});

Deno.test("the journal of a living process is not touched, one from before the last boot is only removed", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    using journal = journalOn(machine, folder);
    journal.change(A);
    assertEquals(assertThrows(() => UndoJournal.restore(journal.path ?? "", machine), BusbarError).code, "busy");
    assertEquals(lines(journal).length, 3);
    const old = killAfter(folder, machineWithKnobs(), (other) => other.change(B));
    Deno.writeTextFileSync(old, withHeader(Deno.readTextFileSync(old), { bootId: "another" }));
    assertEquals(findJournals(folder).map((found) => found.state).sort(), ["alive", "earlier boot"]);
    assertEquals(UndoJournal.restore(old, machine), []);
  });
});

Deno.test("files that are no journals, or that others may write, are not believed", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    const dead = killAfter(folder, machine, (journal) => journal.change(A));
    Deno.writeTextFileSync(`${folder}/1-1.jsonl`, "not json\n", { mode: 0o600 });
    Deno.writeTextFileSync(`${folder}/2-1.jsonl`, "", { mode: 0o600 });
    Deno.writeTextFileSync(`${folder}/3-1.jsonl`, Deno.readTextFileSync(dead));
    Deno.chmodSync(`${folder}/3-1.jsonl`, 0o666);
    Deno.symlinkSync(dead, `${folder}/4-1.jsonl`);
    Deno.writeTextFileSync(`${folder}/readme.txt`, "hello");
    assertEquals(findJournals(folder).map((found) => found.path), [dead]);
    assertThrows(() => UndoJournal.restore(`${folder}/3-1.jsonl`, machine), BusbarError, "no such journal");
  });
});

Deno.test("folders are made and removed again; what was written inside goes with them and has no entry", () => {
  withFolder((folder) => {
    const machine = machineWithKnobs();
    {
      using journal = journalOn(machine, folder);
      journal.change({ what: "group", write: { path: "/sys/group", folder: "make" } });
      machine.file("/sys/group/procs", "");
      journal.changeInside("member", { path: "/sys/group/procs", text: "7" });
      assertEquals(findJournals(folder).map((found) => found.changes.map((change) => change.what)), [["group"]]);
    }
    assertEquals(machine.writes, ["mkdir /sys/group", "/sys/group/procs=7", "rmdir /sys/group"]);
    const refused = journalOn(machine, folder);
    machine.onWrite = (): void => {
      throw new BusbarError("permission", "locked");
    };
    const make = { what: "group", write: { path: "/sys/group", folder: "make" } } as const;
    assertThrows(() => refused.change(make), BusbarError, "locked");
    assertEquals(refused.path, null);
    refused[Symbol.dispose]();
  });
});

Deno.test("a dry run goes on where an earlier change would have created the files", () => {
  const said: string[] = [];
  using journal = new UndoJournal(machineWithKnobs(), { command: "test", dryRun: (line) => said.push(line) });
  journal.change({ what: "group", write: { path: "/sys/group", folder: "make" } });
  journal.changeInside("limit", { path: "/sys/group/limit", text: "1" });
  journal.change({ what: "member", write: { path: "/sys/group/procs", text: "7" } });
  assertEquals(said, [
    "group: null → make the folder /sys/group",
    "limit: write '1' to /sys/group/limit",
    "member: (not there yet) → write '7' to /sys/group/procs",
  ]);
});

Deno.test("a slow write lets the event loop go on, has a limit, and is put back like any other", async () => {
  const parent = await Deno.makeTempDir();
  try {
    const machine = machineWithKnobs();
    const journal = journalOn(machine, `${parent}/journals`);
    const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
    const quick = machine.writeTextSlowly.bind(machine);
    machine.writeTextSlowly = async (path, text): Promise<void> => {
      await allowed;
      await quick(path, text);
    };
    const late = await assertRejects(() => journal.changeSlowly(A, Deadline.after(20)), BusbarError);
    assertEquals([late.code, late.message], ["timeout", "/sys/a: knob a did not happen within 20 ms"]);
    assertEquals(machine.readText("/sys/a"), "1");
    // The kernel goes on, and is done later: roll-back finds it, because the entry is there since before the write.
    allow();
    await pause(5);
    assertEquals(machine.readText("/sys/a"), "2");
    assertEquals(journal.rollBack().map((restored) => restored.outcome), ["restored"]);
    await journal.changeSlowly(B, Deadline.after(1000));
    assertEquals(machine.readText("/sys/b"), "on");
    machine.writeTextSlowly = (): Promise<void> => Promise.reject(new BusbarError("busy", "pinned"));
    await assertRejects(() => journal.changeSlowly(A, Deadline.after(1000)), BusbarError, "pinned");
    assertEquals(journal.rollBack().map((restored) => [restored.what, restored.outcome]), [["knob b", "restored"]]);
    journal[Symbol.dispose]();
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
});
