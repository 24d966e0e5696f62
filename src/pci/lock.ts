/**
 * One driver at a time: a lock for each PCI function, held as long as a process drives it.
 *
 * It is a flock on the function's own `config` file in sysfs. So every user of the machine locks the same thing, nothing is
 * left behind, and the kernel lets go of it when the process ends, however it ends.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { Descriptor } from "../../ffi/fd.ts";
import type { PciFunction } from "./function.ts";

/**
 * Takes the lock of a function. Dispose gives it back.
 *
 * @throws {BusbarError} `busy`, naming the process that has it
 */
export function lockFunction(host: Host, fn: PciFunction): Disposable {
  const path = `${fn.folder}/config`;
  const file = Descriptor.open(path, false);
  if (file.tryLock()) return file;
  file[Symbol.dispose]();
  throw new BusbarError("busy", `${fn.name}: another run of busbar drives it${holderText(host, path)}`, {
    operation: "lock PCI function",
    path: fn.name,
    hint: "wait for it to end, or stop it",
  });
}

/** proc(5): /proc/locks names a lock's process and file, the file by device and inode number. */
function holderText(host: Host, path: string): string {
  const inode = Deno.statSync(path).ino;
  const line = (ifReadable(() => host.readText("/proc/locks")) ?? "").split("\n")
    .find((line) => line.includes("FLOCK") && line.split(/\s+/).some((word) => word.endsWith(`:${inode}`)));
  const pid = line?.split(/\s+/)[4];
  if (pid === undefined) return "";
  const command = ifReadable(() => host.readText(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim());
  return ` (process ${pid}${command === null ? "" : `: ${command.slice(0, 100)}`})`;
}
