/**
 * Finds the C libraries, and builds them where that is allowed. `deno task build` runs this file.
 *
 * The file name is the answer: `libbusbar-linux-x86_64-release-<hash>.so`, the hash over sources, headers, flags, the
 * compiler and its version. It exists or it does not; nothing is stale. Looked for in order: the environment variable,
 * beside the executable, bundle or npm package, `build/` of the checkout, the user's cache. A checkout builds what is
 * missing, into `build/` if that is writable and ours, else into the cache; a package that was imported from a server has
 * its sources copied into the cache. A compiled or bundled program and an npm package never build: there the package's
 * own list of names and hashes (`libraries.json`) decides.
 *
 * Loading a library is running its code. So a file or folder that another user (root excepted) may write is not
 * loaded from, and root neither loads from nor writes into somebody else's checkout.
 * @module
 */

import { compilerKilled, KILLED_DETAILS } from "../src/core/compiler_end.ts";
import { BusbarError, systemError } from "../src/core/error.ts";
import { readInputText } from "../src/core/input.ts";
import { makePrivateFolder, whyNotTrusted } from "../src/core/trust.ts";
import { copySources } from "./sources.ts";

/** A C library or program of this project. */
export interface LibrarySpec {
  /** A program is run, not loaded; it has no `lib` before and no `.so` behind its name. */
  readonly kind?: "library" | "program";
  /** Name without `lib` and suffix. */
  readonly name: string;
  /**
   * Folders of its `.c` files, below the checkout's root, or single `.c` files. Its headers are in the folders, in `csrc`
   * and in `csrc/api`.
   */
  readonly folders: readonly string[];
  /** The environment variable that names a library file to use instead. */
  readonly variable: string;
  /** What the linker needs besides libc. */
  readonly linkFlags: readonly string[];
}

/** Register access, mappings, and the system calls around them. */
export const BUSBAR: LibrarySpec = {
  name: "busbar",
  folders: ["csrc"],
  variable: "BUSBAR_LIB",
  // It holds the SIGBUS handler of the process, so closing it must not take its code away.
  linkFlags: ["-Wl,-z,nodelete", "-ldl", "-lm"],
};

/** The software devices. */
export const BUSBAR_SOFT: LibrarySpec = {
  name: "busbar_soft",
  folders: ["csrc/soft", "csrc/soft/nvme", "csrc/soft/oradax"],
  variable: "BUSBAR_SOFT_LIB",
  // A device that is still open when the process ends has a thread: closing the library must not take its code away.
  linkFlags: ["-pthread", "-lm", "-Wl,-z,nodelete"],
};

/** The software CUDA device: a libcuda.so.1 in all but its SONAME, by which the loader would take it for NVIDIA's. */
export const SOFT_CUDA: LibrarySpec = {
  name: "busbar_cuda",
  folders: ["csrc/soft/cuda", "csrc/ptx"],
  variable: "BUSBAR_SOFT_CUDA_LIB",
  // A kernel may still run when the process ends: closing the library must not take its code away.
  linkFlags: ["-pthread", "-lm", "-ldl", "-Wl,-z,nodelete"],
};

/** The software Type 2 GPU, over any CUDA driver. */
export const SOFT_TYPE2: LibrarySpec = {
  name: "busbar_type2",
  folders: ["csrc/soft/type2"],
  variable: "BUSBAR_SOFT_TYPE2_LIB",
  // It holds a handler of SIGBUS, and a device that is open when the process ends has threads.
  linkFlags: ["-pthread", "-ldl", "-Wl,-z,nodelete"],
};

/** The guest's libcuda.so.1: the driver API over the command window of a Type 2 GPU. */
export const CUDA_SHIM: LibrarySpec = {
  name: "busbar_cuda_shim",
  // What reads fat binaries and names results is the software device's.
  folders: ["csrc/cuda_shim", "csrc/soft/cuda/fatbin.c", "csrc/soft/cuda/results.c"],
  variable: "BUSBAR_CUDA_SHIM_LIB",
  linkFlags: ["-pthread", "-ldl", "-Wl,-z,nodelete"],
};

