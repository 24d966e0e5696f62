/**
 * Builds a fuzz target and runs it: over its corpus, then with new inputs for a time.
 * @module
 */

import { FUZZ_TARGETS, type FuzzTarget } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const COMPILERS = ["clang", "clang-14", "clang-15", "clang-16", "clang-17", "clang-18", "clang-19"];

/** How long new inputs are made; 0 seconds take the corpus only. */
export type FuzzLength = { readonly seconds: number } | { readonly runs: number };

/** How a run ended. */
export interface FuzzResult {
  readonly ok: boolean;
  /** What the target said last. */
  readonly words: string;
}

/** A clang that has libFuzzer, or null. */
export function findFuzzer(): string | null {
  return COMPILERS.find((name) => {
    try {
      const args = ["-fsanitize=fuzzer", "-x", "c", "-", "-o", "/dev/null"];
      const source = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { (void)d; (void)n; return 0; }";
      const child = new Deno.Command("sh", {
        args: ["-c", `echo '${source}' | "$0" "$@"`, name, ...args],
        stdout: "null",
        stderr: "null",
      });
      return child.outputSync().success;
    } catch {
      return false;
    }
  }) ?? null;
}

function filesOf(target: FuzzTarget): string[] {
  return target.sources.flatMap((source) => {
    const path = `${ROOT}/${source}`;
    if (source.endsWith(".c")) return [path];
    return Array.from(Deno.readDirSync(path), (entry) => entry.name).filter((name) => name.endsWith(".c")).sort()
      .map((name) => `${path}/${name}`);
  });
}

/**
 * Builds `tests/fuzz/NAME.c` and runs it.
 *
 * @param folder where the program and what it finds go; crashing inputs stay there
 */
export async function fuzz(name: string, compiler: string, length: FuzzLength, folder: string): Promise<FuzzResult> {
  const target = FUZZ_TARGETS[name];
  if (target === undefined) {
    throw new Error(`no target '${name}'; there are ${Object.keys(FUZZ_TARGETS).join(", ")}`);
  }
  const program = `${folder}/${name}`;
  const flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"];
  const includes = target.includes.flatMap((path) => ["-I", `${ROOT}/${path}`]);
  const sources = [`${ROOT}/tests/fuzz/${name}.c`, ...filesOf(target)];
  const built = await new Deno.Command(compiler, {
    args: [...flags, ...includes, "-o", program, ...sources, ...target.libraries],
  }).output();
  if (!built.success) return { ok: false, words: new TextDecoder().decode(built.stderr) };

  const found = `${folder}/found_${name}`;
  await Deno.mkdir(found, { recursive: true });
  const corpus = `${ROOT}/tests/fuzz/corpus/${name}`;
  const dictionary = `${ROOT}/tests/fuzz/${name}.dict`;
  const limits = ["-timeout=10", "-rss_limit_mb=2048", `-max_len=${target.maxBytes}`, `-artifact_prefix=${folder}/`];
  const time = "runs" in length
    ? [`-runs=${length.runs}`]
    : length.seconds === 0
    ? ["-runs=0"]
    : [`-max_total_time=${length.seconds}`];
  const words = await exists(dictionary) ? [`-dict=${dictionary}`] : [];
  const { success, stderr } = await new Deno.Command(program, {
    args: [...limits, ...time, ...words, found, corpus],
    env: { ASAN_OPTIONS: "allocator_may_return_null=1", UBSAN_OPTIONS: "print_stacktrace=1" },
    stdout: "null",
  }).output();
  return { ok: success, words: new TextDecoder().decode(stderr).split("\n").slice(-40).join("\n") };
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
