/**
 * GPU-initiated NVMe: kernels that submit commands to a controller and take its completions, with no CPU in the data path.
 *
 * The CPU opens the controller, makes the queues and launches a kernel. While the kernel runs it watches two words and
 * CSTS: a GPU's read of another device's register may never return, so the kernel does without.
 * @module
 */

import { pause } from "../core/deadline.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { isSysfsPciAddress } from "../core/pci_address.ts";
import { IommuFaults } from "../pci/iommu_faults.ts";
import { type QueueRings, ringBytes } from "../nvme/queue/rings.ts";
import { blockMemory } from "../nvme/tables/identity.ts";
import { statusError } from "../nvme/tables/status.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuBuffer, PinnedBuffer, RegisteredMemory } from "./memory.ts";
import type { GpuFunction, GpuModule } from "./module.ts";
import type { GpuStream } from "./stream.ts";
import nvmePtx from "./kernels/nvme.ptx" with { type: "text" };
import type {
  DirectDriver,
  DirectJob,
  DirectMode,
  DirectOptions,
  DirectQueue,
  DirectResult,
} from "./nvme/direct_job.ts";
import { DirectRun } from "./nvme/direct_run.ts";
import { type LaunchShape, launchShape } from "./nvme/launch_shape.ts";
import { DeviceMemoryForDrive } from "./nvme/device_memory.ts";
import { type DriveMemory, type DriveMemoryMaker, pinnedMemory } from "./nvme/drive_memory.ts";
import {
  type Doorbells,
  KernelQueue,
  type QueueState,
  type RingMemory,
  type UnansweredCommand,
} from "./nvme/kernel_queue.ts";
import { BlockView, CONTROL_BLOCK, JOB_BLOCK, NVME_FAILURES, NVME_STOPS, QUEUE_BLOCK } from "./nvme/layout.ts";
import { DataPieces } from "./nvme/pieces.ts";
import { ProxyDoorbells } from "./nvme/proxy_doorbells.ts";
import { ShadowDoorbells } from "./nvme/shadow_doorbells.ts";
import { reach } from "./nvme/reach.ts";

/** A kernel that does not end this long after it was told to is lost. */
const END_MS = 5_000;
/** Without progress for this long beyond the limit of a command, a kernel is told to end. */
const SILENCE_MS = 5_000;
const MOST_TIMES = 65_536;
const WINDOW_BYTES = 8 << 20;
/** The kernel tells of an access that the IOMMU stopped a moment after the drive noticed. */
const FAULT_MS = 200;
const DEFAULT_TIMEOUT_MS = 10_000;

/** A controller whose I/O is done by kernels. Dispose after use and before the driver and the GPU. */
export class NvmeDirect implements AsyncDisposable {
  readonly #driver: DirectDriver;
  readonly #gpu: Gpu;
  readonly #shape: LaunchShape;
  readonly #mode: DirectMode;
  readonly #lent: DirectQueue[] = [];
  readonly #queues: KernelQueue[] = [];
  readonly #resources: Disposable[] = [];
  /** Memory of the queues' rings: freed once the controller does not know the queues any more. */
  readonly #rings: DriveMemory[] = [];
  #allocateData: DriveMemoryMaker;
  #memoryWay: string | null = null;
  #faults: IommuFaults | null = null;
  /** A run ended well, with no fault of the IOMMU. */
  #isProven = false;
  #shadow: ShadowDoorbells | null = null;
  #proxy: ProxyDoorbells | null = null;
  #pieces: DataPieces | null = null;
  #kernel: GpuFunction;
  #stream: GpuStream;
  #control: PinnedBuffer;
  #job: GpuBuffer;
  #blocks: GpuBuffer;
  #broken: unknown = null;
  #isClosed = false;

  private constructor(driver: DirectDriver, gpu: Gpu, options: DirectOptions) {
    const { mode = "warp", depth = 32, queues = 1 } = options;
    this.#driver = driver;
    this.#gpu = gpu;
    this.#mode = mode;
    this.#allocateData = pinnedMemory(driver, gpu);
    this.#shape = launchShape(driver, mode, depth, queues);
    const module: GpuModule = this.#own(gpu.module(options.ptx ?? nvmePtx));
    this.#kernel = module.function(`nvme_job_${mode}`);
    this.#stream = this.#own(gpu.stream());
    this.#control = this.#own(gpu.allocatePinned(CONTROL_BLOCK.sizeBytes));
    this.#job = this.#own(gpu.allocate(JOB_BLOCK.sizeBytes));
    this.#blocks = this.#own(gpu.allocate(queues * QUEUE_BLOCK.sizeBytes));
  }

