/**
 * GPU-initiated NVMe: kernels that submit commands to a controller and take its completions, with no CPU in the data path.
 *
 * The CPU opens the controller, makes the queues and launches a kernel. While the kernel runs it watches two words and
 * CSTS: a GPU's read of another device's register may never return, so the kernel does without.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { statusError } from "../nvme/tables/status.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuBuffer, PinnedBuffer } from "./memory.ts";
import type { GpuFunction, GpuModule } from "./module.ts";
import type { GpuStream } from "./stream.ts";
import nvmePtx from "./kernels/nvme.ptx" with { type: "text" };
import { checkJob, commandName, leftInFlight, queueError } from "./nvme/direct_errors.ts";
import type { DirectDriver, DirectJob, DirectMode, DirectOptions, DirectResult } from "./nvme/direct_job.ts";
import { DirectQueues } from "./nvme/direct_queues.ts";
import { DirectRun } from "./nvme/direct_run.ts";
import { DEFAULT_TIMEOUT_MS, jobBlock, transfersOf } from "./nvme/job_block.ts";
import { type LaunchShape, launchShape } from "./nvme/launch_shape.ts";
import { DeviceMemoryForDrive } from "./nvme/device_memory.ts";
import { type DriveMemoryMaker, pinnedMemory } from "./nvme/drive_memory.ts";
import { watchKernel, type WatchOptions } from "./nvme/kernel_watch.ts";
import type { QueueState, UnansweredCommand } from "./nvme/kernel_queue.ts";
import { BlockView, CONTROL_BLOCK, JOB_BLOCK, NVME_FAILURES } from "./nvme/layout.ts";
import { DataPieces } from "./nvme/pieces.ts";
import { StoppedAccesses } from "./nvme/stopped_accesses.ts";

const WINDOW_BYTES = 8 << 20;

/** A controller whose I/O is done by kernels. Dispose after use and before the driver and the GPU. */
export class NvmeDirect implements AsyncDisposable {
  readonly #driver: DirectDriver;
  readonly #gpu: Gpu;
  readonly #shape: LaunchShape;
  readonly #mode: DirectMode;
  readonly #resources: Disposable[] = [];
  readonly #stopped: StoppedAccesses;
  readonly #kernel: GpuFunction;
  readonly #stream: GpuStream;
  readonly #control: PinnedBuffer;
  readonly #job: GpuBuffer;
  #opened: DirectQueues | null = null;
  #allocateData: DriveMemoryMaker;
  #memoryWay: string | null = null;
  #pieces: DataPieces | null = null;
  #broken: unknown = null;
  #isRunning = false;
  #isClosed = false;

