/** NVIDIA's driver against the suite for every CUDA driver. Skipped by name, with the reason, where there is none. */

import { BusbarError } from "../../src/core/error.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { cudaConformance } from "../conformance/cuda/suite.ts";

function whyNot(): string | null {
  try {
    using _cuda = Cuda.start(openCudaDriver(""));
    return null;
  } catch (error) {
    if (error instanceof BusbarError) return error.message;
    throw error;
  }
}

cudaConformance({ name: "NVIDIA's driver", open: () => openCudaDriver(""), reason: whyNot() });
