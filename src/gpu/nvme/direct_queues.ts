/**
 * The queue pairs that kernels drive: made by the driver, their rings and doorbells within reach of the GPU, and one block of
 * memory for each that goes to a kernel and comes back.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { type QueueRings, ringBytes } from "../../nvme/queue/rings.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuBuffer } from "../memory.ts";
import type { DirectDriver, DirectOptions, DirectQueue } from "./direct_job.ts";
import type { DriveMemory, DriveMemoryMaker } from "./drive_memory.ts";
import { type Doorbells, KernelQueue, type QueueState, type UnansweredCommand } from "./kernel_queue.ts";
import type { LaunchShape } from "./launch_shape.ts";
import { QUEUE_BLOCK } from "./layout.ts";
import { ProxyDoorbells } from "./proxy_doorbells.ts";
import { reach } from "./reach.ts";
import { ShadowDoorbells } from "./shadow_doorbells.ts";

/** Records of times that each queue keeps. */
const MOST_TIMES = 65_536;

/** Queue pairs in the hands of kernels. Dispose gives them back; then no command can reach memory any more. */
export class DirectQueues implements AsyncDisposable {
  readonly #driver: DirectDriver;
  readonly #gpu: Gpu;
  readonly #lent: DirectQueue[] = [];
  readonly #queues: KernelQueue[] = [];
  /** Memory of the rings: freed once the controller does not know the queues any more. */
  readonly #rings: DriveMemory[] = [];
  readonly #resources: Disposable[] = [];
  readonly #blocks: GpuBuffer;
  #shadow: ShadowDoorbells | null = null;
  #proxy: ProxyDoorbells | null = null;
  #isClosed = false;

  private constructor(driver: DirectDriver, gpu: Gpu, count: number) {
    this.#driver = driver;
    this.#gpu = gpu;
    this.#blocks = this.#own(gpu.allocate(count * QUEUE_BLOCK.sizeBytes));
  }

  /**
   * Makes queues.
   *
   * @param allocateRing makes the memory of their rings
   * @throws {BusbarError} `usage` where the driver has no queues to lend; {@linkcode CudaError} where the GPU cannot reach
   * rings or registers
   */
  static async open(
    driver: DirectDriver,
    gpu: Gpu,
    { entries, slots }: LaunchShape,
    options: DirectOptions,
    allocateRing: DriveMemoryMaker,
  ): Promise<DirectQueues> {
    const queues = new DirectQueues(driver, gpu, options.queues ?? 1);
    try {
      await queues.#start({ entries, slots, times: MOST_TIMES }, options, allocateRing);
      return queues;
    } catch (error) {
      await queues.release(false).catch(() => {});
      throw error;
    }
  }

