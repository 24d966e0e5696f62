/**
 * Runs the tools as their users do: as processes.
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** How a tool ended. */
export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The arguments of `deno` that run a tool. */
export function toolArgs(tool: string, args: readonly string[]): string[] {
  return ["run", "-A", "--no-check", "--cached-only", `${ROOT}/tools/${tool}.ts`, ...args];
}

/** Runs a tool to its end. */
export async function runTool(
  tool: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ToolResult> {
  const output = await new Deno.Command(Deno.execPath(), { args: toolArgs(tool, args), env }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

/** Arguments, exit status, error code, and a part of the line. */
export type BadInput = readonly [args: readonly string[], status: number, code: string, part: string];

/** Every bad input is one line, a hint and its exit status; with `--json` one document; never a stack. */
export async function badInputIsExplained(tool: string, bad: readonly BadInput[], schema: unknown): Promise<void> {
  for (const [args, status, errorCode, part] of bad) {
    const { code, stdout, stderr } = await runTool(tool, [...args, "--json"]);
    const what = `${tool} ${args.join(" ")}: ${stderr}`;
    assertEquals(code, status, what);
    const lines = stderr.trimEnd().split("\n");
    assert(lines.length <= 2 && lines[0]?.startsWith(`${tool}: `), what);
    assertStringIncludes(lines[0] ?? "", part);
    if (lines.length === 2) assertMatch(lines[1] ?? "", /^ {2}hint: /);
    assert(!/\n\s+at /.test(stderr), what);
    const document = JSON.parse(stdout);
    assertEquals(schemaErrors(schema, document), "", what);
    assertEquals(document.error.code, errorCode, what);
  }
}
