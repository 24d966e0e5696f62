/** A tree of PCI with everything in it, IOMMU on: pcie_topology against lspci, line by line; check_p2p without a GPU. */

import { checkP2pTests } from "./check_p2p.ts";
import { groupTests } from "./group.ts";
import { machine } from "./lab.ts";
import { topologyTests } from "./topology.ts";

const lab = machine("topology.yaml", import.meta.url);

topologyTests(lab, true);
checkP2pTests(lab);
groupTests(lab);
