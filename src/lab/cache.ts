/**
 * Where the lab keeps its files: one folder in the user's cache that nobody else can write.
 *
 * | folder | holds |
 * |---|---|
 * | `images/ID` | QEMU, a kernel and the guest's tools, unpacked |
 * | `kernels/RELEASE` | a current kernel, for machines that ask for one |
 * | `qemus/VERSION` | a current QEMU, for machines whose GPU is by vfio-user |
 * | `initramfs` | first roots, named by what is in them |
 * | `apt` | the private package state while an image is being made |
 * | `runs/ID` | one running guest: disks, console log, share |
 * | `logs` | console logs of guests that failed |
 * @module
 */

import { makePrivateFolder as makeOwnFolder, whyNotTrusted } from "../core/trust.ts";
import { BusbarError, systemError } from "../core/error.ts";

/** The lab's folder. It need not exist. */
export function labFolder(): string {
  return `${userCacheFolder()}/busbar/lab`;
}

/**
 * A folder of the lab, made (mode 0700) when it does not exist.
 *
 * @throws {BusbarError} `permission` when it belongs to somebody else or others may write to it
 */
export function labSubfolder(name: "images" | "kernels" | "qemus" | "initramfs" | "apt" | "runs" | "logs"): string {
  const folder = `${labFolder()}/${name}`;
  for (const path of [labFolder(), folder]) makePrivateFolder(path);
  return folder;
}

function userCacheFolder(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME");
  if (cache?.startsWith("/")) return cache;
  const home = Deno.env.get("HOME");
  if (home?.startsWith("/")) return `${home}/.cache`;
  throw new BusbarError("usage", "neither XDG_CACHE_HOME nor HOME names a folder", {
    operation: "find the cache folder",
    hint: "set XDG_CACHE_HOME to a folder of your own",
  });
}

/** Makes a folder with mode 0700, or checks that an existing one is ours alone. */
function makePrivateFolder(folder: string): void {
  let info: Deno.FileInfo;
  let problem: string | null;
  try {
    makeOwnFolder(folder);
    info = Deno.statSync(folder);
    problem = whyNotTrusted(folder);
  } catch (cause) {
    throw systemError(cause, "make the folder", folder, "XDG_CACHE_HOME moves it somewhere else");
  }
  if (info.uid !== Deno.uid() || problem !== null) {
    const reason = problem === null ? "" : ` (${problem})`;
    throw new BusbarError("permission", `${folder}: others may write here, so nothing in it is run${reason}`, {
      operation: "check the cache folder",
      path: folder,
      hint: info.uid === Deno.uid()
        ? `close it with: chmod go-w ${folder}`
        : "set XDG_CACHE_HOME to a folder of your own",
    });
  }
}

/**
 * Writes a file so that a reader sees all of it or none of it, also after a crash.
 *
 * @param mode permission bits of the file
 */
export function writeWhole(path: string, content: string | Uint8Array, mode: number = 0o600): void {
  const temporary = `${path}.${Deno.pid}.tmp`;
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  try {
    {
      using file = Deno.openSync(temporary, { write: true, create: true, truncate: true, mode });
      Deno.chmodSync(temporary, mode);
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      file.syncSync();
    }
    Deno.renameSync(temporary, path);
  } catch (cause) {
    throw systemError(cause, "write", path);
  }
}
