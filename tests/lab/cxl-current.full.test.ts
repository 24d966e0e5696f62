/** Regions of CXL memory with a current kernel. */

import { withCurrentKernel } from "./current_kernel.ts";
import { cxlLongTests, cxlTests } from "./cxl_regions.ts";
import { machine } from "./lab.ts";

const lab = machine(await withCurrentKernel("cxl.yaml"), import.meta.url);

cxlTests(lab);
cxlLongTests(lab);
