/** Kernels that drive a controller: what the IOMMU stopped, and signals in the middle. */

import { gpuNvmeFaultTests, peerMachine } from "./gpu_nvme_memory.ts";
import { gpuNvmeSignalTests } from "./gpu_nvme_signals.ts";
import { machine } from "./lab.ts";

const lab = machine(await peerMachine(), import.meta.url);

gpuNvmeFaultTests(lab);
gpuNvmeSignalTests(lab);
