/**
 * The test suites: what each needs, how it is run, and what came of it.
 * @module
 */

import { BUSBAR, findLibrary } from "../ffi/build.ts";

/** A suite of tests. */
export interface Suite {
  /** What it is called on the command line. */
  readonly name: string;
  /** Arguments of `deno test`, besides those that all have. */
  readonly args: readonly string[];
  /** Environment variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Why this machine cannot run it, or null. */
  readonly missing: string | null;
}

/** One test that was started or left out. */
export interface TestCase {
  /** The file, relative to the checkout. */
  readonly file: string;
  /** The test's name. */
  readonly name: string;
  /** How it ended. */
  readonly outcome: "passed" | "failed" | "ignored";
  /** How long it took. */
  readonly seconds: number;
}

/** What came of a suite. */
export interface SuiteResult {
  /** The suite. */
  readonly suite: Suite;
  /** Its tests; empty when it was not run. */
  readonly cases: readonly TestCase[];
  /** True when `deno test` ended with success and reported at least one test. */
  readonly ok: boolean;
  /** Wall time. */
  readonly seconds: number;
}

/** The long tests: files named `*.full_test.ts`, and `*.full.test.ts` for the lab; and the soft suite under sanitizers. */
export function fullSuites(): Suite[] {
  const sanitize = ["--sanitize-ops", "--sanitize-resources"];
  return [
    {
      name: "full",
      args: [...sanitize, ...fullFiles("tests/unit"), ...fullFiles("tests/soft"), ...fullFiles("tests/consumer")],
      env: {},
      missing: null,
    },
    asanSuite(),
    { name: "full-lab", args: inOrder(fullFiles("tests/lab")), env: {}, missing: null },
  ].filter((suite) => suite.name === "soft-asan" || suite.args.some(isFull));
}

/** The same tests on another kernel take eight minutes more than test:full has: BUSBAR_CURRENT_KERNEL=1 runs them too. */
const BY_HAND = /^(?:tiers|dax|cxl)-current\.full\.test\.ts$/;

/** These count the guests that run, and so run while nobody else boots one. */
const ALONE = longLabFiles("commands", "mechanism", "setup", "example");
/** Then the longest, so that none is last. */
const FIRST = [...ALONE, ...longLabFiles("nvme", "nvme-strict")];

function longLabFiles(...names: readonly string[]): string[] {
  return names.map((name) => `tests/lab/${name}.full.test.ts`);
}

function inOrder(files: readonly string[]): string[] {
  return [...FIRST.filter((file) => files.includes(file)), ...files.filter((file) => !FIRST.includes(file))];
}

function fullFiles(folder: string): string[] {
  const takesAll = Deno.env.get("BUSBAR_CURRENT_KERNEL") === "1";
  return namesIn(folder).filter((name) => isFull(name) && (takesAll || !BY_HAND.test(name))).map((name) =>
    `${folder}/${name}`
  );
}

function isFull(name: string): boolean {
  return name.endsWith(".full_test.ts") || name.endsWith(".full.test.ts");
}

function namesIn(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), (entry) => entry.name).sort();
  } catch {
    return [];
  }
}

/** Every suite of the daily run, from fast to real. */
export function allSuites(): Suite[] {
  return [
    { name: "unit", args: ["--sanitize-ops", "--sanitize-resources", "tests/unit"], env: {}, missing: null },
    {
      name: "soft",
      args: [
        "--sanitize-ops",
        "--sanitize-resources",
        "tests/soft",
        "tests/conformance",
      ],
      env: {},
      missing: noCompiler(),
    },
    // Examples open libraries and rely on the end of the process to close them, so they run without sanitizers.
    { name: "doc", args: ["--doc", "mod.ts", "src", "ffi"], env: {}, missing: noCompiler() },
    { name: "lab", args: labFiles(), env: {}, missing: null },
    { name: "gpu", args: ["tests/gpu"], env: {}, missing: null },
  ].filter((suite) => suite.missing !== null || hasTests(suite));
}

function labFiles(): string[] {
  const names = namesIn("tests/lab").filter((name) => name.endsWith(".test.ts") && !isFull(name));
  return names.map((name) => `tests/lab/${name}`);
}

