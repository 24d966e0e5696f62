/**
 * Undo journals that an agent keeps on the machine that is changed: put back at the end of the connection, and by whoever
 * restores them, in C and in TypeScript.
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import { listJournals } from "../../src/core/undo/found_journals.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { readJournal, sealLine } from "../../src/core/undo/journal_reader.ts";
import type { Change } from "../../src/core/undo/change.ts";
import type { AgentMachine } from "../../src/remote/mod.ts";
import { ask } from "../../src/remote/wire.ts";
import { agentCommand, agentMachine } from "./agent.ts";
import { Random } from "../unit/random.ts";
import { runTool } from "./tool.ts";

Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

/** A machine in a folder, and its journals in another one. */
class Lab implements Disposable {
  readonly root: string = Deno.realPathSync(Deno.makeTempDirSync());
  // In memory: every line of a journal waits for its disk.
  readonly #folder = Deno.realPathSync(Deno.makeTempDirSync({ dir: "/dev/shm" }));
  readonly journals: string = `${this.#folder}/journals`;
  readonly #before = Deno.env.get("BUSBAR_JOURNAL_DIR");

  constructor() {
    Deno.env.set("BUSBAR_JOURNAL_DIR", this.journals);
    this.layOut();
  }

  layOut(): void {
    Deno.mkdirSync(`${this.root}/sys/dev`, { recursive: true });
    Deno.writeTextFileSync(`${this.root}/sys/a`, "1\n");
    Deno.writeTextFileSync(`${this.root}/sys/b`, 'off "\u{1f600}\\\n');
    Deno.writeFileSync(`${this.root}/sys/config`, Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
    Deno.removeSync(`${this.root}/sys/dev`, { recursive: true });
  }

  /** All that a change may touch. */
  get state(): unknown {
    const text = (name: string): string => Deno.readTextFileSync(`${this.root}/sys/${name}`).replace(/\n$/, "");
    const made = Array.from(Deno.readDirSync(`${this.root}/sys`), ({ name }) => name).includes("dev");
    return [text("a"), text("b"), [...Deno.readFileSync(`${this.root}/sys/config`)], made];
  }

  get names(): string[] {
    try {
      return Array.from(Deno.readDirSync(this.journals), ({ name }) => name).sort();
    } catch {
      return [];
    }
  }

  machine(): AgentMachine {
    return agentMachine(this.root);
  }

  [Symbol.dispose](): void {
    if (this.#before === undefined) Deno.env.delete("BUSBAR_JOURNAL_DIR");
    else Deno.env.set("BUSBAR_JOURNAL_DIR", this.#before);
    for (const folder of [this.root, this.#folder]) Deno.removeSync(folder, { recursive: true });
  }
}

const AT_FIRST = ["1", 'off "\u{1f600}\\', [0, 1, 2, 3, 4, 5, 6, 7], false];

const CHANGES: readonly Change[] = [
  { what: "knob a", write: { path: "/sys/a", text: "2" } },
  { what: 'knob "b"\u2028', write: { path: "/sys/b", text: "on" } },
  { what: "bytes", write: { path: "/sys/config", offset: 4, hex: "aabb" } },
  { what: "folder", write: { path: "/sys/dev", folder: "make" } },
  { what: "knob a again", write: { path: "/sys/a", text: "3\n" } },
];

/** Every kind of change. */
function changeAll(journal: UndoJournal): void {
  for (const change of CHANGES) journal.change(change);
}

function agentOf(machine: AgentMachine): number {
  return machine.connection("write").hello.pid;
}

/** Kills an agent as the kernel does where memory runs out, and waits until it has gone. */
function kill(pid: number): void {
  Deno.kill(pid, "SIGKILL");
  const stateOf = (): string => {
    try {
      return /\) (\w)/.exec(Deno.readTextFileSync(`/proc/${pid}/stat`))?.[1] ?? "";
    } catch {
      return "";
    }
  };
  while (!["", "Z"].includes(stateOf())) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}

Deno.test("the agent keeps the journal in the format that this side reads, and it goes with the changes", () => {
  using lab = new Lab();
  using machine = lab.machine();
  {
    using journal = new UndoJournal(machine.host, { command: 'test "of" \\ this' });
    changeAll(journal);
    const [name = ""] = lab.names;
    assertEquals(lab.names.length, 1);
    assertEquals(journal.path, `ssh:test/${lab.journals}/${name}`);
    const { journals: [found], refused } = listJournals(lab.journals);
    assertEquals([found?.state, found?.pid, found?.command, found?.damaged, refused], [
      "alive",
      agentOf(machine),
      'test "of" \\ this',
      [],
      [],
    ]);
    assertEquals(found?.changes.map(({ what }) => what), CHANGES.map(({ what }) => what).reverse());
    const { header } = readJournal(Deno.readFileSync(`${lab.journals}/${name}`));
    assert(Math.abs(Date.parse(header?.createdAt ?? "") - Date.now()) < 600_000, header?.createdAt);
    assertEquals(Deno.statSync(`${lab.journals}/${name}`).mode ?? 0 & 0o777, 0o100600);
    assertEquals(lab.state, ["3", "on", [0, 1, 2, 3, 0xaa, 0xbb, 6, 7], true]);
    // It is locked: nobody else puts it back meanwhile.
    const error = assertThrows(() => machine.journals.restore(`${lab.journals}/${name}`), BusbarError);
    assertEquals(error.code, "busy");
  }
  assertEquals(lab.state, AT_FIRST);
  assertEquals(lab.names, []);
});

Deno.test("when the connection ends, the agent puts everything back, and leaves what somebody else changed since", () => {
  using lab = new Lab();
  const machine = lab.machine();
  changeAll(new UndoJournal(machine.host, { command: "test" }));
  Deno.writeTextFileSync(`${lab.root}/sys/b`, "somebody's");
  machine[Symbol.dispose]();
  assertEquals(lab.state, ["1", "somebody's", [0, 1, 2, 3, 4, 5, 6, 7], false]);
  assertEquals(lab.names, []);
});

Deno.test("SIGTERM ends an agent as the end of the connection does", () => {
  using lab = new Lab();
  using machine = lab.machine();
  changeAll(new UndoJournal(machine.host, { command: "test" }));
  Deno.kill(agentOf(machine), "SIGTERM");
  for (let i = 0; i < 1000 && lab.names.length > 0; i++) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
  assertEquals([lab.state, lab.names], [AT_FIRST, []]);
});

Deno.test("the journal of a killed agent is restored by the next agent, by TypeScript and by the agent's own command line", async () => {
  using lab = new Lab();
  const ways: readonly ((path: string) => Promise<readonly (readonly string[])[]> | readonly (readonly string[])[])[] =
    [
      (path) => {
        using other = lab.machine();
        const { journals, refused } = other.journals.list();
        assertEquals([journals.map(({ path, state }) => [path, state]), refused], [[[path, "dead"]], []]);
        return other.journals.restore(path).map(({ what, outcome }) => [what, outcome]);
      },
      (path) => {
        using other = lab.machine();
        return UndoJournal.restore(path, other.host).map(({ what, outcome }) => [what, outcome]);
      },
      async (path) => {
        const [agent = ""] = agentCommand(lab.root, "read");
        const { code, stdout } = await new Deno.Command(agent, { args: ["restore", "--root", lab.root, path] })
          .output();
        assertEquals(code, 0);
        const lines = new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
        return lines.map(({ what, outcome }) => [what, outcome]);
      },
    ];
  for (const [i, restore] of ways.entries()) {
    lab.layOut();
    using machine = lab.machine();
    changeAll(new UndoJournal(machine.host, { command: "test" }));
    kill(agentOf(machine));
    const [name = ""] = lab.names;
    assertEquals(await restore(`${lab.journals}/${name}`), [
      ["knob a again", "restored"],
      ["folder", "restored"],
      ["bytes", "restored"],
      ['knob "b"\u2028', "restored"],
      ["knob a", "restored"],
    ], `${i}`);
    assertEquals([lab.state, lab.names], [AT_FIRST, []]);
  }
});

/** The journal that a dead process of this side left, in other bytes where they are given. */
function leave(lab: Lab, bytes?: Uint8Array): string {
  const path = `${lab.journals}/999999999-1.jsonl`;
  Deno.mkdirSync(lab.journals, { recursive: true, mode: 0o700 });
  if (bytes !== undefined) Deno.writeFileSync(path, bytes, { mode: 0o600 });
  return path;
}

/** What this side writes of the changes: the lines, with a process that is not there any more. */
function writtenHere(lab: Lab): Uint8Array {
  using machine = lab.machine();
  // With a folder of its own the journal is a file of this side.
  const journal = new UndoJournal(machine.host, { command: "here", folder: lab.journals });
  changeAll(journal);
  const bytes = Deno.readFileSync(journal.path ?? "");
  journal.keepChanges();
  journal[Symbol.dispose]();
  const text = new TextDecoder().decode(bytes);
  const [first = "", ...rest] = text.split("\n");
  const { crc: _, ...header } = JSON.parse(first);
  const dead = sealLine({ ...header, pid: 999999999, startTime: "1" });
  return new Uint8Array([...dead, ...new TextEncoder().encode(rest.join("\n"))]);
}

Deno.test("what TypeScript wrote, the agent puts back", () => {
  using lab = new Lab();
  const path = leave(lab, writtenHere(lab));
  using machine = lab.machine();
  assertEquals(machine.journals.list().journals.map(({ state, command }) => [state, command]), [["dead", "here"]]);
  assertEquals(machine.journals.restore(path).map(({ outcome }) => outcome), CHANGES.map(() => "restored"));
  assertEquals([lab.state, lab.names], [AT_FIRST, []]);
});

Deno.test("damaged and torn journals mean the same to the agent and to TypeScript", () => {
  using lab = new Lab();
  const whole = writtenHere(lab);
  const random = new Random("journals");
  using machine = lab.machine();
  for (let round = 0; round < 30; round++) {
    let bytes = whole.slice(0, random.below(3) === 0 ? random.below(whole.length) : whole.length);
    for (let flips = random.below(3); flips > 0 && bytes.length > 0; flips--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    const lines = new TextDecoder("latin1").decode(bytes).split("\n");
    if (random.below(3) === 0) lines.splice(random.below(lines.length), 1);
    if (random.below(3) === 0) lines.splice(random.below(lines.length), 0, lines[random.below(lines.length)] ?? "");
    bytes = Uint8Array.from(lines.join("\n"), (one) => one.charCodeAt(0));
    const outcome = (restore: (path: string) => unknown): unknown => {
      lab.layOut();
      const before = new UndoJournal(machine.host, { command: "change", folder: `${lab.journals}-other` });
      changeAll(before);
      before.keepChanges();
      before[Symbol.dispose]();
      const path = leave(lab, bytes);
      let restored: unknown;
      try {
        restored = restore(path);
      } catch (error) {
        restored = error instanceof BusbarError ? error.code : error;
      }
      const left = lab.names;
      for (const name of left) Deno.removeSync(`${lab.journals}/${name}`);
      return [restored, lab.state, left];
    };
    const plain = (all: readonly { what: string; outcome: string }[]): unknown =>
      all.map(({ what, outcome }) => [what, outcome]);
    const there = outcome((path) => plain(machine.journals.restore(path)));
    const here = outcome((path) => plain(UndoJournal.restore(path, machine.host)));
    // A file without a change, or with nothing but a damaged first line, is not believed here, and has nothing there.
    if (here instanceof Array && typeof here[0] === "string") continue;
    assertEquals(there, here, `round ${round}`);
  }
});

Deno.test("the agent appends nothing but whole, sealed changes and their results, and restores nothing outside its folder", () => {
  using lab = new Lab();
  using machine = lab.machine();
  const connection = machine.connection("write");
  const [opened] = connection.ask([ask("journalOpen", "test")]);
  assertEquals(opened?.status, 0);
  const [name = ""] = lab.names;
  const before = Deno.readFileSync(`${lab.journals}/${name}`);
  const change = sealLine({
    state: "open",
    seq: 1,
    what: "x",
    probe: { kind: "text", path: "/sys/a" },
    old: "1",
    undo: [{ path: "/sys/a", text: "1" }],
  });
  const text = new TextDecoder().decode(change);
  const wrong = [
    "",
    "\n",
    text.trimEnd(),
    text + text,
    text.replace('"x"', '"y"'),
    text.replace("open", "back"),
    sealLine({ seq: 1, after: "2" }),
    sealLine({ state: "open", seq: 1 }),
    sealLine({ journal: 2, pid: 1, startTime: "1", bootId: "", command: "", createdAt: "" }),
  ];
  for (const line of wrong) assertEquals(connection.ask([ask("journalAppend", 0, line)])[0]?.status, -22, `${line}`);
  assertEquals(connection.ask([ask("journalAppend", 1, change)])[0]?.status, -9);
  assertEquals(Deno.readFileSync(`${lab.journals}/${name}`), before);
  assertEquals(connection.ask([ask("journalAppend", 0, change)])[0]?.status, 0);
  assertEquals(connection.ask([ask("journalAppend", 0, change)])[0]?.status, -22, "a number twice");
  const outside = `${lab.root}/1-1.jsonl`;
  Deno.writeFileSync(outside, writtenHere(lab), { mode: 0o600 });
  for (const path of [outside, `${lab.journals}/../1-1.jsonl`, `${lab.journals}/x/../../1-1.jsonl`]) {
    assertThrows(() => machine.journals.restore(path), BusbarError, "not permitted");
  }
});

Deno.test("restore --host lists and puts back what a killed agent left there", async () => {
  using lab = new Lab();
  const ssh = `${lab.root}/ssh`;
  const prepare = `export XDG_CACHE_HOME='${lab.root}/cache' BUSBAR_JOURNAL_DIR='${lab.journals}'`;
  await Deno.writeTextFile(
    ssh,
    `#!/bin/sh\n${prepare}\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"\n`,
    { mode: 0o755 },
  );
  const env = { BUSBAR_SSH: ssh, BUSBAR_JOURNAL_DIR: `${lab.root}/here` };
  // A file of /dev that is this user's, so that the agent's own machine is this one.
  const file = `/dev/shm/busbar-undo-${Deno.pid}`;
  await Deno.writeTextFile(file, "1");
  try {
    using machine = agentMachine("/");
    new UndoJournal(machine.host, { command: "killed" }).change({ what: "file", write: { path: file, text: "2" } });
    kill(agentOf(machine));
    const listed = await runTool("restore", ["--host", "ssh:lab7", "--dry-run"], env);
    assertStringIncludes(listed.stdout, "file: would be put back to '1'");
    const { code, stdout, stderr } = await runTool("restore", ["--host", "ssh:lab7"], env);
    assertEquals([code, await Deno.readTextFile(file)], [0, "1"], stderr);
    assertStringIncludes(stdout, "file: put back from '2' to '1'");
    assertEquals(lab.names, []);
  } finally {
    await Deno.remove(file);
  }
});
