import { assertEquals, assertMatch } from "@std/assert";

import { runTool } from "./tool.ts";

Deno.test("the demo shows registers and identity, and verifies what it wrote", async () => {
  const { code, stdout, stderr } = await runTool("demo", []);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(
    stdout,
    /^0x0000 {2}CAP .*[\s\S]*^ +serial number +BUSBAR-SOFT-0001$[\s\S]*^every block is as the pattern says$/m,
  );
});
