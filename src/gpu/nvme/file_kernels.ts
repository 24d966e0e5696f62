/**
 * Kernels that read runs of blocks into an arena, and files whose blocks they find by themselves.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { blockMemory, type NamespaceGeometry } from "../../nvme/tables/identity.ts";
import { statusError } from "../../nvme/tables/status.ts";
import filesPtx from "../kernels/files.ptx" with { type: "text" };
import type { GpuModule } from "../module.ts";
import type { NvmeDirect } from "../nvme_direct.ts";
import { Arena, type ArenaPlace } from "./arena.ts";
import type { DirectJob } from "./direct_job.ts";
import { GATHER_BLOCK, RESOLVE_BLOCK, RESOLVE_PROBLEMS } from "./file_layout.ts";
import { BlockView, NVME_FAILURES } from "./layout.ts";
import { type ByteRun, planSegments, type SegmentPlan } from "./segments.ts";

/** Most bytes of a command, where the controller takes as much. */
const USUAL_TRANSFER_BYTES = 128 << 10;
const DEFAULT_TIMEOUT_MS = 10_000;
/** A piece for the inode, and one for each level of an extent tree below its root. */
const RESOLVE_PIECES = 6;
const FAT_PIECE_BYTES = 4096;

/** How such kernels are run. */
export type FileKernelOptions = Pick<DirectJob, "timeoutMs" | "signal" | "onProgress">;

/** A file that a kernel is to find: where its file system begins, and what the CPU knows of it. */
export type ResolveTarget =
  & {
    /** First block of the file system. */
    readonly firstLba: bigint;
    /** Bytes of a block of the file system, or of a cluster. */
    readonly blockBytes: number;
    /** Blocks of the file system, or clusters of data. */
    readonly blocks: number;
  }
  & ({
    /** An inode of ext4. */
    readonly kind: "ext4";
    readonly inode: number;
    readonly inodesPerGroup: number;
    readonly inodeBytes: number;
    readonly descriptorBytes: number;
    readonly descriptorsOffset: number;
  } | {
    /** A chain of clusters. */
    readonly kind: "FAT32";
    readonly cluster: number;
    readonly clusterIndex: number;
    readonly fatOffset: number;
    readonly dataOffset: number;
  });

/** What a kernel found. */
export interface ResolveResult {
  /** ext4: the file's length. */
  readonly sizeBytes: number;
  /** ext4: `i_ctime`, and `i_ctime_extra` in the upper half. */
  readonly changeTime: bigint;
  /** FAT: the cluster behind the window, and how many lie before it. */
  readonly cluster: number;
  /** FAT: clusters of the file before it. */
  readonly clusterIndex: number;
  /** Blocks of metadata that it read. */
  readonly metadataReads: number;
  /** Runs of data in the window. */
  readonly extents: number;
}

/** What brings runs of bytes of a drive to memory: a launch for each, or a kernel that stays. */
export interface RunReader {
  /** Memory for them. */
  allocate(place: ArenaPlace, sizeBytes: number): Arena;
  /** Brings them there, and returns the commands that did it. */
  gather(runs: readonly ByteRun[], arena: Arena, options?: FileKernelOptions): Promise<SegmentPlan>;
}

/**
 * Most bytes of one command for files, a multiple of blocks and of the controller's pages.
 *
 * @param maxTransferBytes what the controller takes at once
 */
export function fileTransferBytes(pageBytes: number, blockBytes: number, maxTransferBytes: number): number {
  const unit = Math.max(pageBytes, blockBytes);
  const most = Math.min(USUAL_TRANSFER_BYTES, maxTransferBytes);
  return Math.max(unit, most - most % unit);
}

/** Kernels for files over a controller that kernels drive. Dispose before that. */
export class FileKernels implements Disposable, RunReader {
  /** Bytes of one command at most. */
  readonly transferBytes: number;
  /** Most commands that the job keeps in flight. */
  readonly direct: NvmeDirect;
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  readonly #module: GpuModule;
  #pieces: Arena | null = null;

  /**
   * Loads the kernels.
   *
   * @param maxTransferBytes what the controller takes at once
   * @throws {BusbarError} `unsupported` for a namespace with metadata; `usage` where one thread submits
   */
  constructor(direct: NvmeDirect, namespace: NamespaceGeometry, maxTransferBytes: number) {
    const { driver, mode } = direct;
    const details = { operation: "read files from the GPU", path: driver.name };
    const { dataBytes, metadataBytes } = blockMemory(namespace, false);
    if (metadataBytes !== 0 || dataBytes !== namespace.blockBytes || namespace.protectionType !== 0) {
      const what = `${driver.name}, namespace ${namespace.id}: its blocks have metadata`;
      throw new BusbarError("unsupported", what, details);
    }
    if (mode === "thread") {
      throw new BusbarError("usage", "files are read by warps", { ...details, hint: "--mode warp or --mode grid" });
    }
    this.transferBytes = fileTransferBytes(driver.pageBytes, namespace.blockBytes, maxTransferBytes);
    this.direct = direct;
    this.namespace = namespace;
    this.#module = direct.gpu.module(filesPtx);
  }

