/**
 * The life of a controller that this process drives: disable, queues, enable, commands, reset, shutdown.
 *
 * Source: NVM Express Base 2.0 §3.5 (initialisation), §3.6 (shutdown), §3.7 (reset), NVMe over PCIe Transport 1.0.
 * @module
 */

import { checkLimit, Deadline, waitFor } from "../../core/deadline.ts";
import type { DmaBuffer, DmaMapping } from "../../core/dma.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import { goneError } from "../../core/mmio.ts";
import { SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { MappedMmio } from "../../../ffi/mmio.ts";
import type { ClaimedPciDevice, PciInterrupts } from "../../pci/claimed_device.ts";
import { allocateAligned } from "../queue/aligned_dma.ts";
import type { ExecuteOptions, NvmeCommand, NvmeCompletion, NvmeTransport } from "../queue/command.ts";
import { DmaPool } from "../queue/dma_pool.ts";
import { QueuePair } from "../queue/queue_pair.ts";
import { makeRings, type QueueRings, ringBytes } from "../queue/rings.ts";
import { stageCommand } from "../queue/staged_command.ts";
import type { NvmeQueueKind } from "../tables/opcodes.ts";
import { statusError } from "../tables/status.ts";
import { CarriedCommand, type Carrier } from "./carried_command.ts";
import { ControllerRegisters } from "./controller_registers.ts";
import { type LendOptions, LentQueue } from "./lent_queue.ts";
import { ControllerMemoryBuffer } from "./memory_buffer.ts";

const ADMIN_ENTRIES = 64;
const ADMIN_TIMEOUT_MS = 15_000;
const IO_TIMEOUT_MS = 30_000;
/** Between two looks at configuration space while commands are in flight. */
const PRESENCE_MS = 100;
/** After a command is lost: how long its Abort may take, and the command to end by it. */
const ABORT_MS = 2_000;

const OPC_DELETE_SQ = 0x00;
const OPC_CREATE_SQ = 0x01;
const OPC_DELETE_CQ = 0x04;
const OPC_CREATE_CQ = 0x05;
const OPC_ABORT = 0x08;
const OPC_SET_FEATURES = 0x09;
const FEATURE_QUEUES = 0x07;
const PHYSICALLY_CONTIGUOUS = 1;
const INTERRUPTS_ENABLED = 2;

/** How a controller is driven. */
export interface DriverOptions {
  /** I/O queue pairs to ask for, 1 to 64; 1 by default. Fewer where the controller has fewer. */
  readonly ioQueues?: number;
  /** Further I/O queue pairs that may be lent to other owners, 0 to 64; 0 by default. */
  readonly lentQueues?: number;
  /** Entries of each I/O queue, 2 to 65536; 256 by default, fewer where CAP.MQES says so. */
  readonly ioEntries?: number;
  /** `interrupt` waits for MSI-X after a short poll; `poll` polls on. `poll` by default. */
  readonly wait?: "poll" | "interrupt";
  /** Describe data by SGLs where the controller takes them; PRPs by default. */
  readonly sgl?: boolean;
  /** Keep the I/O submission queues in the controller's own memory (CMB); an error where it has none. */
  readonly cmbQueues?: boolean;
  /** Milliseconds for each wait until it is ready, disabled or shut down, in place of CAP.TO and 10 s. */
  readonly readyTimeoutMs?: number;
  /** Ends waits early. */
  readonly signal?: AbortSignal | undefined;
}

/** A controller that this process drives. Dispose shuts it down and lets go of it. */
export class NvmeDriver implements NvmeTransport, AsyncDisposable {
  readonly name: string;
  readonly isReadOnly: boolean = false;
  readonly #device: ClaimedPciDevice;
  readonly #registers: MappedMmio;
  readonly #options: DriverOptions;
  readonly #controller: ControllerRegisters;
  readonly #pool: DmaPool;
  /** Arrays for commands, used again: to make one costs as much as the rest of a command. */
  readonly #freeWords: Uint32Array<ArrayBuffer>[] = [];
  readonly #interrupts: PciInterrupts | null;
  readonly #memory: DmaBuffer[] = [];
  readonly #io: QueuePair[] = [];
  readonly #admin: QueuePair;
  /** Queues that others drive, and what of their memory is ours. */
  readonly #lent = new Map<LentQueue, readonly DmaBuffer[]>();
  /** How many may be lent: what the controller granted beyond ours. */
  #lentLimit = 0;
  #nextQueue = 0;
  #resets = 0;
  /** When to look again whether the function is still there. */
  #presence: Deadline = Deadline.after(PRESENCE_MS);
  #resetting: Promise<void> | null = null;
  #closed = false;
  /** Somebody stopped waiting for a command that the controller may still carry out. Its memory is kept. */
  #hasLostCommand = false;

  private constructor(device: ClaimedPciDevice, options: DriverOptions) {
    this.name = device.function.name;
    this.#device = device;
    this.#options = options;
    this.#registers = device.registers(0);
    this.#controller = new ControllerRegisters(this.#registers, this.name, options);
    this.#pool = new DmaPool((sizeBytes) => this.#allocate(sizeBytes));
    const wanted = 1 + (options.ioQueues ?? 1);
    this.#interrupts = options.wait === "interrupt" && device.interruptVectors > 0
      ? device.enableInterrupts(Math.min(wanted, device.interruptVectors))
      : null;
    this.#admin = this.#makePair(0, Math.min(ADMIN_ENTRIES, this.maxEntries, 4096));
  }

  /**
   * Takes a controller over: resets it, and brings it up with an admin queue and I/O queues.
   *
   * @param device held by this process; disposed with the driver, also when starting fails
   * @throws {BusbarError} `unreachable` when no controller answers, `timeout` when it does not become ready,
   * `device-failed` when it reports a fatal status
   */
  static async start(device: ClaimedPciDevice, options: DriverOptions = {}): Promise<NvmeDriver> {
    let driver: NvmeDriver | null = null;
    try {
      // Memory decoding has to be on before the first register is read, bus mastering before the first command.
      device.setBusMaster(true);
      driver = new NvmeDriver(device, options);
      await driver.#controller.disable();
      await driver.#controller.enable(driver.#admin.rings);
      await driver.#createIoQueues();
      return driver;
    } catch (error) {
      if (driver === null) device[Symbol.dispose]();
      else await driver.#release(error);
      throw error;
    }
  }

  /** CAP, as it was read at the start. */
  get capabilities(): bigint {
    return this.#controller.capabilities;
  }

  /** Most entries that an I/O queue can have: CAP.MQES. */
  get maxEntries(): number {
    return this.#controller.maxEntries;
  }

  /** The memory page size that was set in CC.MPS, in bytes. */
  get pageBytes(): number {
    return this.#controller.pageBytes;
  }

  /** The I/O queue pairs, for loops of their own. */
  get ioQueues(): readonly QueuePair[] {
    return this.#io;
  }

  /** CC and CSTS as they are now. */
  get state(): { readonly cc: number; readonly csts: number } {
    return this.#controller.state;
  }

  /**
   * Asks whether there is any use in waiting on. Cheap enough for every millisecond: one register read, and now and then a
   * look at configuration space.
   *
   * @throws {BusbarError} `device-gone` when the function has vanished, or once the kernel wants it back because it is
   * being pulled out; `device-failed` when the controller reports a fatal status
   */
  checkAlive(): void {
    if (this.#device.isRequestedBack()) {
      throw goneError(this.name, "the kernel asks for it back: it is being unplugged or unbound");
    }
    this.#controller.checkStatus();
    if (!this.#presence.expired) return;
    this.#presence = Deadline.after(PRESENCE_MS);
    if (!this.#device.isPresent()) throw goneError(this.name, "its configuration space does not answer");
  }

  /** Memory that the controller can reach: for data that is not to be copied. The caller disposes it. */
  allocDma(sizeBytes: number): DmaBuffer {
    return this.#allocate(sizeBytes);
  }

  /** Lets the controller reach memory of the caller's, whole pages. The caller disposes of it before the driver. */
  mapDma(memory: Deno.PointerObject, sizeBytes: number): DmaMapping {
    return this.#device.mapDma(memory, sizeBytes);
  }

  // Not an async function, as all on the way of a command: a promise each is made once, in #executeOn.
  execute(queue: NvmeQueueKind, command: NvmeCommand, options: ExecuteOptions = {}): Promise<NvmeCompletion> {
    if (this.#resetting !== null) return this.#resetting.then(() => this.execute(queue, command, options));
    try {
      if (this.#closed) throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
      const pair = queue === "admin" ? this.#admin : this.#nextIoQueue();
      return this.#executeOn(pair, queue, command, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Issues a command on one I/O queue pair: 0 is the first. */
  async executeOnQueue(index: number, command: NvmeCommand, options: ExecuteOptions = {}): Promise<NvmeCompletion> {
    const pair = this.#io[index];
    if (pair === undefined) {
      throw new BusbarError("out-of-range", `${this.name}: I/O queue ${index} of ${this.#io.length}`, {
        path: this.name,
      });
    }
    await this.#resetting;
    return await this.#executeOn(pair, "io", command, options);
  }

  /**
   * Disables and enables the controller, and makes its queues again. What was in flight fails.
   *
   * @throws {BusbarError} as {@linkcode start}
   */
  async reset(): Promise<void> {
    this.#resetting ??= this.#doReset().finally(() => this.#resetting = null);
    await this.#resetting;
  }

  /** How often it was reset since it was taken over: by {@linkcode reset}, or because a command was lost. */
  get resets(): number {
    return this.#resets;
  }

  async #doReset(): Promise<void> {
    this.#resets++;
    for (const queue of this.#lent.keys()) queue.lose();
    await this.#controller.disable();
    this.#admin.restart();
    for (const pair of this.#io) pair.restart();
    await this.#controller.enable(this.#admin.rings);
    await this.#negotiateQueues(this.#io.length + this.#lentLimit);
    for (const pair of this.#io) await this.#announce(pair.rings, this.#vectorOf(pair.id));
  }

  /**
   * Tells the controller to get ready for power off, as every host should before it lets go.
   *
   * @param kind `abrupt` when there is no time: the drive does only what it must
   */
  async shutdown(kind: "normal" | "abrupt" = "normal", timeoutMs?: number): Promise<void> {
    await this.#controller.shutdown(kind, timeoutMs);
  }

  /**
   * Makes an I/O queue pair for another owner, one of those that {@linkcode DriverOptions.lentQueues} reserved. The
   * controller knows it from now on; this driver leaves its memory and doorbells alone.
   *
   * @throws {BusbarError} `usage` when no more may be lent; `out-of-range` for a size that the controller or the memory
   * does not have; `device-failed` when the controller refuses it
   */
  async lendQueue(options: LendOptions = {}): Promise<LentQueue> {
    if (this.#closed) throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    await this.#resetting;
    if (this.#lent.size >= this.#lentLimit) {
      throw new BusbarError("usage", `${this.name}: ${this.#lent.size} of ${this.#lentLimit} queues are lent`, {
        operation: "lend a queue",
        path: this.name,
        hint: "how many may be lent is said when the controller is opened: lentQueues; it may have granted fewer",
      });
    }
    const entries = options.entries ?? Math.min(256, this.maxEntries);
    if (entries > this.maxEntries) {
      throw new BusbarError(
        "out-of-range",
        `${this.name}: a queue of ${entries} entries; it takes ${this.maxEntries}`,
        {
          operation: "lend a queue",
          path: this.name,
        },
      );
    }
    const bytes = ringBytes(entries);
    const own = options.memory === undefined ? [this.#allocate(bytes.sq), this.#allocate(bytes.cq)] : [];
    const [sq, cq] = options.memory === undefined ? own : [options.memory.sq, options.memory.cq];
    let queue: LentQueue | null = null;
    try {
      if (sq === undefined || cq === undefined) throw new BusbarError("bug", "a queue without memory");
      const { strideBytes } = this.#controller;
      const rings = makeRings({ id: this.#freeQueueId(), entries, registers: this.#registers, strideBytes, sq, cq });
      queue = new LentQueue(
        {
          announce: async (it) => {
            await this.#resetting;
            await this.#announce(it, null);
          },
          remove: (it) => this.#deletePair(it.id),
          release: (it) => this.#endLending(it),
        },
        this.name,
        rings,
      );
      this.#lent.set(queue, own);
      await queue.renew();
      return queue;
    } catch (error) {
      if (queue === null) { for (const buffer of own) buffer[Symbol.dispose](); }
      else this.#endLending(queue);
      throw error;
    }
  }

  #freeQueueId(): number {
    const taken = new Set([...this.#lent.keys()].map((queue) => queue.rings.id));
    let id = this.#io.length + 1;
    while (taken.has(id)) id++;
    return id;
  }

  #endLending(queue: LentQueue): void {
    for (const buffer of this.#lent.get(queue) ?? []) buffer[Symbol.dispose]();
    this.#lent.delete(queue);
  }

  /** Shuts the controller down, disables it, and lets go of it. Errors on the way do not keep it from being let go of. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    let error: unknown = null;
    try {
      // Queues are deleted before a shutdown. There is no time for either after Ctrl-C, and no use in either while a
      // lost command is still in flight: then the controller is only disabled, which ends everything.
      if (this.#options.signal?.aborted !== true && !this.#hasLostCommand) {
        for (const queue of [...this.#lent.keys()].filter((one) => one.isLive)) await this.#deletePair(queue.rings.id);
        for (const pair of this.#io.toReversed()) await this.#deletePair(pair.id);
        await this.shutdown();
      }
    } catch (problem) {
      error = problem;
    }
    await this.#release(error);
    if (error !== null && !isBusbarError(error, "timeout", "device-failed", "device-gone")) throw error;
  }

  /** Stops the controller's reach into memory, then frees the memory. */
  async #release(cause: unknown): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#controller.disable();
    } catch (error) {
      // A controller that does not stop by itself is cut off from memory below, by bus mastering.
      if (!(error instanceof BusbarError)) throw error;
    }
    try {
      this.#device.setBusMaster(false);
    } catch (error) {
      if (!isBusbarError(cause, "device-gone") && !(error instanceof BusbarError)) throw error;
    }
    for (const [queue, own] of this.#lent) {
      queue.lose();
      for (const buffer of own) buffer[Symbol.dispose]();
    }
    this.#lent.clear();
    for (const pair of [...this.#io, this.#admin]) pair[Symbol.dispose]();
    this.#interrupts?.[Symbol.dispose]();
    this.#pool[Symbol.dispose]();
    for (const buffer of this.#memory) buffer[Symbol.dispose]();
    this.#device[Symbol.dispose]();
  }

  /** Memory that begins on a page of the controller's. */
  #allocate(sizeBytes: number): DmaBuffer {
    return allocateAligned((bytes) => this.#device.allocDma(bytes), sizeBytes, this.pageBytes);
  }

  #makePair(id: number, entries: number, buffer: ControllerMemoryBuffer | null = null): QueuePair {
    const bytes = ringBytes(entries);
    const sq = buffer?.allocate(bytes.sq, this.pageBytes) ?? this.#allocate(bytes.sq);
    const cq = this.#allocate(bytes.cq);
    this.#memory.push(sq, cq);
    const { strideBytes } = this.#controller;
    const isSqInDevice = buffer !== null;
    const rings = makeRings({ id, entries, registers: this.#registers, strideBytes, sq, cq, isSqInDevice });
    const vector = this.#vectorOf(id);
    const interrupts = this.#interrupts === null || vector === null ? null : { from: this.#interrupts, vector };
    return new QueuePair({ rings, device: this.name, interrupts, checkAlive: () => this.checkAlive() });
  }

  /** The interrupt of a queue pair of ours; null where it has none. */
  #vectorOf(id: number): number | null {
    return this.#interrupts !== null && id < this.#interrupts.vectors ? id : null;
  }

  async #createIoQueues(): Promise<void> {
    const { ioQueues: wanted = 1, lentQueues: lent = 0 } = this.#options;
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > 64) {
      throw new BusbarError("usage", `${wanted} I/O queues: 1 to 64 can be asked for`, { path: this.name });
    }
    if (!Number.isInteger(lent) || lent < 0 || lent > 64) {
      throw new BusbarError("usage", `${lent} queues to lend: 0 to 64 can be asked for`, { path: this.name });
    }
    if (!this.#controller.hasIoQueues) return;
    const granted = await this.#negotiateQueues(wanted + lent);
    const count = Math.min(wanted, granted);
    this.#lentLimit = granted - count;
    const entries = Math.min(this.#options.ioEntries ?? 256, this.maxEntries);
    const buffer = this.#options.cmbQueues === true
      ? await ControllerMemoryBuffer.open(this.#device, this.#registers, this.capabilities)
      : null;
    for (let id = 1; id <= count; id++) {
      const pair = this.#makePair(id, entries, buffer);
      await this.#announce(pair.rings, this.#vectorOf(id));
      this.#io.push(pair);
    }
  }

  /** Set Features, Number of Queues: how many pairs of those asked for there may be. */
  async #negotiateQueues(wanted: number): Promise<number> {
    if (wanted === 0) return 0;
    const asked = (wanted - 1) << 16 | (wanted - 1);
    const { dw0 } = await this.#mustAdmin("Set Features (Number of Queues)", {
      opcode: OPC_SET_FEATURES,
      cdw10: FEATURE_QUEUES,
      cdw11: asked,
    });
    return Math.min(wanted, (dw0 & 0xffff) + 1, (dw0 >>> 16) + 1);
  }

  /** Creates the completion queue, then the submission queue, in the controller. */
  async #announce(rings: QueueRings, vector: number | null): Promise<void> {
    const sizes = (rings.entries - 1) << 16 | rings.id;
    const flags = vector === null ? PHYSICALLY_CONTIGUOUS : PHYSICALLY_CONTIGUOUS | INTERRUPTS_ENABLED | vector << 16;
    const whole = (buffer: DmaBuffer): { data: { buffer: DmaBuffer; sizeBytes: number } } => ({
      // The command has one pointer to memory that is contiguous for the controller: one page says where it begins.
      data: { buffer, sizeBytes: Math.min(buffer.sizeBytes, this.pageBytes) },
    });
    await this.#mustAdmin("Create I/O Completion Queue", {
      opcode: OPC_CREATE_CQ,
      cdw10: sizes >>> 0,
      cdw11: flags,
      ...whole(rings.completion.memory),
    });
    await this.#mustAdmin("Create I/O Submission Queue", {
      opcode: OPC_CREATE_SQ,
      cdw10: sizes >>> 0,
      cdw11: PHYSICALLY_CONTIGUOUS | rings.id << 16,
      ...whole(rings.submission.memory),
    });
  }

  async #deletePair(id: number): Promise<void> {
    await this.#mustAdmin("Delete I/O Submission Queue", { opcode: OPC_DELETE_SQ, cdw10: id });
    await this.#mustAdmin("Delete I/O Completion Queue", { opcode: OPC_DELETE_CQ, cdw10: id });
  }

  async #mustAdmin(operation: string, command: NvmeCommand): Promise<NvmeCompletion> {
    const completion = await this.#executeOn(this.#admin, "admin", command, { signal: this.#options.signal });
    if (completion.status !== 0) throw statusError(completion.status, { operation, path: this.name });
    return completion;
  }

  /** @throws {BusbarError} `unsupported` */
  #nextIoQueue(): QueuePair {
    const pair = this.#io[this.#nextQueue++ % Math.max(1, this.#io.length)];
    if (pair === undefined) {
      throw new BusbarError("unsupported", `${this.name}: the controller has no I/O queues`, { path: this.name });
    }
    return pair;
  }

  /** @throws {BusbarError} for a command that cannot be described; `signal`'s reason; what comes later rejects */
  #executeOn(
    pair: QueuePair,
    queue: NvmeQueueKind,
    command: NvmeCommand,
    options: ExecuteOptions,
  ): Promise<NvmeCompletion> {
    const { signal } = options;
    signal?.throwIfAborted();
    const limitMs = checkLimit(options.timeoutMs ?? (queue === "admin" ? ADMIN_TIMEOUT_MS : IO_TIMEOUT_MS));
    // Admin commands on PCIe take PRPs only: NVMe over PCIe Transport 1.0.
    const bySgl = this.#options.sgl === true && queue === "io";
    const staging = { pool: this.#pool, pageBytes: this.pageBytes, bySgl };
    const staged = stageCommand(command, staging, this.#freeWords.pop());
    return new Promise((resolve, reject) => {
      const carried = new CarriedCommand(this.#carrier, {
        pair,
        queue,
        opcode: command.opcode,
        staged,
        limitMs,
        resolve,
        reject,
      });
      if (signal !== undefined) carried.endBy(signal);
      pair.enqueue(carried);
    });
  }

  /** What commands on their way need of the driver. */
  readonly #carrier: Carrier = {
    done: (words) => void this.#freeWords.push(words),
    abandoned: () => this.#hasLostCommand = true,
    recover: (carried) => this.#recover(carried),
  };

  /** A command did not end: asks the controller to abort it, and resets the controller when that does not help. */
  async #recover(lost: CarriedCommand): Promise<void> {
    const { pair } = lost;
    const id = pair.identifierOf(lost);
    if (id !== null && pair !== this.#admin) {
      const words = new Uint32Array(SQE_WORDS);
      words[0] = OPC_ABORT;
      words[10] = id << 16 | pair.id;
      await this.#admin.submit({ words, name: "Abort" }, Deadline.after(ABORT_MS)).catch(() => {});
    }
    const gone = await waitFor(() => pair.isDone(lost) ? true : undefined, {
      deadline: Deadline.after(ABORT_MS),
      what: "the lost command",
    }).catch(() => false);
    if (!gone) await this.reset().catch((error) => this.#giveUp(error));
  }

  /** A controller that cannot even be reset gets no more commands, and no way into memory. */
  #giveUp(error: unknown): void {
    for (const pair of [this.#admin, ...this.#io]) pair.fail(error);
    try {
      this.#device.setBusMaster(false);
    } catch {
      // It is gone: then it writes nowhere.
    }
  }
}
