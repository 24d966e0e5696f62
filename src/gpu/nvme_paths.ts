/**
 * The ways from a drive to a GPU's memory, measured in one run with the same transfers: at random places, so many in flight.
 *
 * In all but the kernels' own, the CPU hands the data on: each transfer is copied to the GPU, and the copy is waited for,
 * before its memory is used again.
 * @module
 */

import { cpuUsage } from "node:process";

import { BusbarError } from "../core/error.ts";
import { Histogram } from "../core/histogram.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { Mapping } from "../../ffi/memory.ts";
import { runIoJob } from "../nvme/jobs/io_job.ts";
import type { NvmeDriver } from "../nvme/driver/driver.ts";
import type { NamespaceGeometry } from "../nvme/tables/identity.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuBuffer } from "./memory.ts";
import type { DirectJob, DirectOptions, DirectTier } from "./nvme/direct_job.ts";
import { reach } from "./nvme/reach.ts";
import { NvmeDirect } from "./nvme_direct.ts";
import type { GpuStream } from "./stream.ts";

/** What is measured: reads of `transferBlocks` blocks each, at random places of a range. */
export interface PathsJob extends Pick<DirectJob, "lba" | "blocks" | "transferBlocks" | "signal"> {
  /** How long a command may take, in milliseconds. */
  readonly timeoutMs: number;
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** Transfers in flight. */
  readonly depth: number;
  /** Milliseconds of each way. */
  readonly durationMs: number;
}

/** What one way came to. */
export interface PathFigures {
  /** Transfers that ended well. */
  readonly transfers: number;
  /** Bytes that they moved. */
  readonly bytes: number;
  /** Wall time in milliseconds. */
  readonly elapsedMs: number;
  /** Nanoseconds from the submission of a command, or the call, to its end; copies do not count. */
  readonly latency: Histogram;
  /** Processor time of this process, in seconds. */
  readonly cpuSeconds: number;
}

/** A way from a drive to a GPU. */
export interface DrivePath {
  /** What it is: `kernels, tier 1`. */
  readonly name: string;
  /** How often a byte is copied after the drive has written it. */
  readonly copies: number;
  /** What was measured, or null. */
  readonly figures: PathFigures | null;
  /** Why it was not measured, or null. */
  readonly missing: string | null;
}

const RANDOM_SEED = 1;
const DEFAULT_TIMEOUT_MS = 10_000;
/** Reads through a mapping bring in its pages one fault after the other. */
const MOST_MAPPED_BYTES = 1 << 30;

/** From pageable memory a driver of silicon copies to pinned pages of its own first. */
function pageableCopies(gpu: Gpu): number {
  return gpu.driver.isSoftware ? 1 : 2;
}

async function measured(
  name: string,
  copies: number,
  body: () => Promise<Omit<PathFigures, "cpuSeconds">>,
): Promise<DrivePath> {
  const before = cpuUsage();
  try {
    const figures = await body();
    const { user, system } = cpuUsage(before);
    return { name, copies, figures: { ...figures, cpuSeconds: (user + system) / 1e6 }, missing: null };
  } catch (error) {
    // What a way cannot do is said; a drive that fails, and a signal, end the run.
    const isMissing = error instanceof BusbarError &&
      ["unsupported", "permission", "usage", "absent"].includes(error.code);
    if (!isMissing) throw error;
    return { name, copies, figures: null, missing: error.message };
  }
}

/** Copies of transfers to the GPU, each to a place of its own. */
class Copies implements Disposable {
  readonly #memory: GpuBuffer;
  readonly #stream: GpuStream;
  readonly #gpu: Gpu;
  readonly #places: number;
  readonly #transferBytes: number;
  #next = 0;

  constructor(gpu: Gpu, transferBytes: number, places: number) {
    this.#gpu = gpu;
    this.#places = places;
    this.#transferBytes = transferBytes;
    this.#stream = gpu.stream();
    try {
      this.#memory = gpu.allocate(transferBytes * places);
    } catch (error) {
      this.#stream[Symbol.dispose]();
      throw error;
    }
  }

