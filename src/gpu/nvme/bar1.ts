/**
 * A GPU's memory behind its BAR1, each page of 64 KiB found by a pattern that a kernel writes and this process reads.
 *
 * Nothing documents where a GPU's driver maps memory in BAR1, so nothing is taken for granted: the pattern is written twice
 * from different seeds, each page must be there whole and once, and what this process writes there the GPU must see.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { thisMachine } from "../../core/host.ts";
import { formatPciAddress } from "../../core/pci_address.ts";
import { Mapping } from "../../../ffi/memory.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuBuffer } from "../memory.ts";
import stampPtx from "../kernels/stamp.ptx" with { type: "text" };
import { areStampedPages, type BarWindow, findStampedPages, STAMP_PAGE_BYTES } from "./stamp.ts";

/** What is mapped of a BAR at a time while it is looked through. */
const WINDOW_BYTES = 64 << 20;
const STAMP_THREADS = 256;

/** Device memory in this process. */
export interface MappedBuffer {
  /** The memory, a little larger than was asked for. */
  readonly buffer: GpuBuffer;
  /** Where the part that was asked for begins in it. */
  readonly offset: number;
  /** That part, in this process. */
  readonly pointer: Deno.PointerObject;
  /** Takes it out of this process. */
  unmap(): void;
}

/** The BAR1 of a GPU. */
export class Bar1 {
  /** What it is, for messages. */
  readonly name: string;
  readonly #gpu: Gpu;
  readonly #path: string;

  private constructor(gpu: Gpu, path: string) {
    this.#gpu = gpu;
    this.#path = path;
    this.name = `BAR1 (${path})`;
  }

  /**
   * The BAR1 of a GPU.
   *
   * @param path in place of the GPU's `resource1`
   */
  static of(gpu: Gpu, path?: string): Bar1 {
    return new Bar1(gpu, path ?? `/sys/bus/pci/devices/${formatPciAddress(gpu.address)}/resource1`);
  }

  /**
   * Device memory, mapped into this process page by page.
   *
   * @throws {BusbarError} `unsupported` where a page is not in BAR1 exactly once; as the file is refused
   */
  async allocate(sizeBytes: number): Promise<MappedBuffer> {
    const size = Math.ceil(sizeBytes / STAMP_PAGE_BYTES) * STAMP_PAGE_BYTES;
    const buffer = this.#gpu.allocate(size + STAMP_PAGE_BYTES);
    let mapping: Mapping | null = null;
    try {
      const rest = Number(buffer.address % BigInt(STAMP_PAGE_BYTES));
      const offset = rest === 0 ? 0 : STAMP_PAGE_BYTES - rest;
      const places = await this.#places(buffer.address + BigInt(offset), size / STAMP_PAGE_BYTES);
      const mapped = Mapping.pieces(this.#path, places.map(BigInt), STAMP_PAGE_BYTES);
      mapping = mapped;
      await this.#checkWrites(mapped, buffer, offset);
      return { buffer, pointer: mapped.pointer, offset, unmap: () => mapped[Symbol.dispose]() };
    } catch (error) {
      mapping?.[Symbol.dispose]();
      buffer[Symbol.dispose]();
      throw error;
    }
  }

  /** Where each page of the memory is in BAR1. */
  async #places(address: bigint, pages: number): Promise<number[]> {
    using module = this.#gpu.module(stampPtx);
    const kernel = module.function("stamp");
    const stamp = async (seed: number): Promise<void> => {
      kernel.launch({ grid: pages, block: STAMP_THREADS }, [address, BigInt(pages * STAMP_PAGE_BYTES / 4), seed]);
      await this.#gpu.synchronize();
    };
    const [first = 0, second = 0] = crypto.getRandomValues(new Uint32Array(2));
    using bar = new MappedWindow(this.#path);
    await stamp(first);
    const places = findStampedPages(bar, pages, first);
    await stamp(second);
    if (areStampedPages(bar, places, second)) return places;
    throw new BusbarError("unsupported", `${this.name}: its pages hold a copy of the GPU's memory, or moved`, {
      operation: "find device memory in BAR1",
      path: this.#path,
    });
  }

  /** What is written through BAR1 must be what the GPU sees, in every page. Leaves zeros. */
  async #checkWrites(mapped: Mapping, buffer: GpuBuffer, offset: number): Promise<void> {
    const bytes = mapped.bytes();
    const written = crypto.getRandomValues(new Uint8Array(16));
    const places = Array.from({ length: mapped.sizeBytes / STAMP_PAGE_BYTES }, (_, page) => page * STAMP_PAGE_BYTES);
    bytes.fill(0);
    for (const place of places) bytes.set(written, place);
    for (const place of places) {
      const seen = await buffer.read(written.length, offset + place);
      if (seen.every((byte, i) => byte === written[i])) continue;
      throw new BusbarError("unsupported", `${this.name}: the GPU does not see what is written through it`, {
        operation: "find device memory in BAR1",
        path: this.#path,
      });
    }
    for (const place of places) bytes.fill(0, place, place + written.length);
  }
}

/** A BAR of any size, of which a part is mapped. */
class MappedWindow implements BarWindow, Disposable {
  readonly sizeBytes: number;
  readonly #path: string;
  #first = -1;
  #mapping: Mapping | null = null;
  #words: Uint32Array = new Uint32Array();

  constructor(path: string) {
    this.#path = path;
    this.sizeBytes = thisMachine.sizeBytes(path);
  }

  words(offset: number, count: number): Uint32Array {
    const first = offset - offset % WINDOW_BYTES;
    if (first !== this.#first) {
      this[Symbol.dispose]();
      const sizeBytes = Math.min(WINDOW_BYTES, this.sizeBytes - first);
      this.#mapping = Mapping.file(this.#path, sizeBytes, { offset: BigInt(first), writable: true });
      this.#words = new Uint32Array(this.#mapping.bytes().buffer);
      this.#first = first;
    }
    const at = (offset - first) / 4;
    return this.#words.slice(at, at + count);
  }

  [Symbol.dispose](): void {
    this.#mapping?.[Symbol.dispose]();
    this.#mapping = null;
    this.#first = -1;
  }
}