/** The two versions of the CUDA runtime over whatever driver library is there. Programs load them by their SONAME. */
export const CUDARTS: readonly LibrarySpec[] = [12, 13].map((version) => ({
  name: `cudart${version}`,
  folders: ["csrc/cudart"],
  variable: `BUSBAR_CUDART${version}_LIB`,
  linkFlags: [
    `-DBUSBAR_CUDART=${version}`,
    "-pthread",
    "-ldl",
    `-Wl,-soname,libcudart.so.${version}`,
    `-Wl,--version-script=csrc/cudart/cudart${version}.map`,
  ],
}));

/** The program that disables a controller when the process that drives it without an IOMMU ends. */
export const NVME_GUARDIAN: LibrarySpec = {
  kind: "program",
  name: "nvme_guardian",
  folders: ["csrc/guardian"],
  variable: "BUSBAR_NVME_GUARDIAN",
  linkFlags: [],
};

/** The program that other machines run for this one, over a connection: `docs/design/remote.md`. */
export const AGENT: LibrarySpec = {
  kind: "program",
  name: "busbar_agent",
  folders: [
    "csrc/agent",
    ...["fd", "membench", "memory", "mmio", "nvme_ioctl", "oradax"].map((name) => `csrc/${name}.c`),
  ],
  variable: "BUSBAR_AGENT",
  linkFlags: ["-static", "-s"],
};

/** The page-trap helper of the tests. */
export const BUSBAR_TRAP: LibrarySpec = {
  name: "busbar_trap",
  folders: ["tests/c/trap"],
  variable: "BUSBAR_TRAP_LIB",
  linkFlags: [],
};

/** The loops in C that the benchmarks compare with. */
export const BUSBAR_BENCH: LibrarySpec = {
  name: "busbar_bench",
  folders: ["bench/c"],
  variable: "BUSBAR_BENCH_LIB",
  linkFlags: ["-ldl"],
};

/** What a program that is given away needs of these. */
export const SHIPPED_LIBRARIES: readonly LibrarySpec[] = [
  BUSBAR,
  BUSBAR_SOFT,
  SOFT_CUDA,
  SOFT_TYPE2,
  CUDA_SHIM,
  ...CUDARTS,
  NVME_GUARDIAN,
  AGENT,
];

/** How a library is compiled. `BUSBAR_VARIANT` chooses; `release` is the default. */
export type Variant = "release" | "asan";

const COMMON_FLAGS = ["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fPIC"] as const;

const VARIANT_FLAGS: Readonly<Record<Variant, readonly string[]>> = {
  release: ["-O2"],
  asan: ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"],
};

/** The folder that holds csrc/ and ffi/, or, in a bundle, whatever is above the bundle. */
const ROOT: string = decodeURIComponent(new URL("../", import.meta.url).pathname).replace(/\/$/, "");

/** Where the package lies when it is no folder of this machine; null when it is. */
const REMOTE_ROOT: string | null = import.meta.url.startsWith("file:") ? null : new URL("../", import.meta.url).href;

/** The folder of an npm package that holds its libraries, below its root. */
export const PACKAGE_FOLDER = "app";

/** The file beside ready-made libraries that lists them: SHA-256 by file name. */
export const LIBRARY_LIST = "libraries.json";

/** What the search needs to know of its surroundings; a test passes its own. */
export interface Surroundings {
  /** The folder that holds `csrc/`. */
  readonly root: string;
  /** Folders beside a compiled executable or a bundle. */
  readonly beside: readonly string[];
  /** In a compiled program the folder of its embedded files, which no other process sees; null elsewhere. */
  readonly embedded: string | null;
  /** The processor that the libraries are for, as Deno names it; of agents as `uname -m` says it, which is the same. */
  readonly arch: string;
  /** Where this user's libraries are cached; null where there is no home. */
  readonly cache: string | null;
  /** Where the package was imported from, when its C sources are on a server; null or left out elsewhere. */
  readonly remote?: string | null;
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
  /** Says that a build has begun. */
  readonly say: (line: string) => void;
}

