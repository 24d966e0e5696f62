/**
 * Steps 5 and 6 of the chain: what the CUDA driver says of the GPU, and whether it maps the drive's BAR0.
 *
 * Sources: CUDA Driver API Reference 13.0 (cuMemHostRegister, CUdevice_attribute); the driver's kernel modules, open
 * flavour (os_lookup_user_io_memory); open-gpu-kernel-modules issues 732 and 742.
 * @module
 */

import { isBusbarError } from "../../core/error.ts";
import type { PciAddress } from "../../core/pci_address.ts";
import { formatPciAddress } from "../../core/pci_address.ts";
import { formatBytes } from "../../core/units.ts";
import type { CudaDriver } from "../../../ffi/cuda_driver.ts";
import type { PciFunction } from "../../pci/function.ts";
import { Cuda } from "../cuda.ts";
import type { Gpu } from "../gpu.ts";
import type { RegisteredMemory } from "../memory.ts";
import { type P2pCheck, ruleText } from "./check.ts";
import type { NvidiaModule } from "./driver_checks.ts";
import { CudaError, driverFor, formatCudaVersion } from "../results.ts";

/** The CUDA version whose PTX knows `.mmio`, which steps 7 and 8 use. */
const MMIO_PTX_SINCE = 12020;

/** Step 5, and the GPU when it could be opened. */
export function cudaChecks(
  open: () => CudaDriver,
  which: number | PciAddress,
  fn: PciFunction | null,
): { checks: P2pCheck[]; gpu: Gpu | null } {
  let gpu: Gpu;
  try {
    gpu = Cuda.open(which, open());
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    const check: P2pCheck = {
      step: 5,
      name: "CUDA",
      outcome: "unknown",
      text: error.message,
      evidence: error instanceof CudaError ? `${error.operation}: ${error.result}` : error.path ?? "the loader",
      rule: "CUDA driver API, cuInit, cuDeviceGet",
      remedy: error.hint,
    };
    return { checks: [check], gpu: null };
  }
  return { checks: [startCheck(gpu), ...attributeChecks(gpu), ...sizeCheck(gpu, fn)], gpu };
}

function startCheck(gpu: Gpu): P2pCheck {
  const base = { step: 5, name: "CUDA", rule: "CUDA driver API, cuInit, cuDeviceGet" };
  const { version, driver } = gpu.cuda;
  const evidence = `${driver.name}: CUDA ${formatCudaVersion(version)}; ${gpu.name}, ${formatPciAddress(gpu.address)}`;
  if (driver.isSoftware) {
    return {
      ...base,
      outcome: "unknown",
      text: "this is busbar's software device: what follows shows the tool at work, not a GPU",
      evidence,
      remedy: "unset BUSBAR_CUDA",
    };
  }
  if (version < MMIO_PTX_SINCE) {
    return {
      ...base,
      outcome: "warn",
      text: `the driver knows CUDA ${formatCudaVersion(version)}; steps 7 and 8 need ${
        formatCudaVersion(MMIO_PTX_SINCE)
      }`,
      evidence,
      remedy: `install NVIDIA driver ${driverFor(MMIO_PTX_SINCE)} or newer`,
    };
  }
  return {
    ...base,
    outcome: "pass",
    text: `CUDA ${formatCudaVersion(version)} runs on ${gpu.name}`,
    evidence,
    remedy: null,
  };
}

/** Attributes that tier 1 needs, and those that the other tiers do. */
function attributeChecks(gpu: Gpu): P2pCheck[] {
  const shown = (name: string): string => `${name}=${gpu.attribute(name) ?? "unknown to this driver"}`;
  const registers = gpu.attribute("HOST_REGISTER_SUPPORTED");
  const rdma = gpu.attribute("GPU_DIRECT_RDMA_SUPPORTED");
  const dmaBuf = gpu.attribute("DMA_BUF_SUPPORTED");
  const reachable = rdma === 1 || dmaBuf === 1;
  return [
    {
      step: 5,
      name: "host registration",
      outcome: registers === 1 ? "pass" : registers === 0 ? "fail" : "unknown",
      text: registers === 0 ? "this GPU cannot register host memory" : "the GPU can register host memory",
      evidence: ["HOST_REGISTER_SUPPORTED", "UNIFIED_ADDRESSING", "CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM"].map(shown)
        .join(", "),
      rule: ruleText("hostRegister"),
      remedy: registers === 0 ? "another GPU: vGPU, MIG and some integrated ones cannot" : null,
    },
    {
      step: 5,
      name: "GPU memory",
      outcome: reachable ? "pass" : "warn",
      text: reachable
        ? "other devices may be let at the GPU's memory (tiers 2 and 3)"
        : "other devices cannot be let at the GPU's memory: tiers 2 and 3 are out, tier 1 does not need it",
      evidence: [
        "GPU_DIRECT_RDMA_SUPPORTED",
        "DMA_BUF_SUPPORTED",
        "GPU_DIRECT_RDMA_WRITES_ORDERING",
        "HOST_NATIVE_ATOMIC_SUPPORTED",
      ].map(shown).join(", "),
      rule: ruleText("gpuPolicy"),
      remedy: reachable ? null : "a data-centre or professional GPU; GeForce has it switched off",
    },
  ];
}

