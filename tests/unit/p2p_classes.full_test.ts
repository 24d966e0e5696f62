/** Classes of functions that no verdict tells apart, on as many trees as it takes to meet rare ones. */

import { assert } from "@std/assert";

import { compareRandomTrees } from "./random_trees.ts";

Deno.test("on 200 random trees a pair of classes has the verdict of every pair of their members", () => {
  // About 90 of them; far fewer would say that the trees no longer have equal functions.
  const grouped = compareRandomTrees(200);
  assert(grouped >= 20, `only ${grouped} functions stand for another`);
});
