/** Kernels that drive a controller: data and queues in another function's memory, what the IOMMU stops, one that stays, and signals. */

import { driveEndTest } from "./drive_ends.ts";
import { gpuNvmeFaultTests, gpuNvmePeerDataTest, peerMachine } from "./gpu_nvme_memory.ts";
import { gpuResidentTest } from "./gpu_resident.ts";
import { machine } from "./lab.ts";

const lab = machine(await peerMachine(), import.meta.url);

gpuNvmePeerDataTest(lab, 16 << 20);
gpuNvmeFaultTests(lab);
gpuResidentTest(lab, 4 << 20);
for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) driveEndTest(lab, "kernels", signal);