/** The surroundings of this process. */
export function surroundings(): Surroundings {
  const env = (name: string): string | undefined => Deno.env.get(name) || undefined;
  const home = env("HOME");
  const cacheHome = env("XDG_CACHE_HOME") ?? (home === undefined ? undefined : `${home}/.cache`);
  const here = decodeURIComponent(new URL(".", import.meta.url).pathname).replace(/\/$/, "");
  const besides = Deno.build.standalone
    ? [parent(Deno.execPath()), `${ROOT}/build`]
    : REMOTE_ROOT === null
    ? [here, `${ROOT}/${PACKAGE_FOLDER}`]
    : [];
  const beside = [...new Set(besides)];
  return {
    root: ROOT,
    remote: REMOTE_ROOT,
    beside,
    embedded: Deno.build.standalone ? ROOT : null,
    arch: Deno.build.arch,
    cache: cacheHome === undefined ? null : `${cacheHome}/busbar/lib`,
    env,
    say: (line) => Deno.stderr.writeSync(new TextEncoder().encode(line + "\n")),
  };
}

/** The variant that the environment asks for. */
export function variantFromEnvironment(env: (name: string) => string | undefined): Variant {
  const name = env("BUSBAR_VARIANT") ?? "release";
  if (name === "release" || name === "asan") return name;
  throw new BusbarError("usage", `BUSBAR_VARIANT='${name}' is no variant`, { hint: "use release or asan" });
}

/**
 * The path of a library that is there and current, built if need be.
 *
 * @throws {BusbarError} `library`: no compiler, a failed build, or a program that may not build, with every path tried
 */
export function findLibrary(spec: LibrarySpec, place: Surroundings = surroundings()): string {
  const where = withLocalSources(place, spec);
  const explicit = where.env(spec.variable);
  if (explicit !== undefined) return explicit;
  // No sanitizer goes into a static program.
  const variant = spec.linkFlags.includes("-static") ? "release" : variantFromEnvironment(where.env);
  const prefix = `${fileName(spec)}-${Deno.build.os}-${where.arch}-${variant}-`;
  const tried: string[] = [`$${spec.variable} (not set)`];
  for (const folder of where.beside) {
    const found = listedLibrary(folder, prefix) ?? onlyMatch(folder, prefix, where);
    if (found !== null) return found;
    tried.push(`${folder}/${prefix}*${suffixOf(prefix)}`);
  }
  if (where.embedded !== null || !isFile(`${where.root}/csrc/busbar.h`)) throw notFound(spec, tried, "is missing");
  const sources = listSources(spec, where.root);
  const flags = [...compilerFlags(variant, where), ...spec.linkFlags];
  const folders = [buildFolder(where), where.cache].filter((folder) => folder !== null);
  for (const folder of folders) {
    const current = currentLibrary(folder, prefix, sources, flags, where);
    if (current !== null) return current;
    tried.push(`${folder}/${prefix}*${suffixOf(prefix)}`);
  }
  const target = folders.find((folder) => makeFolder(folder, folder === where.cache ? 0o700 : 0o755));
  if (target === undefined) throw notFound(spec, tried, "is not built, and there is no folder to build it in");
  return build(spec, target, prefix, sources, flags, where);
}

