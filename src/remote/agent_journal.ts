/**
 * Undo journals that a machine keeps of itself, through its agent.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { describeJournal, type FoundJournal, type JournalList } from "../core/undo/found_journals.ts";
import { alreadyKept } from "../core/undo/journal_file.ts";
import { type JournalEntry, readJournal, sealLine } from "../core/undo/journal_reader.ts";
import type { MachineJournals } from "../core/undo/machine_journals.ts";
import type { OpenJournal } from "../core/undo/open_journal.ts";
import type { Restored } from "../core/undo/roll_back.ts";
import type { AgentConnection } from "./connection.ts";
import { type Ask, ask, type Reply, ReplyReader } from "./wire.ts";

const EEXIST = 17;
const ENOENT = 2;
const EBUSY = 16;
const EACCES = 13;
/** A file of the kernel may take long to be written. */
const RESTORE_EXTRA_MS = 60_000;
const NO_JOURNAL = "without a journal nothing on the machine is changed";

/** Begins a journal on the machine of a connection that may write. @throws {BusbarError} as it cannot be made there */
export function openAgentJournal(connection: AgentConnection, command: string): OpenJournal {
  const details = { path: connection.name, hint: NO_JOURNAL };
  const reply = connection.askOne(ask("journalOpen", command), "create the undo journal", details);
  const reader = new ReplyReader(reply.bytes);
  const id = reader.u32();
  return new AgentJournal(connection, id, `${connection.name}/${reader.text()}`);
}

class AgentJournal implements OpenJournal {
  readonly path: string;
  readonly #connection: AgentConnection;
  readonly #id: number;

  constructor(connection: AgentConnection, id: number, path: string) {
    this.#connection = connection;
    this.#id = id;
    this.path = path;
  }

  appendChange(entry: JournalEntry): void {
    this.#append(sealLine({ state: "open", ...entry }));
  }

  appendResult(seq: number, after: string | null): void {
    this.#append(sealLine({ seq, after }));
  }

  #append(line: Uint8Array): void {
    this.#ask(ask("journalAppend", this.#id, line), "write the undo journal");
  }

  markUndone(seq: number): void {
    // Without a connection the agent has put it back itself.
    if (!this.#connection.isBroken) this.#connection.ask([ask("journalUndone", this.#id, seq)]);
  }

  keepAs(name: string): void {
    const [reply] = this.#connection.ask([ask("journalEnd", this.#id, name)]);
    if (reply?.status === -EEXIST) throw alreadyKept(name);
    this.#connection.checked(reply, "keep the undo journal", { path: this.path });
  }

  remove(): void {
    if (!this.#connection.isBroken) this.#ask(ask("journalEnd", this.#id, ""), "remove the undo journal");
  }

  /** Nothing: the agent puts back what is left when the connection ends. */
  close(): void {}

  #ask(one: Ask, operation: string): Reply {
    return this.#connection.askOne(one, operation, { path: this.path, hint: NO_JOURNAL });
  }
}

/**
 * The journals of a machine.
 *
 * @param reader gives the connection that reads
 * @param writer gives the one that may write
 */
export function agentJournals(
  name: string,
  reader: () => AgentConnection,
  writer: () => AgentConnection,
): MachineJournals {
  return {
    list: () =>
      readList(
        reader().askOne(ask("journalList"), "list the undo journals", { path: name }),
      ),
    restore(path: string): Restored[] {
      const [reply] = writer().ask([ask("journalRestore", path)], RESTORE_EXTRA_MS);
      if (reply?.status === -ENOENT) throw new BusbarError("absent", `${path}: no such journal`, { path });
      if (reply?.status === -EBUSY) {
        throw new BusbarError("busy", `${path}: its run, or another restore, is at work on it`, {
          operation: "restore",
          path,
          hint: "wait for that one to end",
        });
      }
      if (reply?.status === -EACCES) {
        throw new BusbarError("permission", `${path}: no such journal can be believed`, { path });
      }
      return restoredLines(new TextDecoder().decode(writer().checked(reply, "restore", { path }).bytes), path);
    },
  };
}

const STATES: readonly FoundJournal["state"][] = ["alive", "locked", "dead", "kept", "earlier boot"];

function readList({ bytes }: Reply): JournalList {
  const journals: FoundJournal[] = [];
  const refused: { path: string; reason: string }[] = [];
  const reader = new ReplyReader(bytes);
  while (!reader.isAtEnd) {
    const path = reader.untilZero();
    const word = reader.untilZero();
    const contents = reader.bytes(reader.u32());
    const state = STATES.find((one) => one === word);
    const found = state === undefined
      ? word.replace(/^refused: /, "")
      : describeJournal(path, readJournal(contents), () => state);
    if (typeof found === "string") refused.push({ path, reason: found });
    else if (found !== null) journals.push(found);
  }
  return { journals, refused };
}

const OUTCOMES: readonly Restored["outcome"][] = ["restored", "unchanged", "changed", "vanished", "failed", "damaged"];

function restoredLines(text: string, journal: string): Restored[] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    let members: unknown;
    try {
      members = JSON.parse(line);
    } catch {
      members = null;
    }
    return restoredOf(typeof members === "object" && members !== null ? { ...members } : {}, journal);
  });
}

function restoredOf(members: Readonly<Record<string, unknown>>, journal: string): Restored {
  const text = (name: string): string | null => {
    const value = members[name];
    return typeof value === "string" ? value : null;
  };
  const outcome = OUTCOMES.find((one) => one === members.outcome) ?? "failed";
  const line = `line ${String(members.line)}`;
  const error = outcome === "damaged"
    ? `${line} of ${journal} cannot be read: ${text("error")}; what it changed is not known`
    : text("error");
  return {
    what: text("what") ?? line,
    path: text("path") ?? journal,
    outcome,
    old: text("old"),
    left: text("left"),
    found: text("found"),
    error,
  };
}
