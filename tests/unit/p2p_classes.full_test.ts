/** Classes of functions that no verdict tells apart, on as many trees as it takes to meet rare ones. */

import { compareRandomTrees } from "./random_trees.ts";

Deno.test("on 200 random trees a pair of classes has the verdict of every pair of their members", () =>
  compareRandomTrees(200));