  private constructor(driver: DirectDriver, gpu: Gpu, options: DirectOptions) {
    const { mode = "warp", depth = 32, queues = 1 } = options;
    this.#driver = driver;
    this.#gpu = gpu;
    this.#mode = mode;
    this.#allocateData = pinnedMemory(driver, gpu);
    this.#shape = launchShape(driver, mode, depth, queues);
    this.#stopped = this.#own(new StoppedAccesses(driver.name));
    const module: GpuModule = this.#own(gpu.module(options.ptx ?? nvmePtx));
    this.#kernel = module.function(`nvme_job_${mode}`);
    this.#stream = this.#own(gpu.stream());
    this.#control = this.#own(gpu.allocatePinned(CONTROL_BLOCK.sizeBytes));
    this.#job = this.#own(gpu.allocate(JOB_BLOCK.sizeBytes));
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
    const { tier = 1 } = options;
    const inHost = this.#allocateData;
    if (tier > 1) {
      const memory = DeviceMemoryForDrive.open(this.#driver, this.#gpu, options);
      this.#memoryWay = memory.way;
      this.#allocateData = (sizeBytes, what) => memory.allocate(sizeBytes, what);
    }
    const allocateRing = tier === 3 ? this.#allocateData : inHost;
    this.#opened = await DirectQueues.open(this.#driver, this.#gpu, this.#shape, options, allocateRing);
  }

  get #queues(): DirectQueues {
    if (this.#opened === null) throw new BusbarError("bug", "queues were used before they were made");
    return this.#opened;
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
    return this.#queues.all.length;
  }

  /** Device address of the array of `bb_nvme_queue`. */
  get queuesAddress(): bigint {
    return this.#queues.address;
  }

  /**
   * Device address of `bb_nvme_control`: a kernel that runs for long looks there for the host's stop, and counts `done` up.
   */
  get controlAddress(): bigint {
    return this.#control.address;
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
    checkJob(this.#driver.name, job);
    const run = new DirectRun();
    const isHanded = job.onRead !== undefined || job.fill !== undefined;
    try {
      if (isHanded) await this.#runWindows(job, run);
      else await this.#runOnce(job, run, false);
    } catch (error) {
      throw await this.#stopped.explain(error);
    }
    await this.#stopped.check(this.#memoryWay !== null);
    return await run.result(this.#queues.all);
  }

  /** Data that the host makes or takes: a window of the range at a time, each transfer with memory of its own. */
  async #runWindows(job: DirectJob, run: DirectRun): Promise<void> {
    const transferBytes = job.transferBlocks * job.namespace.blockBytes;
    const most = Math.min(Math.floor(WINDOW_BYTES / transferBytes), Number(transfersOf(job)));
    const wanted = Math.max(this.#shape.pieces, most);
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
    const { lanes, pieces: most } = this.#shape;
    const { pageBytes } = this.#driver;
    const count = isLinear ? Math.max(most, Number(transfersOf(job))) : most;
    const pieces = await this.#piecesFor(count, job.transferBlocks * job.namespace.blockBytes);
    using table = this.#gpu.allocate(pieces.table.length);
    await table.write(pieces.table);
    const timeoutMs = job.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const places = { queues: this.queuesAddress, queueCount: this.queueCount, pieces: table.address, lanes, pageBytes };
    const block = jobBlock(job, { ...places, control: this.controlAddress, isLinear });
    await this.#job.write(block);
    const started = performance.now();
    const stopped = await this.#launch(job, timeoutMs, run.transfers, () => {
      const { blocks: grid, threads } = this.#shape;
      this.#kernel.launch({ grid, block: threads, stream: this.#stream }, [this.#job]);
    });
    run.elapsedMs += performance.now() - started;
    const before = this.#queues.states;
    await this.#queues.takeBack();
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
    options: Pick<DirectJob, "timeoutMs"> & Omit<WatchOptions, "durationMs"> = {},
  ): Promise<void> {
    this.#check();
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const stopped = await this.#launch(options, timeoutMs, 0, () => launch(this.#queues.address, this.#stream));
    await this.#queues.takeBack();
    const states = this.#queues.states;
    const failed = states.find(({ failure }) => failure !== 0);
    const left = states.reduce((sum, { inFlight }) => sum + inFlight, 0);
    const unanswered = await this.#recoverFrom(states);
    if (stopped !== null) throw stopped;
    if (failed !== undefined) throw queueError(this.#driver.name, failed, "a command", timeoutMs, unanswered);
    if (left > 0) throw leftInFlight(this.#driver.name, left);
  }

  /** Hands the queues over, launches, and waits. Returns why the kernel was told to end, or null. */
  async #launch(
    job: WatchOptions,
    timeoutMs: number,
    before: number,
    launch: () => void,
  ): Promise<unknown> {
    if (this.#isRunning) {
      throw new BusbarError("busy", `${this.#driver.name}: a kernel drives its queues already`, {
        operation: "drive a controller from the GPU",
        path: this.#driver.name,
        hint: "wait for it, or stop a resident kernel first",
      });
    }
    this.#isRunning = true;
    try {
      return await this.#runLaunched(job, timeoutMs, before, launch);
    } finally {
      this.#isRunning = false;
    }
  }

  async #runLaunched(job: WatchOptions, timeoutMs: number, before: number, launch: () => void): Promise<unknown> {
    await this.#queues.handOver();
    const control = this.#control.bytes;
    control.fill(0);
    const stopForwarding = this.#queues.forward();
    try {
      launch();
      const watched = { driver: this.#driver, gpuName: this.#gpu.name, stream: this.#stream, control };
      return await watchKernel(watched, job, timeoutMs, before);
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

  #check(): void {
    if (this.#isClosed) throw new BusbarError("closed", `${this.#driver.name}: used after it was closed`);
    if (this.#broken !== null) throw this.#broken;
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
    const states = this.#queues.states;
    run.add(job, block.number("done"), before.map((state, i) => [state, states[i] ?? state] as const));
    const failed = states.find(({ failure }) => failure !== 0);
    const unanswered = await this.#recoverFrom(states);
    if (stopped !== null) throw stopped;
    const outcome = block.number("outcome");
    const which = commandName(job.operation);
    const [lba, blocks] = [block.get("failed_lba"), block.number("failed_blocks")];
    const details = { operation: `${which} of ${blocks} blocks at ${lba}`, path: this.#driver.name };
    const path = `${this.#driver.name}, namespace ${job.namespace.id}`;
    if (outcome === NVME_FAILURES.status) throw statusError(block.number("failed_status"), { ...details, path });
    if (failed !== undefined) {
      throw queueError(this.#driver.name, failed, which, job.timeoutMs ?? DEFAULT_TIMEOUT_MS, unanswered);
    }
    if (outcome === NVME_FAILURES.mismatch) {
      // No lane that saw a failure begins another transfer, so the data is as the kernel saw it.
      const bytes = pieces.bytesAt(block.get("failed_piece")).subarray(0, blocks * job.namespace.blockBytes);
      const found = job.pattern?.check(bytes, lba) ?? null;
      if (found === null) throw new BusbarError("bug", "the kernel and the host disagree about a pattern");
      run.mismatch = found;
    }
  }

  /**
   * Resets the controller and makes the queues new, where one failed or something is in flight; returns what was. Without
   * success nothing more can be done with it.
   */
  async #recoverFrom(states: readonly QueueState[]): Promise<UnansweredCommand[]> {
    if (states.every(({ failure, inFlight }) => failure === 0 && inFlight === 0)) return [];
    const unanswered = await this.#queues.unanswered();
    try {
      await this.#driver.reset();
      await this.#queues.restart();
    } catch (error) {
      this.#broken = error;
    }
    return unanswered;
  }

  /** Gives queues and memory back. Of a controller that is lost, the run has told already. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#opened?.release(this.#broken !== null);
    } finally {
      // Data is freed once no queue can reach it.
      this.#pieces?.[Symbol.dispose]();
      for (const one of this.#resources.toReversed()) one[Symbol.dispose]();
    }
  }
}
