/**
 * A run of 40 changes on a disk that fails, and what is left of it: for undo_disk_test.ts.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { sealLine } from "../../src/core/undo/journal_reader.ts";
import type { Restored } from "../../src/core/undo/roll_back.ts";
import { MadeUpMachine } from "./machines.ts";
import { type Failure, Killed, MemoryDisk } from "./memory_disk.ts";

export const CHANGES = 40;
export const FOLDER = "/journals";
const NAMES: readonly string[] = Array.from({ length: CHANGES }, (_, i) => `/sys/knob${i}`);

/** A machine of knobs, each of which shows its own number. */
export class Knobs extends MadeUpMachine {
  readonly knobs: Map<string, string> = new Map(NAMES.map((path, i) => [path, `${i}`]));

  override readText(path: string): string {
    const text = this.knobs.get(path);
    if (text === undefined) throw new BusbarError("absent", `${path}: no such knob`);
    return text;
  }

  override writeText(path: string, text: string): void {
    this.knobs.set(path, text);
  }

  /** The knobs that are not as they were. */
  get turned(): string[] {
    return NAMES.filter((path, i) => this.knobs.get(path) !== `${i}`);
  }
}

/** What is done when a change fails, and at the end. */
export type Ending = "dispose" | "kill";

export interface Setup {
  /** Bytes that fit on the disk. */
  readonly capacityBytes?: number;
  /** A change that failed is tried once more after room was made. */
  readonly roomComesBack?: boolean;
  readonly failAt?: (call: number, name: string) => Failure | null;
  readonly ending: Ending;
}

export interface Outcome {
  readonly disk: MemoryDisk;
  readonly machine: Knobs;
  /** Changes that were made although no record of them was on the disk. */
  readonly unrecorded: string[];
  /** What the restores said, and what a dispose threw. */
  readonly said: readonly (Restored | Error)[];
}

/** Runs 40 changes, ends as told, and restores what is left; the disk stays as full as it is. */
export function runFortyChanges(setup: Setup): Outcome {
  const disk = new MemoryDisk();
  const machine = new Knobs();
  const said: (Restored | Error)[] = [];
  const unrecorded: string[] = [];
  disk.capacityBytes = setup.capacityBytes ?? Infinity;
  disk.failAt = setup.failAt ?? ((): null => null);
  const plain = machine.writeText.bind(machine);
  machine.writeText = (path, text): void => {
    const onDisk = [...disk.files.values()].some(({ synced }) =>
      new TextDecoder().decode(synced).includes(`"${path}"`)
    );
    if (!onDisk) unrecorded.push(path);
    plain(path, text);
  };
  const journal = new UndoJournal(machine, { command: "forty", folder: FOLDER, disk });
  const change = (i: number): void =>
    journal.change({ what: `knob ${i}`, write: { path: `/sys/knob${i}`, text: `turned ${i}` } });
  try {
    for (let i = 0; i < CHANGES; i++) {
      try {
        change(i);
      } catch (error) {
        if (error instanceof Killed || !setup.roomComesBack) throw error;
        disk.capacityBytes = Infinity;
        change(i);
      }
    }
  } catch (error) {
    if (!(error instanceof BusbarError || error instanceof Killed)) throw error;
  }
  machine.writeText = plain;
  if (setup.ending === "kill") disk.kill();
  const killed = disk.isKilled;
  const before = new Map(machine.knobs);
  try {
    journal[Symbol.dispose]();
  } catch (error) {
    if (!killed) said.push(error instanceof Error ? error : new Error(String(error)));
  }
  // A process that was killed puts nothing back: undo in the machine what the object did after its death.
  if (killed) { for (const [path, text] of before) machine.knobs.set(path, text); }
  disk.revive();
  forgetProcess(disk);
  for (const path of [...disk.files.keys()]) {
    try {
      said.push(...UndoJournal.restore(path, machine, disk));
    } catch (error) {
      // A file without a whole first line holds no change.
      if (!(error instanceof BusbarError && error.code === "absent")) said.push(new Error(String(error)));
    }
  }
  return { disk, machine, unrecorded, said };
}

/** Gives the journals the start time of a process that is no more, as if this one had ended; nothing else changes. */
function forgetProcess(disk: MemoryDisk): void {
  for (const [path, inode] of [...disk.files]) {
    const text = new TextDecoder().decode(inode.bytes);
    const end = text.indexOf("\n");
    if (end >= 0) {
      const { crc: _, ...header } = JSON.parse(text.slice(0, end));
      const line = sealLine({ ...header, startTime: header.startTime.replace(/./g, "0") });
      inode.bytes.set(line);
    }
    disk.files.delete(path);
    disk.files.set(path.replace(/-\d+/, "-000"), inode);
  }
}