/** The same surroundings with the C sources of a package on a server copied into the cache. */
function withLocalSources(where: Surroundings, spec: LibrarySpec): Surroundings {
  const remote = where.remote ?? null;
  if (remote === null || where.env(spec.variable) !== undefined) return where;
  if (where.cache === null || !makeFolder(where.cache, 0o700)) {
    throw new BusbarError("library", `there is no folder to copy the C sources of ${remote} to`, {
      operation: "copy C sources",
      path: remote,
      hint: `set HOME to a folder that only you may write, or ${spec.variable} to a built library`,
    });
  }
  const digest = sha256(new TextEncoder().encode(remote)).slice(0, 16);
  const root = `${where.cache}/source-${digest}`;
  if (!isFile(`${root}/csrc/busbar.h`)) copySources(remote, root);
  if (!isTrusted(root)) throw notFound(spec, [root], "has sources that others may write");
  return { ...where, root };
}

/**
 * The path of a program that can be started. Nobody but the compiled program itself sees what is embedded in it, so there
 * a copy goes into the user's cache; its name holds its hash, so it is copied once.
 *
 * @throws {BusbarError} as {@linkcode findLibrary}; `io`, `permission` when the copy cannot be made
 */
export function findProgram(spec: LibrarySpec, where: Surroundings = surroundings()): string {
  const path = findLibrary(spec, where);
  if (where.embedded === null || !path.startsWith(`${where.embedded}/`)) return path;
  if (where.cache === null || !makeFolder(where.cache, 0o700)) {
    throw new BusbarError(
      "library",
      `${fileName(spec)} is embedded in this program, and there is no folder to copy it to`,
      {
        operation: "copy an embedded program",
        path: where.cache ?? fileName(spec),
        hint: `set HOME to a folder that only you may write, or ${spec.variable} to the program`,
      },
    );
  }
  const copy = `${where.cache}/${path.slice(path.lastIndexOf("/") + 1)}`;
  if (isFile(copy) && isTrusted(copy) && stat(copy)?.size === stat(path)?.size) return copy;
  const temporary = `${copy}.${Deno.pid}.tmp`;
  try {
    Deno.writeFileSync(temporary, Deno.readFileSync(path), { mode: 0o755 });
    putInPlace(temporary, copy);
  } catch (cause) {
    throw systemError(cause, "copy an embedded program", copy);
  }
  return copy;
}

/**
 * The folder that holds the software CUDA driver and the two runtimes under the names that programs load them by. It is
 * `soft-cuda` beside the driver: `build/soft-cuda` in a checkout.
 *
 * @throws {BusbarError} as {@linkcode findProgram}; `io`, `permission` when the folder cannot be filled
 */
export function softCudaFolder(where: Surroundings = surroundings()): string {
  return driverFolder(SOFT_CUDA, "soft-cuda", where);
}

/**
 * The folder that holds the guest's CUDA library and the two runtimes under the names that programs load them by:
 * `build/cuda-shim` in a checkout.
 *
 * @throws {BusbarError} as {@linkcode softCudaFolder}
 */
export function cudaShimFolder(where: Surroundings = surroundings()): string {
  return driverFolder(CUDA_SHIM, "cuda-shim", where);
}

function driverFolder(spec: LibrarySpec, name: string, where: Surroundings): string {
  const driver = findProgram(spec, where);
  const beside = `${parent(driver)}/${name}`;
  // Where somebody else installed the package, this user cannot write beside its libraries.
  const folder = isFile(`${parent(driver)}/${LIBRARY_LIST}`) && !makeFolder(beside, 0o755) && where.cache !== null
    ? `${where.cache}/${name}`
    : beside;
  const names = ["libcuda.so.1", ...CUDARTS.map((spec) => `libcudart.so.${spec.name.slice("cudart".length)}`)];
  const targets = [driver, ...CUDARTS.map((spec) => findProgram(spec, where))];
  try {
    if (stat(folder) === null) {
      Deno.mkdirSync(folder, { recursive: true });
      Deno.chmodSync(folder, 0o755);
    }
    for (const [i, name] of names.entries()) pointTo(`${folder}/${name}`, targets[i] ?? "");
  } catch (cause) {
    throw systemError(cause, "make links to the CUDA libraries", folder);
  }
  return folder;
}

