/**
 * `busbar restore`: put back what killed runs left changed.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { findJournals, type FoundJournal, keptName } from "../src/core/undo/found_journals.ts";
import type { Restored } from "../src/core/undo/roll_back.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import { print, printJson } from "./cli/output.ts";
import { raiseExitStatus, run } from "./cli/run.ts";

/** The command line of `restore`. */
export const command: CommandUnknownOpts = new Command("restore")
  .description("Put back what earlier runs changed on this machine and could not put back because they were killed.")
  .option("--kept <name>", "put back what a command meant to stay kept under this name")
  .option("--dry-run", "list the journals and what would be put back; change nothing")
  .option("--json", "print one JSON document")
  .action((options) => {
    const found = findJournals();
    if (options.kept !== undefined && !found.some((journal) => keptName(journal) === options.kept)) {
      throw new BusbarError("absent", `nothing is kept under the name '${options.kept}'`, {
        operation: "restore",
        hint: "restore --dry-run lists what there is",
      });
    }
    const results = found.map((journal) => ({
      journal,
      restored: options.dryRun || !isWanted(journal, options.kept) ? null : UndoJournal.restore(journal.path),
    }));
    if (options.json) {
      printJson({ schema: "restore/1", journals: results.map(({ journal, restored }) => ({ ...journal, restored })) });
    } else if (results.length === 0) {
      print("nothing to restore");
    } else {
      for (const { journal, restored } of results) printResult(journal, restored);
    }
    for (const { outcome } of results.flatMap(({ restored }) => restored ?? [])) {
      if (outcome === "failed") raiseExitStatus("io");
      if (outcome === "changed") raiseExitStatus("busy");
    }
  });

/** Journals of killed processes, or the one kept under the given name. */
function isWanted(journal: FoundJournal, kept: string | undefined): boolean {
  if (kept !== undefined) return keptName(journal) === kept;
  return journal.state === "dead" || journal.state === "earlier boot";
}

function printResult(journal: FoundJournal, restored: Restored[] | null): void {
  const name = keptName(journal);
  const how = name === null ? STATE_TEXT[journal.state] : `${STATE_TEXT[journal.state]} under the name ${name}`;
  print(`${journal.command} (process ${journal.pid}, ${journal.createdAt}): ${how}`);
  if (restored === null) {
    for (const change of journal.changes) {
      print(`  ${change.what}: would be put back to '${change.old}' (${change.path})`);
    }
    return;
  }
  for (const result of restored) print(`  ${result.what}: ${outcomeText(result)}`);
}

const STATE_TEXT: Readonly<Record<FoundJournal["state"], string>> = {
  alive: "still running, left alone",
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
    case "failed":
      return `FAILED: ${result.error}`;
  }
}

if (import.meta.main) await run(command);
