/**
 * Where the C sources of the recorders lie: in a checkout, beside a bundle, or embedded in an executable.
 * @module
 */

import { createHash } from "node:crypto";

/** The recorders that are built from sources. */
export type RecorderName = "valgrind" | "hooks";

function pathOf(relative: string): string {
  return decodeURIComponent(new URL(relative, import.meta.url).pathname);
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/**
 * The folder of a recorder's sources. It is not there when this program was given away without them.
 *
 * @param cache takes what is embedded in an executable, where no compiler can read it; null for nowhere
 */
export function recorderSources(name: RecorderName, cache: () => string | null): string {
  const checkout = pathOf(`../../../csrc/record/${name}`);
  // In a bundle all modules are at one place, and the folders beside it.
  const folder = isFolder(checkout) ? checkout : pathOf(`./${name}`);
  if (!Deno.build.standalone || !isFolder(folder)) return folder;
  const target = cache();
  return target === null ? folder : unpacked(folder, name, target);
}

/** Copies of embedded files, in a folder that is named by what they hold. */
function unpacked(folder: string, name: RecorderName, cache: string): string {
  const files = Array.from(Deno.readDirSync(folder), (entry) => entry.name).sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(`\0${file}\0`).update(Deno.readFileSync(`${folder}/${file}`));
  const target = `${cache}/record-${name}-sources-${hash.digest("hex").slice(0, 16)}`;
  if (isFolder(target)) return target;
  const temporary = `${target}.${Deno.pid}.tmp`;
  Deno.mkdirSync(temporary, { mode: 0o700 });
  for (const file of files) Deno.writeFileSync(`${temporary}/${file}`, Deno.readFileSync(`${folder}/${file}`));
  try {
    Deno.renameSync(temporary, target);
  } catch (cause) {
    Deno.removeSync(temporary, { recursive: true });
    // Another process was faster.
    if (!isFolder(target)) throw cause;
  }
  return target;
}
