/**
 * A change to the machine: what is written, where its state is read from, and how it is put back.
 * @module
 */

import { BusbarError } from "../error.ts";

/**
 * One write to a file of the machine: text, or bytes at an offset (`hex`: lower-case digits, two for each byte). Or a
 * folder that is made or removed.
 */
export type UndoWrite =
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly offset: number; readonly hex: string }
  | { readonly path: string; readonly folder: "make" | "remove" };

/**
 * Where a state is read from, to tell the old one from the new one: a file's text, the last part of a symbolic link
 * (null when there is none), bytes under a mask, or whether there is anything (`present`, or null).
 */
export type UndoProbe =
  | { readonly kind: "text"; readonly path: string }
  | { readonly kind: "link"; readonly path: string }
  | { readonly kind: "bytes"; readonly path: string; readonly offset: number; readonly mask: string }
  | { readonly kind: "presence"; readonly path: string };

/** A change to the machine. */
export interface Change {
  /** What changes, as a person would say it: `PCI enable count of 0000:01:00.0`. */
  readonly what: string;
  /** The write that changes it; absent for the side effect of a later change, which is only recorded. */
  readonly write?: UndoWrite;
  /** Where the state is read from. By default the text of the file that is written. */
  readonly probe?: UndoProbe;
  /** How to put `old` back. By default it is written to the place the state is read from. */
  readonly undo?: (old: string | null) => UndoWrite[];
  /** The state after the change. By default it is read after the write. Needed for a side effect. */
  readonly after?: string | null;
}

/** Where the state of a change is read from when it does not say. */
export function defaultProbe(change: Change): UndoProbe {
  const target = change.write;
  if (target === undefined) throw new BusbarError("bug", `'${change.what}' has neither a write nor a probe`);
  if ("text" in target) return { kind: "text", path: target.path };
  if ("folder" in target) return { kind: "presence", path: target.path };
  return { kind: "bytes", path: target.path, offset: target.offset, mask: "ff".repeat(target.hex.length / 2) };
}

/** How a state is put back when the change does not say. */
export function defaultUndo(probe: UndoProbe, old: string | null, made: UndoWrite | undefined): UndoWrite[] {
  if (made !== undefined && "folder" in made) {
    return [{ path: made.path, folder: made.folder === "make" ? "remove" : "make" }];
  }
  if (old === null) throw new BusbarError("bug", `${probe.path}: no way back from a state that did not exist`);
  if (probe.kind === "text") return [{ path: probe.path, text: old }];
  if (probe.kind === "bytes") return [{ path: probe.path, offset: probe.offset, hex: old }];
  throw new BusbarError("bug", `${probe.path}: a ${probe.kind} is not put back by writing to it`);
}

/** A change in one line, for a dry run. */
export function describeChange(change: Change, probe: UndoProbe, old: string | null): string {
  const target = change.write;
  if (target === undefined) return `${change.what}: ${old} → ${change.after} (follows by itself; ${probe.path})`;
  return `${change.what}: ${old} → ${describeWrite(target)}`;
}

/** A write in words. */
export function describeWrite(target: UndoWrite): string {
  if ("folder" in target) return `${target.folder} the folder ${target.path}`;
  return `write '${("text" in target ? target.text : target.hex).trim()}' to ${target.path}`;
}
