/** The remedies that tools print, run as they are printed: the trials of tests/hints.yaml. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";

import { toolArgs } from "../soft/tool.ts";
import { TOOLS } from "../../tools/manual/catalog.ts";
import { machine } from "./lab.ts";

interface Trial {
  readonly name: string;
  readonly given?: string;
  readonly run: string;
  readonly remedy: string;
  readonly then?: string;
  readonly after?: string;
  readonly hints: readonly string[];
}

const { trials } = parse(await Deno.readTextFile(new URL("../hints.yaml", import.meta.url))) as { trials: Trial[] };

const lab = machine("dax.yaml", import.meta.url);

/** Makes our tools words of the shell. */
function prologue(): string {
  return Object.keys(TOOLS).map((name) =>
    `${name}() { '${Deno.execPath()}' ${toolArgs(name, []).map((word) => `'${word}'`).join(" ")} "$@"; }\n`
  ).join("");
}

async function shell(script: string): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command("bash", { args: ["-c", prologue() + script] }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

for (const { name, given, run, remedy, then = run, after, hints } of trials) {
  lab.test(`what is printed for ${name} works as it is printed`, async () => {
    if (given !== undefined) {
      const { code, text } = await shell(`set -e; ${given}`);
      assertEquals(code, 0, text);
    }
    const before = await shell(run);
    assert(before.code !== 0, `${run} succeeds: there is nothing to mend`);
    assertStringIncludes(before.text, remedy);
    for (const hint of hints) {
      const parts = hint.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      assert(new RegExp(parts.join("[^\\n]*")).test(before.text), `${before.text}\nhas no hint '${hint}'`);
    }
    // Options, and what stands in the middle of a command line, are tried by `then`.
    const isCommand = !/^--|^dd |^dump_bar0 /.test(remedy);
    if (isCommand) {
      const { code, text } = await shell(`set -e; ${remedy.replaceAll(" and ", "; ")}`);
      assertEquals(code, 0, `${remedy}: ${text}`);
    }
    const mended = await shell(then);
    assertEquals(mended.code, 0, mended.text);
    if (after !== undefined) await shell(after);
  });
}
