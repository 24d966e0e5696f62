/** Namespaces of NVDIMMs, made and destroyed by busbar and by ndctl; all that there is in the machine. */

import { machine } from "./lab.ts";
import { listTests } from "./list.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { namespaceTests } from "./namespaces.ts";

const lab = machine("dax.yaml", import.meta.url);

listTests(lab);
lspciLinesTest(lab);
namespaceTests(lab);
