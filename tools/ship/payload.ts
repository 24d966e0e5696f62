/**
 * What a program that is given away holds besides its TypeScript.
 * @module
 */

import {
  findLibrary,
  LIBRARY_LIST,
  type LibrarySpec,
  SHIPPED_LIBRARIES,
  type Surroundings,
  surroundings,
} from "../../ffi/build.ts";
import { AGENT_PROCESSORS, findAgent } from "../../ffi/agents.ts";
import { BusbarError, isBusbarError } from "../../src/core/error.ts";

/** The checkout. */
export const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** A processor that busbar is made for, as Deno names it. */
export type Arch = typeof Deno.build.arch;

/** Those processors. */
export const ARCHES: readonly Arch[] = ["x86_64", "aarch64"];

/**
 * Folders whose files modules open by `new URL("…", import.meta.url)`, below the checkout. Other files are imported as
 * text, so the bundler sees them; a test finds any that is missing here.
 */
export const DATA_FOLDERS: readonly string[] = ["src/lab/machines", "csrc/record/hooks", "csrc/record/valgrind"];

/**
 * The C libraries and programs for a processor, built if need be.
 *
 * @throws {BusbarError} `library` when one cannot be built, such as for want of a cross compiler
 */
export function nativeFiles(arch: Arch = Deno.build.arch): string[] {
  const where = surroundings();
  if (arch === where.arch) return SHIPPED_LIBRARIES.map((spec) => findLibrary(spec, where));
  const crossCompiler = `${arch}-linux-gnu-gcc`;
  // What the environment names is for this machine, not for the other one.
  const env: Surroundings["env"] = (name) =>
    name === "PATH" ? where.env(name) : name === "CC" ? crossCompiler : undefined;
  return SHIPPED_LIBRARIES.map((spec) => findLibraryFor(spec, { ...where, arch, env }, crossCompiler));
}

/** The agents for machines with other processors that can be built here: where a cross compiler is, with its C library. */
export function otherAgents(arch: Arch): string[] {
  return AGENT_PROCESSORS.filter((processor) => processor !== arch).flatMap((processor) => {
    try {
      return [findAgent(processor)];
    } catch (error) {
      if (isBusbarError(error, "library")) return [];
      throw error;
    }
  });
}

function findLibraryFor(spec: LibrarySpec, where: Surroundings, crossCompiler: string): string {
  try {
    return findLibrary(spec, where);
  } catch (cause) {
    if (!(cause instanceof BusbarError) || !cause.message.includes("no C compiler")) throw cause;
    throw new BusbarError("library", `there is no ${crossCompiler} to build ${spec.name} for ${where.arch}`, {
      operation: "build library",
      hint: `install it (Debian, Ubuntu: apt-get install gcc-${arch(where)}-linux-gnu libc6-dev-${
        debianArch(where)
      }-cross)`,
      cause,
    });
  }
}

function arch({ arch }: Surroundings): string {
  return arch.replace("_", "-");
}

function debianArch({ arch }: Surroundings): string {
  return arch === "aarch64" ? "arm64" : "amd64";
}

/** Runs a program of this machine to its end; its output is returned. */
export async function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly success: boolean; readonly text: string }> {
  try {
    const output = await new Deno.Command(program, {
      args: [...args],
      cwd: ROOT, // The bundler names modules relative to this folder.
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const decoder = new TextDecoder();
    return { success: output.success, text: decoder.decode(output.stdout) + decoder.decode(output.stderr) };
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new BusbarError("absent", `${program} is not installed`, { operation: `run ${program}`, cause });
  }
}

/** Runs a program that has to succeed, and gives its output. @throws {BusbarError} `io` with what it said */
export async function succeed(program: string, args: readonly string[]): Promise<string> {
  const { success, text } = await runProgram(program, args);
  if (success) return text.trim();
  throw new BusbarError("io", `${program} failed: ${text.trim()}`, { operation: program });
}

/** Equal contents are to give equal archives: names sorted, and nothing of the machine that packed them. */
export const TAR_FLAGS: readonly string[] = [
  ...["--sort=name", "--format=ustar", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"],
];

/**
 * Makes the folder of an app: one bundle of all TypeScript, the C libraries with the list of their hashes, and the files
 * that modules open beside themselves.
 *
 * @param app a folder that is not there yet
 * @param more further programs, by their paths
 */
export async function fillApp(app: string, arches: readonly Arch[], more: readonly string[] = []): Promise<void> {
  await Deno.mkdir(app);
  await Deno.copyFile(`${ROOT}/LICENSE`, `${app}/LICENSE`);
  const hashes: Record<string, string> = {};
  for (const path of [...arches.flatMap((arch) => nativeFiles(arch)), ...more].sort()) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    await Deno.copyFile(path, `${app}/${name}`);
    const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
    hashes[name] = new Uint8Array(digest).toHex();
  }
  await Deno.writeTextFile(`${app}/${LIBRARY_LIST}`, JSON.stringify(hashes, null, 2) + "\n");
  // A module finds its files relative to itself; in the bundle all modules are at one place.
  for (const folder of DATA_FOLDERS) {
    const target = `${app}/${folder.slice(folder.lastIndexOf("/") + 1)}`;
    await Deno.mkdir(target);
    for await (const { name } of Deno.readDir(`${ROOT}/${folder}`)) {
      await Deno.copyFile(`${ROOT}/${folder}/${name}`, `${target}/${name}`);
    }
  }
  const bundle = ["bundle", "--quiet", "--no-check", "--output", `${app}/busbar.js`, `${ROOT}/tools/busbar.ts`];
  const { success, text } = await runProgram(Deno.execPath(), bundle);
  if (success) {
    return await Deno.writeTextFile(`${app}/busbar.js`, withoutPlaces(await Deno.readTextFile(`${app}/busbar.js`)));
  }
  throw new BusbarError("io", `cannot bundle: ${/error: (.*)/.exec(text)?.[1] ?? text.trim()}`, {
    operation: "deno bundle",
    hint: "deno bundle fetches its bundler from npm the first time",
  });
}

/** The bundler names modules by their paths: those of npm packages lie in this user's cache, wherever that is. */
function withoutPlaces(bundle: string): string {
  return bundle.replace(/^(\/\/ | {2}")(?:[^"\n]*\/)?npm\/[^/"\n]+\/(?=(?:@[^/\n]+\/)?[^/\n]+\/\d)/gm, "$1npm/");
}
