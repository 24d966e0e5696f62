/**
 * Debian packages, unpacked without root and without being installed.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { runTool } from "./host_tool.ts";

/** Folders of packages that no guest needs. */
const NOT_NEEDED: readonly string[] = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"];

const UNPACK_LIMIT_MS = 5 * 60_000;

/**
 * Unpacks packages into a folder that is laid out as an installed system.
 *
 * @throws {BusbarError} `io`; a package that cannot be unpacked is removed, so that it is fetched again
 */
export async function unpack(
  packages: readonly string[],
  root: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await Deno.mkdir(root, { recursive: true, mode: 0o755 });
  const queue = [...packages];
  const worker = async (): Promise<void> => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      const { code, stderr } = await runTool("dpkg-deb", ["-x", path, root], { limitMs: UNPACK_LIMIT_MS, signal });
      if (code === 0) continue;
      queue.length = 0;
      // A package that was damaged on disk would be found damaged forever.
      await Deno.remove(path);
      throw new BusbarError("io", `cannot unpack ${path}: ${stderr.trim().split("\n").at(-1)}`, {
        operation: "unpack",
        path,
        hint: "check the free space, then repeat the command: it fetches this package again",
      });
    }
  };
  const workers = Array.from({ length: Math.max(1, navigator.hardwareConcurrency) }, worker);
  for (const result of await Promise.allSettled(workers)) if (result.status === "rejected") throw result.reason;
  // Packages of this release still use both /lib and /usr/lib. One place each, as on an installed system,
  // so that the guest can lay these folders under the host's.
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    mergeInto(`${root}/${name}`, `${root}/usr/${name}`);
    await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  }
  for (const name of NOT_NEEDED) await removeIfPresent(`${root}/${name}`);
}

/** Moves everything in `from` into `to` and removes `from`. */
function mergeInto(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const entry of listIfPresent(from)) {
    const target = `${to}/${entry.name}`;
    if (entry.isDirectory && isFolder(target)) mergeInto(`${from}/${entry.name}`, target);
    else Deno.renameSync(`${from}/${entry.name}`, target);
  }
  try {
    Deno.removeSync(from);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What a folder holds; nothing when it does not exist. */
export function listIfPresent(path: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

async function removeIfPresent(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
