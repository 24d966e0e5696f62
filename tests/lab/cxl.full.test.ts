/** Regions made by one tool and destroyed by another, interleaved ones, bad input, and a run that is killed. */

import { cxlHealthTest } from "./cxl_health.ts";
import { cxlLongTests, cxlTests } from "./cxl_regions.ts";
import { machine } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { listTests } from "./list.ts";
import { cxlNamespaceTest } from "./namespaces.ts";

const lab = machine("cxl.yaml", import.meta.url);

lspciLinesTest(lab);

listTests(lab);
cxlHealthTest(lab);

cxlTests(lab);
cxlLongTests(lab);
cxlNamespaceTest(lab, "0x3");
