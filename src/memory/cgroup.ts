/**
 * Control groups for memory experiments: made for a command, and gone with it.
 *
 * Source: Linux Documentation/admin-guide/cgroup-v2.rst.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { exists, type Host, ifReadable } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { cgroupMount } from "./damon_plan.ts";

/**
 * Makes a cgroup that counts memory, unless it exists. The journal removes it.
 *
 * @param path below the mount point, as in `/hmsdk`
 * @returns its folder
 * @throws {BusbarError} `absent` when cgroup v2 is not mounted; `unsupported` without its memory controller
 */
export function makeCgroup(journal: UndoJournal, host: Host, path: string): string {
  const mount = cgroupMount(host);
  if (mount === null) {
    throw new BusbarError("absent", "cgroup v2 is not mounted", {
      operation: "make a cgroup",
      path: "/sys/fs/cgroup",
      hint: "mount -t cgroup2 none /sys/fs/cgroup",
    });
  }
  const folder = `${mount}${path}`;
  const parent = folder.slice(0, folder.lastIndexOf("/"));
  const controllers = (file: string): string[] => (ifReadable(() => host.readText(file)) ?? "").trim().split(/\s+/);
  if (!controllers(`${parent}/cgroup.controllers`).includes("memory")) {
    throw new BusbarError("unsupported", `${parent}: no memory controller`, {
      operation: "make a cgroup",
      path: `${parent}/cgroup.controllers`,
      hint: "it may be in use by cgroup v1, or switched off (cgroup_disable=memory)",
    });
  }
  const control = `${parent}/cgroup.subtree_control`;
  if (!controllers(control).includes("memory")) {
    journal.change({
      what: `controllers of ${parent}`,
      write: { path: control, text: "+memory" },
      undo: () => [{ path: control, text: "-memory" }],
    });
  }
  if (!exists(host, folder)) {
    journal.change({ what: `cgroup ${path}`, write: { path: folder, folder: "make" } });
  }
  return folder;
}

/** The command line that runs a command inside a cgroup: a shell moves itself there and becomes the command. */
export function insideCgroup(folder: string, argv: readonly string[]): string[] {
  return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', folder, ...argv];
}

/**
 * Moves a process into a cgroup: what it allocates from then on is counted there. The journal of what is changed is no place
 * for it: the process ends with this one.
 *
 * @param folder of the cgroup
 * @throws {BusbarError} `io` when it cannot be moved
 */
export async function enterCgroup(folder: string, pid: number): Promise<void> {
  const { code, stderr } = await new Deno.Command("sh", {
    args: ["-c", 'echo "$1" >"$0/cgroup.procs"', folder, String(pid)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code === 0) return;
  throw new BusbarError("io", `process ${pid} cannot be moved: ${new TextDecoder().decode(stderr).trim()}`, {
    operation: "move a process into a cgroup",
    path: `${folder}/cgroup.procs`,
  });
}

/** Folder of the cgroup that this process is in. */
export function ownCgroup(host: Host): string {
  const path = /^0::(\/.*)$/m.exec(ifReadable(() => host.readText("/proc/self/cgroup")) ?? "")?.[1] ?? "/";
  return `${cgroupMount(host) ?? "/sys/fs/cgroup"}${path === "/" ? "" : path}`;
}
