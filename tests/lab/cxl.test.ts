/** CXL memory devices, windows and regions: made, used and destroyed by cxl_region, and by cxl and daxctl. */

import { cxlTests } from "./cxl_regions.ts";
import { machine } from "./lab.ts";

cxlTests(machine("cxl.yaml", import.meta.url));
