/**
 * Which processes have a file or device open or mapped.
 * @module
 */

import { BatchedReads } from "./batched_reads.ts";
import { type Host, ifReadable } from "./host.ts";
import { linkAt, namesIn, textOf } from "./host_requests.ts";

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
  const pids = (ifReadable(() => host.list("/proc")) ?? []).filter((name) => /^\d+$/.test(name)).map(Number)
    .filter((pid) => pid !== Deno.pid);
  const reads = new BatchedReads(host);
  reads.fetch(pids.flatMap((pid) => [namesIn(`/proc/${pid}/fd`), textOf(`/proc/${pid}/maps`)]));
  reads.fetch(pids.flatMap((pid) => descriptorLinks(reads, pid).map(linkAt)));
  for (const pid of pids) {
    const command = (): string => ifReadable(() => host.readText(`/proc/${pid}/comm`).trim()) ?? "?";
    for (const path of new Set(openPaths(reads, pid).filter(matches))) {
      uses.push({ pid, command: command(), path, how: "open" });
    }
    for (const path of new Set(mappedPaths(reads, pid).filter(matches))) {
      uses.push({ pid, command: command(), path, how: "mapped" });
    }
  }
  return uses;
}

function descriptorLinks(host: Host, pid: number): string[] {
  return (ifReadable(() => host.list(`/proc/${pid}/fd`)) ?? []).map((fd) => `/proc/${pid}/fd/${fd}`);
}

function openPaths(host: Host, pid: number): string[] {
  return descriptorLinks(host, pid).flatMap((link) => ifReadable(() => host.readLink(link)) ?? []);
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
