/** Inputs that reach new code are kept: a guard behind guards, which inputs without memory do not reach, is reached. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { fuzzGuided } from "../fuzz/guided.ts";
import type { ScriptTarget } from "../fuzz/script_target.ts";

const WORD = "pcie";

/** Compares one byte after the other, each in a block of its own. */
function isWord(bytes: Uint8Array): boolean {
  if (bytes[0] === WORD.charCodeAt(0)) {
    if (bytes[1] === WORD.charCodeAt(1)) {
      if (bytes[2] === WORD.charCodeAt(2)) {
        if (bytes[3] === WORD.charCodeAt(3)) {
          return true;
        }
      }
    }
  }
  return false;
}

const target: ScriptTarget = {
  run: (bytes) => Promise.resolve({ problem: isWord(bytes) ? "the word" : null, features: [] }),
  maxBytes: 8,
  words: [...new Set(WORD)],
  places: [0, 1, 2, 3],
};

Deno.test("an input that passes four guards, one behind the other, is found step by step, and written down", async () => {
  const folder = await Deno.makeTempDir({ prefix: "busbar-fuzz-" });
  try {
    const { ok, words } = await fuzzGuided("none", target, { seconds: 0, inputs: 20_000 }, folder);
    assertEquals(ok, false, words);
    assertStringIncludes(words, "the word");
    assertEquals(isWord(await Deno.readFile(`${folder}/crash`)), true);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
