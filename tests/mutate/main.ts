// deno-lint-ignore-file no-console
/**
 * `deno task mutate [WORD…]`: changes one thing in the sources, runs the tests that should notice, and lists what survived.
 * A guard that can be removed without a test failing is not tested. The places are in tests/mutants.json; words choose those
 * whose names or files contain one of them.
 *
 * It works in a copy of the checkout. Exit status 1: something survived that is not listed with a reason, a listed survivor
 * was caught, or a place is no longer in the sources.
 * @module
 */

import { type Mutant, readMutants, textWith } from "./mutants.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** Longest time of a test file as it is. */
const LIMIT_MS = 600_000;
/**
 * A change that hangs is caught too: with it a test file may take this long, and this many times as long as without it. What
 * changes C code has to be compiled first, and has the longest time.
 */
const [LEAST_LIMIT_MS, LIMIT_FACTOR] = [60_000, 5];

type Outcome = "caught" | "survived" | "does not compile" | "has no place";

interface Ran {
  readonly mutant: Mutant;
  readonly outcome: Outcome;
  /** The first test that failed. */
  readonly by: string;
  readonly seconds: number;
}

/** A copy of the checkout's files as they are now, with the libraries that are built. */
async function copyCheckout(target: string): Promise<void> {
  const git = new Deno.Command("git", {
    args: ["ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    cwd: ROOT,
    stdout: "piped",
  });
  const names = new TextDecoder().decode((await git.output()).stdout).split("\0").filter((name) => name !== "");
  for (const name of names) {
    await Deno.mkdir(`${target}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    try {
      await Deno.copyFile(`${ROOT}/${name}`, `${target}/${name}`);
    } catch (error) {
      // Deleted here, and not yet in git.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  await new Deno.Command("cp", { args: ["-r", `${ROOT}/build`, target], stderr: "null" }).output();
}

interface Tested {
  readonly ok: boolean;
  readonly failed: string;
  readonly text: string;
}

/** Runs test files in the copy, each in a process of its own, until one fails. */
async function runTests(copy: string, tests: readonly string[], limitOf: (test: string) => number): Promise<Tested> {
  let last: Tested = { ok: false, failed: "", text: "no tests" };
  for (const test of tests) {
    last = await runTest(copy, test, limitOf(test));
    if (!last.ok) break;
  }
  return last;
}

/** Runs the test files without any change: how long each takes, or what fails. */
async function runAsTheyAre(copy: string, tests: readonly string[]): Promise<ReadonlyMap<string, number> | Tested> {
  const took = new Map<string, number>();
  for (const test of tests) {
    const started = performance.now();
    const tested = await runTest(copy, test, LIMIT_MS);
    if (!tested.ok) return tested;
    took.set(test, performance.now() - started);
  }
  return took;
}

async function runTest(copy: string, test: string, limitMs: number): Promise<Tested> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "--allow-all", "--no-check", "--fail-fast", test],
    cwd: copy,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
    child.kill("SIGKILL");
  }, limitMs);
  const output = await child.output();
  clearTimeout(timer);
  const text = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  const failed = isOver
    ? `${test} did not end within ${Math.round(limitMs / 1000)} s`
    : /^(.*) \.\.\. FAILED/m.exec(text)?.[1] || (/^error: (.*)/m.exec(text)?.[1] ?? "");
  return { ok: output.success, failed, text };
}

async function tryMutant(copy: string, mutant: Mutant, limitOf: (test: string) => number): Promise<Ran> {
  const started = performance.now();
  const path = `${copy}/${mutant.file}`;
  const original = await Deno.readTextFile(path);
  const changed = textWith(mutant, original);
  if (changed === null) return { mutant, outcome: "has no place", by: "", seconds: 0 };
  try {
    await Deno.writeTextFile(path, changed);
    const { ok, failed, text } = await runTests(copy, mutant.tests, limitOf);
    const outcome = ok
      ? "survived"
      : /does not compile|SyntaxError|is not defined/.test(text)
      ? "does not compile"
      : "caught";
    return { mutant, outcome, by: failed, seconds: (performance.now() - started) / 1000 };
  } finally {
    await Deno.writeTextFile(path, original);
  }
}

/** What is wrong with an outcome, or null. */
function problemOf({ mutant, outcome }: Ran): string | null {
  if (outcome === "does not compile") return "is no change that could be tested";
  if (outcome === "has no place") return "what it changes does not stand there exactly once: tests/mutants.json is old";
  if (outcome === "survived") return mutant.survives === undefined ? "survived" : null;
  return mutant.survives === undefined ? null : "was caught, though it is listed as a survivor: take the reason out";
}

async function main(): Promise<number> {
  const all = readMutants(`${ROOT}/tests/mutants.json`);
  const chosen = all.filter((one) =>
    Deno.args.length === 0 || Deno.args.some((word) => one.name.includes(word) || one.file.includes(word))
  );
  if (chosen.length === 0) {
    console.error(`mutate: nothing is called ${Deno.args.join(" or ")}`);
    return 2;
  }
  const folder = await Deno.makeTempDir({ prefix: "busbar-mutate-" });
  try {
    await copyCheckout(folder);
    const files = [...new Set(chosen.flatMap((one) => one.tests))];
    console.log(`${chosen.length} changes; first the ${files.length} test files without any`);
    const took = await runAsTheyAre(folder, files);
    if ("ok" in took) {
      console.error(took.text, "\nmutate: the tests fail as they are");
      return 1;
    }
    const limitOf = (mutant: Mutant) => (test: string): number =>
      mutant.file.startsWith("csrc/") ? LIMIT_MS : Math.max(LEAST_LIMIT_MS, LIMIT_FACTOR * (took.get(test) ?? 0));
    let problems = 0;
    for (const [at, mutant] of chosen.entries()) {
      const ran = await tryMutant(folder, mutant, limitOf(mutant));
      const problem = problemOf(ran);
      if (problem !== null) problems++;
      const end = problem !== null
        ? `${ran.outcome.toUpperCase()}: ${problem}`
        : ran.outcome === "caught"
        ? `caught by: ${ran.by}`
        : `survives: ${mutant.survives}`;
      console.log(
        `${at + 1}/${chosen.length} ${mutant.file}: ${mutant.name} (${ran.seconds.toFixed(0)} s)\n    ${end}`,
      );
    }
    console.log(problems === 0 ? "no survivor without a reason" : `${problems} to look at`);
    return problems === 0 ? 0 : 1;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.exitCode = await main();
