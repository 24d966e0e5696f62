/** `lab run a.yaml + b.yaml`: two guests that share memory and a network. */

import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";

import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import { runTool } from "../soft/tool.ts";

const PROGRAM = new URL("./exchange.py", import.meta.url).pathname;
const BYTES = 64 << 20;

function description(size: string): string {
  return [
    "purpose: one of two hosts that share memory",
    "cpus: 1",
    "memory: 1GiB",
    "devices:",
    `  - { type: ivshmem-plain, id: common, size: ${size}, shared: true }`,
    "",
  ].join("\n");
}

Deno.test({
  ...unless(
    whyNoLab(),
    "two guests exchange 64 MiB through shared memory, both ways at once, and find each other's checksums",
  ),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const name of ["a", "b"]) await Deno.writeTextFile(`${folder}/${name}.yaml`, description("16MiB"));
      const machines = [`${folder}/a.yaml`, "+", `${folder}/b.yaml`];
      const { code, stdout, stderr } = await runTool("lab", ["run", ...machines, "--", "python3", PROGRAM]);
      assertEquals(code, 0, stdout + stderr);
      const lines = stdout.trim().split("\n").sort();
      assertEquals(lines.length, 2, stdout);
      const [a, b] = lines.map((line) =>
        /^([ab]): sent (\d+) ([0-9a-f]{64}) received (\d+) ([0-9a-f]{64}) meanwhile (\d+)$/.exec(line)?.slice(1) ?? []
      );
      assert(a !== undefined && b !== undefined);
      assertEquals([a[0], b[0], a[1], b[1]], ["a", "b", `${BYTES}`, `${BYTES}`]);
      assertEquals([a[2], a[4]], [b[4], b[2]], "what one sent, the other one received");
      assertNotEquals(a[2], b[2]);
      // With seven slots a ring, nobody can send all before it receives.
      assert(Number(a[5]) > 0 && Number(b[5]) > 0, stdout);
      // A guest that fails says so by the status, and what both print is told apart.
      await Deno.writeTextFile(`${folder}/b.yaml`, description("32MiB"));
      const refused = await runTool("lab", ["run", ...machines, "--", "true"]);
      assertEquals(refused.code, 2);
      assertStringIncludes(refused.stderr, "its sizes differ: 16777216 and 33554432 bytes");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
