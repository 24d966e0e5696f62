/**
 * What a guest's kernel and QEMU wrote, for the error that says why a guest ended.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { labSubfolder } from "./cache.ts";

/** How many lines of the kernel log a failure shows. */
export const SHOWN_LINES = 40;

/** How many logs of failed guests are kept. */
const KEPT_LOGS = 20;

/** The last lines that the guest's kernel wrote to its console. */
export function lastKernelLines(folder: string, count: number = SHOWN_LINES): string[] {
  // The console ends lines with carriage returns, and a terminal must not obey what else is in them.
  const lines = readLog(`${folder}/console.log`).split("\n").map((line) => line.replaceAll(/[^\x20-\x7e\t]/g, ""));
  return lines.filter((line) => line.trim() !== "").slice(-count);
}

/** A guest that was lost by a fault of the emulator, and through no doing of its own or of a test. */
export class EmulatorFault extends BusbarError {
  /** Says what the emulator did. */
  constructor(what: string) {
    super("unreachable", what, {
      operation: "run the guest",
      hint: "run it once more; under emulation this happens once in some hundred boots",
    });
  }
}

/** The guest's kernel waited for a timer interrupt in vain. */
export function timerNeverCame(): EmulatorFault {
  return new EmulatorFault("the guest's kernel waited for a timer of the emulated machine that never came");
}

/**
 * QEMU's TCG loses a race of two processors of the guest while one of them changes the memory map, mostly early in a
 * boot (QEMU issue 1921). Other assertions may be the work of a device and are reported.
 */
const MEMORY_MAP_RACE = /iotlb_to_section: Assertion .* failed/;

/** True when the guest's kernel has said that a timer did not come. */
export function hasStalled(folder: string): boolean {
  return /rcu: INFO: \w+ detected stalls/.test(readLog(`${folder}/console.log`));
}

/** Why QEMU ended, as far as the logs tell. */
export function whyEnded(folder: string, status: number): BusbarError {
  const panic = /Kernel panic - not syncing: ([^\r\n]*)/.exec(readLog(`${folder}/console.log`))?.[1];
  if (panic === "RCU Stall") return timerNeverCame();
  if (panic !== undefined) {
    return new BusbarError("unreachable", `the guest's kernel panicked: ${panic}`, { operation: "run the guest" });
  }
  if (status === 0) {
    return new BusbarError("unreachable", "the guest powered itself off", { operation: "run the guest" });
  }
  const complaint = readLog(`${folder}/qemu.log`).trim().split("\n").findLast((line) => !/warning:/.test(line));
  const said = complaint?.replace(/^.*?qemu-system-x86_64: /, "") ?? "";
  if (MEMORY_MAP_RACE.test(said)) return new EmulatorFault(`QEMU ended with ${status}: ${said}`);
  return new BusbarError("unreachable", `QEMU ended with ${status}${said === "" ? "" : `: ${said}`}`, {
    operation: "run the guest",
    hint: "lab qemu MACHINE prints its command line",
  });
}

/**
 * Keeps a guest's console log beyond the guest's end.
 *
 * @returns where it is now
 */
export function keepLog(folder: string, name: string): string {
  const logs = labSubfolder("logs");
  const time = new Date().toISOString().replace(/[-:]|\..*/g, "");
  const path = `${logs}/${name}-${time}.log`;
  Deno.writeTextFileSync(path, readLog(`${folder}/qemu.log`) + readLog(`${folder}/console.log`), { mode: 0o600 });
  const kept = Array.from(Deno.readDirSync(logs), (entry) => `${logs}/${entry.name}`)
    .map((file) => ({ file, time: Deno.statSync(file).mtime?.getTime() ?? 0 }))
    .sort((a, b) => b.time - a.time);
  for (const { file } of kept.slice(KEPT_LOGS)) Deno.removeSync(file);
  return path;
}

function readLog(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
