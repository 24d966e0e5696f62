/** A tree of PCI: our tools on it, against lspci and the kernel. */

import { checkP2pTests } from "./check_p2p.ts";
import { machine } from "./lab.ts";

const lab = machine("topology.yaml", import.meta.url);

checkP2pTests(lab);
