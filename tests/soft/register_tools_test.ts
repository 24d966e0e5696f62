import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

Deno.test("mmio reads, writes with --write only, says what it found before, and how to undo it", async () => {
  const read = await runTool("mmio", ["soft:nvme", "read", "VS"]);
  assertEquals([read.code, read.stdout.split("\n")[0]], [0, "0x0008  VS  0x00010400  Version"] as unknown[]);
  const refused = await runTool("mmio", ["soft:nvme", "write", "AQA", "7"]);
  assertEquals(refused.code, 2);
  assertStringIncludes(refused.stderr, "--write");
  const masked = ["soft:nvme", "write", "AQA", "0x70000", "--mask", "0xfff0000", "--write", "--json"];
  const written = JSON.parse((await runTool("mmio", masked)).stdout);
  assertEquals([written.before, written.after, written.width], [0, 0x7_0000, 4]);
  assertEquals(written.undo, "mmio 'soft:nvme' write 0x24 0x00000000 --bar 0 --width 4 --write");
  const schema = JSON.parse((await runTool("mmio", ["--json-schema"])).stdout);
  assertEquals(schemaErrors(schema, written), "");
});

Deno.test("mmio poll ends with the value, or with the time limit and the last value", async () => {
  assertEquals((await runTool("mmio", ["soft:nvme", "poll", "CSTS", "0", "--mask", "1"])).code, 0);
  const late = await runTool("mmio", ["soft:nvme", "poll", "CSTS", "1", "--mask", "1", "--timeout", "50ms"]);
  assertEquals(late.code, 3);
  assertMatch(late.stderr, /CSTS & 0x1 = 0x1 \(last 0x00000000\) did not happen within 50 ms/);
});

Deno.test("config reads by name and by offset, and writes nothing but this machine", async () => {
  const read = await runTool("config", ["soft:nvme", "read", "COMMAND", "--json"]);
  const schema = JSON.parse((await runTool("config", ["--json-schema"])).stdout);
  assertEquals(schemaErrors(schema, JSON.parse(read.stdout)), "");
  assertEquals(JSON.parse(read.stdout).offset, 4);
  assertEquals((await runTool("config", ["soft:nvme", "write", "COMMAND", "0", "--write"])).code, 2);
  assertEquals((await runTool("config", ["fffe:00:00.0", "read", "0"])).code, 3);
});

Deno.test("wrong command lines of mmio and config are usage errors", async () => {
  for (
    const [tool, ...args] of [
      ["mmio"],
      ["mmio", "soft:nvme", "read"],
      ["mmio", "soft:nvme", "erase", "0"],
      ["mmio", "soft:nvme", "read", "0x25"],
      ["mmio", "soft:nvme", "write", "AQA", "0x100000000", "--write"],
      ["config", "soft:nvme", "poll", "0"],
    ]
  ) {
    assertEquals((await runTool(tool ?? "", args)).code, 2, args.join(" "));
  }
});