function sizeCheck(gpu: Gpu, fn: PciFunction | null): P2pCheck[] {
  const bar = fn?.resources?.find((one) => one.role === "BAR" && one.index === 1);
  if (bar === undefined) return [];
  const whole = bar.sizeBytes >= BigInt(gpu.memoryBytes);
  return [{
    step: 5,
    name: "BAR1",
    outcome: whole ? "pass" : "warn",
    text: `BAR1 shows ${formatBytes(bar.sizeBytes)} of ${formatBytes(gpu.memoryBytes)} GPU memory${
      whole ? "" : ": a limit for tiers 2 and 3 only"
    }`,
    evidence: `${fn?.folder}/resource, cuDeviceTotalMem`,
    rule: ruleText("window"),
    remedy: whole ? null : "turn Resizable BAR and Above 4G Decoding on in the firmware",
  }];
}

/** What the results of cuMemHostRegister mean for a BAR, where they mean more than elsewhere. */
interface Explanation {
  readonly outcome: "fail" | "unknown";
  readonly text: string;
  readonly remedy: string;
}

function explain(result: number, module: NvidiaModule): Explanation | null {
  const pair = `Linux ${module.kernel || "?"} with driver ${module.version ?? "?"} (${
    module.flavour ?? "flavour not known"
  })`;
  switch (result) {
    case 1:
      return {
        outcome: "fail",
        text: `the driver cannot find the BAR's pages: ${pair}`,
        remedy:
          "from Linux 6.10 on the driver must be built with follow_pfnmap_start or follow_pte: update it, or use a " +
          "kernel before 6.10; another GPU changes nothing. dmesg shows the driver's complaint",
      };
    case 2:
      return {
        outcome: "fail",
        text: "the GPU has no address space or BAR space left for the mapping",
        remedy: "end other CUDA programs, or turn Resizable BAR on in the firmware",
      };
    case 304:
      return {
        outcome: "fail",
        text: `a call into the kernel failed while the pages were looked up: ${pair}`,
        remedy: "dmesg | grep -i nvrm; seen on Pascal cards with old drivers: try a newer one",
      };
    case 712:
      return {
        outcome: "unknown",
        text: "the range is registered already in this process",
        remedy: "end the program and try again",
      };
    case 800:
      return {
        outcome: "unknown",
        text: "the driver lets only an administrator map I/O memory",
        remedy:
          'run it as root, or load the driver with NVreg_RegistryDwords="PeerMappingOverride=1;" (options nvidia … in modprobe.d)',
      };
    case 801:
      return {
        outcome: "fail",
        text: "this platform cannot map I/O memory: an old kernel, WSL, Tegra, vGPU, MIG, or a container's limits",
        remedy: "try on Linux on the machine itself, with the whole GPU",
      };
    case 999:
      return {
        outcome: "unknown",
        text: "the driver is in a bad state",
        remedy: "dmesg | grep -i -e nvrm -e xid; reload nvidia and nvidia-uvm, or reboot",
      };
    default:
      return null;
  }
}

/** Step 6: registers the mapping with the GPU. */
export function registerCheck(
  gpu: Gpu,
  bar0: { readonly pointer: Deno.PointerObject; readonly sizeBytes: number; readonly name: string },
  module: NvidiaModule,
): { check: P2pCheck; registered: RegisteredMemory | null } {
  const base = { step: 6, name: "host registration of BAR0", rule: ruleText("hostRegister") };
  const call = `cuMemHostRegister(${bar0.name}, ${bar0.sizeBytes}, IOMEMORY | DEVICEMAP)`;
  let registered: RegisteredMemory | null = null;
  try {
    registered = gpu.register(bar0.pointer, bar0.sizeBytes, true);
    const text = "the GPU has BAR0 mapped";
    const evidence = `${call}: 0; cuMemHostGetDevicePointer: 0x${registered.address.toString(16)}`;
    return { check: { ...base, outcome: "pass", text, evidence, remedy: null }, registered };
  } catch (error) {
    registered?.[Symbol.dispose]();
    if (!isBusbarError(error)) throw error;
    const known = error instanceof CudaError ? explain(error.result, module) : null;
    const check: P2pCheck = {
      ...base,
      outcome: known?.outcome ?? "unknown",
      text: known?.text ?? error.message,
      evidence: error instanceof CudaError ? `${call}: ${error.result}` : call,
      remedy: known?.remedy ?? error.hint,
    };
    return { check, registered: null };
  }
}
