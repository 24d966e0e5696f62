/**
 * The cache behind `bb_array<T>`: pages of a drive that kernels use as an array (`busbar_array.cuh`).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { NamespaceGeometry } from "../../nvme/tables/identity.ts";
import { statusError } from "../../nvme/tables/status.ts";
import filesPtx from "../kernels/files.ptx" with { type: "text" };
import type { GpuBuffer } from "../memory.ts";
import type { NvmeDirect } from "../nvme_direct.ts";
import type { GpuStream } from "../stream.ts";
import { Arena } from "./arena.ts";
import { ARRAY_BLOCK, LINE_BLOCK } from "./file_layout.ts";
import { BlockView } from "./layout.ts";

/** What is cached, and how much of it. */
export interface PagedArrayOptions {
  /** First block of the array. */
  readonly lba: bigint;
  /** Pages of the array; each is one of the controller's memory pages. */
  readonly pages: number;
  /** Pages that are cached, a multiple of `ways`; 64 by default. */
  readonly cachedPages?: number;
  /** Lines of a set; 4 by default. */
  readonly ways?: number;
  /** How long an access may take, in milliseconds; 10 s by default. */
  readonly timeoutMs?: number;
}

/** What kernels did with an array. */
export interface PagedArrayStatistics {
  /** Elements whose page was there. */
  readonly hits: number;
  /** Elements whose page another warp was reading. */
  readonly joins: number;
  /** Elements whose page had to be read. */
  readonly misses: number;
  /** Pages that gave way to others. */
  readonly evictions: number;
  /** Pages that were written back. */
  readonly writeBacks: number;
}

/** An array on a drive for kernels. Flush before the blocks are read otherwise; dispose before the controller's owner. */
export class PagedArray implements Disposable {
  readonly #direct: NvmeDirect;
  readonly #cache: Arena;
  readonly #block: GpuBuffer;
  readonly #resources: Disposable[] = [];
  readonly #timeoutMs: number;

  private constructor(
    direct: NvmeDirect,
    cache: Arena,
    state: readonly GpuBuffer[],
    block: GpuBuffer,
    timeoutMs: number,
  ) {
    this.#direct = direct;
    this.#cache = cache;
    this.#block = block;
    this.#timeoutMs = timeoutMs;
    this.#resources.push(cache, ...state, block);
  }

  /**
   * Makes a cache.
   *
   * @param direct in mode `grid`, over which kernels use the array
   * @throws {BusbarError} `usage` for sizes that cannot be, `out-of-range` for an array outside the namespace
   */
  static async open(
    direct: NvmeDirect,
    namespace: NamespaceGeometry,
    options: PagedArrayOptions,
  ): Promise<PagedArray> {
    const { driver, gpu } = direct;
    const { lba, pages, cachedPages = 64, ways = 4, timeoutMs = 10_000 } = options;
    const { pageBytes } = driver;
    const pageBlocks = pageBytes / namespace.blockBytes, sets = cachedPages / ways;
    const details = { operation: "make an array on a drive", path: driver.name };
    if (!Number.isInteger(sets) || sets < 1 || ways < 1 || !Number.isInteger(pageBlocks)) {
      throw new BusbarError("usage", `${cachedPages} pages of ${pageBytes} bytes in sets of ${ways}`, details);
    }
    if (direct.mode !== "grid") {
      throw new BusbarError("usage", "an array is used by many warps", { ...details, hint: "--mode grid" });
    }
    if (lba < 0n || pages < 1 || lba + BigInt(pages * pageBlocks) > namespace.blocks) {
      throw new BusbarError("out-of-range", `${driver.name}: ${pages} pages at block ${lba}`, details);
    }
    const cache = Arena.allocate(driver, gpu, "pinned", cachedPages * pageBytes);
    const state = [cachedPages * LINE_BLOCK.sizeBytes, 4 * sets, 4 * sets].map((size) => gpu.allocate(size));
    const block = gpu.allocate(ARRAY_BLOCK.sizeBytes);
    for (const one of state) one.fill(0);
    const [lines, locks, hands] = state;
    const bytes = new Uint8Array(ARRAY_BLOCK.sizeBytes);
    new BlockView(ARRAY_BLOCK, bytes).set({
      queue: direct.queuesAddress,
      control: direct.controlAddress,
      lines: lines?.address ?? 0n,
      locks: locks?.address ?? 0n,
      hands: hands?.address ?? 0n,
      pages: cache.address,
      pages_iova: cache.iova,
      first_lba: lba,
      page_count: pages,
      timeout_ns: BigInt(Math.round(timeoutMs * 1e6)),
      set_count: sets,
      way_count: ways,
      page_bytes: pageBytes,
      page_blocks: pageBlocks,
      namespace_id: namespace.id,
    });
    await block.write(bytes);
    return new PagedArray(direct, cache, state, block, timeoutMs);
  }

  /** The address of `bb_nvme_array`, for kernels. */
  get address(): bigint {
    return this.#block.address;
  }

  /** The memory that the pages lie in. */
  get cache(): Arena {
    return this.#cache;
  }

  /**
   * Runs a kernel that uses the array.
   *
   * @param launch launches it on the stream, with {@linkcode address}
   * @throws {BusbarError} `device-failed` with the status of a command that failed; as {@linkcode NvmeDirect.runKernel} does
   */
  async run(launch: (stream: GpuStream) => void): Promise<void> {
    await this.#direct.runKernel((_queues, stream) => launch(stream), { timeoutMs: this.#timeoutMs });
    const failure = new BlockView(ARRAY_BLOCK, await this.#block.read()).number("failure");
    if (failure === 0) return;
    throw statusError(failure & 0x7fff, { operation: "use an array on a drive", path: this.#direct.driver.name });
  }

  /** Writes changed pages back, by a kernel. @throws {BusbarError} as {@linkcode run} */
  async flush(): Promise<void> {
    using module = this.#direct.gpu.module(filesPtx);
    const kernel = module.function("nvme_array_flush");
    await this.run((stream) => kernel.launch({ grid: 1, block: 32, stream }, [this.address]));
  }

  /** What kernels did so far. */
  async statistics(): Promise<PagedArrayStatistics> {
    const view = new BlockView(ARRAY_BLOCK, await this.#block.read());
    const count = (name: string): number => Number(view.get(name));
    return {
      hits: count("hits"),
      joins: count("joins"),
      misses: count("misses"),
      evictions: count("evictions"),
      writeBacks: count("write_backs"),
    };
  }

  /** Frees the memory. What was not flushed is lost. */
  [Symbol.dispose](): void {
    for (const one of this.#resources.splice(0).toReversed()) one[Symbol.dispose]();
  }
}
