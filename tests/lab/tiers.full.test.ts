/** A slow memory tier, made from an NVDIMM with a node of its own. */

import { assertEquals, assertMatch } from "@std/assert";

import { machine } from "./lab.ts";
import { list, output, read } from "./programs.ts";

const lab = machine("tiers.yaml", import.meta.url);

lab.test("the NVDIMM becomes node 1: without processors, in a tier of its own, and processes can be bound to it", async () => {
  assertMatch(await output("numactl", "-H"), /^available: 1 nodes/);
  const made = JSON.parse(await output("ndctl", "create-namespace", "-f", "-e", "namespace0.0", "-m", "devdax"));
  assertEquals(made.daxregion.devices[0].target_node, 1);
  await output("daxctl", "reconfigure-device", "-m", "system-ram", "--force", "dax0.0");
  const hardware = await output("numactl", "-H");
  assertMatch(hardware, /^available: 2 nodes \(0-1\)$/m);
  assertMatch(hardware, /^node 1 cpus: *$/m);
  assertMatch(hardware, /^ +0: +10 +40 *$/m);
  const folder = "/sys/devices/virtual/memory_tiering";
  const tiers = (await list(folder)).filter((name) => /^memory_tier\d+$/.test(name));
  const nodes = await Promise.all(tiers.map((tier) => read(`${folder}/${tier}/nodelist`)));
  assertEquals(nodes.sort(), ["0", "1"]);
  await output("numactl", "--membind=1", "true");
});
