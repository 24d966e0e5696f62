// deno-lint-ignore-file no-console
/**
 * `deno task fuzz TARGET --minutes N`: fuzzes one target; without a target, lists them. `--runs N` gives a target in C so
 * many inputs, however long they take. What crashes it is left in a folder that is named, and belongs into its corpus.
 * @module
 */

import { findFuzzer, fuzz } from "./fuzz.ts";
import { fuzzGuided } from "./guided.ts";
import { SCRIPT_TARGETS } from "./scripts.ts";
import { FUZZ_TARGETS } from "./targets.ts";

const OPTIONS: readonly string[] = ["--minutes", "--runs"];

function numberOf(option: string): number | null {
  const at = Deno.args.indexOf(option);
  return at < 0 ? null : Number(Deno.args[at + 1]);
}

const minutes = numberOf("--minutes") ?? 1;
const runs = numberOf("--runs");
const [name] = Deno.args.filter((word, at) => !word.startsWith("-") && !OPTIONS.includes(Deno.args[at - 1] ?? ""));
const compiler = findFuzzer();
const names = [...Object.keys(FUZZ_TARGETS), ...Object.keys(SCRIPT_TARGETS)];
const script = name !== undefined && Object.hasOwn(SCRIPT_TARGETS, name) ? SCRIPT_TARGETS[name] : undefined;
if (name === undefined || !names.includes(name) || !(minutes >= 0) || !(runs === null || runs >= 1)) {
  console.error(`usage: deno task fuzz TARGET [--minutes N | --runs N]; targets: ${names.join(", ")}`);
  Deno.exitCode = 2;
} else if (script === undefined && compiler === null) {
  console.error("there is no clang with libFuzzer; the packages clang and libclang-rt-dev have it");
  Deno.exitCode = 3;
} else {
  const folder = await Deno.makeTempDir({ prefix: `busbar-fuzz-${name}-` });
  const seconds = Math.round(minutes * 60);
  const { ok, words } = script === undefined
    ? await fuzz(name, compiler ?? "", runs === null ? { seconds } : { runs }, folder)
    : await fuzzGuided(name, script, { seconds }, folder);
  console.log(words);
  console.log(ok ? `${name}: nothing found` : `${name}: found something, see ${folder}`);
  if (ok) await Deno.remove(folder, { recursive: true });
  Deno.exitCode = ok ? 0 : 1;
}
