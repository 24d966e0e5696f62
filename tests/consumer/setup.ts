/**
 * What the tests of busbar from outside share: the program, and running Deno as somebody else's project does.
 * @module
 */

import { assertEquals } from "@std/assert";

/** The checkout. */
export const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The program of tests/consumer/program.ts, with busbar imported from another place. */
export function programFor(specifier: (part: string) => string): string {
  return Deno.readTextFileSync(`${ROOT}/tests/consumer/program.ts`)
    .replace(/"@busbar\/busbar(\/\w+)?"/g, (_whole, part: string | undefined) => JSON.stringify(specifier(part ?? "")));
}

/** The module of a part of busbar, below its root. */
export function moduleOf(part: string): string {
  return part === "" ? "mod.ts" : `src${part}/mod.ts`;
}

/** What that program prints. */
export const EXPECTED: Readonly<Record<string, unknown>> = {
  version: "10400",
  serial: "CONSUMER",
  decoded: 2,
  elements: 3,
  class: "NVMe controller",
  identify: "Identify",
  expired: false,
};

/** What a program wrote, and how it ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string>; readonly clearEnv?: boolean } = {},
): Promise<Ended> {
  const output = await new Deno.Command(program, {
    args: [...args],
    ...options,
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

/** Type-checks the program `use.ts` in a folder, then runs it, and compares what it prints. */
export async function checkAndRun(folder: string, file: string, env: Record<string, string> = {}): Promise<void> {
  const checked = await run(Deno.execPath(), ["check", "--no-lock", "--allow-import", file], { cwd: folder, env });
  assertEquals(checked.code, 0, checked.stderr);
  const ended = await run(Deno.execPath(), ["run", "-A", "--no-lock", file], { cwd: folder, env });
  assertEquals(ended.code, 0, ended.stderr);
  assertEquals(JSON.parse(ended.stdout), EXPECTED);
}

/** Runs a body with a folder of its own, outside the checkout. */
export async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-consumer-" });
  try {
    await body(folder);
  } finally {
    await new Deno.Command("chmod", { args: ["-R", "u+w", folder] }).output();
    await Deno.remove(folder, { recursive: true });
  }
}
