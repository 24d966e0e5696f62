/**
 * CUDA devices, of NVIDIA's driver or software ones: memory, kernels, and whether a GPU reaches an NVMe controller's registers.
 * @module
 */

// Opening.
export { Cuda, openGpu, type OpenGpuOptions } from "./cuda.ts";
export { Gpu } from "./gpu.ts";
export {
  CUDA_VARIABLE,
  type CudaDevice,
  openCudaDevice,
  openCudaDriver,
  SOFT_CUDA_OPTIONS,
  SOFT_CUDA_PROFILES,
} from "./driver.ts";

// Memory.
export { GpuBuffer, PinnedBuffer, RegisteredMemory } from "./memory.ts";
export { type HasDeviceAddress } from "./ptx.ts";

// Kernels.
export { GpuFunction, GpuModule, type LaunchOptions } from "./module.ts";
export { type KernelArgument, type KernelParameter, parsePtxKernels, type PtxKernel } from "./ptx.ts";
export { GpuStream } from "./stream.ts";
export { GpuEvent } from "./event.ts";
export { type GpuWaitOptions } from "./context.ts";
export { type ModuleReport, moduleReport } from "./soft/module_report.ts";

// What a device can.
export { GPU_ATTRIBUTES, type GpuAttribute, gpuAttribute } from "./attributes.ts";

// A GPU and an NVMe controller.
export { checkP2p, type P2pOptions } from "./p2p/chain.ts";
export { type P2pLevel, type P2pReport, type P2pTier } from "./p2p/report.ts";
export { type P2pCheck, type P2pOutcome } from "./p2p/check.ts";
export { listGpus } from "./p2p/device_checks.ts";

// Errors.
export { CUDA_RESULTS, CudaError, type CudaResult } from "./results.ts";
