/**
 * Which processes have a file or device open or mapped.
 * @module
 */

import { type Host, ifReadable } from "./host.ts";

/** A process that has a path open or mapped. */
export interface ProcessUse {
  /** Process id. */
  readonly pid: number;
  /** Its name, as /proc/PID/comm says. */
  readonly command: string;
  /** The path. */
  readonly path: string;
  /** `open`: a descriptor. `mapped`: in its memory. */
  readonly how: "open" | "mapped";
}

/**
 * Looks through /proc for processes that have one of the paths open or mapped, this one left out.
 * What this user may not see of other users' processes is missed: root sees all.
 */
export function findProcessUses(host: Host, matches: (path: string) => boolean): ProcessUse[] {
  const uses: ProcessUse[] = [];
  const pids = (ifReadable(() => host.list("/proc")) ?? []).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids.filter((pid) => pid !== Deno.pid)) {
    const command = (): string => ifReadable(() => host.readText(`/proc/${pid}/comm`).trim()) ?? "?";
    for (const path of new Set(openPaths(host, pid).filter(matches))) {
      uses.push({ pid, command: command(), path, how: "open" });
    }
    for (const path of new Set(mappedPaths(host, pid).filter(matches))) {
      uses.push({ pid, command: command(), path, how: "mapped" });
    }
  }
  return uses;
}

function openPaths(host: Host, pid: number): string[] {
  const descriptors = ifReadable(() => host.list(`/proc/${pid}/fd`)) ?? [];
  return descriptors.flatMap((fd) => ifReadable(() => host.readLink(`/proc/${pid}/fd/${fd}`)) ?? []);
}

/** proc(5): the path is the sixth column of /proc/PID/maps, and may hold spaces. */
function mappedPaths(host: Host, pid: number): string[] {
  const maps = ifReadable(() => host.readText(`/proc/${pid}/maps`)) ?? "";
  return maps.split("\n").flatMap((line) => /^(?:\S+\s+){5}(\/.*)$/.exec(line)?.[1] ?? []);
}

/** `fio (process 812)`, with the path where it tells more. */
export function describeUse(use: ProcessUse): string {
  return `${use.command} (process ${use.pid}) has ${use.path} ${use.how}`;
}
