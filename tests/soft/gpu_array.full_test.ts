/** bb_array with the 4,096 threads of docs/design/gpu_nvme.md: on a software GPU of few processors they take most of a minute. */

import { arrayTest } from "./gpu_array.ts";
import { withGpuLibraries } from "./gpu_nvme_device.ts";

withGpuLibraries();
arrayTest(16, 256, 64);
