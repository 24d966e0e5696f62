/**
 * Builds the valgrind tool that records: at first use, against the valgrind that is installed, into the user's cache.
 * It links parts of valgrind that are under the GPL, so it is never given away built.
 * @module
 */

import { makePrivateFolder, whyNotTrusted } from "../../core/trust.ts";
import { createHash } from "node:crypto";

import { BusbarError, systemError } from "../../core/error.ts";
import { recorderSources } from "./recorder_sources.ts";

/** The name of the tool, as `valgrind --tool=` takes it. */
export const TOOL_NAME = "busbar_record";

/** Where things are on this machine; a test passes its own. */
export interface RecorderPlaces {
  /** The folder of our sources. */
  readonly sources: string;
  /** The folder for what is built; null where there is none. */
  readonly cache: string | null;
  /** Folders of programs, as in PATH. */
  readonly programs: readonly string[];
  /** Where Debian and valgrind's own installation put headers, static libraries and run-time parts. */
  readonly prefixes: readonly string[];
  /** Says that a build has begun. */
  readonly say: (line: string) => void;
}

/** A recorder that is ready to run. */
export interface Recorder {
  /** The program to start. */
  readonly valgrind: string;
  /** What `VALGRIND_LIB` has to be. */
  readonly library: string;
  /** As valgrind says it: `valgrind-3.19.0`. */
  readonly version: string;
}

const INSTALL = "Debian, Ubuntu: apt-get install valgrind gcc libc6-dev";

const PLATFORM = "amd64-linux";

const COMPILE_FLAGS: readonly string[] = [
  "-std=gnu11",
  "-O2",
  "-g",
  "-fvisibility=hidden",
  "-DVGA_amd64=1",
  "-DVGO_linux=1",
  "-DVGP_amd64_linux=1",
  "-DVGPV_amd64_linux_vanilla=1",
  "-fno-stack-protector",
  "-fno-strict-aliasing",
  "-fno-builtin",
  "-fno-pie",
];

const LINK_FLAGS: readonly string[] = [
  "-static",
  "-no-pie",
  "-nodefaultlibs",
  "-nostartfiles",
  "-u",
  "_start",
  "-Wl,--build-id=none",
  "-Wl,-Ttext-segment=0x58000000",
];

/** The places of this process. `cache` is the folder for built things of this user. */
export function recorderPlaces(cache: string | null, say: (line: string) => void): RecorderPlaces {
  return {
    sources: recorderSources("valgrind", () => trustedCache(cache)),
    cache,
    programs: (Deno.env.get("PATH") ?? "/usr/local/bin:/usr/bin:/bin").split(":"),
    prefixes: ["/usr", "/usr/local"],
    say,
  };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function names(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), (entry) => entry.name).sort();
  } catch {
    return [];
  }
}

function missing(what: string): BusbarError {
  return new BusbarError("library", `the recorder needs ${what}`, { operation: "build the recorder", hint: INSTALL });
}

function findProgram(places: RecorderPlaces, name: string): string {
  const path = places.programs.map((folder) => `${folder}/${name}`).find(exists);
  if (path === undefined) throw missing(`${name}, and it is not in PATH`);
  return path;
}

/** The first folder of all prefixes that holds a file. */
function findFolder(places: RecorderPlaces, folders: readonly string[], file: string, what: string): string {
  for (const prefix of places.prefixes) {
    const found = folders.map((folder) => `${prefix}/${folder}`).find((folder) => exists(`${folder}/${file}`));
    if (found !== undefined) return found;
  }
  throw missing(`${what} (${file}), which valgrind's package brings`);
}

function output(program: string, args: readonly string[]): string {
  try {
    const result = new Deno.Command(program, { args: [...args], stderr: "null", stdin: "null" }).outputSync();
    return new TextDecoder().decode(result.stdout).split("\n")[0] ?? "";
  } catch (cause) {
    throw systemError(cause, "run", program);
  }
}

/**
 * The recorder, built if it is not there yet.
 *
 * @throws {BusbarError} `library` naming what is missing; `unsupported` on another processor than x86-64
 */
