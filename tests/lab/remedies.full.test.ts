/** The remedies that tools print, run as they are printed: the trials of tests/hints.yaml. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { TEST_RUNNER_VARIABLE } from "../../src/lab/test_registry.ts";
import { assertPrints, readTrials, ShellWithTools } from "../trials.ts";
import { machine } from "./lab.ts";

const trials = (await readTrials()).filter(({ where }) => where === undefined);

const lab = machine("dax.yaml", import.meta.url);

// In the guest it is there before the first test, and goes with the machine.
let shell = Deno.env.has(TEST_RUNNER_VARIABLE) ? new ShellWithTools() : null;

for (const { name, given, run, remedy, then = run, after, hints } of trials) {
  lab.test(`what is printed for ${name} works as it is printed`, async () => {
    shell ??= new ShellWithTools();
    if (given !== undefined) {
      const { code, text } = await shell.run(`set -e; ${given}`);
      assertEquals(code, 0, text);
    }
    const before = await shell.run(run);
    assert(before.code !== 0, `${run} succeeds: there is nothing to mend`);
    assertStringIncludes(before.text, remedy);
    assertPrints(before.text, hints);
    // Options, and what stands in the middle of a command line, are tried by `then`.
    const isCommand = !/^--|^dd |^dump_bar0 /.test(remedy);
    if (isCommand) {
      const { code, text } = await shell.run(`set -e; ${remedy.replaceAll(" and ", "; ")}`);
      assertEquals(code, 0, `${remedy}: ${text}`);
    }
    const mended = await shell.run(then);
    assertEquals(mended.code, 0, mended.text);
    if (after !== undefined) await shell.run(after);
  });
}