  /**
   * Pieces of a size for the kernels: a power of two, so that the entries of one lie on one page of the PRP list.
   *
   * @param count how many
   */
  #piecesOf(
    count: number,
    leastBytes: number,
  ): Readonly<Record<"pieces" | "pieces_iova" | "pieces_list" | "piece_bytes", bigint | number>> {
    const pieceBytes = 2 ** Math.ceil(Math.log2(Math.max(leastBytes, this.direct.driver.pageBytes)));
    if (this.#pieces === null || this.#pieces.sizeBytes < count * pieceBytes) {
      this.#pieces?.[Symbol.dispose]();
      this.#pieces = null;
      this.#pieces = Arena.allocate(this.direct.driver, this.direct.gpu, "pinned", count * pieceBytes);
    }
    const { address, iova, list } = this.#pieces;
    return { pieces: address, pieces_iova: iova, pieces_list: list, piece_bytes: pieceBytes };
  }

  /** Memory for runs of bytes. */
  allocate(place: ArenaPlace, sizeBytes: number): Arena {
    return Arena.allocate(this.direct.driver, this.direct.gpu, place, sizeBytes);
  }

  /** Cuts runs into commands for an arena. */
  plan(runs: readonly ByteRun[], arena: Arena): SegmentPlan {
    return planSegments(runs, {
      blockBytes: this.namespace.blockBytes,
      pageBytes: this.direct.driver.pageBytes,
      transferBytes: this.transferBytes,
      isReachable: arena.iova !== 0n,
    });
  }

  /**
   * Brings runs of bytes to an arena.
   *
   * @returns the commands that did it
   * @throws {BusbarError} `out-of-range` for runs outside the drive or the arena; as {@linkcode NvmeDirect.run} does
   */
  async gather(runs: readonly ByteRun[], arena: Arena, options: FileKernelOptions = {}): Promise<SegmentPlan> {
    this.#checkRuns(runs, arena);
    const plan = this.plan(runs, arena);
    if (plan.count === 0) return plan;
    const { gpu, shape, mode } = this.direct;
    const pieces = this.#piecesOf(shape.pieces, this.transferBytes);
    using segments = gpu.allocate(plan.table.length);
    using job = gpu.allocate(GATHER_BLOCK.sizeBytes);
    await segments.write(plan.table);
    const block = new Uint8Array(GATHER_BLOCK.sizeBytes), view = new BlockView(GATHER_BLOCK, block);
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    view.set({
      segments: segments.address,
      ...pieces,
      arena: arena.address,
      arena_iova: arena.iova,
      arena_list: arena.list,
      timeout_ns: BigInt(Math.round(timeoutMs * 1e6)),
      block_bytes: this.namespace.blockBytes,
      segment_count: plan.count,
      queue_count: this.direct.queueCount,
      namespace_id: this.namespace.id,
      page_bytes: this.direct.driver.pageBytes,
      lanes: shape.lanes,
    });
    await this.#launch(`nvme_gather_${mode}`, { grid: shape.blocks, block: shape.threads }, view, block, job, options);
    const after = new BlockView(GATHER_BLOCK, await job.read());
    if (after.number("outcome") === NVME_FAILURES.status) {
      throw this.#statusError(after.number("failed_status"), after.get("failed_lba"), after.number("failed_blocks"));
    }
    if (after.number("done") !== plan.count) throw new BusbarError("bug", "a kernel left commands out");
    return plan;
  }

  #statusError(status: number, lba: bigint, blocks: number): BusbarError {
    const { name } = this.direct.driver;
    const operation = `Read of ${blocks} blocks at ${lba}`;
    return statusError(status, { operation, path: `${name}, namespace ${this.namespace.id}` });
  }

  #checkRuns(runs: readonly ByteRun[], arena: Arena): void {
    const capacity = Number(this.namespace.blocks) * this.namespace.blockBytes;
    for (const { offset, destination, sizeBytes } of runs) {
      const isInside = destination >= 0 && sizeBytes >= 0 && destination + sizeBytes <= arena.sizeBytes &&
        (offset === null || (offset >= 0 && offset + sizeBytes <= capacity));
      if (isInside) continue;
      throw new BusbarError("out-of-range", `${this.direct.driver.name}: ${sizeBytes} bytes at ${offset}`, {
        operation: "read files from the GPU",
        path: this.direct.driver.name,
      });
    }
  }

  async #launch(
    kernel: string,
    shape: { readonly grid: number; readonly block: number },
    view: BlockView,
    block: Uint8Array<ArrayBuffer>,
    job: { readonly address: bigint; write(bytes: Uint8Array<ArrayBuffer>): Promise<void> },
    options: FileKernelOptions,
  ): Promise<void> {
    const { direct } = this;
    const isResolve = kernel.startsWith("nvme_resolve");
    view.set({ [isResolve ? "queue" : "queues"]: direct.queuesAddress, control: direct.controlAddress });
    await job.write(block);
    await direct.runKernel((_queues, stream) => {
      this.#module.function(kernel).launch({ ...shape, stream }, [job.address]);
    }, options);
  }

  /**
   * Lets a kernel find a file's blocks and read a window of it into the arena; holes become zeros.
   *
   * @param window first byte of the file, a multiple of its blocks or clusters
   * @param windowBytes how many bytes, a multiple of the drive's blocks
   * @param arena one that the drive reaches
   * @throws {BusbarError} `malformed` for metadata that cannot be; `unsupported` for files that are not read so;
   * else as {@linkcode gather}
   */
  async resolve(
    target: ResolveTarget,
    window: number,
    windowBytes: number,
    arena: Arena,
    options: FileKernelOptions = {},
  ): Promise<ResolveResult> {
    const { gpu, shape, driver } = this.direct;
    const { blockBytes } = this.namespace;
    if (arena.iova === 0n || windowBytes > arena.sizeBytes || windowBytes % blockBytes !== 0) {
      throw new BusbarError("usage", "a kernel that finds a file's blocks reads whole blocks into pinned memory", {
        operation: "find a file's blocks by a kernel",
      });
    }
    const pieceBytes = target.kind === "ext4" ? target.blockBytes : Math.max(FAT_PIECE_BYTES, blockBytes);
    using job = gpu.allocate(RESOLVE_BLOCK.sizeBytes);
    const block = new Uint8Array(RESOLVE_BLOCK.sizeBytes), view = new BlockView(RESOLVE_BLOCK, block);
    view.set({
      ...this.#piecesOf(RESOLVE_PIECES, pieceBytes),
      arena: arena.address,
      arena_iova: arena.iova,
      arena_list: arena.list,
      timeout_ns: BigInt(Math.round((options.timeoutMs ?? DEFAULT_TIMEOUT_MS) * 1e6)),
      first_lba: target.firstLba,
      window,
      window_bytes: windowBytes,
      fs_blocks: target.blocks,
      fs_block_bytes: target.blockBytes,
      namespace_id: this.namespace.id,
      block_bytes: blockBytes,
      page_bytes: driver.pageBytes,
      transfer_bytes: this.transferBytes,
      lanes: Math.min(shape.lanes, 32),
      ...(target.kind === "ext4"
        ? {
          inode: target.inode,
          inodes_per_group: target.inodesPerGroup,
          inode_bytes: target.inodeBytes,
          descriptor_bytes: target.descriptorBytes,
          descriptors: target.descriptorsOffset,
        }
        : {
          cluster: target.cluster,
          cluster_index: target.clusterIndex,
          fat: target.fatOffset,
          data: target.dataOffset,
        }),
    });
    await this.#launch(`nvme_resolve_${target.kind.toLowerCase()}`, { grid: 1, block: 32 }, view, block, job, options);
    const after = new BlockView(RESOLVE_BLOCK, await job.read());
    this.#checkResolved(after, target);
    return {
      sizeBytes: Number(after.get("size")),
      changeTime: after.get("change_time"),
      cluster: after.number("cluster"),
      clusterIndex: after.number("cluster_index"),
      metadataReads: Number(after.get("reads")),
      extents: after.number("extents"),
    };
  }

  #checkResolved(after: BlockView, target: ResolveTarget): void {
    const problem = after.number("problem"), detail = after.get("detail");
    if (problem === RESOLVE_PROBLEMS.none) return;
    const { name } = this.direct.driver;
    const what = target.kind === "ext4" ? `inode ${target.inode}` : `the file at cluster ${target.cluster}`;
    const details = { operation: "find a file's blocks by a kernel", path: name };
    switch (problem) {
      case RESOLVE_PROBLEMS.status:
        throw statusError(after.number("failed_status"), { ...details, path: `${name}, block ${detail}` });
      case RESOLVE_PROBLEMS.unsupported:
        throw new BusbarError("unsupported", `${name}: ${what} has flags 0x${detail.toString(16)}: no plain extents`, {
          ...details,
          hint: "encrypted, compressed and inline files are read through a mounted file system",
        });
      case RESOLVE_PROBLEMS.chain:
        throw new BusbarError("malformed", `${name}: ${what}: its chain goes to cluster ${detail}`, details);
      case RESOLVE_PROBLEMS.damaged:
        throw new BusbarError("malformed", `${name}: ${what}: its metadata are damaged (${detail})`, details);
      default:
        throw new BusbarError("device-failed", `${name}: ${what} was not read to its end`, details);
    }
  }

  /** Frees the pieces. */
  [Symbol.dispose](): void {
    this.#pieces?.[Symbol.dispose]();
    this.#pieces = null;
    this.#module[Symbol.dispose]();
  }
}
