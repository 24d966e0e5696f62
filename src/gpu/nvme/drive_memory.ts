/**
 * Memory that a drive and a GPU both reach: in the host (tier 1), or the GPU's own (tiers 2 and 3, device_memory.ts).
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import type { DirectDriver } from "./direct_job.ts";
import type { Gpu } from "../gpu.ts";
import { reach } from "./reach.ts";

/** Memory that a drive reaches at `iova`, a GPU at `address` and this process at `bytes`. Dispose frees it. */
export interface DriveMemory extends DmaBuffer {
  /** The first byte, as the GPU sees it. */
  readonly address: bigint;
}

/** Makes such memory, from a page of the controller's on. @param what for messages: `the rings of a queue` */
export type DriveMemoryMaker = (sizeBytes: number, what: string) => Promise<DriveMemory>;

/** Memory of the host, pinned: the drive's, registered with the GPU. */
export function pinnedMemory(driver: DirectDriver, gpu: Gpu): DriveMemoryMaker {
  return (sizeBytes, what) => {
    const memory = driver.allocDma(sizeBytes);
    try {
      const registered = reach(gpu, memory.pointer, memory.sizeBytes, what);
      return Promise.resolve({
        sizeBytes: memory.sizeBytes,
        iova: memory.iova,
        address: registered.address,
        get bytes(): Uint8Array<ArrayBuffer> {
          return memory.bytes;
        },
        get pointer(): Deno.PointerObject {
          return memory.pointer;
        },
        [Symbol.dispose]: () => {
          registered[Symbol.dispose]();
          memory[Symbol.dispose]();
        },
      });
    } catch (error) {
      memory[Symbol.dispose]();
      return Promise.reject(error);
    }
  };
}
