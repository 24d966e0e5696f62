/** Regions over two devices, interleaved at 256 and at 4096 bytes. */

import { interleaveTest } from "./cxl_regions.ts";
import { machine } from "./lab.ts";

interleaveTest(machine("cxl.yaml", import.meta.url));
