/**
 * Whether somebody else could change what a path names: asked before code, records or caches are taken from it.
 * @module
 */

import { errnoOf, systemError } from "./error.ts";

/** Write permission of group and others. */
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
/** As many links as Linux follows (path_resolution(7)). */
const MOST_LINKS = 40;

function isOurs(info: Deno.FileInfo): boolean {
  return info.uid === Deno.uid() || info.uid === 0;
}

/** Why what `info` describes could be changed by somebody else, or null. For a file or folder itself, not for a parent. */
export function whyOpenToOthers(info: Deno.FileInfo, path: string): string | null {
  if (!isOurs(info)) return `${path} belongs to user ${info.uid}, neither to this one nor to root`;
  if (((info.mode ?? 0) & OTHERS_WRITE) !== 0) return `${path} may be written by others (mode ${octal(info)})`;
  return null;
}

/** A parent that others may write is harmless while its sticky bit keeps them from renaming what is not theirs. */
function whyOpenParent(info: Deno.FileInfo, path: string): string | null {
  if (isOurs(info) && ((info.mode ?? 0) & STICKY) !== 0) return null;
  return whyOpenToOthers(info, path);
}

function octal(info: Deno.FileInfo): string {
  return ((info.mode ?? 0) & 0o7777).toString(8).padStart(4, "0");
}

/**
 * Why somebody else could change what a path names, or null when only this user and root can: the file or folder itself,
 * each folder above it, and each symbolic link on the way with the folders that it leads through.
 *
 * @param path absolute
 * @throws {BusbarError} as lstat and readlink fail, so `absent` when nothing is there
 */
export function whyNotTrusted(path: string): string | null {
  const left = path.split("/").filter((part) => part !== "" && part !== ".").reverse();
  let here = "";
  let links = 0;
  try {
    let info = Deno.lstatSync("/");
    for (let part = left.pop(); part !== undefined; part = left.pop()) {
      const problem = whyOpenParent(info, here === "" ? "/" : here);
      if (problem !== null) return problem;
      if (part === "..") {
        here = here.slice(0, Math.max(0, here.lastIndexOf("/")));
        info = Deno.lstatSync(here === "" ? "/" : here);
        continue;
      }
      const next = `${here}/${part}`;
      info = Deno.lstatSync(next);
      if (!info.isSymlink) {
        here = next;
        continue;
      }
      if (!isOurs(info)) {
        return `the symbolic link ${next} belongs to user ${info.uid}, neither to this one nor to root`;
      }
      if (++links > MOST_LINKS) return `${path} leads through more than ${MOST_LINKS} symbolic links`;
      const target = Deno.readLinkSync(next);
      left.push(...target.split("/").filter((one) => one !== "" && one !== ".").reverse());
      if (target.startsWith("/")) here = "";
      info = Deno.lstatSync(here === "" ? "/" : here);
    }
    return whyOpenToOthers(info, here === "" ? "/" : here);
  } catch (cause) {
    throw systemError(cause, "look at", path);
  }
}

/**
 * Makes a folder that only this user may use, with mode 0700 whatever the umask is. One that is there is left as it is.
 *
 * Throws as mkdir and chmod fail.
 */
export function makePrivateFolder(path: string): void {
  const missing: string[] = [];
  for (let at = path; at !== "" && !isThere(at); at = at.slice(0, at.lastIndexOf("/"))) missing.unshift(at);
  for (const folder of missing) {
    try {
      Deno.mkdirSync(folder, { mode: 0o700 });
      // The umask may have taken even the owner's bits.
      Deno.chmodSync(folder, 0o700);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.AlreadyExists)) throw cause;
    }
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (cause) {
    // ENOENT
    if (errnoOf(cause) === 2) return false;
    throw cause;
  }
}
