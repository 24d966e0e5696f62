/** The list of `deno task mutate` fits the sources: what it changes is there, and so are the tests that have to notice. */

import { assert, assertEquals } from "@std/assert";

import { readMutants, textWith } from "../mutate/mutants.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

Deno.test("each place of tests/mutants.json stands in its file exactly once, and the tests that it names exist", async () => {
  const mutants = readMutants(`${ROOT}/tests/mutants.json`);
  assert(mutants.length >= 40, `${mutants.length}`);
  assertEquals(new Set(mutants.map(({ name }) => name)).size, mutants.length, "names are unique");
  const gone: string[] = [];
  for (const mutant of mutants) {
    const changed = textWith(mutant, await Deno.readTextFile(`${ROOT}/${mutant.file}`));
    if (changed === null) gone.push(`${mutant.file}: ${mutant.name}`);
    assert(mutant.tests.length > 0, mutant.name);
    for (const test of mutant.tests) assert((await Deno.stat(`${ROOT}/${test}`)).isFile, test);
  }
  assertEquals(gone, [], "the sources changed: so must tests/mutants.json");
});
