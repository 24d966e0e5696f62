/**
 * Records a program that was compiled with `-fsanitize=thread` and linked with our recorder instead of that runtime.
 * @module
 */

import { compilerKilled, KILLED_DETAILS } from "../../core/compiler_end.ts";
import { createHash } from "node:crypto";

import { BusbarError, systemError } from "../../core/error.ts";
import { trustedCache } from "./recorder_build.ts";
import { recorderSources } from "./recorder_sources.ts";
import type { RecordedTrace, RecordRequest } from "./record_request.ts";
import { finishRecording, runTarget, WorkFolder } from "./record_work.ts";
import { checkTarget } from "./target.ts";

/** Stands in a program that has the recorder (csrc/record/hooks/record_calls.c). */
const MARKER = "busbar record hooks, version 1";

/** Functions that the linker has to lead through the recorder. */
const WRAPPED: readonly string[] = [
  "memcpy",
  "memmove",
  "memset",
  "malloc",
  "calloc",
  "realloc",
  "aligned_alloc",
  "posix_memalign",
  "free",
];

const COMPILE_FLAGS: readonly string[] = ["-std=c11", "-O2", "-fvisibility=hidden", "-fPIC"];

const CHUNK_BYTES = 1 << 20;

/** True when the file holds a text. */
function holds(path: string, text: string): boolean {
  const wanted = new TextEncoder().encode(text);
  try {
    using file = Deno.openSync(path);
    const chunk = new Uint8Array(CHUNK_BYTES);
    let kept = 0;
    for (;;) {
      const length = file.readSync(chunk.subarray(kept));
      if (length === null) return false;
      const end = kept + length;
      for (let at = chunk.indexOf(wanted[0] as number); at >= 0 && at + wanted.length <= end;) {
        if (wanted.every((byte, i) => chunk[at + i] === byte)) return true;
        at = chunk.indexOf(wanted[0] as number, at + 1);
      }
      // The text may lie across two pieces.
      kept = Math.min(end, wanted.length - 1);
      chunk.copyWithin(0, end - kept, end);
    }
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}

/**
 * Runs a program that has the recorder in it.
 *
 * @throws {BusbarError} `usage` when it has not; else as `record` of the valgrind tool
 */
export async function recordWithHooks(request: RecordRequest): Promise<RecordedTrace> {
  const program = checkTarget(request.command);
  if (!holds(program, MARKER)) {
    throw new BusbarError("usage", `${program}: was not linked with the recorder`, {
      operation: "record with hooks",
      path: program,
      hint:
        "compile with -fsanitize=thread and link with what cxl_sim record --link-flags prints; or leave --with hooks out",
    });
  }
  using work = WorkFolder.beside(request.output);
  const env = {
    BUSBAR_RECORD_OUT: `${work.path}/trace`,
    BUSBAR_RECORD_LOG: work.logPath,
    BUSBAR_RECORD_FILTER_BYTES: request.all ? "0" : String(request.filterBytes),
    BUSBAR_RECORD_FILTER_WAYS: String(request.filterWays),
    BUSBAR_RECORD_NS: String(request.nsPerInstruction),
    ...(request.maxBytes === null ? {} : { BUSBAR_RECORD_MAX_BYTES: String(request.maxBytes) }),
  };
  const ended = await runTarget(program, request.command.slice(1), env, request);
  request.signal.throwIfAborted();
  return finishRecording(request, work, ended);
}

/**
 * Builds the recorder and gives what has to stand on the line that links a program with it.
 *
 * @param cache the folder for built things of this user
 * @throws {BusbarError} `library` when there is no compiler or no folder
 */
export function hookLinkFlags(cache: string | null, say: (line: string) => void): string[] {
  const folder = recorderSources("hooks", () => trustedCache(cache));
  let names: string[];
  try {
    names = Array.from(Deno.readDirSync(folder), (entry) => entry.name).filter((name) => /\.[ch]$/.test(name)).sort();
  } catch (cause) {
    throw new BusbarError("library", "the recorder is built from its sources, and this program has not got them", {
      operation: "build the recorder",
      path: folder,
      hint: "use a checkout of busbar",
      cause,
    });
  }
  const hash = createHash("sha256").update(COMPILE_FLAGS.join(" "));
  for (const name of names) hash.update(`\0${name}\0`).update(Deno.readFileSync(`${folder}/${name}`));
  const object = `${trustedCache(cache)}/record-hooks-${hash.digest("hex").slice(0, 16)}.o`;
  if (!exists(object)) {
    say(`cxl_sim: building the recorder into ${object}`);
    build(folder, names.filter((name) => name.endsWith(".c")), object);
  }
  return [object, "-pthread", ...WRAPPED.map((name) => `-Wl,--wrap=${name}`)];
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function build(folder: string, names: readonly string[], object: string): void {
  const temporary = `${object}.${Deno.pid}.tmp.o`;
  let output: Deno.CommandOutput;
  try {
    output = new Deno.Command(Deno.env.get("CC") || "gcc", {
      args: [...COMPILE_FLAGS, "-r", "-nostdlib", "-o", temporary, ...names.map((name) => `${folder}/${name}`)],
      stdout: "null",
      stderr: "piped",
      env: { LD_PRELOAD: "" },
    }).outputSync();
  } catch (cause) {
    throw new BusbarError("library", "there is no C compiler to build the recorder", {
      operation: "build the recorder",
      hint: "Debian, Ubuntu: apt-get install gcc libc6-dev",
      cause,
    });
  }
  if (!output.success) {
    const text = new TextDecoder().decode(output.stderr).trim();
    const killed = compilerKilled(output.signal, text);
    if (killed !== null) throw new BusbarError("library", `the recorder: ${killed}`, KILLED_DETAILS);
    throw new BusbarError("library", `the recorder does not compile: ${text.split("\n")[0]}`, {
      operation: "build the recorder",
      hint: `the compiler said:\n${text.slice(0, 4000)}`,
    });
  }
  try {
    Deno.renameSync(temporary, object);
  } catch (cause) {
    throw systemError(cause, "put in place", object);
  }
}