/** Makes a symbolic link, or turns one over in one step, so that no program finds it missing. */
function pointTo(link: string, target: string): void {
  try {
    if (Deno.readLinkSync(link) === target) return;
  } catch {
    // It is not there.
  }
  const temporary = `${link}.${Deno.pid}.tmp`;
  Deno.symlinkSync(target, temporary);
  Deno.renameSync(temporary, link);
}

/** Makes a finished file executable, writes it to the disk and gives it its name: half a file is never seen. */
function putInPlace(temporary: string, path: string): void {
  Deno.chmodSync(temporary, 0o755);
  using file = Deno.openSync(temporary, { read: true });
  file.syncSync();
  Deno.renameSync(temporary, path);
}

function fileName(spec: LibrarySpec): string {
  return spec.kind === "program" ? spec.name : `lib${spec.name}`;
}

/** What a file's name ends with: nothing for a program. */
function suffixOf(prefix: string): string {
  return prefix.startsWith("lib") ? ".so" : "";
}

function notFound(spec: LibrarySpec, tried: readonly string[], problem: string): BusbarError {
  return new BusbarError("library", `${fileName(spec)} ${problem}; tried ${tried.join(", ")}`, {
    operation: "find library",
    path: fileName(spec),
    hint: `set ${spec.variable} to the file, or put the file beside the program`,
  });
}

/** `build/` of the checkout, when it is this user's own; null otherwise. */
function buildFolder(where: Surroundings): string | null {
  const folder = `${where.root}/build`;
  const info = stat(folder) ?? stat(where.root);
  return info !== null && (info.uid === Deno.uid() || info.uid === 0) ? folder : null;
}

/** Makes a folder for libraries; false when this user cannot write there or others could. */
function makeFolder(folder: string, mode: number): boolean {
  try {
    const isNew = stat(folder) === null;
    makePrivateFolder(folder);
    // Not by mkdir, whose mode depends on the umask.
    if (isNew) Deno.chmodSync(folder, mode);
    const probe = `${folder}/.probe-${Deno.pid}`;
    Deno.writeTextFileSync(probe, "", { createNew: true });
    Deno.removeSync(probe);
  } catch {
    return false;
  }
  return isTrusted(folder) && stat(folder)?.uid === Deno.uid();
}

/** True when only this user or root may change the file or folder, each folder above it and each link on the way. */
function isTrusted(path: string): boolean {
  try {
    return whyNotTrusted(path) === null;
  } catch {
    // It is not there, or may not be looked at.
    return false;
  }
}

function stat(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null;
  }
}

function isFile(path: string): boolean {
  return stat(path)?.isFile === true;
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/**
 * The library with this prefix that the list in a folder names, if the folder has a list and the list has one. A package
 * manager decides who may write there; that the file is the one that was packed is shown by its hash.
 *
 * @throws {BusbarError} `library` when the file is not the listed one
 */
function listedLibrary(folder: string, prefix: string): string | null {
  let list: Record<string, string>;
  try {
    list = JSON.parse(Deno.readTextFileSync(`${folder}/${LIBRARY_LIST}`));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory) return null;
    throw damaged(`${folder}/${LIBRARY_LIST}`, "cannot be read", cause);
  }
  const name = Object.keys(list).find((one) => one.startsWith(prefix));
  if (name === undefined) return null;
  const path = `${folder}/${name}`;
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (cause) {
    throw damaged(path, "cannot be read", cause);
  }
  const open = [folder, `${folder}/${LIBRARY_LIST}`, path].map(whyNotTrusted).find((reason) => reason !== null);
  if (open !== undefined && open !== null) {
    throw new BusbarError("library", `${path} is not loaded: ${open}`, {
      operation: "find library",
      path,
      hint: "close it with chmod go-w, or install the package where only you and root may write",
    });
  }
  if (sha256(bytes) !== list[name]) throw damaged(path, `is not the file that ${LIBRARY_LIST} lists`);
  return path;
}

