/** Kernels that drive a controller: data and queues in the memory of another function. */

import { gpuNvmePeerDataTest, peerMachine } from "./gpu_nvme_memory.ts";
import { machine } from "./lab.ts";

gpuNvmePeerDataTest(machine(await peerMachine(), import.meta.url), 16 << 20);
