/** 1 GiB through VFIO and through the kernel, compared. */

import { machine } from "./lab.ts";
import { vfioDataTest } from "./vfio_data.ts";

vfioDataTest(machine("nvme.yaml", import.meta.url), "1 GiB", 2 ** 30);