function damaged(path: string, problem: string, cause?: unknown): BusbarError {
  return new BusbarError("library", `${path} ${problem}`, {
    operation: "find library",
    path,
    hint: "install the package again",
    cause,
  });
}

function sha256(bytes: Uint8Array): string {
  return process.getBuiltinModule("node:crypto").createHash("sha256").update(bytes).digest("hex");
}

/** The one library with this prefix in a folder that holds libraries ready made; null when there is none. */
function onlyMatch(folder: string, prefix: string, where: Surroundings): string | null {
  try {
    const names = Array.from(Deno.readDirSync(folder), (entry) => entry.name)
      .filter((name) => name.startsWith(prefix) && /-[0-9a-f]{16}(\.so)?$/.test(name)).sort();
    const path = names[0] === undefined ? null : `${folder}/${names[0]}`;
    const isEmbedded = folder.startsWith(`${where.embedded}/`);
    return path !== null && (isEmbedded || (isTrusted(folder) && isTrusted(path))) ? path : null;
  } catch {
    return null;
  }
}

/** A source file and what tells cheaply whether it changed. */
type Stamp = readonly [path: string, sizeBytes: number, mtimeMs: number, ctimeMs: number];

function stampOf(path: string): Stamp {
  const info = stat(path);
  return [path, info?.size ?? -1, info?.mtime?.getTime() ?? -1, info?.ctime?.getTime() ?? -1];
}

interface Sources {
  readonly sources: readonly string[];
  readonly headers: readonly string[];
}

function listSources(spec: LibrarySpec, root: string): Sources {
  const names = (folder: string, suffix: string): string[] => {
    try {
      return Array.from(Deno.readDirSync(`${root}/${folder}`), (entry) => entry.name)
        .filter((name) => name.endsWith(suffix)).sort().map((name) => `${root}/${folder}/${name}`);
    } catch (cause) {
      throw systemError(cause, "list", `${root}/${folder}`);
    }
  };
  const endings = [".h", ".inc", ".def", ".map"];
  const folders = spec.folders.filter((folder) => !folder.endsWith(".c"));
  const headers = new Set(
    ["csrc", "csrc/api", ...folders].flatMap((folder) => endings.flatMap((ending) => names(folder, ending))),
  );
  const sources = spec.folders.flatMap((place) => place.endsWith(".c") ? [`${root}/${place}`] : names(place, ".c"));
  return { sources, headers: [...headers] };
}

function compilerFlags(variant: Variant, where: Surroundings): string[] {
  const own = (where.env("CFLAGS") ?? "").split(/\s+/).filter((flag) => flag !== "");
  const places = [`-I${where.root}/csrc`, `-ffile-prefix-map=${where.root}=.`];
  return [...COMMON_FLAGS, ...VARIANT_FLAGS[variant], ...places, ...own];
}

/** The compiler: its command as the user says it, and where that is, or null when it is nowhere. */
function findCompiler(where: Surroundings): { command: string; args: string[]; path: string | null } {
  const [command = "cc", ...args] = (where.env("CC") ?? "cc").split(/\s+/);
  if (command.includes("/")) return { command, args, path: isFile(command) ? command : null };
  for (const folder of (where.env("PATH") ?? "/usr/local/bin:/usr/bin:/bin").split(":")) {
    if (isFile(`${folder}/${command}`)) return { command, args, path: `${folder}/${command}` };
  }
  return { command, args, path: null };
}

/** Some hundred sources of which each has a line. */
const MANIFEST_BYTES = 1 << 20;

/** Written beside a library, so that the next start need not hash anything. */
interface Manifest {
  readonly file: string;
  readonly flags: readonly string[];
  readonly compiler: Stamp;
  readonly stamps: readonly Stamp[];
}

