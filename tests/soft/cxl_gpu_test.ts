/** The tool cxl_gpu: documents, bad input; and copies of every awkward size with the commands that they should take. */

import { assertEquals, assertMatch } from "@std/assert";

import { documentSchema } from "../../tools/cli/run.ts";
import { infoSchema } from "../../tools/render/type2/info.ts";
import { copySchema, runSchema } from "../../tools/render/type2/run.ts";
import { schemaErrors } from "../unit/schema.ts";
import { badInputIsExplained, runTool } from "./tool.ts";
import { Served, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const SCHEMA = documentSchema("cxl_gpu", [infoSchema(), runSchema(), copySchema()]);
const PTX = new URL("../fixtures/ptx/saxpy_sm75.ptx", import.meta.url).pathname;

for (const [profile, dataBytes] of [["v1", 0xf000], ["v2", 1 << 20]] as const) {
  Deno.test(`copies around DATA over a shared file, ${profile}: equal, with as few commands as can be`, async () => {
    await using served = Served.start({ profile }, 16 << 20);
    using gpu = served.open();
    await gpu.begin();
    const pointer = await gpu.allocate(4 << 20);
    for (const size of [1, dataBytes - 1, dataBytes, dataBytes + 1, 3 * dataBytes + 5]) {
      const before = served.device.count();
      const bytes = Uint8Array.from({ length: size }, (_, i) => Math.imul(i + size, 2654435761) >>> 24);
      await gpu.write(pointer, bytes);
      assertEquals(await gpu.read(pointer, size), bytes, `${size} bytes`);
      // In one piece through BAR4 where that is offered and DATA is too small, else DATA by DATA.
      const pieces = profile === "v2" ? 1 : Math.ceil(size / dataBytes);
      assertEquals(served.device.count() - before, 2 * pieces, `${size} bytes`);
    }
    await gpu.end();
  });
}

Deno.test("info, run and copy print documents that fit their schema", async () => {
  const device = "soft:type2?memory=16MiB";
  const saxpy = ["run", device, PTX, "saxpy", "--block", "32", "--arg", "u32:4", "--arg", "f32:2"];
  for (
    const args of [["info", device], ["copy", device, "--size", "3MiB"], [...saxpy, "--in", "f32:4", "--out", "f32:4"]]
  ) {
    const { code, stdout, stderr } = await runTool("cxl_gpu", [...args, "--json"]);
    assertEquals(code, 0, stderr);
    assertEquals(schemaErrors(SCHEMA, JSON.parse(stdout)), "", args[0]);
  }
});

Deno.test("bad input is one line and a remedy", async () => {
  await badInputIsExplained("cxl_gpu", [
    [["info", "0000:7f:1f.7"], 3, "absent", "0000:7f:1f.7"],
    [["info", "type2:/dev/shm/there-is-none"], 3, "absent", "no such file"],
    [["info", `type2:${PTX}`], 2, "malformed", "as short"],
    [["info", "soft:nvme"], 2, "usage", "nothing that cxl_gpu can open"],
    [["info", "soft:type2?profile=v3"], 2, "usage", "no profile 'v3'"],
    [["info", "soft:type2?bakend=none"], 2, "usage", "'bakend'"],
    [["info", "soft:type2?backend=cuda:/no/lib.so"], 3, "library", "/no/lib.so"],
    [["run", "soft:type2", PTX, "nobody"], 3, "absent", "no kernel 'nobody'"],
    [["run", "soft:type2", PTX, "saxpy"], 2, "usage", "takes 4 arguments"],
    [["run", "soft:type2", "/no/file.ptx", "k"], 3, "absent", "/no/file.ptx"],
  ], SCHEMA);
});

Deno.test("serve without a file, and with a size that is no power of two, says what to write", async () => {
  for (
    const [args, part] of [[[], "nothing to serve"], [["--file", "/dev/shm/x,size=17MiB"], "17825792 bytes"]] as const
  ) {
    const { code, stderr } = await runTool("cxl_gpu", ["serve", ...args]);
    assertEquals(code, 2);
    assertMatch(stderr, new RegExp(`^cxl_gpu: .*${part}.*\\n {2}hint: `));
  }
});

Deno.test("decode explains a shared file", async () => {
  await using served = Served.start({ memory: String(16 << 20) }, 16 << 20);
  const { code, stdout } = await runTool("cxl_gpu", ["decode", served.path]);
  assertEquals(code, 0);
  assertMatch(stdout, /0x0+\s+MAGIC\s+0x43584c32/i);
  assertMatch(stdout, /EPOCH\s+1\b/);
});
