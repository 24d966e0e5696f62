/** A CXL Type 2 GPU with a doorbell, in a guest of a stock QEMU: ivshmem-doorbell gets the file from the device itself. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { servedGpu } from "./type2_gpu.ts";

const ADDRESS = "0000:00:01.0";
const served = servedGpu("doorbell");
Deno.test.beforeAll(served.start);
Deno.test.afterAll(served.stop);
const lab = machine(served.machine, import.meta.url);

lab.test("the client finds the device and copies, ringing the doorbell", async () => {
  await Deno.writeTextFile(`/sys/bus/pci/devices/${ADDRESS}/enable`, "1");
  const info = await runTool("cxl_gpu", ["info", ADDRESS, "--json"]);
  assertEquals(info.code, 0, info.stderr);
  assertEquals(JSON.parse(info.stdout).transport, "shared memory");
  const copied = await runTool("cxl_gpu", ["copy", ADDRESS, "--size", "3MiB"]);
  assertStringIncludes(copied.stdout, "equal", copied.stderr);
}, { timeoutMs: 600_000 });

lab.hostTest("the host ran what the guest asked for", () => {
  assert(served.device !== null && served.device.count(0x70) > 0, "bytes were copied");
  return Promise.resolve();
});
