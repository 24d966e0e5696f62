/**
 * Runs the tools as their users do: as processes.
 * @module
 */

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
