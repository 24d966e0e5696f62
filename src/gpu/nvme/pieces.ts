/**
 * Memory for the data of commands that kernels submit, with PRPs that were made before.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import type { DirectDriver } from "./direct_job.ts";
import { prpEntries, prpListPages, writePrps } from "../../nvme/queue/prp.ts";
import type { DriveMemory, DriveMemoryMaker } from "./drive_memory.ts";
import { BlockView, PIECE_BLOCK } from "./layout.ts";

/** A run of pieces of one size, each with its PRPs. Dispose frees the memory: by then no command may use it. */
export class DataPieces implements Disposable {
  /** How many. */
  readonly count: number;
  /** Bytes of each. */
  readonly pieceBytes: number;
  /** The array of `bb_nvme_piece`. */
  readonly table: Uint8Array<ArrayBuffer>;
  readonly #strideBytes: number;
  readonly #data: DriveMemory;
  readonly #lists: DmaBuffer | null = null;

  private constructor(driver: DirectDriver, data: DriveMemory, count: number, pieceBytes: number, strideBytes: number) {
    const { pageBytes } = driver;
    this.count = count;
    this.pieceBytes = pieceBytes;
    this.#strideBytes = strideBytes;
    this.table = new Uint8Array(count * PIECE_BLOCK.sizeBytes);
    this.#data = data;
    const pagesOfEach = prpListPages(strideBytes / pageBytes, pageBytes);
    if (pagesOfEach > 0) this.#lists = driver.allocDma(count * pagesOfEach * pageBytes);
    for (let i = 0; i < count; i++) this.#describe(i, pagesOfEach, pageBytes);
  }

  /**
   * Takes memory that drive and GPU reach.
   *
   * @param allocate makes it
   * @param pieceBytes bytes of one transfer
   * @throws {BusbarError} where there is no memory; {@linkcode CudaError} where the GPU cannot reach it
   */
  static async allocate(
    driver: DirectDriver,
    allocate: DriveMemoryMaker,
    count: number,
    pieceBytes: number,
  ): Promise<DataPieces> {
    // Each begins on a page: then no PRP has an offset, and a piece of up to two pages needs no list.
    const strideBytes = Math.ceil(pieceBytes / driver.pageBytes) * driver.pageBytes;
    const data = await allocate(count * strideBytes, "memory for data");
    try {
      return new DataPieces(driver, data, count, pieceBytes, strideBytes);
    } catch (error) {
      data[Symbol.dispose]();
      throw error;
    }
  }

  /** The memory of a piece, for the host. */
  bytes(index: number): Uint8Array<ArrayBuffer> {
    return this.#data.bytes.subarray(index * this.#strideBytes, index * this.#strideBytes + this.pieceBytes);
  }

  /** The memory of a piece that the GPU has at this address. @throws {BusbarError} `bug` where there is none */
  bytesAt(address: bigint): Uint8Array<ArrayBuffer> {
    const offset = Number(address - this.#data.address);
    if (offset < 0 || offset >= this.#data.sizeBytes || offset % this.#strideBytes !== 0) {
      throw new BusbarError("bug", "a kernel named memory that is no piece");
    }
    return this.bytes(offset / this.#strideBytes);
  }

  #describe(index: number, listPages: number, pageBytes: number): void {
    const iova = this.#data.iova + BigInt(index * this.#strideBytes);
    const lists = this.#lists;
    const pages = lists === null ? [] : Array.from({ length: listPages }, (_, i) => {
      const at = (index * listPages + i) * pageBytes;
      const entries = new BigUint64Array(lists.bytes.buffer, lists.bytes.byteOffset + at, pageBytes / 8);
      return { iova: lists.iova + BigInt(at), entries };
    });
    const { prp1, prp2 } = writePrps(
      prpEntries([{ iova, sizeBytes: this.pieceBytes }], pageBytes),
      pages,
      pageBytes,
    );
    const data = this.#data.address + BigInt(index * this.#strideBytes);
    new BlockView(PIECE_BLOCK, this.table, index * PIECE_BLOCK.sizeBytes).set({ data, prp1, prp2 });
  }

  /** Takes the memory away from the GPU and the drive. */
  [Symbol.dispose](): void {
    this.#lists?.[Symbol.dispose]();
    this.#data[Symbol.dispose]();
  }
}
