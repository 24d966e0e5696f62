/** Regions made by one tool and destroyed by another, interleaved ones, bad input, and a run that is killed. */

import { cxlLongTests, cxlTests } from "./cxl_regions.ts";
import { machine, onlyLong } from "./lab.ts";

const lab = machine("cxl.yaml", import.meta.url);

cxlLongTests(lab);
cxlTests(onlyLong(lab));
