/** Kernels that drive a controller: data and queues in the memory of another function; signals in the middle. */

import { gpuNvmeSignalTests } from "./gpu_nvme_signals.ts";
import { machine } from "./lab.ts";
import { gpuNvmeMemoryTests, peerMachine } from "./gpu_nvme_memory.ts";

const lab = machine(await peerMachine(), import.meta.url);

gpuNvmeMemoryTests(lab, 16 << 20);
gpuNvmeSignalTests(lab);