function hasTests(suite: Suite): boolean {
  const folder = suite.args.find((arg) => arg.startsWith("tests/") && !arg.endsWith(".ts"));
  return folder === undefined || namesIn(folder).some((name) => /[._]test\.ts$/.test(name) && !isFull(name));
}

function noCompiler(): string | null {
  try {
    findLibrary(BUSBAR);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The soft suite again, with the C libraries under AddressSanitizer and UndefinedBehaviorSanitizer. */
function asanSuite(): Suite {
  const runtime = sanitizerRuntime("libasan.so");
  return {
    name: "soft-asan",
    args: ["--sanitize-ops", "--sanitize-resources", "tests/soft", "tests/conformance"],
    env: {
      BUSBAR_VARIANT: "asan",
      LD_PRELOAD: runtime ?? "",
      // Deno itself leaks at exit; leaks of the C libraries are looked for in tests/c.
      ASAN_OPTIONS: "detect_leaks=0:handle_sigbus=0:allow_user_segv_handler=1",
      UBSAN_OPTIONS: "print_stacktrace=1",
    },
    missing: noCompiler() ?? (runtime === null ? "the compiler has no AddressSanitizer runtime (libasan)" : null),
  };
}

/** The full path of a sanitizer's shared library, or null when the compiler has none. */
function sanitizerRuntime(name: string): string | null {
  const [compiler = "cc", ...args] = (Deno.env.get("CC") || "cc").split(/\s+/);
  try {
    const output = new Deno.Command(compiler, { args: [...args, `-print-file-name=${name}`] }).outputSync();
    const path = new TextDecoder().decode(output.stdout).trim();
    return path.startsWith("/") ? path : null;
  } catch {
    return null;
  }
}

/** Runs a suite, with its output on this terminal, nowhere, or in a file. */
export async function runSuite(
  suite: Suite,
  extra: readonly string[] = [],
  output: "inherit" | "null" | `/${string}` = "inherit",
): Promise<SuiteResult> {
  const started = performance.now();
  if (suite.missing !== null) return { suite, cases: [], ok: true, seconds: 0 };
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  try {
    const test = ["test", "-A", "--no-check", `--junit-path=${report}`, ...argumentsOf(suite), ...extra];
    const isFile = output.startsWith("/");
    // Only a shell sends both streams into one file, in order.
    const [program, args] = isFile
      ? ["sh", ["-c", 'file=$1; shift; exec "$@" > "$file" 2>&1', "sh", output, Deno.execPath(), ...test]]
      : [Deno.execPath(), test];
    const stream = output === "inherit" || isFile ? "inherit" : "null";
    const child = new Deno.Command(program, { args, env: suite.env, stdout: stream, stderr: stream }).spawn();
    const { success } = await child.status;
    const cases = parseJunit(await Deno.readTextFile(report));
    return { suite, cases, ok: success && cases.length > 0, seconds: (performance.now() - started) / 1000 };
  } finally {
    await Deno.remove(report);
  }
}

/** The files of a suite, each run by itself by whoever is free. */
export class FileQueue {
  /** The suite. */
  readonly suite: Suite;
  readonly #extra: readonly string[];
  readonly #folder: string;
  readonly #waiting: string[];
  readonly #parts: SuiteResult[] = [];
  readonly #started = performance.now();
  #seconds = 0;

  /** @param folder where the output of each file is kept */
  constructor(suite: Suite, extra: readonly string[], folder: string) {
    this.suite = suite;
    this.#extra = extra;
    this.#folder = folder;
    this.#waiting = suite.missing === null ? argumentsOf(suite) : [];
  }

  /** Runs files until none waits, so many at once; those that have to be alone before. */
  async run(atOnce: number): Promise<void> {
    await this.#runWhile((file) => ALONE.includes(file));
    await Promise.all(Array.from({ length: atOnce }, () => this.#runWhile(() => true)));
  }

  async #runWhile(isWanted: (file: string) => boolean): Promise<void> {
    for (let [file] = this.#waiting; file !== undefined && isWanted(file); [file] = this.#waiting) {
      this.#waiting.shift();
      const log = `${this.#folder}/${file.replaceAll("/", "-")}` as const;
      this.#parts.push(await runSuite({ ...this.suite, args: [file] }, this.#extra, log as `/${string}`));
      this.#seconds = (performance.now() - this.#started) / 1000;
    }
  }

  /** What the files printed. */
  get logs(): string[] {
    return namesIn(this.#folder).map((name) => `${this.#folder}/${name}`);
  }

  /** What came of all files. A file all of whose tests were filtered out is no failure, as it is none in one run. */
  result(): SuiteResult {
    const cases = this.#parts.flatMap((part) => part.cases);
    const ok = this.suite.missing !== null ||
      cases.length > 0 && this.#parts.every((part) => part.ok || (part.cases.length === 0 && this.#extra.length > 0));
    return { suite: this.suite, cases, ok, seconds: this.#seconds };
  }
}

/**
 * The arguments of a suite with the files of its folders, the long tests left out: `--ignore` does not hold for all of
 * several folders (Deno 2.9.6). Sanitizers have nothing to say about what pages show.
 */
export function argumentsOf(suite: Suite): string[] {
  const apart = suite.name === "soft-asan" ? ["tests/soft/console_test.ts"] : [];
  return suite.args.flatMap((arg) => isFolder(arg) && arg.startsWith("tests/") ? testFiles(arg) : [arg])
    .filter((arg) => !apart.includes(arg));
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Test files of a folder and those below it, without the long ones. */
function testFiles(folder: string): string[] {
  return namesIn(folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    if (isFolder(path)) return testFiles(path);
    return /[._]test\.ts$/.test(name) && !isFull(name) ? [path] : [];
  });
}

/** Reads Deno's JUnit report. */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  for (
    const [, attributes = "", selfClosed, body = ""] of xml.matchAll(
      /<testcase ([^>]*?)(?:(\/)>|>([\s\S]*?)<\/testcase>)/g,
    )
  ) {
    const attribute = (name: string): string =>
      unescapeXml(new RegExp(`${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
    const outcome = selfClosed
      ? "passed"
      : /<(failure|error)\b/.test(body)
      ? "failed"
      : /<skipped\b/.test(body)
      ? "ignored"
      : "passed";
    cases.push({
      file: attribute("classname").replace(/^\.\//, ""),
      name: attribute("name"),
      outcome,
      seconds: Number(attribute("time")) || 0,
    });
  }
  return cases;
}

function unescapeXml(text: string): string {
  const named: Readonly<Record<string, string>> = { quot: '"', apos: "'", lt: "<", gt: ">", amp: "&" };
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hexadecimal, name) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    if (hexadecimal !== undefined) return String.fromCodePoint(parseInt(hexadecimal, 16));
    return named[name] ?? whole;
  });
}

/** The table at the end of a run: what ran, what did not and why, and the slowest tests. */
export function summary(results: readonly SuiteResult[]): string[] {
  const count = (result: SuiteResult, outcome: TestCase["outcome"]): number =>
    result.cases.filter((one) => one.outcome === outcome).length;
  const lines = ["", "suite       passed  failed  not run    time"];
  for (const result of results) {
    const numbers = (["passed", "failed", "ignored"] as const).map((outcome) =>
      String(count(result, outcome)).padStart(6)
    );
    const state = result.suite.missing === null ? "" : `  not run: ${result.suite.missing}`;
    const broken = result.ok || count(result, "failed") > 0 ? "" : "  FAILED outside its tests";
    lines.push(
      `${result.suite.name.padEnd(10)}  ${numbers.join("  ")}  ${
        `${result.seconds.toFixed(1)} s`.padStart(9)
      }${state}${broken}`,
    );
  }
  const all = results.flatMap((result) => result.cases);
  const notRun = all.filter((one) => one.outcome === "ignored");
  if (notRun.length > 0) lines.push("", "not run:", ...notRun.map((one) => `  ${one.name} (${one.file})`));
  const failed = all.filter((one) => one.outcome === "failed");
  if (failed.length > 0) lines.push("", "failed:", ...failed.map((one) => `  ${one.name} (${one.file})`));
  const slowest = all.toSorted((a, b) => b.seconds - a.seconds).slice(0, 10);
  lines.push(
    "",
    "slowest:",
    ...slowest.map((one) => `  ${one.seconds.toFixed(2).padStart(7)} s  ${one.name} (${one.file})`),
  );
  return lines;
}
