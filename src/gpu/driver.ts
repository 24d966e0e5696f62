/**
 * Finding the CUDA driver: NVIDIA's library, the software device, or a file.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type OptionTable, parseLocator, readOptions, type SoftLocator, wrongLocatorKind } from "../core/locator.ts";
import { CudaLibrary } from "../../ffi/cuda.ts";
import type { CudaDriver } from "../../ffi/cuda_driver.ts";

/** The environment variable that chooses the library: a path, a file name for the loader, `soft`, or `soft:cuda?…`. */
export const CUDA_VARIABLE = "BUSBAR_CUDA";

/** Where the driver is, in the order in which it is looked for: where the loader looks, then where WSL has it. */
export const CUDA_LIBRARIES: readonly string[] = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"];

/** The settings of the software device. */
export const SOFT_CUDA_OPTIONS: OptionTable = {
  devices: { type: "integer", title: "how many devices; 0 makes cuInit fail with 100", default: "1", max: 8n },
  version: {
    type: "integer",
    title: "what cuDriverGetVersion says, 1000 × major + 10 × minor",
    default: "13000",
    max: 99990n,
  },
  cc: { type: "integer", title: "compute capability, 10 × major + minor", default: "90", max: 999n },
  domain: { type: "integer", title: "PCI domain it is said to be in", default: "0", max: 0xffffn },
  bus: { type: "integer", title: "PCI bus of the first device; the others follow", default: "0x65", max: 0xf0n },
  memory: { type: "size", title: "device memory", default: "1GiB", min: 4096n, max: 1n << 40n },
  rdma: { type: "integer", title: "1: attribute 116, GPUDirect RDMA, is set", default: "0", max: 1n },
  fail: {
    type: "text",
    title: "functions that fail: NAME:CODE, joined by commas, as in cuMemHostRegister_v2:800",
    default: "",
    max: 1024n,
  },
  drop_writes: {
    type: "integer",
    title: "1: kernels' writes to a registered BAR do not arrive",
    default: "0",
    max: 1n,
  },
  reads_ones: { type: "integer", title: "1: kernels' reads of a registered BAR give all ones", default: "0", max: 1n },
  watchdog_ms: {
    type: "integer",
    title: "a kernel that loops longer ends with 702; 0: never",
    default: "0",
    max: 3_600_000n,
  },
};

/**
 * Opens the CUDA driver. A process has one open at a time.
 *
 * @param choice what `BUSBAR_CUDA` holds; null or empty is NVIDIA's library, wherever it is
 * @throws {BusbarError} `library` where there is none, with every place that was tried
 */
export function openCudaDriver(choice: string | null = Deno.env.get(CUDA_VARIABLE) ?? null): CudaDriver {
  if (choice === "soft" || choice?.startsWith("soft:")) {
    const locator = parseLocator(choice === "soft" ? "soft:cuda" : choice);
    if (locator.kind !== "soft" || locator.device !== "cuda") {
      throw wrongLocatorKind(locator, CUDA_VARIABLE, ["soft:cuda"]);
    }
    return openSoft(locator);
  }
  const places = choice === null || choice === "" ? CUDA_LIBRARIES : [choice];
  const tried: string[] = [];
  for (const place of places) {
    const opened = CudaLibrary.open(place);
    if (typeof opened !== "string") return opened;
    // The loader repeats the name.
    tried.push(`${place} (${opened.replace(`${place}: `, "")})`);
  }
  throw new BusbarError("library", `there is no CUDA driver; tried ${tried.join(", ")}`, {
    operation: "open the CUDA library",
    path: places[0],
    hint: choice === null || choice === ""
      ? `install NVIDIA's driver, set ${CUDA_VARIABLE} to its libcuda.so.1, or ${CUDA_VARIABLE}=soft for a software device`
      : `${CUDA_VARIABLE} names this file: unset it to look in the usual places`,
  });
}

function openSoft(locator: SoftLocator): CudaDriver {
  return CudaLibrary.openSoftware(locator.text, readOptions(locator, SOFT_CUDA_OPTIONS));
}
