/** Each fuzz target takes its corpus, and 20 seconds of new inputs. */

import { assertEquals } from "@std/assert";

import { findFuzzer, fuzz } from "../fuzz/fuzz.ts";
import { fuzzGuided } from "../fuzz/guided.ts";
import { SCRIPT_TARGETS } from "../fuzz/scripts.ts";
import { FUZZ_TARGETS } from "../fuzz/targets.ts";

const compiler = findFuzzer();

for (const name of Object.keys(FUZZ_TARGETS)) {
  const title = `fuzzing ${name} for 20 seconds finds nothing`;
  Deno.test({
    name: compiler === null ? `${title} (not run: no clang with libFuzzer)` : title,
    ignore: compiler === null,
    fn: async () => {
      const folder = await Deno.makeTempDir({ prefix: "busbar-fuzz-" });
      const { ok, words } = await fuzz(name, compiler ?? "", { seconds: 20 }, folder);
      assertEquals(ok, true, words);
      await Deno.remove(folder, { recursive: true });
    },
  });
}

for (const [name, target] of Object.entries(SCRIPT_TARGETS)) {
  Deno.test(`fuzzing ${name} for 20 seconds finds nothing`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "busbar-fuzz-" });
    const { ok, words } = await fuzzGuided(name, target, { seconds: 20 }, folder);
    assertEquals(ok, true, words);
    await Deno.remove(folder, { recursive: true });
  });
}
