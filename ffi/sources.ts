/**
 * The C sources of a package that is no folder here: one that was imported from a server. They are copied into the user's
 * cache, where the compiler can read them.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import names from "./sources.json" with { type: "json" };

/** The sources, by their paths below the package. `deno task docs` lists them. */
export const SOURCE_FILES: readonly string[] = names;

/** Longest time for all of them. */
const LIMIT_MS = 60_000;

// A library is opened in a synchronous call, and fetching is none: another process does it. Its result is one line.
const FETCH_ALL = `
const { base, target, names, limitMs } = JSON.parse(Deno.args[0]);
const signal = AbortSignal.timeout(limitMs);
await Promise.all(names.map(async (name) => {
  const url = new URL(name, base);
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(url + ": " + answer.status + " " + answer.statusText);
  const path = target + "/" + name;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeFile(path, new Uint8Array(await answer.arrayBuffer()));
}));
`;

/**
 * Copies the C sources of a package into a folder, whole or not at all.
 *
 * @param base where the package lies: `https://…/`
 * @param target a folder that is not there yet; the one above it is, and only this user may write to it
 * @throws {BusbarError} `unreachable` when a file cannot be fetched
 */
export function copySources(base: string, target: string): void {
  const temporary = `${target}.${Deno.pid}.tmp`;
  const request = JSON.stringify({ base, target: temporary, names: SOURCE_FILES, limitMs: LIMIT_MS });
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-config",
      "--no-lock",
      "--allow-all",
      `data:application/javascript,${encodeURIComponent(FETCH_ALL)}`,
      request,
    ],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!child.success) {
    removeQuietly(temporary);
    const text = new TextDecoder().decode(child.stderr);
    throw new BusbarError(
      "unreachable",
      `the C sources at ${base} cannot be fetched: ${/rror: (.*)/.exec(text)?.[1] ?? text.trim()}`,
      {
        operation: "fetch C sources",
        path: base,
        hint: "or set BUSBAR_LIB and BUSBAR_SOFT_LIB to built libraries",
      },
    );
  }
  try {
    Deno.renameSync(temporary, target);
  } catch {
    // Another process was first, with the same files.
    removeQuietly(temporary);
  }
}

function removeQuietly(folder: string): void {
  try {
    Deno.removeSync(folder, { recursive: true });
  } catch {
    // It was not made.
  }
}
