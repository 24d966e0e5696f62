/** A CXL Type 2 GPU by vfio-user: the guest of a newer QEMU sees the function itself, and the client's accesses trap. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { output } from "./programs.ts";
import { servedGpu } from "./type2_gpu.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const served = servedGpu("vfio-user");
Deno.test.beforeAll(served.start);
Deno.test.afterAll(served.stop);
const lab = machine(served.machine, import.meta.url);

/** Where the guest sees it. */
async function address(): Promise<string> {
  const line = (await output("lspci", "-Dnn", "-d", "8086:0d92")).trim();
  assertStringIncludes(line, "[8086:0d92]");
  return line.split(" ")[0] ?? "";
}

lab.test("lspci shows 8086:0d92, class 0502, programming interface 10, with its BARs", async () => {
  const text = await output("lspci", "-Dnvvs", await address());
  assertStringIncludes(text, " 0502: 8086:0d92 (rev 01) (prog-if 10");
  const at = await address();
  assertEquals((await Deno.readTextFile(`/sys/bus/pci/devices/${at}/class`)).trim(), "0x050210");
  const sizes = (await Deno.readTextFile(`/sys/bus/pci/devices/${at}/resource`)).trim().split("\n").map((line) => {
    const [start = 0n, end = 0n] = line.split(" ").map(BigInt);
    return end === 0n ? 0 : Number(end - start) + 1;
  });
  assertEquals(sizes.slice(0, 6), [0x10000, 0, 0x200000, 0, 64 << 20, 0]);
});

lab.test("cxl_gpu info shows the device, whose registers trap", async () => {
  const at = await address();
  await Deno.writeTextFile(`/sys/bus/pci/devices/${at}/enable`, "1");
  const { code, stdout, stderr } = await runTool("cxl_gpu", ["info", at, "--json"]);
  assertEquals(code, 0, stderr);
  const info = JSON.parse(stdout);
  assertEquals([info.generation, info.transport, info.capability], ["v2", "trapped registers", 90]);
});

lab.test("cxl_gpu run computes saxpy, and cxl_gpu copy gives the bytes back", async () => {
  const at = await address();
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/x`, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  const ptx = `${ROOT}tests/fixtures/ptx/saxpy_sm75.ptx`;
  const args = ["run", at, ptx, "saxpy", "--block", "32", "--arg", "u32:4", "--arg", "f32:2.5"];
  const ran = await runTool("cxl_gpu", [...args, "--in", `f32:${folder}/x`, "--out", "f32:4"]);
  assertEquals({ code: ran.code, stdout: ran.stdout }, { code: 0, stdout: "2.5 5 7.5 10\n" }, ran.stderr);
  const copied = await runTool("cxl_gpu", ["copy", at, "--size", "3MiB"]);
  assertStringIncludes(copied.stdout, "equal", copied.stderr);
});

lab.hostTest("the host ran what the guest asked for", () => {
  assert(served.device !== null && served.device.count(0x40) > 0, "kernels were launched");
  return Promise.resolve();
});
