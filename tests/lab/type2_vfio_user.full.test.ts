/** A CXL Type 2 GPU by vfio-user: the guest of a newer QEMU sees the function itself, and the client's accesses trap. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { servedGpu } from "./type2_gpu.ts";
import { programTests } from "./type2_programs.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const served = servedGpu("vfio-user");
Deno.test.beforeAll(served.start);
Deno.test.afterAll(served.stop);
const lab = machine(served.machine, import.meta.url);

/** A guest of a newer QEMU starts slowly under emulation, and what traps takes its time. */
const LIMITS = { timeoutMs: 600_000 };

/** Where the guest sees it: the only endpoint that is not of the lab's own. */
const ADDRESS = "0000:00:01.0";
const FOLDER = `/sys/bus/pci/devices/${ADDRESS}`;

lab.hostTest(
  "lspci of the guest shows 8086:0d92, class 0502, programming interface 10, with its BARs",
  async (guest) => {
    const said = async (...argv: string[]): Promise<string> => (await guest.run(argv)).stdout.trim();
    assertEquals(await said("lspci", "-Dns", ADDRESS), `${ADDRESS} 0502: 8086:0d92 (rev 01)`);
    assertStringIncludes(await said("lspci", "-Dvvs", ADDRESS), "(prog-if 10 [CXL Memory Device (CXL 2.x)])");
    assertEquals(await said("cat", `${FOLDER}/class`), "0x050210");
    const sizes = (await said("cat", `${FOLDER}/resource`)).split("\n").map((line) => {
      const [start = 0n, end = 0n] = line.trim().split(" ").map(BigInt);
      return end === 0n ? 0 : Number(end - start) + 1;
    });
    assertEquals(sizes.slice(0, 6), [0x10000, 0, 0x200000, 0, 64 << 20, 0]);
  },
  LIMITS,
);

programTests(lab, () => served.device);

lab.test("cxl_gpu info shows the device, whose registers trap", async () => {
  await Deno.writeTextFile(`${FOLDER}/enable`, "1");
  const { code, stdout, stderr } = await runTool("cxl_gpu", ["info", ADDRESS, "--json"]);
  assertEquals(code, 0, stderr);
  const info = JSON.parse(stdout);
  assertEquals([info.generation, info.transport, info.capability], ["v2", "trapped registers", 90]);
}, LIMITS);

lab.test("cxl_gpu run computes saxpy", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/x`, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  const ptx = `${ROOT}tests/fixtures/ptx/saxpy_sm75.ptx`;
  const args = ["run", ADDRESS, ptx, "saxpy", "--block", "32", "--arg", "u32:4", "--arg", "f32:2.5"];
  const ran = await runTool("cxl_gpu", [...args, "--in", `f32:${folder}/x`, "--out", "f32:4"]);
  assertEquals({ code: ran.code, stdout: ran.stdout }, { code: 0, stdout: "2.5 5 7.5 10\n" }, ran.stderr);
}, LIMITS);

lab.test("cxl_gpu copy gives the bytes back, after another process had a session", async () => {
  const copied = await runTool("cxl_gpu", ["copy", ADDRESS, "--size", "64KiB"]);
  assertStringIncludes(copied.stdout, "equal", copied.stderr);
}, LIMITS);

lab.hostTest("the host ran what the guest asked for", () => {
  assert(served.device !== null && served.device.count(0x40) > 0, "kernels were launched");
  return Promise.resolve();
});
