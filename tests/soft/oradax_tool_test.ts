import { assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "./tool.ts";

Deno.test("oradax scan finds 12-bit elements in a file, and says which device it took", async () => {
  const file = await Deno.makeTempFile();
  try {
    // 0x007, 0x123, 0x007, 0xabc and four bits that make no element.
    await Deno.writeFile(file, Uint8Array.of(0x00, 0x71, 0x23, 0x00, 0x7a, 0xbc, 0xf0).subarray(0, 7));
    const args = ["scan", file, "--width", "12", "--value", "7", "--output", "indexes", "--json"];
    const { code, stdout, stderr } = await runTool("oradax", args);
    assertEquals([code, stderr], [0, ""]);
    const result = JSON.parse(stdout);
    assertEquals(
      [result.device, result.elements, result.leftoverBits, result.count, result.head],
      ["soft:oradax", "4", 8, "2", "0000000000000002"],
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("oradax decode explains the kernel document's example", async () => {
  const { code, stdout } = await runTool("oradax", ["decode", "0002030C_1000201F"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "scan value\n");
  assertStringIncludes(stdout, "[31:28] Primary input format: fixed width, bits");
  assertStringIncludes(stdout, "[4:0] Second operand: a value, or the lower bound: not used");
});
