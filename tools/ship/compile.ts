/**
 * `deno task compile [tool…]`: each tool, and `busbar` with all of them, as one executable file with the C libraries in it.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { nearest } from "../../src/core/locator.ts";
import { TOOLS } from "../manual/catalog.ts";
import { note, print } from "../cli/output.ts";
import { ElapsedProgress } from "../cli/progress.ts";
import { run } from "../cli/run.ts";
import { DATA_FOLDERS, nativeFiles, ROOT, runProgram } from "./payload.ts";

/** All that can be compiled. */
const PROGRAMS: readonly string[] = ["busbar", ...Object.keys(TOOLS)];

/**
 * The arguments of `deno` that compile a program.
 *
 * All permissions: Deno lets a program read /proc, /sys and /dev only with all of them, and calling a C library outweighs
 * them anyway. Not `--bundle`: it moves modules to another place relative to the embedded files.
 */
export function compileArgs(program: string, output: string, natives: readonly string[]): string[] {
  const embedded = [...natives, ...DATA_FOLDERS.map((folder) => `${ROOT}/${folder}`)];
  return [
    ...["compile", "--allow-all", "--no-check", "--exclude-unused-npm", "--output", output],
    ...embedded.flatMap((path) => ["--include", path]),
    `${ROOT}/tools/${program}.ts`,
  ];
}

/** What is said where the runtime for compiled programs cannot be fetched. */
export const NO_RUNTIME: string =
  `the runtime of compiled programs (denort ${Deno.version.deno}) cannot be downloaded: ` +
  `set DENORT_BIN to its file, or put denort-${Deno.build.target}.zip into ` +
  `$DENO_DIR/dl/release/v${Deno.version.deno}/`;

/** The command line of `deno task compile`. */
export const command: CommandUnknownOpts = new Command("compile")
  .description("Make executable files of the tools, each with the Deno runtime and the C libraries in it.")
  .argument("[tool...]", `what to compile; all by default: ${PROGRAMS.join(", ")}`)
  .option("--output <folder>", "where they go", `${ROOT}/dist`)
  .option("--list", "print what each one embeds")
  .action(async (names, options) => {
    for (const name of names) if (!PROGRAMS.includes(name)) throw unknownTool(name);
    const natives = embeddable(nativeFiles());
    await Deno.mkdir(options.output, { recursive: true });
    const folder = await Deno.realPath(options.output);
    for (const name of names.length > 0 ? names : PROGRAMS) {
      const output = `${folder}/${name}`;
      note(`compile: ${name}`);
      const progress = new ElapsedProgress(`compile: ${name}`);
      const { success, text } = await runProgram(Deno.execPath(), compileArgs(name, output, natives))
        .finally(() => progress[Symbol.dispose]());
      if (!success) throw failure(name, text);
      if (options.list) print(text.trim());
      await tryOut(name, output);
      print(output);
    }
  });

/** A runtime that is none, such as Deno itself, makes a file that ignores the program in it. */
async function tryOut(name: string, file: string): Promise<void> {
  const { success, text } = await runProgram(file, ["--help"]);
  if (success && text.startsWith(`Usage: ${name} `)) return;
  throw new BusbarError("mismatch", `${file} was made, and does not behave as ${name}`, {
    operation: "try out the executable",
    path: file,
    hint: Deno.env.has("DENORT_BIN") ? "DENORT_BIN must name denort, not deno" : `${file} --help shows what it does`,
  });
}

function unknownTool(name: string): BusbarError {
  const near = nearest(name, PROGRAMS);
  const hint = near === null ? `there are ${PROGRAMS.join(", ")}` : `did you mean '${near}'?`;
  return new BusbarError("usage", `there is no tool '${name}'`, { hint });
}

/** Embedded files keep their places relative to the modules, so the libraries have to be in the checkout. */
function embeddable(natives: readonly string[]): readonly string[] {
  const outside = natives.find((path) => !path.startsWith(`${ROOT}/build/`));
  if (outside === undefined) return natives;
  throw new BusbarError("library", `${outside} is outside the checkout and cannot be embedded`, {
    operation: "compile",
    path: outside,
    hint: "use a checkout that you may write to, and unset BUSBAR_LIB and its like",
  });
}

function failure(name: string, text: string): BusbarError {
  if (/denort/.test(text)) return new BusbarError("unreachable", NO_RUNTIME, { operation: "deno compile", path: name });
  return new BusbarError("io", `${name} does not compile: ${/error: (.*)/.exec(text)?.[1] ?? text.trim()}`, {
    operation: "deno compile",
    path: name,
    hint: text.trim(),
  });
}

if (import.meta.main) await run(command);
