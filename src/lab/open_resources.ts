/**
 * What a process holds open, to find what a test forgot to close.
 * @module
 */

import { type Host, ifPresent, thisMachine } from "../core/host.ts";

/** Descriptors that the runtime opens for itself, whenever it likes. */
const OF_THE_RUNTIME = /^anon_inode:\[(?:eventpoll|eventfd|io_uring)\]$/;

/**
 * Everything that this process holds open: descriptors, mapped device memory, child processes.
 *
 * @returns how often each thing occurs
 */
export function openResources(host: Host = thisMachine): Map<string, number> {
  const found = new Map<string, number>();
  const count = (what: string): unknown => found.set(what, (found.get(what) ?? 0) + 1);
  for (const fd of host.list("/proc/self/fd")) {
    const target = ifPresent(() => host.readLink(`/proc/self/fd/${fd}`));
    // Sockets and pipes have a number for a name; the listing's own descriptor is gone by now.
    if (target !== null && !OF_THE_RUNTIME.test(target)) count(`file ${target.replace(/:\[\d+\]$/, "")}`);
  }
  for (const line of host.readText("/proc/self/maps").split("\n")) {
    const path = /\s(\/(?:dev|sys)\/.*|anon_inode:\[vfio.*)$/.exec(line)?.[1];
    if (path !== undefined) count(`mapping of ${path}`);
  }
  for (const task of host.list("/proc/self/task")) {
    const children = ifPresent(() => host.readText(`/proc/self/task/${task}/children`)) ?? "";
    for (const child of children.split(" ").filter((word) => word !== "")) {
      const name = ifPresent(() => host.readText(`/proc/${child}/comm`));
      if (name !== null) count(`process ${name}`);
    }
  }
  return found;
}

/** What is open now and was not before. */
export function leftOpen(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string[] {
  const left: string[] = [];
  for (const [what, count] of after) {
    const more = count - (before.get(what) ?? 0);
    if (more > 0) left.push(more === 1 ? what : `${what} (${more} times)`);
  }
  return left.sort();
}
