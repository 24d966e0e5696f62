/** The software CUDA device against the suite for every CUDA driver. */

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { cudaConformance } from "../conformance/cuda/suite.ts";

Deno.test.afterAll(closeAll);

cudaConformance({ name: "soft:cuda", open: () => openCudaDriver("soft:cuda?memory=256MiB&log=none"), reason: null });
