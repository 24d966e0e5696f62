/**
 * Opens the C libraries, once for each process, on first use.
 * @module
 */

import { BusbarError, errnoError, type ErrorDetails } from "../src/core/error.ts";
import { whyNotTrusted, whyOpenToOthers } from "../src/core/trust.ts";
import { BUSBAR, findLibrary, type LibrarySpec, surroundings } from "./build.ts";

/** The interface of the C libraries that this code was written for: `BB_ABI_VERSION` in csrc/busbar.h. */
export const ABI_VERSION = 2;

const opened = new Map<string, Deno.DynamicLibrary<Deno.ForeignLibraryInterface>[]>();
const paths = new Map<string, string>();

/**
 * Opens a table of symbols of a library. Keep the result: this looks nothing up for you.
 *
 * @throws {BusbarError} `library`: not found, not loadable, or made for another version of busbar
 */
export function openLibrary<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
  spec: LibrarySpec = BUSBAR,
): Deno.DynamicLibrary<S>["symbols"] {
  let path = paths.get(spec.name);
  if (path === undefined) {
    path = findLibrary(spec);
    checkVersion(path, spec);
    paths.set(spec.name, path);
  }
  const library = load(path, symbols, spec);
  opened.set(spec.name, [...(opened.get(spec.name) ?? []), library]);
  return library.symbols;
}

function checkVersion(path: string, spec: LibrarySpec): void {
  const library = load(path, { bb_abi_version: { parameters: [], result: "u32" } }, spec);
  const version = library.symbols.bb_abi_version();
  library.close();
  if (version !== ABI_VERSION) {
    throw new BusbarError("library", `${path}: made for interface ${version}, this busbar needs ${ABI_VERSION}`, {
      operation: "open library",
      path,
      hint: Deno.env.get(spec.variable) ? `unset ${spec.variable}, or build it from this checkout` : "deno task build",
    });
  }
}

function load<const S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
  spec: LibrarySpec,
): Deno.DynamicLibrary<S> {
  try {
    return isChosenOrEmbedded(path, spec) ? Deno.dlopen(path, symbols) : loadChecked(path, symbols);
  } catch (cause) {
    if (cause instanceof BusbarError) throw cause;
    // Deno says the same thing twice: "Could not open library: Could not open library: …".
    const text = cause instanceof Error ? cause.message.replace(/^(Could not open library: )+/, "") : String(cause);
    throw new BusbarError("library", `${path}: cannot be loaded: ${text}`, {
      operation: "open library",
      path,
      hint: Deno.env.get(spec.variable)
        ? `${spec.variable} names this file: unset it to let busbar find or build its own`
        : "run with --allow-ffi (or -A); deno task build makes the library",
      cause,
    });
  }
}

/**
 * True for a file that the user named in the environment, which decides by itself, for one that is embedded in this
 * program, which has no descriptor, and for the sanitizers' build, whose reports name files.
 */
function isChosenOrEmbedded(path: string, spec: LibrarySpec): boolean {
  const { embedded, env } = surroundings();
  if (env(spec.variable) !== undefined || env("BUSBAR_VARIANT") === "asan") return true;
  return embedded !== null && path.startsWith(`${embedded}/`);
}

/**
 * Loads the very file that was checked: by its descriptor, so that nobody can put another one in its place meanwhile.
 *
 * @throws {BusbarError} `library` when somebody else could have written it
 */
function loadChecked<const S extends Deno.ForeignLibraryInterface>(path: string, symbols: S): Deno.DynamicLibrary<S> {
  using file = Deno.openSync(path, { read: true });
  const info = file.statSync();
  const problem = whyOpenToOthers(info, path) ?? whyNotTrusted(path);
  if (problem !== null) {
    throw new BusbarError("library", `${path} is not loaded: ${problem}`, { operation: "open library", path });
  }
  const descriptor = descriptorOf(info);
  return Deno.dlopen(descriptor === null ? path : nameOf(descriptor, info), symbols);
}

/**
 * A name for a descriptor that no other file has in this process, in none of its workers: the dynamic loader takes a name that it has
 * seen for the file that it had then, and numbers of descriptors come again. The file's identity is written in `/` and `./`, which change
 * nothing.
 */
function nameOf(descriptor: string, { dev, ino, size, mtime }: Deno.FileInfo): string {
  // FNV-1a, 64 bits.
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (const character of `${dev} ${ino} ${size} ${mtime?.getTime()}`) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(character.charCodeAt(0))) * 0x100_0000_01b3n);
  }
  const steps = Array.from(hash.toString(2).padStart(64, "0"), (bit) => bit === "1" ? "./" : "/");
  return `/proc/self/fd/${steps.join("")}${descriptor}`;
}

/** The number of a descriptor of this process for a file, which Deno keeps for itself; null where /proc may not be read. */
function descriptorOf(file: Deno.FileInfo): string | null {
  try {
    for (const { name } of Deno.readDirSync("/proc/self/fd")) {
      const info = ifThere(`/proc/self/fd/${name}`);
      if (info !== null && info.dev === file.dev && info.ino === file.ino) return name;
    }
  } catch {
    // Said above.
  }
  return null;
}

function ifThere(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null;
  }
}

/** Functions that forget the symbols a module of ffi/ has kept; called by {@linkcode closeAll}. */
const forgetters: (() => void)[] = [];

/**
 * A table of symbols that is opened on first use and kept.
 *
 * @returns a function that gives the symbols
 */
export function lazyLibrary<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
  spec: LibrarySpec = BUSBAR,
  prepare?: (opened: Deno.DynamicLibrary<S>["symbols"]) => void,
): () => Deno.DynamicLibrary<S>["symbols"] {
  let kept: Deno.DynamicLibrary<S>["symbols"] | null = null;
  forgetters.push(() => kept = null);
  return () => {
    if (kept === null) {
      kept = openLibrary(symbols, spec);
      prepare?.(kept);
    }
    return kept;
  };
}

/** Closes every library. For tests, which count what is open: nothing that came from them may be used afterwards. */
export function closeAll(): void {
  for (const forget of forgetters) forget();
  for (const library of [...opened.values()].flat()) library.close();
  opened.clear();
  paths.clear();
}

/**
 * Turns a result of the C library into a number or an error.
 *
 * @param result 0 or a count, or a negative error number
 * @param operation what was being done, such as `mmap`
 * @returns `result` when it is not negative
 */
export function check(result: number, operation: string, details?: ErrorDetails): number {
  if (result < 0) throw errnoError(-result, operation, details);
  return result;
}

/** A NUL-terminated UTF-8 string for C. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new BusbarError("usage", "a path cannot hold a NUL character", { path: text });
  return new TextEncoder().encode(text + "\0");
}
