/**
 * Letting a GPU reach a drive's memory: what is registered, and what to do where the driver refuses.
 * @module
 */

import type { Gpu } from "../gpu.ts";
import type { RegisteredMemory } from "../memory.ts";
import { CudaError, INVALID_VALUE } from "../results.ts";

const NOT_PERMITTED = 800;
const NOT_SUPPORTED = 801;

const CHECK = "check_p2p DRIVE GPU goes through the chain link by link";

/** What each refusal comes from, by its result. Source: CUDA driver API, cuMemHostRegister. */
const REMEDIES: Readonly<Record<number, { readonly registers: string; readonly memory: string }>> = {
  [INVALID_VALUE]: {
    registers: `the driver takes no I/O memory at this address: ${CHECK}`,
    memory: "the range is not mapped, or part of it is registered already: close the other user of it first",
  },
  [NOT_PERMITTED]: {
    registers: `the driver lets only root map I/O memory: run it as root; ${CHECK}`,
    memory: "pinned memory is limited for this user: raise the limit of locked memory (ulimit -l), or run it as root",
  },
  [NOT_SUPPORTED]: {
    registers: `this GPU's driver maps no I/O memory of other devices: ${CHECK}`,
    memory: "this GPU cannot reach registered host memory: another GPU, or nvme_io, which needs none",
  },
};

/**
 * Registers memory of this process with a GPU.
 *
 * @param what for messages: `the registers of 0000:01:00.0`
 * @param isIo true for a mapped BAR
 * @throws {CudaError} with what to do about it
 */
export function reach(
  gpu: Gpu,
  memory: Deno.PointerObject,
  sizeBytes: number,
  what: string,
  isIo: boolean = false,
): RegisteredMemory {
  try {
    return gpu.register(memory, sizeBytes, isIo);
  } catch (error) {
    const remedy = error instanceof CudaError ? REMEDIES[error.result] : undefined;
    if (!(error instanceof CudaError) || remedy === undefined) throw error;
    throw new CudaError(error.result, `let the GPU reach ${what}`, {
      path: gpu.name,
      hint: isIo ? remedy.registers : remedy.memory,
      cause: error,
    });
  }
}