  async #start(
    sizes: { readonly entries: number; readonly slots: number; readonly times: number },
    options: DirectOptions,
    allocateRing: DriveMemoryMaker,
  ): Promise<void> {
    const { queues = 1, doorbells = "mmio", registersAreMemory = false } = options;
    const bytes = ringBytes(sizes.entries);
    const rings: { readonly sq: DriveMemory; readonly cq: DriveMemory }[] = [];
    for (let i = 0; i < queues; i++) {
      const sq = this.#ownRing(await allocateRing(bytes.sq, "the rings of a queue"));
      const cq = this.#ownRing(await allocateRing(bytes.cq, "the rings of a queue"));
      rings.push({ sq, cq });
      this.#lent.push(await this.#driver.lendQueue({ entries: sizes.entries, memory: { sq, cq } }));
    }
    const [first] = this.#lent;
    if (first === undefined) throw new BusbarError("bug", "no queue");
    const registers = doorbells === "proxy" ? 0n : this.#reachRegisters(first.rings, !registersAreMemory);
    if (doorbells === "proxy") {
      this.#proxy = this.#own(new ProxyDoorbells(this.#gpu, this.#lent.map((queue) => queue.rings)));
    }
    if (doorbells === "shadow") this.#shadow = this.#own(new ShadowDoorbells(this.#driver, this.#gpu));
    for (const [i, queue] of this.#lent.entries()) {
      const places: Doorbells = this.#proxy?.of(i) ?? {
        tail: registers + BigInt(queue.rings.tailDoorbell),
        head: registers + BigInt(queue.rings.headDoorbell),
        shadow: this.#shadow?.of(queue.rings) ?? null,
      };
      const memory = rings[i];
      if (memory === undefined) throw new BusbarError("bug", "a queue without rings");
      this.#queues.push(new KernelQueue(this.#gpu, queue, memory, sizes, places));
    }
    await this.restart();
  }

  /** Lets the GPU at the doorbells. Returns the device address of the registers. */
  #reachRegisters({ registers }: QueueRings, isIo: boolean): bigint {
    const sizeBytes = registers.endOffset - registers.firstOffset;
    const what = `the registers of ${this.#driver.name}`;
    return this.#own(reach(this.#gpu, registers.pointer, sizeBytes, what, isIo)).address;
  }

  #own<T extends Disposable>(one: T): T {
    this.#resources.push(one);
    return one;
  }

  #ownRing(memory: DriveMemory): DriveMemory {
    this.#rings.push(memory);
    return memory;
  }

  /** The pairs. */
  get all(): readonly KernelQueue[] {
    return this.#queues;
  }

  /** Device address of the array of `bb_nvme_queue`. */
  get address(): bigint {
    return this.#blocks.address;
  }

  /** What the blocks say. */
  get states(): QueueState[] {
    return this.#queues.map((queue) => queue.state);
  }

  /** Sets all state to that of new queues; the controller is told of those that it forgot. */
  async restart(): Promise<void> {
    for (const queue of this.#queues) await queue.restart();
    this.#proxy?.clear();
    await this.#shadow?.configure();
  }

  /** Hands the blocks over, before a launch. */
  async handOver(): Promise<void> {
    for (const [i, queue] of this.#queues.entries()) {
      await this.#blocks.write(queue.block, i * QUEUE_BLOCK.sizeBytes);
    }
  }

  /** Takes over what a kernel left in the blocks. */
  async takeBack(): Promise<void> {
    for (const [i, queue] of this.#queues.entries()) {
      queue.block.set(await this.#blocks.read(QUEUE_BLOCK.sizeBytes, i * QUEUE_BLOCK.sizeBytes));
    }
  }

  /** Forwards doorbells, where a thread of the host does that. Returns what ends it. */
  forward(): () => Promise<void> {
    // A controller that does not answer any more is told of by the watch.
    const end = this.#proxy?.start();
    return async () => await end?.().catch(() => {});
  }

  /** Commands that had not ended, each queue's oldest first. */
  async unanswered(): Promise<UnansweredCommand[]> {
    return (await Promise.all(this.#queues.map((queue) => queue.unanswered()))).flat();
  }

  /**
   * Gives queues and memory back. Shadow doorbells end with a reset of the controller.
   *
   * @param isLost the controller does not answer any more: what fails then is no news
   */
  async release(isLost: boolean): Promise<void> {
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
    if (this.#shadow !== null && !isLost) await attempt(() => this.#driver.reset());
    // The GPU lets go of memory before it is freed; memory is only freed once no queue can reach it.
    for (const one of this.#queues) one[Symbol.dispose]();
    for (const queue of this.#lent) await attempt(() => queue[Symbol.asyncDispose]());
    // Where a queue could not be deleted, the memory is taken away from the drive before it is freed.
    for (const one of this.#rings) one[Symbol.dispose]();
    for (const one of this.#resources.toReversed()) one[Symbol.dispose]();
    if (problem !== null && !isLost) throw problem;
  }

  /** As {@linkcode release} does of a controller that answers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release(false);
  }
}
