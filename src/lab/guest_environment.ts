/**
 * What commands in a guest find around them.
 * @module
 */

import { thisMachine } from "../core/host.ts";

/** Settings of the host that commands in the guest see too. */
const PASSED_ON: readonly string[] = [
  ...["BUSBAR_LIB", "BUSBAR_SOFT_LIB", "BUSBAR_DEBUG"],
  ...["NO_COLOR", "FORCE_COLOR", "DENO_NO_PACKAGE_JSON", "TZ"],
];

/**
 * The environment of every command: a plain root's, with the host's Deno and its cache.
 *
 * @param share the folder that the guest may write to, at the same path on both sides
 */
export function guestEnvironment(share: string): Record<string, string> {
  const environment = Deno.env.toObject();
  const passed = PASSED_ON.flatMap((name) => {
    const value = environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const deno = Deno.execPath();
  const denoFolder = deno.slice(0, deno.lastIndexOf("/"));
  const path = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  return {
    PATH: [...path, ...path.includes(denoFolder) ? [] : [denoFolder]].join(":"),
    HOME: "/root",
    USER: "root",
    LOGNAME: "root",
    SHELL: "/bin/sh",
    LANG: "C.UTF-8",
    DENO_DIR: denoDir(environment),
    DENO_NO_UPDATE_CHECK: "1",
    BUSBAR_LAB_GUEST: "1",
    BUSBAR_LAB_SHARE: share,
    ...Object.fromEntries(passed),
  };
}

/** Where Deno keeps its cache (docs.deno.com, "DENO_DIR"). */
function denoDir(environment: Readonly<Record<string, string>>): string {
  const { DENO_DIR, XDG_CACHE_HOME, HOME } = environment;
  return DENO_DIR ?? (XDG_CACHE_HOME ? `${XDG_CACHE_HOME}/deno` : `${HOME ?? "/root"}/.cache/deno`);
}

/** File systems that keep extended attributes of users (tmpfs since Linux 6.6). */
const KEEPS_ATTRIBUTES: readonly string[] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs"];

/**
 * Where QEMU keeps the owners and modes that the guest gives to files in the share: in extended attributes where the
 * file system has them, else in files beside.
 */
export function shareAttributes(folder: string): "mapped-xattr" | "mapped-file" {
  return KEEPS_ATTRIBUTES.includes(fileSystemOf(thisMachine.readText("/proc/self/mountinfo"), folder))
    ? "mapped-xattr"
    : "mapped-file";
}

/**
 * The type of the file system that holds a folder.
 *
 * @param mountInfo the text of /proc/self/mountinfo (proc(5))
 */
export function fileSystemOf(mountInfo: string, folder: string): string {
  let best = { path: "", type: "" };
  for (const line of mountInfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ", 2);
    const path = (before.split(" ")[4] ?? "").replace(
      /\\(\d{3})/g,
      (_, code) => String.fromCharCode(parseInt(code, 8)),
    );
    const covers = path === "/" || folder === path || folder.startsWith(`${path}/`);
    // Of two mounts on the same path the later one is seen.
    if (path !== "" && covers && path.length >= best.path.length) best = { path, type: after.split(" ")[0] ?? "" };
  }
  return best.type;
}
