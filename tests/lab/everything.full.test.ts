/** One of each kind of device in one machine. */

import { assertEquals, assertMatch } from "@std/assert";

import { machine } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { listTests } from "./list.ts";
import { memorySimulatorTests } from "./memory_simulator.ts";
import { controllerOf, output } from "./programs.ts";

const lab = machine("everything.yaml", import.meta.url);

lspciLinesTest(lab);

listTests(lab);
memorySimulatorTests(lab, "ivshmem");

lab.test("lspci, nvme, cxl, ndctl and numactl each find their own", async () => {
  const functions = await output("lspci", "-Dnn");
  const ids = ["1234:11e8", "1af4:1110", "1b36:0005", "1b36:0002", "1af4:1005", "104c:8232"];
  for (const id of ids) assertMatch(functions, new RegExp(`\\[${id}\\]`));
  assertEquals(await Promise.all(["EVERY-0", "EVERY-1", "EVERY-2"].map(controllerOf)).then((all) => all.length), 3);
  const memory: { ram_size?: number; pmem_size?: number }[] = JSON.parse(await output("cxl", "list", "-M"));
  assertEquals(memory.map(({ ram_size = 0, pmem_size = 0 }) => [ram_size, pmem_size]).sort(), [
    [0, 256 << 20],
    [256 << 20, 0],
  ]);
  // The persistent CXL memory is an NVDIMM too.
  assertEquals(JSON.parse(await output("ndctl", "list", "-D", "-i")).length, 3);
  assertMatch(await output("numactl", "-H"), /^available: 1 nodes/);
});

lab.hostTest("the removable controller is pulled out, the others stay", async (guest, qmp) => {
  const count = async (): Promise<number> =>
    (await guest.run(["ls", "/sys/class/nvme"])).stdout.trim().split("\n").length;
  assertEquals(await count(), 3);
  await qmp.unplug("nvme0");
  assertEquals(await count(), 2);
});
