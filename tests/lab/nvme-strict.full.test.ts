/** 1 GiB without an IOMMU and through the kernel, compared. */

import { machine } from "./lab.ts";
import { noIommuDataTest } from "./no_iommu.ts";

noIommuDataTest(machine("nvme-strict.yaml", import.meta.url), "1 GiB", 2 ** 30);
