/** `numa_stats --count`: so many intervals, and a count of what is refused. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";

Deno.test("numa_stats --count ends after so many intervals, one document a line", async () => {
  const { code, stdout, stderr } = await runTool("numa_stats", ["--interval", "20ms", "--count", "3", "--json"]);
  assertEquals(code, 0, stderr);
  const documents = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(documents.map(({ schema }) => schema), Array(3).fill("numa_stats/1"));
});

Deno.test("numa_stats --count without --interval is refused: there is nothing to count", async () => {
  for (const words of [["--count", "3"], ["--count", "3", "--", "true"], ["--count", "3", "--during", "true"]]) {
    const { code, stdout, stderr } = await runTool("numa_stats", words);
    assertEquals([code, stdout], [2, ""] as unknown[], stderr);
    assertStringIncludes(stderr, "--interval");
  }
  const { code, stderr } = await runTool("numa_stats", ["--interval", "20ms", "--count", "1.5"]);
  assertEquals(code, 2, stderr);
});
