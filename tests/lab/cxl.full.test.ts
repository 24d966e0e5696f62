/** Regions made by one tool and destroyed by another, interleaved ones, and bad input. */

import { cxlLongTests } from "./cxl_regions.ts";
import { machine } from "./lab.ts";

cxlLongTests(machine("cxl.yaml", import.meta.url));
