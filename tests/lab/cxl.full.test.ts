/** Regions made by one tool and destroyed by another, interleaved ones, bad input, and a run that is killed. */

import { cxlLongTests, cxlTests } from "./cxl_regions.ts";
import { machine, onlyLong } from "./lab.ts";
import { listTests } from "./list.ts";

const lab = machine("cxl.yaml", import.meta.url);

listTests(lab);

cxlLongTests(lab);
cxlTests(onlyLong(lab));
