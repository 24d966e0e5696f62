/**
 * The trials of tests/hints.yaml: trouble, the remedy that a tool prints for it, and what works then.
 * @module
 */

import { assert } from "@std/assert";
import { parse } from "@std/yaml";

import { TOOLS } from "../tools/manual/catalog.ts";
import { toolArgs } from "./soft/tool.ts";

/** One trial. */
export interface Trial {
  /** What it is about; its `run` by default. */
  readonly name: string;
  /** `here`: it needs no lab machine. */
  readonly where?: "here";
  /** Makes the trouble. */
  readonly given?: string;
  /** Fails, and prints the remedy. */
  readonly run: string;
  /** The remedy as it is printed; of those that need no machine, the hints say it as well. */
  readonly remedy: string;
  /** Succeeds with the remedy; `run` again when not given. */
  readonly then?: string;
  /** Takes away what was made. */
  readonly after?: string;
  /** The hints of the sources that are printed, `…` for what is filled in. */
  readonly hints: readonly string[];
}

/** All trials of the table. */
export async function readTrials(): Promise<Trial[]> {
  const text = await Deno.readTextFile(new URL("hints.yaml", import.meta.url));
  const { trials } = parse(text) as { trials: (Partial<Trial> & Pick<Trial, "run" | "hints">)[] };
  return trials.map((trial) => ({ name: trial.run, remedy: "", ...trial }));
}

/** Makes our tools words of the shell: each call a process. */
function processes(): string {
  return Object.keys(TOOLS).map((name) =>
    `${name}() { '${Deno.execPath()}' ${toolArgs(name, []).map((word) => `'${word}'`).join(" ")} "$@"; }\n`
  ).join("");
}

/** The same, where one process runs all calls. */
function callsOf(folder: string): string {
  const words = Object.keys(TOOLS).map((name) => `${name}() { _tool ${name} "$@"; }\n`).join("");
  return `_tool() {
  env -0 >'${folder}/env'; printf '%s\\0' "$PWD" "$@" >'${folder}/args'; echo >'${folder}/call'
  local status; read -r status <'${folder}/status'; cat '${folder}/stdout'; cat '${folder}/stderr' >&2; return "$status"
}
${words}`;
}

/** No script takes longer, in a lab machine either. */
const TRIAL_LIMIT_MS = 110_000;

/** What a script printed, on both streams, and its status. */
export interface ScriptResult {
  readonly code: number;
  readonly text: string;
}

/** A shell in which our tools are words. All tools run in one process that is started once. */
export class ShellWithTools implements AsyncDisposable {
  readonly #folder: string;
  #server: Deno.ChildProcess;

  constructor() {
    this.#folder = Deno.makeTempDirSync({ prefix: "busbar-trials-" });
    for (const pipe of ["call", "status"]) {
      new Deno.Command("mkfifo", { args: [`${this.#folder}/${pipe}`] }).outputSync();
    }
    this.#server = this.#start();
  }

  /** The server ends with its standard input, so with this process too. */
  #start(): Deno.ChildProcess {
    const server = new URL("tool_server.ts", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--cached-only", server, this.#folder];
    return new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "null" }).spawn();
  }

  async #end(): Promise<void> {
    this.#server.kill("SIGKILL");
    await this.#server.stdin.close();
    await this.#server.status;
  }

  /**
   * Runs a script. One that gives a tool its standard input, or the background, gets a process for each call.
   *
   * @throws {Error} when it takes longer than any should
   */
  async run(script: string, env: Readonly<Record<string, string>> = {}): Promise<ScriptResult> {
    const needsProcesses = /--input -(?:\s|$)|&(?:\s|$)|\bkill\b|\btimeout\b/.test(script.replaceAll("&&", ""));
    const words = needsProcesses ? processes() : callsOf(this.#folder);
    const signal = AbortSignal.timeout(TRIAL_LIMIT_MS);
    const bash = new Deno.Command("bash", { args: ["-c", words + script], env, signal });
    const { code, stdout, stderr } = await bash.output();
    if (signal.aborted) {
      // The server may be in the middle of the call, and would answer it to the next shell.
      await this.#end();
      this.#server = this.#start();
      throw new Error(`not done within ${TRIAL_LIMIT_MS / 1000} s: ${script}`);
    }
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Each hint is in what was printed. */
export function assertPrints(printed: string, hints: readonly string[]): void {
  for (const hint of hints) {
    const parts = hint.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    assert(new RegExp(parts.join("[^\\n]*")).test(printed), `${printed}\nhas no hint '${hint}'`);
  }
}