function manifestPath(folder: string, prefix: string): string {
  return `${folder}/${prefix.replace(/-$/, "")}.manifest.json`;
}

/** The library in `folder` that was built from just these files by just this compiler, or null. */
function currentLibrary(
  folder: string,
  prefix: string,
  files: Sources,
  flags: readonly string[],
  where: Surroundings,
): string | null {
  if (!isTrusted(folder)) return null;
  const manifest = readManifest(manifestPath(folder, prefix), prefix);
  if (manifest === null) return currentByHash(folder, prefix, files, flags, where);
  const stamps = [...files.sources, ...files.headers].map(stampOf);
  const compiler = findCompiler(where);
  const same = JSON.stringify(manifest.stamps) === JSON.stringify(stamps) &&
    JSON.stringify(manifest.flags) === JSON.stringify(flags) &&
    // Where there is no compiler it cannot have changed either.
    (compiler.path === null || JSON.stringify(manifest.compiler) === JSON.stringify(stampOf(compiler.path)));
  if (!same) return currentByHash(folder, prefix, files, flags, where);
  const path = `${folder}/${manifest.file}`;
  return isFile(path) && isTrusted(path) ? path : null;
}

/**
 * What a manifest says, or null: it saves the time to hash, and is trusted as little as the library. The library's name
 * has to be one that hashing could have given.
 */
function readManifest(path: string, prefix: string): Manifest | null {
  try {
    if (!isTrusted(path)) return null;
    const limits = { limitBytes: MANIFEST_BYTES, what: "a manifest" };
    const value: Partial<Manifest> | null = JSON.parse(readInputText(path, limits));
    const { file = "", flags = [], compiler = ["", 0, 0, 0], stamps = [] } = value ?? {};
    const isName = typeof file === "string" && file.startsWith(prefix) &&
      /^[0-9a-f]{16}(\.so)?$/.test(file.slice(prefix.length));
    return isName ? { file, flags, compiler, stamps } : null;
  } catch {
    return null;
  }
}

/** As {@linkcode currentLibrary} by the name alone: after a checkout moved, or files were touched. */
function currentByHash(
  folder: string,
  prefix: string,
  files: Sources,
  flags: readonly string[],
  where: Surroundings,
): string | null {
  const compiler = findCompiler(where);
  if (compiler.path === null) return null;
  const path = `${folder}/${prefix}${hashOf(files, flags, where)}${suffixOf(prefix)}`;
  if (!isFile(path) || !isTrusted(path)) return null;
  writeManifest(folder, prefix, path, files, flags, compiler.path);
  return path;
}

/**
 * 16 hexadecimal digits over everything that goes into a library. Paths are left out: a moved checkout is the same, and so is
 * a compiler that is named by its path.
 */
function hashOf(files: Sources, flags: readonly string[], where: Surroundings): string {
  const hash = process.getBuiltinModule("node:crypto").createHash("sha256");
  const compiler = findCompiler(where);
  const portable = flags.map((flag) => flag.replaceAll(where.root, "."));
  const command = compiler.command.slice(compiler.command.lastIndexOf("/") + 1);
  hash.update(JSON.stringify([portable, command, compiler.args, compilerVersion(where)]));
  for (const path of [...files.sources, ...files.headers]) {
    hash.update(`\0${path.slice(where.root.length)}\0`);
    hash.update(Deno.readFileSync(path));
  }
  return hash.digest("hex").slice(0, 16);
}

// Deno has Node's `process` as a global; this is the one function of it that is used, and only on the slow path.
interface Hash {
  update(data: string | Uint8Array): Hash;
  digest(form: "hex"): string;
}
declare const process: {
  getBuiltinModule(name: "node:crypto"): {
    createHash(name: "sha256"): Hash;
  };
};

