/**
 * `busbar restore`: put back what killed runs left changed.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError, isBusbarError } from "../src/core/error.ts";
import { type Machine, unsupportedBy } from "../src/core/machine.ts";
import { type FoundJournal, keptName } from "../src/core/undo/found_journals.ts";
import { localJournals, type MachineJournals } from "../src/core/undo/machine_journals.ts";
import type { Restored } from "../src/core/undo/roll_back.ts";
import { HOST_OPTION, machineFrom, SUDO_OPTION } from "./cli/machine.ts";
import { print, printJson, printSchema } from "./cli/output.ts";
import { raiseExitStatus, run } from "./cli/run.ts";
import { restoreSchema } from "./render/restore/restore_schema.ts";

/** The command line of `restore`. */
export const command: CommandUnknownOpts = new Command("restore")
  .description("Put back what earlier runs changed on this machine and could not put back because they were killed.")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--kept <name>", "put back what a command meant to stay kept under this name")
  .option("--dry-run", "list the journals and what would be put back; change nothing")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action((options) => {
    if (options.jsonSchema) return printSchema(restoreSchema());
    const journals = options.host === undefined ? localJournals : journalsOf(machineFrom(options.host));
    const { journals: found, refused } = journals.list();
    if (options.kept !== undefined && !found.some((journal) => keptName(journal) === options.kept)) {
      throw new BusbarError("absent", `nothing is kept under the name '${options.kept}'`, {
        operation: "restore",
        hint: "restore --dry-run lists what there is",
      });
    }
    const results = found.map((journal) => ({
      journal,
      ...(options.dryRun || !isWanted(journal, options.kept) ? NOT_TRIED : tryToRestore(journals, journal)),
    }));
    if (options.json) {
      printJson({
        schema: "restore/1",
        journals: results.map(({ journal, restored, error }) => ({ ...journal, restored, error })),
        refused,
      });
    } else if (results.length === 0 && refused.length === 0) {
      print("nothing to restore");
    } else {
      for (const result of results) printResult(result);
      for (const { path, reason } of refused) print(`${path}: not believed, and left alone: ${reason}`);
    }
    if (refused.length > 0) raiseExitStatus("permission");
    for (const { journal, restored, error } of results) {
      if (error !== null || (restored === null && journal.damaged.length > 0)) raiseExitStatus("io");
      for (const { outcome } of restored ?? []) {
        if (outcome === "failed" || outcome === "damaged") raiseExitStatus("io");
        if (outcome === "changed") raiseExitStatus("busy");
      }
    }
  });

/** What came of one journal: what was put back, or why it could not be worked on. Both null: it was only listed. */
interface Result {
  readonly journal: FoundJournal;
  readonly restored: readonly Restored[] | null;
  readonly error: string | null;
}

function journalsOf(machine: Machine): MachineJournals {
  if (machine.journals === undefined) throw unsupportedBy(machine, "put anything back", machine.name);
  return machine.journals;
}

const NOT_TRIED = { restored: null, error: null } as const;

/** Puts one journal back. What goes wrong there stops no other one. */
function tryToRestore(journals: MachineJournals, { path }: FoundJournal): Pick<Result, "restored" | "error"> {
  try {
    return { restored: journals.restore(path), error: null };
  } catch (error) {
    // Another restore was faster, and has removed it.
    if (isBusbarError(error, "absent")) return { restored: [], error: null };
    if (error instanceof BusbarError) return { restored: null, error: error.message };
    throw error;
  }
}

/** Journals of killed processes, or the one kept under the given name. */
function isWanted(journal: FoundJournal, kept: string | undefined): boolean {
  if (kept !== undefined) return keptName(journal) === kept;
  return journal.state === "dead" || journal.state === "locked" || journal.state === "earlier boot";
}

function printResult({ journal, restored, error }: Result): void {
  const name = keptName(journal);
  const how = name === null ? STATE_TEXT[journal.state] : `${STATE_TEXT[journal.state]} under the name ${name}`;
  print(`${journal.command} (process ${journal.pid}, ${journal.createdAt}): ${how}`);
  if (error !== null) print(`  FAILED: ${error}`);
  if (restored === null) {
    for (const change of journal.changes) {
      print(`  ${change.what}: would be put back to '${change.old}' (${change.path})`);
    }
    for (const one of journal.damaged) print(`  ${one} (${journal.path})`);
    return;
  }
  for (const result of restored) print(`  ${result.what}: ${outcomeText(result)}`);
}

const STATE_TEXT: Readonly<Record<FoundJournal["state"], string>> = {
  alive: "still running, left alone",
  locked: "another process is putting it back",
  dead: "killed",
  kept: "kept",
  "earlier boot": "from before the last boot, which undid its changes",
};

function outcomeText(result: Restored): string {
  switch (result.outcome) {
    case "restored":
      return `put back from '${result.found}' to '${result.old}'`;
    case "unchanged":
      return `already '${result.old}'`;
    case "changed":
      return `left alone: busbar set '${result.left}', somebody else changed it to '${result.found}'`;
    case "vanished":
      return `gone: ${result.path} does not exist any more`;
    case "damaged":
    case "failed":
      return `FAILED: ${result.error}`;
  }
}

if (import.meta.main) await run(command);
