/** The comparison with others runs and says of each peer what it measured or why it did not. */

import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

Deno.test("deno task bench:peers measures each peer or says why not, with C as the limit", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${ROOT}/bench/peers/main.ts`, "--no-lab", "--json"],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const { schema, registers, startup } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(schema, "bench_peers/1");
  assertEquals(registers.map(({ peer }: { peer: string }) => peer), [
    ...["C", "busbar", "Node, koffi", "Python, mmap and struct", "Python, ctypes"],
  ]);
  for (const { peer, ns, ratio, notRun } of registers) {
    assert((ns === null) === (typeof notRun === "string"), `${peer}: measured, or a reason`);
    if (ns !== null && ratio !== null) { for (const value of Object.values(ratio)) assert(Number(value) > 0); }
  }
  const [limit, busbar] = registers;
  assertEquals(limit.ratio, { read32: 1, write32: 1, block4k: 1 });
  // A block is one call. As 1024 calls it would be fifteen times the limit.
  assert(busbar.ratio.block4k < 5, `4 KiB block: ${busbar.ratio.block4k} times the limit`);
  assertEquals(startup.map(({ where }: { where: string }) => where), ["host", "host"]);
  assert(startup[0].ms > 0);
});
