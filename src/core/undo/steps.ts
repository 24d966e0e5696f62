/**
 * A change of several steps with names: when one fails, the error names it, the file, the value, what the kernel's answer
 * means there, and what was undone.
 * @module
 */

import { BusbarError, errnoNameOf } from "../error.ts";
import type { Change, UndoWrite } from "./change.ts";
import type { UndoJournal } from "./journal.ts";
import type { Restored } from "./roll_back.ts";

/** One step. */
export interface NamedStep {
  /** What it is called in messages: `commit`. */
  readonly name: string;
  /** A change with a way back of its own. */
  readonly change?: Change;
  /** A write to something that an earlier step made, and that goes with it. */
  readonly inside?: UndoWrite;
  /** What an error of the kernel means at this step, by its name. */
  readonly meanings: Readonly<Record<string, string>>;
}

/** Makes one step of what is done to `subject`. */
export function makeStep(journal: UndoJournal, step: NamedStep, subject: string): void {
  if (step.change !== undefined) journal.change(step.change);
  else if (step.inside !== undefined) journal.changeInside(`${step.name} of ${subject}`, step.inside);
}

/** What failed. */
export interface FailedStep {
  /** Its name. */
  readonly name: string;
  /** The step, where it was one of a list. */
  readonly step: NamedStep | null;
  /** What the steps are done to: `region0`. */
  readonly subject: string;
  /** What they do together: `create a region`. */
  readonly operation: string;
  /** What was put back. */
  readonly undone: readonly Restored[];
}

/** The error of a step that failed; what is no {@linkcode BusbarError} comes back as it is. */
export function stepError(error: unknown, { name, step, subject, operation, undone }: FailedStep): unknown {
  if (!(error instanceof BusbarError)) return error;
  const target = step?.change?.write ?? step?.inside;
  const value = target !== undefined && "text" in target ? ` (writing '${target.text.trim()}')` : "";
  const done = undone.filter((one) => one.outcome === "restored").map((one) => one.what);
  const stuck = undone.filter((one) => one.outcome === "failed" || one.outcome === "changed").map((one) => one.what);
  const undo = stuck.length > 0
    ? `; COULD NOT BE UNDONE: ${stuck.join(", ")}`
    : done.length > 0
    ? `; undone: ${done.join(", ")}`
    : "; nothing was changed";
  const errno = errnoNameOf(error);
  return new BusbarError(
    error.code,
    `${subject}: step '${name}' failed${value}: ${error.message}${undo}`,
    {
      operation: `${operation}: ${name}`,
      path: error.path ?? subject,
      hint: (errno === null ? null : step?.meanings[errno]) ?? error.hint ?? "look at the kernel's log (dmesg)",
      cause: error,
    },
  );
}
