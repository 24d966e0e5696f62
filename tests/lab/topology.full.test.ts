/** A tree of PCI, as lspci draws it and as the kernel groups it. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { machine } from "./lab.ts";
import { controllerOf, list, output, read } from "./programs.ts";

const lab = machine("topology.yaml", import.meta.url);

/** The functions on the way from a root complex to a device, as sysfs nests them. */
async function wayTo(path: string): Promise<string[]> {
  return (await Deno.realPath(path)).split("/").filter((part) => /^(?:pci)?[0-9a-f]{4}:/.test(part));
}

async function wayToController(serial: string): Promise<string[]> {
  return await wayTo(`/sys/class/nvme/${await controllerOf(serial)}/device`);
}

lab.test("two controllers sit below one switch, one beside it, one below another root complex", async () => {
  const [a, b, c, d] = await Promise.all(["TOPO-A", "TOPO-B", "TOPO-C", "TOPO-D"].map(wayToController));
  // Root complex, root port, upstream port, downstream port, controller.
  assertEquals([a?.length, b?.length, c?.length, d?.length], [5, 5, 3, 3]);
  assertEquals(a?.slice(0, 3), b?.slice(0, 3));
  assert(a?.[3] !== b?.[3]);
  assert(a?.[1] !== c?.[1]);
  assertEquals([a?.[0], c?.[0], d?.[0]], ["pci0000:00", "pci0000:00", "pci0000:40"]);
  assertEquals(await read(`/sys/class/nvme/${await controllerOf("TOPO-D")}/device/numa_node`), "1");
});

lab.test("lspci knows the switches, the bridge and the devices behind them", async () => {
  const functions = await output("lspci", "-Dnn");
  assertEquals(functions.match(/Switch \(Upstream\)/g)?.length, 2);
  assertEquals(functions.match(/Switch \(Downstream\)/g)?.length, 5);
  assertMatch(functions, /Serial controller .*\[1b36:0002\]/);
  assertMatch(functions, /\[1234:11e8\]/);
  assertMatch(functions, /\[1af4:1110\]/);
  assertMatch(functions, /^0000:81:00\.0 CXL \[0502\]/m);
});

lab.test("BARs: an I/O BAR, one smaller than a page, one that is prefetchable", async () => {
  assertMatch(await output("lspci", "-v", "-d", "1b36:0002"), /I\/O ports at .*\[size=8\]/);
  assertMatch(await output("lspci", "-v", "-d", "1af4:1110"), /Memory at .*\[size=256\]/);
  assertMatch(await output("lspci", "-v", "-d", "1b36:0005"), /64-bit, prefetchable\) \[size=64K\]/);
});

lab.test("root ports separate their devices, switch ports do not", async () => {
  assertStringIncludes(await output("lspci", "-vv", "-d", "1b36:000c"), "Access Control Services");
  const neighbours = async (path: string): Promise<number> => (await list(`${path}/iommu_group/devices`)).length;
  assertEquals(await neighbours(`/sys/class/nvme/${await controllerOf("TOPO-C")}/device`), 1);
  assertEquals(await neighbours(`/sys/class/nvme/${await controllerOf("TOPO-A")}/device`), 2);
});

lab.test("the machine has two nodes, and a CXL memory device that cxl lists", async () => {
  assertMatch(await output("numactl", "-H"), /^available: 2 nodes/);
  const devices = JSON.parse(await output("cxl", "list", "-M"));
  assertEquals(devices.map(({ ram_size, host }: { ram_size: number; host: string }) => [ram_size, host]), [
    [256 << 20, "0000:81:00.0"],
  ]);
});
