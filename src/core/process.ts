/**
 * Which process is which: by when it started, and in which boot.
 * @module
 */

import { ifPresent, thisMachine } from "./host.ts";

/** The number of this boot of the machine. */
export function bootId(): string {
  return thisMachine.readText("/proc/sys/kernel/random/boot_id");
}

/** When a process started, in clock ticks since boot (proc(5), field 22 of stat), or null when it does not exist or has ended. */
export function processStartTime(pid: number): string | null {
  const stat = ifPresent(() => thisMachine.readText(`/proc/${pid}/stat`));
  // The command name is in parentheses and may itself hold spaces and parentheses.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
  // A zombie has ended: whoever started it has not looked yet.
  return fields[0] === "Z" ? null : fields[19] ?? null;
}
