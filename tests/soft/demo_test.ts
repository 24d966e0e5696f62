import { assertEquals, assertMatch } from "@std/assert";

import { runTool } from "./tool.ts";

Deno.test("the demo shows registers and identity, and verifies what the processor and a kernel wrote", async () => {
  const { code, stdout, stderr } = await runTool("demo", []);
  assertEquals(code, 0, stderr);
  assertMatch(
    stdout,
    /^0x0000 {2}CAP .*[\s\S]*^ +serial number +BUSBAR-SOFT-0001$[\s\S]*^every block is as the pattern says$/m,
  );
  // Written by the processor, written by a kernel and read by it, and read by the processor.
  assertEquals(stdout.match(/^every block is as the pattern says$/gm)?.length, 3);
  assertMatch(stdout, /^write: 1024 × 4 KiB [\s\S]*^1024 commands with \d+ tail and \d+ head doorbells written$/m);
});
