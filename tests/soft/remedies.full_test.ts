/** The remedies that tools print for soft devices and plain files, tried: the trials of tests/hints.yaml that need no machine. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { assertPrints, readTrials, ShellWithTools } from "../trials.ts";

let shell: ShellWithTools;
Deno.test.beforeAll(() => {
  shell = new ShellWithTools();
});
Deno.test.afterAll(async () => await shell[Symbol.asyncDispose]());

for (const { name, where, given, run, remedy, then = run, hints } of await readTrials()) {
  if (where !== "here") continue;
  Deno.test(`what is printed for ${name} works`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const env = { T: folder, C: "tests/fixtures/cases", BUSBAR_JOURNAL_DIR: `${folder}/journals` };
      if (given !== undefined) assertEquals((await shell.run(`set -e; ${given}`, env)).code, 0);
      const before = await shell.run(run, env);
      assert(before.code !== 0, `${run} succeeds: there is nothing to mend`);
      assertStringIncludes(before.text, remedy);
      assertPrints(before.text, hints);
      const mended = await shell.run(`set -e; ${then}`, env);
      assertEquals(mended.code, 0, mended.text);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
