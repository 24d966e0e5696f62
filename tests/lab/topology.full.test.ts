/** The same tree of PCI without an IOMMU: then Linux leaves ACS off, and other verdicts follow. */

import { configTests } from "./config.ts";
import { machine } from "./lab.ts";
import { listTests } from "./list.ts";
import { topologyTests } from "./topology.ts";

const SHIPPED = new URL("../../src/lab/machines/topology.yaml", import.meta.url);

/** The shipped machine with one word changed, as a file of its own. */
async function withoutIommu(): Promise<string> {
  const path = await Deno.makeTempFile({ prefix: "busbar-topology-", suffix: ".yaml" });
  await Deno.writeTextFile(path, (await Deno.readTextFile(SHIPPED)).replace("iommu: true", "iommu: false"));
  return path;
}

const lab = machine(await withoutIommu(), import.meta.url);

listTests(lab);

configTests(lab);

topologyTests(lab, false);
