/**
 * Memory of a GPU as a drive's target: how the drive reaches it, or why it cannot.
 *
 * A software GPU has its memory in this process, in ordinary pages or in another function's BAR; either is mapped for the
 * drive as host memory is. A GPU of silicon has it behind BAR1, of which nobody says what lies where: bar1.ts looks.
 *
 * Source: Linux drivers/vfio/vfio_iommu_type1.c (vaddr_get_pfns: memory of another function's BAR, a VM_PFNMAP area, is
 * accepted by MAP_DMA; iommufd takes none).
 * @module
 */

import type { DmaMapping } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import { memoryAt } from "../../../ffi/cuda.ts";
import { pageSizeBytes } from "../../../ffi/memory.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuBuffer } from "../memory.ts";
import { Bar1, type MappedBuffer } from "./bar1.ts";
import type { DirectDriver } from "./direct_job.ts";
import type { DriveMemory } from "./drive_memory.ts";

/** How device memory is looked for. */
export interface DeviceMemoryOptions {
  /** Take a GPU's BAR1, once each page of the memory was found in it. False by default. */
  readonly vramThroughBar1?: boolean;
  /** The BAR1 of the GPU: `/sys/bus/pci/devices/…/resource1` by default. */
  readonly bar1?: string;
}

/** Device memory of one GPU for one drive. It holds nothing itself: what it allocates is disposed of by itself. */
export class DeviceMemoryForDrive {
  /** The way, in words: `device memory of the software GPU`. */
  readonly way: string;
  readonly #driver: DirectDriver;
  readonly #gpu: Gpu;
  readonly #bar1: Bar1 | null;

  private constructor(driver: DirectDriver, gpu: Gpu, bar1: Bar1 | null, way: string) {
    this.#driver = driver;
    this.#gpu = gpu;
    this.#bar1 = bar1;
    this.way = way;
  }

  /**
   * Finds the way.
   *
   * @throws {BusbarError} `unsupported` where there is none, and why
   */
  static open(driver: DirectDriver, gpu: Gpu, options: DeviceMemoryOptions = {}): DeviceMemoryForDrive {
    if (options.vramThroughBar1 === true) {
      const bar1 = Bar1.of(gpu, options.bar1);
      return new DeviceMemoryForDrive(driver, gpu, bar1, `device memory behind ${bar1.name}`);
    }
    if (gpu.driver.isSoftware && gpu.driver.hostMemory !== undefined) {
      return new DeviceMemoryForDrive(driver, gpu, null, "device memory of the software GPU");
    }
    throw new BusbarError("unsupported", `${gpu.name}: nothing says where its memory lies for other devices`, {
      operation: "let the drive reach device memory",
      path: gpu.name,
      hint: "--vram-through-bar1 looks for each page in the GPU's BAR1; --tier 1 keeps queues and data in host memory",
    });
  }

  /**
   * Zeroed device memory that the drive reaches, from a page on.
   *
   * @param what for messages: `memory for data`
   * @throws {BusbarError} as the drive's side refuses to map it, with what that means
   */
  async allocate(sizeBytes: number, what: string): Promise<DriveMemory> {
    const page = Math.max(pageSizeBytes(), this.#driver.pageBytes);
    const size = Math.ceil(sizeBytes / page) * page;
    const { buffer, pointer, offset, unmap } = await this.#bar1?.allocate(size) ?? this.#software(size, page);
    let mapping: DmaMapping | null = null;
    try {
      mapping = this.#map(pointer, size, what);
      if (mapping.iova % BigInt(this.#driver.pageBytes) === 0n) {
        return new MappedDeviceMemory(buffer, offset, pointer, size, mapping, unmap);
      }
      throw new BusbarError(
        "unsupported",
        `${this.#driver.name}: its pages are larger than what can be mapped for it`,
        {
          operation: "let the drive reach device memory",
          path: this.#driver.name,
        },
      );
    } catch (error) {
      mapping?.[Symbol.dispose]();
      unmap();
      buffer[Symbol.dispose]();
      throw error;
    }
  }

  #map(pointer: Deno.PointerObject, size: number, what: string): DmaMapping {
    try {
      return this.#driver.mapDma(pointer, size);
    } catch (error) {
      if (!(error instanceof BusbarError)) throw error;
      throw new BusbarError(error.code, `${what}: ${this.#driver.name} cannot be given ${this.way}: ${error.message}`, {
        operation: "let the drive reach device memory",
        path: this.#driver.name,
        hint: error.hint ??
          "a BAR of another function can only be mapped in a container of VFIO (BUSBAR_VFIO=group), and " +
            "while that function's memory decoding is on",
        cause: error,
      });
    }
  }

  #software(size: number, page: number): MappedBuffer {
    const buffer = this.#gpu.allocate(size + page);
    try {
      const first = this.#gpu.driver.hostMemory?.(buffer.address, buffer.sizeBytes) ?? null;
      if (first === null) throw new BusbarError("bug", `${this.#gpu.name}: its memory is nowhere in this process`);
      const rest = Number(Deno.UnsafePointer.value(first) % BigInt(page));
      const offset = rest === 0 ? 0 : page - rest;
      const pointer = Deno.UnsafePointer.offset(first, offset);
      if (pointer === null) throw new BusbarError("bug", "device memory at address 0");
      return { buffer, pointer, offset, unmap: () => {} };
    } catch (error) {
      buffer[Symbol.dispose]();
      throw error;
    }
  }
}

class MappedDeviceMemory implements DriveMemory {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly address: bigint;
  readonly pointer: Deno.PointerObject;
  readonly #buffer: GpuBuffer;
  readonly #mapping: DmaMapping;
  readonly #unmap: () => void;
  #bytes: ArrayBuffer | null;

  constructor(
    buffer: GpuBuffer,
    offset: number,
    pointer: Deno.PointerObject,
    sizeBytes: number,
    mapping: DmaMapping,
    unmap: () => void,
  ) {
    this.#buffer = buffer;
    this.#mapping = mapping;
    this.#unmap = unmap;
    this.sizeBytes = sizeBytes;
    this.pointer = pointer;
    this.iova = mapping.iova;
    this.address = buffer.address + BigInt(offset);
    this.#bytes = memoryAt(pointer, sizeBytes);
    new Uint8Array(this.#bytes).fill(0);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new BusbarError("closed", "device memory was used after it was freed");
    return new Uint8Array(this.#bytes);
  }

  /** Takes it away from the drive, then from this process, then frees it. */
  [Symbol.dispose](): void {
    const bytes = this.#bytes;
    if (bytes === null) return;
    this.#bytes = null;
    bytes.transfer(0);
    this.#mapping[Symbol.dispose]();
    this.#unmap();
    this.#buffer[Symbol.dispose]();
  }
}
