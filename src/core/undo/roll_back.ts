/**
 * Putting one change back, and what came of it.
 * @module
 */

import { BusbarError, isBusbarError } from "../error.ts";
import type { Host } from "../host.ts";
import type { JournalEntry } from "./journal_reader.ts";
import { readState, writeBack } from "./probe.ts";

/** What happened to one change at roll-back. */
export interface Restored {
  /** The change's description. */
  readonly what: string;
  /** The path whose state was put back. */
  readonly path: string;
  /**
   * `restored`: the old state is back. `unchanged`: it already was. `changed`: somebody else changed it since, and it
   * was left alone. `vanished`: the path does not exist any more. `failed`: writing failed, and the entry was kept.
   * `damaged`: the journal's line cannot be read, so nothing was done; the journal was kept.
   */
  readonly outcome: "restored" | "unchanged" | "changed" | "vanished" | "failed" | "damaged";
  /** The old state, the one that busbar left, and the one found at roll-back; null where there is none. */
  readonly old: string | null;
  /** The state that busbar left. */
  readonly left: string | null;
  /** The state found at roll-back. */
  readonly found: string | null;
  /** Why it failed. */
  readonly error: string | null;
}

/** Puts a change back, unless somebody else changed the state since. */
export function putBack(host: Host, entry: JournalEntry): Restored {
  const left = entry.after ?? null;
  const result = (outcome: Restored["outcome"], found: string | null, error: string | null = null): Restored => ({
    what: entry.what,
    path: entry.probe.path,
    outcome,
    old: entry.old,
    left,
    found,
    error,
  });
  let found: string | null = null;
  try {
    found = readState(host, entry.probe);
    if (found === entry.old) return result("unchanged", found);
    // Killed between the write and the line that records its result: whatever is there is ours.
    if (entry.after !== undefined && found !== entry.after) return result("changed", found);
    const refusal = writeAll(host, entry);
    const now = readState(host, entry.probe);
    // A refusal says nothing against a state that is back: the kernel may have put it back itself meanwhile.
    if (now === entry.old) return result("restored", found);
    if (refusal !== null) throw refusal;
    return result("failed", now, `it is now '${now}'`);
  } catch (error) {
    if (isBusbarError(error, "absent")) return result("vanished", null);
    return result("failed", found, error instanceof Error ? error.message : String(error));
  }
}

/** Makes the writes of an entry, up to the first that is refused, whose error it returns. */
function writeAll(host: Host, entry: JournalEntry): unknown {
  try {
    for (const target of entry.undo) writeBack(host, target, entry.probe);
    return null;
  } catch (error) {
    return error ?? new BusbarError("bug", "a write threw nothing");
  }
}

/** The error that says what a roll-back could not put back, or null when all is well. */
export function rollBackError(results: readonly Restored[], path: string | null): BusbarError | null {
  const failed = results.filter((result) => result.outcome === "failed");
  const changed = results.filter((result) => result.outcome === "changed");
  const first = failed[0] ?? changed[0];
  if (first === undefined) return null;
  const others = failed.length + changed.length - 1;
  const more = others === 0 ? "" : ` (and ${others} more)`;
  if (failed.length > 0) {
    return new BusbarError("io", `${first.what} could not be put back to '${first.old}': ${first.error}${more}`, {
      operation: "put back",
      path: first.path,
      hint: path === null ? undefined : `try again with: busbar restore (the journal is ${path})`,
    });
  }
  return new BusbarError(
    "busy",
    `${first.what} was left alone: somebody else changed it from '${first.left}' to '${first.found}'${more}`,
    { operation: "put back", path: first.path, hint: `before busbar it was '${first.old}'` },
  );
}