export function findRecorder(places: RecorderPlaces): Recorder {
  if (Deno.build.arch !== "x86_64") {
    throw new BusbarError("unsupported", `the recorder is not made for ${Deno.build.arch}`, {
      operation: "build the recorder",
      hint: "record on x86-64, or read a trace of another tool: cxl_sim convert --help",
    });
  }
  const valgrind = findProgram(places, "valgrind");
  const version = output(valgrind, ["--version"]);
  const headers = findFolder(places, ["include/valgrind"], "pub_tool_tooliface.h", "valgrind's headers");
  const staticFolders = ["lib/x86_64-linux-gnu/valgrind", "lib/valgrind", "lib64/valgrind"];
  const libraries = findFolder(places, staticFolders, `libcoregrind-${PLATFORM}.a`, "valgrind's static libraries");
  const runFolders = ["libexec/valgrind", ...staticFolders];
  const parts = findFolder(places, runFolders, `vgpreload_core-${PLATFORM}.so`, "valgrind's run-time parts");
  const sources = names(places.sources).filter((name) => /\.[ch]$/.test(name));
  if (sources.length === 0) {
    throw new BusbarError("library", "the recorder is built from its sources, and this program has not got them", {
      operation: "build the recorder",
      path: places.sources,
      hint: "use a checkout of busbar to record; the trace can be read anywhere",
    });
  }
  const compiler = findProgram(places, "gcc");
  const hash = createHash("sha256");
  hash.update(JSON.stringify([version, output(compiler, ["--version"]), COMPILE_FLAGS, LINK_FLAGS, libraries, parts]));
  hash.update(String(Deno.statSync(`${libraries}/libcoregrind-${PLATFORM}.a`).mtime?.getTime()));
  for (const name of sources) hash.update(`\0${name}\0`).update(Deno.readFileSync(`${places.sources}/${name}`));
  const library = `${trustedCache(places.cache)}/record-${hash.digest("hex").slice(0, 16)}`;
  if (!exists(library)) build(places, { compiler, headers, libraries, parts, library, sources, version });
  if (!isOurs(library)) {
    throw new BusbarError("permission", `${library}: others may write to it`, {
      operation: "find the recorder",
      path: library,
      hint: `remove it: rm -r ${library}`,
    });
  }
  return { valgrind, library, version };
}

/**
 * The folder for what is built, made if need be. What lies in it is run, so nobody else may write to it.
 *
 * @throws {BusbarError} `library` where there is none, `permission` when others may write to it
 */
export function trustedCache(cache: string | null): string {
  const hint = "set XDG_CACHE_HOME to a folder that only you may write";
  if (cache === null) throw new BusbarError("library", "there is no folder to build the recorder in", { hint });
  try {
    makePrivateFolder(cache);
  } catch (cause) {
    throw systemError(cause, "create", cache, hint);
  }
  if (!isOurs(cache)) {
    throw new BusbarError("permission", `${cache}: others may write to it`, {
      operation: "build the recorder",
      path: cache,
      hint,
    });
  }
  return cache;
}

/** True when only this user may change the folder. */
function isOurs(path: string): boolean {
  return Deno.statSync(path).uid === Deno.uid() && whyNotTrusted(path) === null;
}

interface Build {
  readonly compiler: string;
  readonly headers: string;
  readonly libraries: string;
  readonly parts: string;
  readonly library: string;
  readonly sources: readonly string[];
  readonly version: string;
}

function build(places: RecorderPlaces, what: Build): void {
  places.say(`cxl_sim: building the recorder for ${what.version} into ${what.library}`);
  // A folder of its own that is renamed at the end: two builders at once are harmless.
  const temporary = `${what.library}.${Deno.pid}.tmp`;
  const tool = `${temporary}/${TOOL_NAME}-${PLATFORM}`;
  try {
    Deno.mkdirSync(temporary, { mode: 0o700 });
    const archives = [`libcoregrind-${PLATFORM}.a`, `libvex-${PLATFORM}.a`].map((name) => `${what.libraries}/${name}`);
    const support = `${what.libraries}/libgcc-sup-${PLATFORM}.a`;
    const result = new Deno.Command(what.compiler, {
      args: [
        ...COMPILE_FLAGS,
        "-isystem",
        what.headers,
        ...LINK_FLAGS,
        "-o",
        tool,
        ...what.sources.filter((name) => name.endsWith(".c")).map((name) => `${places.sources}/${name}`),
        ...archives,
        "-lgcc",
        ...(exists(support) ? [support] : []),
      ],
      stdout: "null",
      stderr: "piped",
      // A sanitizer that is preloaded into this process has no business in the compiler.
      env: { LD_PRELOAD: "" },
    }).outputSync();
    if (!result.success) {
      const text = new TextDecoder().decode(result.stderr).trim();
      throw new BusbarError("library", `the recorder does not build against ${what.version}: ${text.split("\n")[0]}`, {
        operation: "build the recorder",
        hint: `the compiler said:\n${text.slice(0, 4000)}`,
      });
    }
    for (const name of names(what.parts)) {
      if (/^vgpreload_core-.*\.so$|^default\.supp$|\.xml$/.test(name)) {
        Deno.symlinkSync(`${what.parts}/${name}`, `${temporary}/${name}`);
      }
    }
    Deno.renameSync(temporary, what.library);
  } catch (cause) {
    try {
      Deno.removeSync(temporary, { recursive: true });
    } catch {
      // It was never made.
    }
    if (cause instanceof BusbarError) throw cause;
    // Another builder was faster.
    if (!exists(what.library)) throw systemError(cause, "build the recorder in", what.library);
  }
}
