/** With an IOMMU: every line of lspci -vvv, the matrix of verdicts, and recordings of the same tree. */

import { machine, onlyLong } from "./lab.ts";
import { topologyTests } from "./topology.ts";

topologyTests(onlyLong(machine("topology.yaml", import.meta.url)), true);