  /** Copies a transfer, and waits for it. */
  copy(bytes: Uint8Array<ArrayBuffer>): void {
    this.#memory.queueCopy(bytes, this.#next * this.#transferBytes, this.#stream);
    this.#next = (this.#next + 1) % this.#places;
    const end = performance.now() + DEFAULT_TIMEOUT_MS;
    while (!this.#stream.isDone) {
      if (performance.now() > end) {
        throw new BusbarError("timeout", `${this.#gpu.name}: a copy to the GPU does not end`, { path: this.#gpu.name });
      }
    }
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}

async function byKernels(
  driver: NvmeDriver,
  gpu: Gpu,
  options: DirectOptions,
  job: PathsJob,
): Promise<Omit<PathFigures, "cpuSeconds">> {
  await using direct = await NvmeDirect.open(driver, gpu, options);
  const result = await direct.run({ ...job, operation: "read", randomSeed: RANDOM_SEED });
  return { ...result, latency: result.times.wait };
}

async function byDriver(
  driver: NvmeDriver,
  gpu: Gpu,
  job: PathsJob,
  isPinned: boolean,
): Promise<Omit<PathFigures, "cpuSeconds">> {
  const transferBytes = job.transferBlocks * job.namespace.blockBytes;
  using copies = new Copies(gpu, transferBytes, job.depth);
  return await runIoJob(driver, {
    ...job,
    readShare: 1,
    queues: 1,
    randomSeed: RANDOM_SEED,
    onRead: (_lba, bytes) => copies.copy(bytes as Uint8Array<ArrayBuffer>),
    ...(isPinned
      ? {
        holdMemory: (buffers) => {
          const registered = new DisposableStack();
          try {
            for (const { pointer, sizeBytes } of buffers) registered.use(reach(gpu, pointer, sizeBytes, "the data"));
            return registered;
          } catch (error) {
            registered.dispose();
            throw error;
          }
        },
      }
      : {}),
  });
}

/**
 * The ways of a drive that this process drives: kernels at each tier, and the CPU's driver with copies.
 *
 * @param driver lends as many queues as `options` asks for
 * @param onPath called with each way when it was measured
 * @throws {BusbarError} where the drive fails; the signal's reason. What a way cannot do is said in its `missing`
 */
export async function driverPaths(
  driver: NvmeDriver,
  gpu: Gpu,
  options: DirectOptions,
  job: PathsJob,
  onPath: (path: DrivePath) => void,
): Promise<void> {
  for (const tier of [1, 2, 3] as const satisfies readonly DirectTier[]) {
    onPath(await measured(`kernels, tier ${tier}`, 0, () => byKernels(driver, gpu, { ...options, tier }, job)));
  }
  const pageable = pageableCopies(gpu);
  onPath(await measured("CPU's driver and copy, pageable", pageable, () => byDriver(driver, gpu, job, false)));
  onPath(await measured("CPU's driver and copy, pinned", 1, () => byDriver(driver, gpu, job, true)));
}

/** Reads at random places of a block device by so many workers, each with memory of its own. */
async function byWorkers(
  job: PathsJob,
  count: number,
  read: (worker: number, offset: bigint) => Promise<void>,
  handOn: (worker: number) => Promise<void> | void,
): Promise<Omit<PathFigures, "cpuSeconds">> {
  const { namespace, transferBlocks } = job;
  const transferBytes = transferBlocks * namespace.blockBytes;
  const places = Number(job.blocks / BigInt(transferBlocks));
  if (places === 0) throw new BusbarError("usage", "the range is shorter than a transfer");
  const latency = new Histogram();
  const started = performance.now(), end = started + job.durationMs;
  let transfers = 0;
  const work = async (worker: number): Promise<void> => {
    while (performance.now() < end) {
      job.signal?.throwIfAborted();
      const place = Math.floor(Math.random() * places);
      const begun = performance.now();
      await read(worker, (job.lba + BigInt(place * transferBlocks)) * BigInt(namespace.blockBytes));
      latency.add(Math.round((performance.now() - begun) * 1e6));
      await handOn(worker);
      transfers++;
    }
  };
  // Nothing is freed before all have ended.
  const results = await Promise.allSettled(Array.from({ length: count }, (_, worker) => work(worker)));
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return { transfers, bytes: transfers * transferBytes, elapsedMs: performance.now() - started, latency };
}

async function byDirectReads(device: string, gpu: Gpu, job: PathsJob): Promise<Omit<PathFigures, "cpuSeconds">> {
  const transferBytes = job.transferBlocks * job.namespace.blockBytes;
  using file = Descriptor.openDirect(device, "run as root");
  using memory = Mapping.anonymous(job.depth * transferBytes, { populate: true });
  using copies = new Copies(gpu, transferBytes, job.depth);
  const bytes = memory.bytes();
  const partOf = (worker: number): Deno.PointerObject => {
    const pointer = Deno.UnsafePointer.of(bytes.subarray(worker * transferBytes));
    if (pointer === null) throw new BusbarError("bug", "memory at address 0");
    return pointer;
  };
  return await byWorkers(
    job,
    job.depth,
    async (worker, offset) => {
      const count = await file.readOnThread(offset, partOf(worker), transferBytes);
      if (count !== transferBytes) throw new BusbarError("io", `${device}: it ends early`, { path: device });
    },
    (worker) => copies.copy(bytes.subarray(worker * transferBytes, (worker + 1) * transferBytes)),
  );
}

async function byMapping(device: string, gpu: Gpu, job: PathsJob): Promise<Omit<PathFigures, "cpuSeconds">> {
  const { blockBytes } = job.namespace;
  const transferBytes = job.transferBlocks * blockBytes;
  const offset = job.lba * BigInt(blockBytes);
  const sizeBytes = Math.min(MOST_MAPPED_BYTES, Number(job.blocks) * blockBytes);
  using memory = Mapping.file(device, sizeBytes, { offset });
  using to = gpu.allocate(transferBytes);
  const bytes = memory.bytes();
  // The copy is the read: it faults the pages in.
  return await byWorkers(
    { ...job, blocks: BigInt(sizeBytes / blockBytes) },
    1,
    async (_worker, place) => {
      const at = Number(place - offset);
      await to.write(bytes.subarray(at, at + transferBytes));
    },
    () => {},
  );
}

/** The kernel's block device of a namespace, `/dev/nvme0n1`, or why there is none. */
export type KernelDisk = { readonly path: string; readonly why: null } | { readonly path: null; readonly why: string };

/**
 * The ways of a drive that the kernel's driver has.
 *
 * @param onPath called with each way when it was measured
 * @throws {BusbarError} as {@linkcode driverPaths} does
 */
export async function kernelPaths(
  disk: KernelDisk,
  gpu: Gpu,
  job: PathsJob,
  onPath: (path: DrivePath) => void,
): Promise<void> {
  const copies = pageableCopies(gpu);
  const ways = [["kernel's O_DIRECT read and copy", byDirectReads], ["mmap and copy", byMapping]] as const;
  for (const [name, body] of ways) {
    const { path, why } = disk;
    if (path === null) onPath({ name, copies, figures: null, missing: why });
    else onPath(await measured(name, copies, () => body(path, gpu, job)));
  }
}
