/** With an IOMMU: every line of lspci -vvv, the matrix of verdicts, recordings of the same tree, check_p2p with a GPU. */

import { checkP2pTests } from "./check_p2p.ts";
import { machine, onlyLong } from "./lab.ts";
import { topologyTests } from "./topology.ts";

const lab = onlyLong(machine("topology.yaml", import.meta.url));

topologyTests(lab, true);
checkP2pTests(lab);