  /**
   * Makes queues for kernels.
   *
   * @param driver has `lentQueues` for as many queues; it stays the caller's
   * @throws {BusbarError} `usage` where the driver has no queues to lend, and for sizes that cannot be;
   * {@linkcode CudaError} where the GPU cannot reach rings or registers
   */
  static async open(driver: DirectDriver, gpu: Gpu, options: DirectOptions = {}): Promise<NvmeDirect> {
    const direct = new NvmeDirect(driver, gpu, options);
    try {
      await direct.#start(options);
      return direct;
    } catch (error) {
      await direct[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  async #start(options: DirectOptions): Promise<void> {
    const { queues = 1, doorbells = "mmio", registersAreMemory = false, tier = 1 } = options;
    if (isSysfsPciAddress(this.#driver.name)) {
      this.#faults = IommuFaults.watch(this.#driver.name);
      if (this.#faults !== null) this.#own(this.#faults);
    }
    const { entries, slots } = this.#shape;
    const bytes = ringBytes(entries);
    const inHost = pinnedMemory(this.#driver, this.#gpu);
    if (tier > 1) {
      const memory = DeviceMemoryForDrive.open(this.#driver, this.#gpu, options);
      this.#memoryWay = memory.way;
      this.#allocateData = (sizeBytes, what) => memory.allocate(sizeBytes, what);
    } else {
      this.#allocateData = inHost;
    }
    const allocateRing = tier === 3 ? this.#allocateData : inHost;
    const rings: RingMemory[] = [];
    for (let i = 0; i < queues; i++) {
      const sq = this.#ownRing(await allocateRing(bytes.sq, "the rings of a queue"));
      const cq = this.#ownRing(await allocateRing(bytes.cq, "the rings of a queue"));
      rings.push({ sq, cq });
      this.#lent.push(await this.#driver.lendQueue({ entries, memory: { sq, cq } }));
    }
    const [first] = this.#lent;
    if (first === undefined) throw new BusbarError("bug", "no queue");
    const registers = doorbells === "proxy" ? null : this.#registerRegisters(first.rings, !registersAreMemory);
    if (doorbells === "proxy") {
      this.#proxy = this.#own(new ProxyDoorbells(this.#gpu, this.#lent.map((queue) => queue.rings)));
    }
    if (doorbells === "shadow") this.#shadow = this.#own(new ShadowDoorbells(this.#driver, this.#gpu));
    for (const [i, queue] of this.#lent.entries()) {
      const places: Doorbells = this.#proxy?.of(i) ?? {
        tail: (registers?.address ?? 0n) + BigInt(queue.rings.tailDoorbell),
        head: (registers?.address ?? 0n) + BigInt(queue.rings.headDoorbell),
        shadow: this.#shadow?.of(queue.rings) ?? null,
      };
      const memory = rings[i];
      if (memory === undefined) throw new BusbarError("bug", "a queue without rings");
      this.#queues.push(new KernelQueue(this.#gpu, queue, memory, { entries, slots, times: MOST_TIMES }, places));
    }
    await this.#restartQueues();
  }

  /** Lets the GPU at the doorbells. */
  #registerRegisters({ registers }: QueueRings, isIo: boolean): RegisteredMemory {
    const sizeBytes = registers.endOffset - registers.firstOffset;
    return this.#own(reach(this.#gpu, registers.pointer, sizeBytes, `the registers of ${this.#driver.name}`, isIo));
  }

  async #restartQueues(): Promise<void> {
    for (const queue of this.#queues) await queue.restart();
    this.#proxy?.clear();
    await this.#shadow?.configure();
  }

  #own<T extends Disposable>(one: T): T {
    this.#resources.push(one);
    return one;
  }

  /** The controller. */
  get driver(): DirectDriver {
    return this.#driver;
  }

  /** The GPU. */
  get gpu(): Gpu {
    return this.#gpu;
  }

  /** Who submits. */
  get mode(): DirectMode {
    return this.#mode;
  }

  /** How its kernels are launched. */
  get shape(): LaunchShape {
    return this.#shape;
  }

  /** Queue pairs. */
  get queueCount(): number {
    return this.#queues.length;
  }

  /** Device address of the array of `bb_nvme_queue`. */
  get queuesAddress(): bigint {
    return this.#blocks.address;
  }

  /**
   * Device address of `bb_nvme_control`: a kernel that runs for long looks there for the host's stop, and counts `done` up.
   */
  get controlAddress(): bigint {
    return this.#control.address;
  }

  #ownRing(memory: DriveMemory): DriveMemory {
    this.#rings.push(memory);
    return memory;
  }

  /** How the drive reaches device memory, in words; null for tier 1. */
  get memoryWay(): string | null {
    return this.#memoryWay;
  }

  /** Commands that can be in flight, over all queues. */
  get depth(): number {
    return this.#shape.pieces;
  }

  /**
   * Does transfers by kernels, and returns when all have ended.
   *
   * After an error the controller was reset where a command was left in flight, and the queues are ready again, unless the
   * controller is gone.
   *
   * @throws {BusbarError} `device-failed` with the NVMe status of the first command that failed, and for completions that
   * cannot be; `timeout` when a command does not end; `device-gone`; the signal's reason
   */
  async run(job: DirectJob): Promise<DirectResult> {
    this.#check();
    const { namespace } = job;
    const { dataBytes, metadataBytes } = blockMemory(namespace, false);
    if (metadataBytes !== 0 || dataBytes !== namespace.blockBytes || namespace.protectionType !== 0) {
      throw new BusbarError(
        "unsupported",
        `${this.#driver.name}, namespace ${namespace.id}: its blocks have metadata`,
        {
          operation: "drive a controller from the GPU",
          path: this.#driver.name,
          hint: "nvme_io takes such namespaces",
        },
      );
    }
    const end = job.lba + job.blocks;
    const { transferBlocks } = job;
    if (job.lba < 0n || job.blocks <= 0n || end > namespace.blocks || transferBlocks < 1 || transferBlocks > 65_536) {
      throw new BusbarError(
        "out-of-range",
        `${this.#driver.name}: ${job.blocks} blocks at ${job.lba}, ${transferBlocks} at once: namespace ${namespace.id} ` +
          `has ${namespace.blocks}`,
        { operation: "drive a controller from the GPU", path: this.#driver.name },
      );
    }
    const run = new DirectRun();
    const isHanded = job.onRead !== undefined || job.fill !== undefined;
    try {
      if (isHanded) await this.#runWindows(job, run);
      else await this.#runOnce(job, run, false);
    } catch (error) {
      throw await this.#withFault(error);
    }
    await this.#checkFaults();
    return await run.result(this.#queues);
  }

  /** A drive may say that all went well although its accesses were stopped: then the data is not where it should be. */
  async #checkFaults(): Promise<void> {
    // Device memory that is not mapped shows at the first use, and the kernel may tell of it a moment later.
    const found = await this.#faultsWithin(this.#memoryWay === null || this.#isProven ? 0 : FAULT_MS);
    this.#isProven = true;
    if (found === null) return;
    throw new BusbarError(
      "device-failed",
      `${this.#driver.name}: it reports success, but the IOMMU stopped it: ${found}`,
      {
        operation: "drive a controller from the GPU",
        path: this.#driver.name,
        hint: "the data is not where it should be: memory for the drive was not mapped, or was taken away too early",
      },
    );
  }

  /** What the IOMMU stopped, in words; null where nothing is told of within that time. */
  async #faultsWithin(limitMs: number): Promise<string | null> {
    let faults = this.#faults?.take() ?? [];
    for (let waited = 0; this.#faults !== null && faults.length === 0 && waited < limitMs; waited += 20) {
      await pause(20);
      faults = this.#faults.take();
    }
    const [first] = faults;
    if (first === undefined) return null;
    return faults.length === 1 ? first : `${first}, and ${faults.length - 1} more`;
  }

  /** An error, with what the IOMMU has to do with it. */
  async #withFault(error: unknown): Promise<unknown> {
    if (this.#faults === null || !isBusbarError(error, "device-failed", "timeout")) return error;
    const found = await this.#faultsWithin(FAULT_MS);
    if (found === null) return error;
    return new BusbarError(error.code, `${error.message}; the IOMMU stopped it: ${found}`, {
      operation: error.operation ?? undefined,
      path: error.path ?? undefined,
      hint: error.hint ?? undefined,
      cause: error,
    });
  }

  /** Data that the host makes or takes: a window of the range at a time, each transfer with memory of its own. */
  async #runWindows(job: DirectJob, run: DirectRun): Promise<void> {
    const transferBytes = job.transferBlocks * job.namespace.blockBytes;
    const wanted = Math.max(this.#shape.pieces, Math.floor(WINDOW_BYTES / transferBytes));
    const windowBlocks = BigInt(wanted * job.transferBlocks);
    for (let lba = job.lba; lba < job.lba + job.blocks; lba += windowBlocks) {
      const left = job.lba + job.blocks - lba;
      const blocks = left < windowBlocks ? left : windowBlocks;
      const pieces = await this.#piecesFor(wanted, transferBytes);
      const each = (body: (lba: bigint, bytes: Uint8Array) => void): void => {
        for (let i = 0; BigInt(i * job.transferBlocks) < blocks; i++) {
          const at = BigInt(i * job.transferBlocks);
          const count = Math.min(job.transferBlocks, Number(blocks - at));
          body(lba + at, pieces.bytes(i).subarray(0, count * job.namespace.blockBytes));
        }
      };
      if (job.fill !== undefined) each(job.fill);
      await this.#runOnce({ ...job, lba, blocks }, run, true);
      if (job.onRead !== undefined && run.mismatch === null) each(job.onRead);
    }
  }

  async #piecesFor(count: number, pieceBytes: number): Promise<DataPieces> {
    if (this.#pieces !== null && this.#pieces.count >= count && this.#pieces.pieceBytes === pieceBytes) {
      return this.#pieces;
    }
    this.#pieces?.[Symbol.dispose]();
    this.#pieces = null;
    const made = await DataPieces.allocate(this.#driver, this.#allocateData, count, pieceBytes);
    this.#pieces = made;
    return made;
  }

  async #runOnce(job: DirectJob, run: DirectRun, isLinear: boolean): Promise<void> {
    const { namespace, transferBlocks, pattern } = job;
    const { lanes, pieces: most } = this.#shape;
    const chunks = (job.blocks + BigInt(transferBlocks) - 1n) / BigInt(transferBlocks);
    const pieces = await this.#piecesFor(
      isLinear ? Math.max(most, Number(chunks)) : most,
      transferBlocks * namespace.blockBytes,
    );
    using table = this.#gpu.allocate(pieces.table.length);
    await table.write(pieces.table);
    const unlimited = job.durationMs !== undefined ? (1n << 63n) : chunks;
    const block = new Uint8Array(JOB_BLOCK.sizeBytes);
    const timeoutMs = job.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    new BlockView(JOB_BLOCK, block).set({
      queues: this.#blocks.address,
      pieces: table.address,
      control: this.#control.address,
      first_lba: job.lba,
      blocks: job.blocks,
      chunks,
      transfers: isLinear ? chunks : job.transfers ?? unlimited,
      random_seed: isLinear ? 0 : job.randomSeed ?? 0,
      timeout_ns: BigInt(Math.round(timeoutMs * 1e6)),
      queue_count: this.#queues.length,
      namespace_id: namespace.id,
      opcode: { flush: 0, write: 1, read: 2 }[job.operation],
      transfer_blocks: transferBlocks,
      block_bytes: namespace.blockBytes,
      has_pattern: pattern !== undefined,
      pattern_seed: pattern?.seed ?? 0,
      is_linear: isLinear,
      lanes,
      page_bytes: this.#driver.pageBytes,
      is_timed: true,
    });
    await this.#job.write(block);
    const started = performance.now();
    const stopped = await this.#launch(job, timeoutMs, run.transfers, () => {
      const { blocks: grid, threads } = this.#shape;
      this.#kernel.launch({ grid, block: threads, stream: this.#stream }, [this.#job]);
    });
    run.elapsedMs += performance.now() - started;
    const before = this.#queues.map((queue) => queue.state);
    await this.#takeBlocks();
    await this.#collect(job, run, stopped, pieces, before);
  }

  /**
   * Runs a kernel of one's own, made with `busbar_nvme.cuh`, and waits for it. It must leave no command in flight.
   *
   * @param launch launches it on the stream; `queues` is the address of the array of `bb_nvme_queue`, one for each queue
   * @throws {BusbarError} as {@linkcode run}; `timeout` when the kernel does not end within `timeoutMs` and a few seconds
   */
  async runKernel(
    launch: (queues: bigint, stream: GpuStream) => void,
    options: Pick<DirectJob, "timeoutMs" | "signal" | "onProgress"> = {},
  ): Promise<void> {
    this.#check();
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const stopped = await this.#launch(options, timeoutMs, 0, () => launch(this.#blocks.address, this.#stream));
    await this.#takeBlocks();
    const states = this.#queues.map((queue) => queue.state);
    const failed = states.find(({ failure }) => failure !== 0);
    const left = states.reduce((sum, { inFlight }) => sum + inFlight, 0);
    const unanswered = await this.#recoverFrom(states);
    if (stopped !== null) throw stopped;
    if (failed !== undefined) throw this.#failure(failed, "a command", timeoutMs, unanswered);
    if (left === 0) return;
    throw new BusbarError("usage", `${this.#driver.name}: the kernel ended and left ${left} commands in flight`, {
      operation: "drive a controller from the GPU",
      path: this.#driver.name,
      hint: "wait for each ticket (bb_nvme_wait); the controller was reset",
    });
  }

  /** Hands the queues over, launches, and waits. Returns why the kernel was told to end, or null. */
  async #launch(
    job: Pick<DirectJob, "signal" | "durationMs" | "onProgress">,
    timeoutMs: number,
    before: number,
    launch: () => void,
  ): Promise<unknown> {
    for (const [i, queue] of this.#queues.entries()) {
      await this.#blocks.write(queue.block, i * QUEUE_BLOCK.sizeBytes);
    }
    this.#control.bytes.fill(0);
    // A controller that does not answer any more is told of by the watch.
    const forwarding = this.#proxy?.start();
    const stopForwarding = async (): Promise<void> => await forwarding?.().catch(() => {});
    try {
      launch();
      return await this.#watch(job, timeoutMs, before);
    } catch (error) {
      // The kernel is lost, or the GPU: the controller must let go of all memory before anything is freed.
      this.#broken = error;
      await stopForwarding();
      await this.#driver.reset().catch(() => {});
      throw error;
    } finally {
      await stopForwarding();
    }
  }

  /** Takes over what a kernel left in the blocks of the queues. */
  async #takeBlocks(): Promise<void> {
    for (const [i, queue] of this.#queues.entries()) {
      queue.block.set(await this.#blocks.read(QUEUE_BLOCK.sizeBytes, i * QUEUE_BLOCK.sizeBytes));
    }
  }

  #check(): void {
    if (this.#isClosed) throw new BusbarError("closed", `${this.#driver.name}: used after it was closed`);
    if (this.#broken !== null) throw this.#broken;
  }

  /** Waits for the kernel. Returns why it was told to end, or null. */
  async #watch(
    job: Pick<DirectJob, "signal" | "durationMs" | "onProgress">,
    timeoutMs: number,
    before: number,
  ): Promise<unknown> {
    const { bytes } = this.#control;
    const control = new BlockView(CONTROL_BLOCK, bytes);
    const ask = (stop: number): void => control.set({ stop });
    const started = performance.now();
    const endMs = started + (job.durationMs ?? Infinity);
    let stopped: unknown = null, askedNow = Infinity, movedAt = started, done = 0n;
    while (!this.#stream.isDone) {
      const now = performance.now();
      const seen = control.get("done");
      if (seen !== done) [done, movedAt] = [seen, now];
      if (now > askedNow + END_MS) {
        throw new BusbarError("timeout", `${this.#gpu.name}: the kernel did not end when it was told to`, {
          operation: "drive a controller from the GPU",
          path: this.#gpu.name,
          hint: "closing the GPU ends it; the controller was reset",
        });
      }
      if (stopped === null && job.signal?.aborted === true) {
        stopped = job.signal.reason;
        ask(NVME_STOPS.drain);
      }
      if (now > endMs && stopped === null) ask(NVME_STOPS.drain);
      if (now > movedAt + timeoutMs + SILENCE_MS && askedNow === Infinity) {
        ask(NVME_STOPS.now);
        askedNow = now;
        stopped ??= new BusbarError("timeout", `${this.#driver.name}: the kernel makes no progress`, {
          operation: "drive a controller from the GPU",
          path: this.#driver.name,
        });
      }
      if (askedNow === Infinity) {
        try {
          this.#driver.checkAlive();
        } catch (error) {
          stopped = error;
          askedNow = now;
          ask(NVME_STOPS.now);
        }
      }
      job.onProgress?.(before + Number(done));
      await pause(1);
    }
    return stopped;
  }

  /** Looks at what the kernel left, makes the queues good again where need be, and throws where something was wrong. */
  async #collect(
    job: DirectJob,
    run: DirectRun,
    stopped: unknown,
    pieces: DataPieces,
    before: readonly QueueState[],
  ): Promise<void> {
    const block = new BlockView(JOB_BLOCK, await this.#job.read());
    const states = this.#queues.map((queue) => queue.state);
    run.add(job, block.number("done"), before.map((state, i) => [state, states[i] ?? state] as const));
    const failed = states.find(({ failure }) => failure !== 0);
    const unanswered = await this.#recoverFrom(states);
    if (stopped !== null) throw stopped;
    const outcome = block.number("outcome");
    const which = nameOf(job.operation);
    const [lba, blocks] = [block.get("failed_lba"), block.number("failed_blocks")];
    const details = { operation: `${which} of ${blocks} blocks at ${lba}`, path: this.#driver.name };
    const path = `${this.#driver.name}, namespace ${job.namespace.id}`;
    if (outcome === NVME_FAILURES.status) throw statusError(block.number("failed_status"), { ...details, path });
    if (failed !== undefined) {
      throw this.#failure(failed, which, job.timeoutMs ?? DEFAULT_TIMEOUT_MS, unanswered);
    }
    if (outcome === NVME_FAILURES.mismatch) {
      // No lane that saw a failure begins another transfer, so the data is as the kernel saw it.
      const bytes = pieces.bytesAt(block.get("failed_piece")).subarray(0, blocks * job.namespace.blockBytes);
      const found = job.pattern?.check(bytes, lba) ?? null;
      if (found === null) throw new BusbarError("bug", "the kernel and the host disagree about a pattern");
      run.mismatch = found;
    }
  }

  #failure(
    state: QueueState,
    which: string,
    timeoutMs: number,
    unanswered: readonly UnansweredCommand[],
  ): BusbarError {
    const { name } = this.#driver;
    const common = { operation: "drive a controller from the GPU", path: name };
    const [oldest] = unanswered;
    if (state.failure === NVME_FAILURES.timeout) {
      const what = oldest === undefined ? "a command" : `${which} of ${oldest.blocks} blocks at ${oldest.lba}`;
      const seconds = timeoutMs / 1000;
      return new BusbarError("timeout", `${name}: no completion within ${seconds} s for ${what}`, {
        ...common,
        hint: `the controller was reset; ${unanswered.length} commands were in flight`,
      });
    }
    const hint = "the controller was reset; what it sent since the last good command is not to be trusted";
    if (state.failure === NVME_FAILURES.head) {
      const text = `${name}: a completion says SQHD ${state.failureDetail}, where nothing was submitted`;
      return new BusbarError("device-failed", text, { ...common, hint });
    }
    const text = `${name}: a completion for command ${state.failureDetail}, which is not in flight`;
    return new BusbarError("device-failed", text, { ...common, hint });
  }

  /**
   * Resets the controller and makes the queues new, where one failed or something is in flight; returns what was. Without
   * success nothing more can be done with it.
   */
  async #recoverFrom(states: readonly QueueState[]): Promise<UnansweredCommand[]> {
    if (states.every(({ failure, inFlight }) => failure === 0 && inFlight === 0)) return [];
    const unanswered = (await Promise.all(this.#queues.map((queue) => queue.unanswered()))).flat();
    try {
      await this.#driver.reset();
      await this.#restartQueues();
    } catch (error) {
      this.#broken = error;
    }
    return unanswered;
  }

  /** Gives queues and memory back. Shadow doorbells end with a reset of the controller. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    let problem: unknown = null;
    const attempt = async (body: () => PromiseLike<void>): Promise<void> => {
      try {
        await body();
      } catch (error) {
        problem ??= error;
      }
    };
    // The controller forgets shadow doorbells only by a reset, and their memory goes away.
    if (this.#shadow !== null && this.#broken === null) await attempt(() => this.#driver.reset());
    // The GPU lets go of memory before it is freed; a piece is only freed once no queue can reach it.
    for (const one of this.#queues) one[Symbol.dispose]();
    for (const queue of this.#lent) await attempt(() => queue[Symbol.asyncDispose]());
    // Where a queue could not be deleted, the memory is taken away from the drive before it is freed.
    for (const one of [...this.#rings, this.#pieces]) one?.[Symbol.dispose]();
    for (const one of this.#resources.toReversed()) one[Symbol.dispose]();
    // Of a controller that is lost, the run has told already.
    if (problem !== null && this.#broken === null) throw problem;
  }
}

function nameOf(operation: DirectJob["operation"]): string {
  return { read: "Read", write: "Write", flush: "Flush" }[operation];
}
