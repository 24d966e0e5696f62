/** Kernels that drive a controller without an IOMMU, and are killed. */

import { machine } from "./lab.ts";
import { killedTest } from "./no_iommu.ts";

killedTest(machine("nvme-strict.yaml", import.meta.url), "kernels");
