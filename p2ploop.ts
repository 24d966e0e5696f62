import { compareRandomTrees } from "/work/main/tests/unit/random_trees.ts";
compareRandomTrees(3000);
console.log("ok");
