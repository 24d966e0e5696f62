/** Kernels that drive a controller: data and queues in another function's memory, what the IOMMU stops, and signals. */

import { gpuNvmeFaultTests, gpuNvmePeerDataTest, peerMachine } from "./gpu_nvme_memory.ts";
import { gpuNvmeSignalTests } from "./gpu_nvme_signals.ts";
import { machine } from "./lab.ts";

const lab = machine(await peerMachine(), import.meta.url);

gpuNvmePeerDataTest(lab, 16 << 20);
gpuNvmeFaultTests(lab);
gpuNvmeSignalTests(lab);
