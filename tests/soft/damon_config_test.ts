import { assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "./tool.ts";

Deno.test("a configuration for another machine is generated where its nodes are not", async () => {
  const memory = ["--memory", "7=0x100000000-0x200000000", "--memory", "9=0x200000000-0x300000000"];
  const made = await runTool("damon_config", ["generate", "--migrate", "7", "9", "--global", ...memory]);
  assertEquals([made.code, made.stderr], [0, ""]);
  for (const part of ["4,294,967,296", "12,884,901,888", "target_nid: 9", "target_nid: 7"]) {
    assertStringIncludes(made.stdout, part);
  }
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/plan.yaml`, made.stdout);
    // From a file nothing of this machine is asked either.
    const lines = await runTool("damon_config", ["generate", "--config", `${folder}/plan.yaml`, "--format", "sysfs"]);
    assertEquals([lines.code, lines.stderr], [0, ""]);
    assertStringIncludes(lines.stdout, "echo 9 >/sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/target_nid");
    await Deno.writeTextFile(`${folder}/cut.yaml`, made.stdout.replace("migrate_cold", "pageout"));
    const refused = await runTool("damon_config", ["generate", "--config", `${folder}/cut.yaml`]);
    assertEquals([refused.code, refused.stdout], [2, ""]);
    assertStringIncludes(refused.stderr, "schemes[0].action");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const missing = await runTool("damon_config", ["generate", "--migrate", "7", "9", ...memory.slice(0, 2)]);
  assertEquals([missing.code, missing.stdout], [2, ""]);
  assertStringIncludes(missing.stderr, "--memory 9=START-END");
  const wrong = await runTool("damon_config", ["generate", "--migrate", "7", "9", "--memory", "7=5-4"]);
  assertEquals(wrong.code, 2);
});
