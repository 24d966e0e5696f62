/**
 * A software controller in the hands of a software GPU.
 * @module
 */

import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import type { DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import type { NamespaceGeometry } from "../../src/nvme/tables/identity.ts";
import { openController, type SoftController, withDriverLibraries } from "./nvme_device.ts";

/** As `withDriverLibraries`, with the library of the software GPU. */
export function withGpuLibraries(): void {
  withDriverLibraries();
  Deno.test.beforeAll(() => {
    using _gpu = softGpu();
  });
}

/** Opens a software GPU. `settings` is what follows its first setting in a locator. */
export function softGpu(settings: string = ""): Gpu {
  return Cuda.open(`soft:cuda?memory=64MiB${settings}`);
}

/** Controller, GPU, and queues for kernels. Dispose closes all. */
export interface DirectController extends SoftController {
  readonly gpu: Gpu;
  readonly direct: NvmeDirect;
  readonly geometry: NamespaceGeometry;
}

/** Opens all three. */
export async function openDirect(
  nvme: string,
  options: DirectOptions & { readonly gpu?: string } = {},
): Promise<DirectController> {
  const { gpu: gpuSettings = "", ...directOptions } = options;
  const one = await openController(nvme, { lentQueues: options.queues ?? 1 });
  let gpu: Gpu | null = null;
  try {
    gpu = softGpu(gpuSettings);
    const opened = gpu;
    const direct = await NvmeDirect.open(one.driver, opened, directOptions);
    return {
      ...one,
      gpu: opened,
      direct,
      geometry: await one.controller.namespace(1).geometry(),
      [Symbol.asyncDispose]: async () => {
        await direct[Symbol.asyncDispose]();
        opened[Symbol.dispose]();
        await one[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    gpu?.[Symbol.dispose]();
    await one[Symbol.asyncDispose]();
    throw error;
  }
}
