/**
 * Builds and runs the accelerator's self-test in C.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The binding, the software device and the test; no other software device, which may not be for this processor. */
function sources(): string[] {
  const soft = Array.from(Deno.readDirSync(`${ROOT}/csrc/soft/oradax`), (entry) => entry.name)
    .filter((name) => name.endsWith(".c")).sort().map((name) => `csrc/soft/oradax/${name}`);
  return ["csrc/oradax.c", "csrc/soft/setting.c", ...soft, "tests/c/oradax_harness.c"]
    .map((file) => `${ROOT}/${file}`);
}

/** Compiles the self-test and runs it, by an emulator where one is needed. It must say "ok" and nothing else. */
export function runHarness(
  compiler: readonly string[],
  emulator: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): void {
  const folder = Deno.makeTempDirSync();
  try {
    const program = `${folder}/harness`;
    const flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", `-I${ROOT}/csrc`];
    const built = run([...compiler, ...flags, "-o", program, ...sources(), "-pthread"], env);
    assert(built.success, built.text);
    const ran = run([...emulator, program], {});
    assertEquals([ran.success, ran.text], [true, "ok\n"] as unknown[]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function run([program = "", ...args]: readonly string[], env: Readonly<Record<string, string>>): {
  success: boolean;
  text: string;
} {
  const output = new Deno.Command(program, { args, env: { LD_PRELOAD: "", ...env } }).outputSync();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { success: output.success, text: text(output.stdout) + text(output.stderr) };
}
