/** Memory tiers with the lab's usual kernel. */

import { machine } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { tiersTests } from "./tiers.ts";

const lab = machine("tiers.yaml", import.meta.url);

lspciLinesTest(lab);
tiersTests(lab);
