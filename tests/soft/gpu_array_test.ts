/** bb_array of a software GPU, with few pages cached: every set is fought for. */

import { arrayTest } from "./gpu_array.ts";
import { withGpuLibraries } from "./gpu_nvme_device.ts";

withGpuLibraries();
arrayTest(8, 128, 32);