function compilerVersion(where: Surroundings): string {
  const { command, args } = findCompiler(where);
  const output = new Deno.Command(command, { args: [...args, "--version"], env: { LD_PRELOAD: "" }, stderr: "null" })
    .outputSync();
  return new TextDecoder().decode(output.stdout).split("\n")[0] ?? "";
}

function build(
  spec: LibrarySpec,
  folder: string,
  prefix: string,
  files: Sources,
  flags: readonly string[],
  where: Surroundings,
): string {
  const compiler = findCompiler(where);
  if (compiler.path === null) {
    throw new BusbarError(
      "library",
      `${fileName(spec)} has to be built and there is no C compiler '${compiler.command}'`,
      {
        operation: "build library",
        path: fileName(spec),
        hint:
          `install one (Debian, Ubuntu: apt-get install gcc libc6-dev), set CC, or set ${spec.variable} to a built library`,
      },
    );
  }
  const path = `${folder}/${prefix}${hashOf(files, flags, where)}${suffixOf(prefix)}`;
  where.say(`busbar: building ${fileName(spec)} with ${compiler.command} into ${folder}`);
  // A temporary name and a rename: two builders at once are harmless, and half a library is never loaded.
  const temporary = `${path}.${Deno.pid}.tmp`;
  const output = new Deno.Command(compiler.command, {
    args: [
      ...compiler.args,
      ...flags,
      ...(spec.kind === "program" ? [] : ["-shared"]),
      "-o",
      temporary,
      ...files.sources,
      // Libraries once more behind the sources: some linkers take one only for what stands before it.
      ...spec.linkFlags.filter((flag) => flag.startsWith("-l")),
    ],
    // A sanitizer that is preloaded into this process has no business in the compiler.
    env: { LD_PRELOAD: "" },
    // The folder it runs in is written into the library; this one is written as "." (-ffile-prefix-map).
    cwd: where.root,
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!output.success) {
    const text = new TextDecoder().decode(output.stderr).trim();
    const killed = compilerKilled(output.signal, text);
    if (killed !== null) throw new BusbarError("library", `${fileName(spec)}: ${killed}`, KILLED_DETAILS);
    throw new BusbarError("library", `${fileName(spec)} does not compile: ${text.split("\n")[0]}`, {
      operation: "build library",
      path: fileName(spec),
      hint: `set CC to gcc or clang of the last ten years, and CFLAGS to nothing; the compiler said:\n${text}`,
    });
  }
  try {
    putInPlace(temporary, path);
  } catch (cause) {
    throw systemError(cause, "put the built library in place", path);
  }
  writeManifest(folder, prefix, path, files, flags, compiler.path);
  return path;
}

function writeManifest(
  folder: string,
  prefix: string,
  library: string,
  files: Sources,
  flags: readonly string[],
  compilerPath: string,
): void {
  const manifest: Manifest = {
    file: library.slice(folder.length + 1),
    flags,
    compiler: stampOf(compilerPath),
    stamps: [...files.sources, ...files.headers].map(stampOf),
  };
  const path = manifestPath(folder, prefix);
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    Deno.writeTextFileSync(temporary, JSON.stringify(manifest));
    Deno.chmodSync(temporary, 0o644);
    Deno.renameSync(temporary, path);
  } catch {
    // The folder is read-only for us: the next start hashes again.
  }
}

if (import.meta.main) {
  for (const spec of SHIPPED_LIBRARIES) {
    try {
      Deno.stdout.writeSync(new TextEncoder().encode(findLibrary(spec) + "\n"));
    } catch (error) {
      if (!(error instanceof BusbarError)) throw error;
      Deno.stderr.writeSync(new TextEncoder().encode(`build: ${error.message}\n  hint: ${error.hint ?? ""}\n`));
      Deno.exitCode = error.exitStatus;
    }
  }
  if (Deno.exitCode === 0) {
    softCudaFolder();
    cudaShimFolder();
  }
}
