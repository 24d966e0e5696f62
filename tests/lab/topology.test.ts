/** A tree of PCI with everything in it, IOMMU on: pcie_topology against lspci, line by line. */

import { machine } from "./lab.ts";
import { topologyTests } from "./topology.ts";

const lab = machine("topology.yaml", import.meta.url);

topologyTests(lab, true);
