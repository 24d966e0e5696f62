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
  readonly name: string;
  /** `here`: it needs no lab machine. */
  readonly where?: "here";
  /** Makes the trouble. */
  readonly given?: string;
  /** Fails, and prints the remedy. */
  readonly run: string;
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
  return (parse(text) as { trials: Trial[] }).trials;
}

/** Makes our tools words of the shell. */
function prologue(): string {
  return Object.keys(TOOLS).map((name) =>
    `${name}() { '${Deno.execPath()}' ${toolArgs(name, []).map((word) => `'${word}'`).join(" ")} "$@"; }\n`
  ).join("");
}

/** Runs a script in which our tools are words. */
export async function shellWithTools(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly text: string }> {
  const { code, stdout, stderr } = await new Deno.Command("bash", { args: ["-c", prologue() + script], env }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** Each hint is in what was printed. */
export function assertPrints(printed: string, hints: readonly string[]): void {
  for (const hint of hints) {
    const parts = hint.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    assert(new RegExp(parts.join("[^\\n]*")).test(printed), `${printed}\nhas no hint '${hint}'`);
  }
}
