/**
 * Mounts, and whether a file on one is accessed directly. Source: proc_pid_mountinfo(5).
 * @module
 */

import { unescapeOctal } from "../core/block_users.ts";
import { type Host, ifReadable } from "../core/host.ts";

/** A mounted file system. */
export interface Mount {
  /** The device's number: `259:0`. */
  readonly device: string;
  /** Where it is mounted. */
  readonly point: string;
  /** Its type: `ext4`. */
  readonly type: string;
  /** What is mounted: `/dev/pmem1`. */
  readonly source: string;
  /** Options of the mount and of the file system. */
  readonly options: readonly string[];
}

/** Mounts as a process sees them; none where that cannot be read. */
export function readMounts(host: Host, pid: number | "self" = "self"): Mount[] {
  const text = ifReadable(() => host.readText(`/proc/${pid}/mountinfo`)) ?? "";
  return text.split("\n").flatMap((line) => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , device, , point, mountOptions] = left.split(" ");
    const [type, source, superOptions] = right.split(" ");
    if (device === undefined || point === undefined || type === undefined) return [];
    const options = [...(mountOptions ?? "").split(","), ...(superOptions ?? "").split(",")];
    return [{ device, point: unescapeOctal(point), type, source: unescapeOctal(source ?? ""), options }];
  });
}

/** The mount that a file on a device lies on, by the longest mount point that its path begins with. */
export function mountOf(mounts: readonly Mount[], path: string, device: string): Mount | null {
  const candidates = mounts.filter((mount) =>
    mount.device === device && (mount.point === "/" || path === mount.point || path.startsWith(`${mount.point}/`))
  );
  return candidates.reduce<Mount | null>((best, mount) => {
    return best === null || mount.point.length >= best.point.length ? mount : best;
  }, null) ?? mounts.findLast((mount) => mount.device === device) ?? null;
}

/**
 * What the options of a mount say about direct access: `always` (`dax`, `dax=always`), `never`, or `inode`: each file has
 * a flag of its own, which is off unless somebody set it.
 */
export function daxOption(mount: Mount): "always" | "never" | "inode" {
  if (mount.options.includes("dax") || mount.options.includes("dax=always")) return "always";
  return mount.options.includes("dax=never") ? "never" : "inode";
}
