/**
 * Memory that whole files and tensors are read into.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuBuffer, RegisteredMemory } from "../memory.ts";
import type { DirectDriver } from "./direct_job.ts";
import { reach } from "./reach.ts";

/** Where an arena lies: host memory that drive and GPU reach, or device memory, which kernels fill by copying. */
export type ArenaPlace = "pinned" | "device";

/** Memory that drive or kernels fill. Dispose frees it: by then no command and no kernel may use it. */
export class Arena implements Disposable {
  /** Where it lies. */
  readonly place: ArenaPlace;
  /** Length in bytes. */
  readonly sizeBytes: number;
  /** Its first byte, as the GPU sees it. */
  readonly address: bigint;
  /** Its first byte, as the drive sees it; 0 where it does not reach it. */
  readonly iova: bigint;
  /** PRP list of all its pages, as the drive sees it; 0 where it does not reach it. */
  readonly list: bigint;
  readonly #device: GpuBuffer | null;
  readonly #data: DmaBuffer | null;
  readonly #resources: Disposable[];
  readonly #later: FreeLater | null;

  private constructor(place: ArenaPlace, sizeBytes: number, memory: ArenaMemory, later: FreeLater | null) {
    this.#later = later;
    this.place = place;
    this.sizeBytes = sizeBytes;
    this.address = memory.address;
    this.iova = memory.iova;
    this.list = memory.list;
    this.#device = memory.device;
    this.#data = memory.data;
    this.#resources = memory.resources;
  }

  /**
   * Takes memory.
   *
   * @param later asked when it is disposed of, where it has to outlive a kernel that runs
   * @throws {BusbarError} where there is not as much; {@linkcode CudaError} where the GPU cannot reach it
   */
  static allocate(
    driver: DirectDriver,
    gpu: Gpu,
    place: ArenaPlace,
    sizeBytes: number,
    later: FreeLater | null = null,
  ): Arena {
    const { pageBytes } = driver;
    const wholeBytes = Math.ceil(Math.max(1, sizeBytes) / pageBytes) * pageBytes;
    if (place === "device") {
      const device = gpu.allocate(wholeBytes);
      const { address } = device;
      const memory = { address, iova: 0n, list: 0n, device, data: null, resources: [device] };
      return new Arena(place, wholeBytes, memory, later);
    }
    const resources: Disposable[] = [];
    try {
      const data = driver.allocDma(wholeBytes);
      resources.push(data);
      const pages = wholeBytes / pageBytes;
      const list = driver.allocDma(Math.ceil(8 * pages / pageBytes) * pageBytes);
      resources.push(list);
      const entries = new BigUint64Array(list.bytes.buffer, list.bytes.byteOffset, pages);
      for (let i = 0; i < pages; i++) entries[i] = data.iova + BigInt(i * pageBytes);
      const registered: RegisteredMemory = reach(gpu, data.pointer, data.sizeBytes, "memory for files");
      resources.push(registered);
      const { address } = registered;
      return new Arena(place, wholeBytes, {
        address,
        iova: data.iova,
        list: list.iova,
        device: null,
        data,
        resources,
      }, later);
    } catch (error) {
      for (const one of resources.toReversed()) one[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes of it, for the host: a view of host memory, a copy of device memory. */
  async read(offset: number, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#data !== null) return this.#data.bytes.subarray(offset, offset + sizeBytes);
    if (sizeBytes === 0 || this.#device === null) return new Uint8Array(0);
    return await this.#device.read(sizeBytes, offset);
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    const resources = this.#resources.splice(0).toReversed();
    const free = (): void => {
      for (const one of resources) one[Symbol.dispose]();
    };
    if (this.#later === null) free();
    else this.#later(free);
  }
}

/** Frees memory now, or when it may be freed. */
export type FreeLater = (free: () => void) => void;

interface ArenaMemory {
  readonly address: bigint;
  readonly iova: bigint;
  readonly list: bigint;
  readonly device: GpuBuffer | null;
  readonly data: DmaBuffer | null;
  readonly resources: Disposable[];
}
