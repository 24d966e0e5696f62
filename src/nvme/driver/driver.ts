/**
 * The life of a controller that this process drives: disable, queues, enable, commands, reset, shutdown.
 *
 * Source: NVM Express Base 2.0 §3.5 (initialisation), §3.6 (shutdown), §3.7 (reset), NVMe over PCIe Transport 1.0.
 * @module
 */

import { Deadline, waitFor } from "../../core/deadline.ts";
import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import { bitField, fieldOf, withField } from "../../core/layout.ts";
import { goneError, pollRegister } from "../../core/mmio.ts";
import { hex } from "../../core/units.ts";
import { SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { MappedMmio } from "../../../ffi/mmio.ts";
import type { ClaimedPciDevice, PciInterrupts } from "../../pci/claimed_device.ts";
import type { ExecuteOptions, NvmeCommand, NvmeCompletion, NvmeTransport } from "../queue/command.ts";
import type { NvmeQueueKind } from "../tables/opcodes.ts";
import { DmaPool } from "../queue/dma_pool.ts";
import { ControllerMemoryBuffer } from "./memory_buffer.ts";
import { type DmaSegment, prpEntries, type PrpListPage, prpListPages, writePrps } from "../queue/prp.ts";
import { type PreparedCommand, QueuePair } from "../queue/queue_pair.ts";
import { NVME_REGISTERS } from "../tables/registers.ts";
import { writeSgl } from "../queue/sgl.ts";
import { statusError } from "../tables/status.ts";

const field = (register: string, name: string): ReturnType<typeof bitField> => bitField(NVME_REGISTERS, register, name);

const CAP = {
  MQES: field("CAP", "MQES"),
  CQR: field("CAP", "CQR"),
  TO: field("CAP", "TO"),
  DSTRD: field("CAP", "DSTRD"),
  CSS: field("CAP", "CSS"),
  MPSMIN: field("CAP", "MPSMIN"),
  MPSMAX: field("CAP", "MPSMAX"),
  CRMS: field("CAP", "CRMS"),
};
const CC = {
  EN: field("CC", "EN"),
  CSS: field("CC", "CSS"),
  MPS: field("CC", "MPS"),
  SHN: field("CC", "SHN"),
  IOSQES: field("CC", "IOSQES"),
  IOCQES: field("CC", "IOCQES"),
};
const CRTO_CRWMT = field("CRTO", "CRWMT");

const REG = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  CC: 0x14,
  CSTS: 0x1c,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
  CRTO: 0x68,
} as const;
const CSTS_RDY = 1n;
const CSTS_CFS = 2n;
const CSTS_SHST = 0xcn;
const CSTS_SHST_DONE = 0x8n;
const ALL_ONES = 0xffff_ffffn;

const ADMIN_ENTRIES = 64;
const ADMIN_TIMEOUT_MS = 15_000;
const IO_TIMEOUT_MS = 30_000;
const SHUTDOWN_MS = 10_000;
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
const PSDT_SGL = 1;

/** How a controller is driven. */
export interface DriverOptions {
  /** I/O queue pairs to ask for, 1 to 64; 1 by default. Fewer where the controller has fewer. */
  readonly ioQueues?: number;
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
  readonly #cap: bigint;
  readonly #pool: DmaPool;
  readonly #interrupts: PciInterrupts | null;
  readonly #memory: DmaBuffer[] = [];
  readonly #io: QueuePair[] = [];
  readonly #admin: QueuePair;
  readonly #queueMemory = new Map<
    number,
    { readonly sq: DmaBuffer; readonly cq: DmaBuffer; readonly entries: number }
  >();
  #cc = 0n;
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
    this.#cap = BigInt(this.#registers.read32(REG.CAP)) | BigInt(this.#registers.read32(REG.CAP + 4)) << 32n;
    this.#checkCapabilities();
    this.#pool = new DmaPool((sizeBytes) => this.#allocate(sizeBytes));
    const wanted = 1 + (options.ioQueues ?? 1);
    this.#interrupts = options.wait === "interrupt" && device.interruptVectors > 0
      ? device.enableInterrupts(Math.min(wanted, device.interruptVectors))
      : null;
    this.#admin = this.#makePair(0, Math.min(ADMIN_ENTRIES, this.maxEntries, 4096), 0);
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
      await driver.#bringUp();
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
    return this.#cap;
  }

  /** Most entries that an I/O queue can have: CAP.MQES. */
  get maxEntries(): number {
    return Number(fieldOf(this.#cap, CAP.MQES)) + 1;
  }

  /** The memory page size that was set in CC.MPS, in bytes. */
  get pageBytes(): number {
    const low = Number(fieldOf(this.#cap, CAP.MPSMIN));
    return 2 ** (12 + low);
  }

  /** The I/O queue pairs, for loops of their own. */
  get ioQueues(): readonly QueuePair[] {
    return this.#io;
  }

  /** CC and CSTS as they are now. */
  get state(): { readonly cc: number; readonly csts: number } {
    return { cc: this.#registers.read32(REG.CC), csts: this.#registers.read32(REG.CSTS) };
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
    const csts = BigInt(this.#registers.read32(REG.CSTS));
    if (csts === ALL_ONES) throw goneError(this.name, "CSTS reads all ones");
    if ((csts & CSTS_CFS) !== 0n) throw this.#fatal(csts);
    if (!this.#presence.expired) return;
    this.#presence = Deadline.after(PRESENCE_MS);
    if (!this.#device.isPresent()) throw goneError(this.name, "its configuration space does not answer");
  }

  /** Memory that the controller can reach: for data that is not to be copied. The caller disposes it. */
  allocDma(sizeBytes: number): DmaBuffer {
    return this.#allocate(sizeBytes);
  }

  async execute(queue: NvmeQueueKind, command: NvmeCommand, options: ExecuteOptions = {}): Promise<NvmeCompletion> {
    if (this.#closed) throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    await this.#resetting;
    const pair = queue === "admin" ? this.#admin : this.#nextIoQueue();
    return await this.#executeOn(pair, queue, command, options);
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
    await this.#disable();
    this.#admin.restart();
    for (const pair of this.#io) pair.restart();
    await this.#enable();
    await this.#negotiateQueues(this.#io.length);
    for (const pair of this.#io) await this.#announce(pair);
  }

  /**
   * Tells the controller to get ready for power off, as every host should before it lets go.
   *
   * @param kind `abrupt` when there is no time: the drive does only what it must
   */
  async shutdown(
    kind: "normal" | "abrupt" = "normal",
    timeoutMs: number = this.#options.readyTimeoutMs ?? SHUTDOWN_MS,
  ): Promise<void> {
    if ((this.#registers.read32(REG.CSTS) & 1) === 0) return;
    const cc = withField(BigInt(this.#registers.read32(REG.CC)), CC.SHN, kind === "normal" ? 1n : 2n);
    this.#registers.write32(REG.CC, Number(cc));
    await this.#waitStatus(CSTS_SHST, CSTS_SHST_DONE, "CSTS.SHST = shutdown complete", Deadline.after(timeoutMs));
  }

  /** Shuts the controller down, disables it, and lets go of it. Errors on the way do not keep it from being let go of. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    let error: unknown = null;
    try {
      // Queues are deleted before a shutdown. There is no time for either after Ctrl-C, and no use in either while a
      // lost command is still in flight: then the controller is only disabled, which ends everything.
      if (this.#options.signal?.aborted !== true && !this.#hasLostCommand) {
        for (const pair of this.#io.toReversed()) await this.#deletePair(pair);
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
      await this.#disable();
    } catch (error) {
      // A controller that does not stop by itself is cut off from memory below, by bus mastering.
      if (!(error instanceof BusbarError)) throw error;
    }
    try {
      this.#device.setBusMaster(false);
    } catch (error) {
      if (!isBusbarError(cause, "device-gone") && !(error instanceof BusbarError)) throw error;
    }
    for (const pair of [...this.#io, this.#admin]) pair[Symbol.dispose]();
    this.#interrupts?.[Symbol.dispose]();
    this.#pool[Symbol.dispose]();
    for (const buffer of this.#memory) buffer[Symbol.dispose]();
    this.#device[Symbol.dispose]();
  }

  /** Memory that begins on a page of the controller's, which may be larger than this machine's. */
  #allocate(sizeBytes: number): DmaBuffer {
    const buffer = this.#device.allocDma(sizeBytes);
    const page = BigInt(this.pageBytes);
    if (buffer.iova % page === 0n) return buffer;
    buffer[Symbol.dispose]();
    const larger = this.#device.allocDma(sizeBytes + this.pageBytes);
    return new AlignedDmaBuffer(larger, Number((page - larger.iova % page) % page), sizeBytes);
  }

  #checkCapabilities(): void {
    const vs = this.#registers.read32(REG.VS);
    if (this.#cap === 0n || this.#cap === 0xffff_ffff_ffff_ffffn || vs === 0 || vs === 0xffff_ffff) {
      throw new BusbarError(
        "unreachable",
        `${this.name}: no controller answers (CAP ${hex(this.#cap, 16)}, VS ${hex(vs, 8)})`,
        {
          operation: "start the controller",
          path: this.name,
          hint: "the function may be powered down or unplugged: look at lspci -vv and dmesg",
        },
      );
    }
    if (this.pageBytes > 65_536) {
      throw new BusbarError("unsupported", `${this.name}: its smallest memory page is ${this.pageBytes} bytes`, {
        path: this.name,
      });
    }
  }

  #readyDeadline(): Deadline {
    if (this.#options.readyTimeoutMs !== undefined) return Deadline.after(this.#options.readyTimeoutMs);
    // 0 is not a promise of no time at all; and with CRMS the longer one is in CRTO.
    const to = Math.max(1, Number(fieldOf(this.#cap, CAP.TO)));
    const crto = fieldOf(this.#cap, CAP.CRMS) === 0n
      ? 0
      : Number(fieldOf(BigInt(this.#registers.read32(REG.CRTO)), CRTO_CRWMT));
    return Deadline.after(500 * Math.max(to, crto));
  }

  async #waitStatus(mask: bigint, wanted: bigint, what: string, deadline: Deadline): Promise<void> {
    await pollRegister(this.#registers, {
      offset: REG.CSTS,
      accessBytes: 4,
      mask,
      wanted,
      what,
      deadline,
      signal: this.#options.signal,
      inspect: (csts) => {
        if (csts === ALL_ONES) throw goneError(this.name, "CSTS reads all ones");
        if ((csts & CSTS_CFS) !== 0n && (mask & CSTS_RDY) !== 0n && wanted !== 0n) throw this.#fatal(csts);
      },
    });
  }

  #fatal(csts: bigint): BusbarError {
    const names = ["AQA", "ASQ", "ACQ", "CC"].map((name) => {
      const at = REG[name as "AQA" | "ASQ" | "ACQ" | "CC"];
      return `${name} ${hex(this.#registers.read32(at), 8)}`;
    });
    return new BusbarError(
      "device-failed",
      `${this.name}: the controller reports a fatal status (CSTS ${hex(csts, 8)})`,
      {
        operation: "wait for the controller",
        path: this.name,
        hint: `${names.join(", ")}; a reset of the function may help: echo 1 > /sys/bus/pci/devices/${this.name}/reset`,
      },
    );
  }

  async #disable(): Promise<void> {
    const cc = BigInt(this.#registers.read32(REG.CC));
    if (cc === ALL_ONES) throw goneError(this.name, "CC reads all ones");
    const csts = BigInt(this.#registers.read32(REG.CSTS));
    // A controller in the middle of becoming ready must get there first: NVMe Base 2.0 §3.5.1, CC.EN.
    if (fieldOf(cc, CC.EN) === 1n && (csts & (CSTS_RDY | CSTS_CFS)) === 0n) {
      await this.#waitStatus(CSTS_RDY, CSTS_RDY, "CSTS.RDY = 1", this.#readyDeadline()).catch((error) => {
        if (!isBusbarError(error, "timeout", "device-failed")) throw error;
      });
    }
    if (fieldOf(cc, CC.EN) === 1n) {
      this.#registers.write32(REG.CC, Number(withField(withField(cc, CC.EN, 0n), CC.SHN, 0n)));
    }
    await this.#waitStatus(CSTS_RDY, 0n, "CSTS.RDY = 0", this.#readyDeadline());
  }

  async #bringUp(): Promise<void> {
    await this.#disable();
    await this.#enable();
  }

  async #enable(): Promise<void> {
    const memory = this.#queueMemory.get(0);
    if (memory === undefined) throw new BusbarError("bug", "the admin queue has no memory");
    const registers = this.#registers;
    registers.write32(REG.AQA, (memory.entries - 1) << 16 | (memory.entries - 1));
    // Two dwords: some controllers take one 64-bit write as nothing.
    for (const [at, iova] of [[REG.ASQ, memory.sq.iova], [REG.ACQ, memory.cq.iova]] as const) {
      registers.write32(at, Number(iova & 0xffff_ffffn));
      registers.write32(at + 4, Number(iova >> 32n));
    }
    let cc = withField(0n, CC.CSS, this.#commandSet());
    cc = withField(cc, CC.MPS, BigInt(Math.log2(this.pageBytes) - 12));
    cc = withField(withField(cc, CC.IOSQES, 6n), CC.IOCQES, 4n);
    this.#cc = withField(cc, CC.EN, 1n);
    registers.write32(REG.CC, Number(this.#cc));
    await this.#waitStatus(CSTS_RDY, CSTS_RDY, "CSTS.RDY = 1", this.#readyDeadline());
  }

  /** CC.CSS: all I/O command sets where the controller has them, so that zoned namespaces can be reached. */
  #commandSet(): bigint {
    const css = fieldOf(this.#cap, CAP.CSS);
    if ((css >> 6n & 1n) === 1n) return 6n;
    return (css & 1n) === 1n ? 0n : 7n;
  }

  #makePair(id: number, entries: number, vector: number, buffer: ControllerMemoryBuffer | null = null): QueuePair {
    const bytes = QueuePair.memoryBytes(entries);
    const sq = buffer?.allocate(bytes.sq, this.pageBytes) ?? this.#allocate(bytes.sq);
    const cq = this.#allocate(bytes.cq);
    this.#memory.push(sq, cq);
    this.#queueMemory.set(id, { sq, cq, entries });
    const interrupts = this.#interrupts === null || vector >= this.#interrupts.vectors
      ? null
      : { from: this.#interrupts, vector };
    const strideBytes = 4 << Number(fieldOf(this.#cap, CAP.DSTRD));
    const checkAlive = (): void => this.checkAlive();
    const isSqInDevice = buffer !== null;
    const place = { id, entries, registers: this.#registers, strideBytes, device: this.name, sq, cq, isSqInDevice };
    return new QueuePair({ ...place, interrupts, checkAlive });
  }

  async #createIoQueues(): Promise<void> {
    const wanted = this.#options.ioQueues ?? 1;
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > 64) {
      throw new BusbarError("usage", `${wanted} I/O queues: 1 to 64 can be asked for`, { path: this.name });
    }
    // A controller of the administrative kind has none.
    if (this.#commandSet() === 7n) return;
    const count = await this.#negotiateQueues(wanted);
    const entries = Math.min(this.#options.ioEntries ?? 256, this.maxEntries);
    const buffer = this.#options.cmbQueues === true
      ? await ControllerMemoryBuffer.open(this.#device, this.#registers, this.#cap)
      : null;
    for (let id = 1; id <= count; id++) {
      const pair = this.#makePair(id, entries, id, buffer);
      await this.#announce(pair);
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
  async #announce(pair: QueuePair): Promise<void> {
    const memory = this.#queueMemory.get(pair.id);
    if (memory === undefined) throw new BusbarError("bug", `queue ${pair.id} has no memory`);
    const sizes = (memory.entries - 1) << 16 | pair.id;
    const vector = this.#interrupts !== null && pair.id < this.#interrupts.vectors ? pair.id : null;
    const flags = vector === null ? PHYSICALLY_CONTIGUOUS : PHYSICALLY_CONTIGUOUS | INTERRUPTS_ENABLED | vector << 16;
    const whole = (buffer: DmaBuffer): { data: { buffer: DmaBuffer; sizeBytes: number } } => ({
      // The command has one pointer to memory that is contiguous for the controller: one page says where it begins.
      data: { buffer, sizeBytes: Math.min(buffer.sizeBytes, this.pageBytes) },
    });
    await this.#mustAdmin("Create I/O Completion Queue", {
      opcode: OPC_CREATE_CQ,
      cdw10: sizes >>> 0,
      cdw11: flags,
      ...whole(memory.cq),
    });
    await this.#mustAdmin("Create I/O Submission Queue", {
      opcode: OPC_CREATE_SQ,
      cdw10: sizes >>> 0,
      cdw11: PHYSICALLY_CONTIGUOUS | pair.id << 16,
      ...whole(memory.sq),
    });
  }

  async #deletePair(pair: QueuePair): Promise<void> {
    await this.#mustAdmin("Delete I/O Submission Queue", { opcode: OPC_DELETE_SQ, cdw10: pair.id });
    await this.#mustAdmin("Delete I/O Completion Queue", { opcode: OPC_DELETE_CQ, cdw10: pair.id });
  }

  async #mustAdmin(operation: string, command: NvmeCommand): Promise<NvmeCompletion> {
    const completion = await this.#executeOn(this.#admin, "admin", command, { signal: this.#options.signal });
    if (completion.status !== 0) throw statusError(completion.status, { operation, path: this.name });
    return completion;
  }

  #nextIoQueue(): QueuePair {
    const pair = this.#io[this.#nextQueue++ % Math.max(1, this.#io.length)];
    if (pair === undefined) {
      throw new BusbarError("unsupported", `${this.name}: the controller has no I/O queues`, { path: this.name });
    }
    return pair;
  }

  async #executeOn(
    pair: QueuePair,
    queue: NvmeQueueKind,
    command: NvmeCommand,
    options: ExecuteOptions,
  ): Promise<NvmeCompletion> {
    const staged = this.#stage(command, queue);
    const prepared: PreparedCommand = { words: staged.words, name: commandName(queue, command.opcode) };
    const timeoutMs = options.timeoutMs ?? (queue === "admin" ? ADMIN_TIMEOUT_MS : IO_TIMEOUT_MS);
    try {
      const completion = await withSignal(pair.submit(prepared, Deadline.after(timeoutMs)), options.signal);
      if (completion.status === 0) staged.copyOut();
      staged.release();
      return completion;
    } catch (error) {
      // Memory of a command that the controller may still carry out is only free once that is over.
      if (pair.isDone(prepared)) staged.release();
      else if (isBusbarError(error, "timeout")) await this.#recover(pair, prepared, staged);
      else this.#hasLostCommand = true;
      throw error;
    }
  }

  /** A command did not end: asks the controller to abort it, and resets the controller when that does not help. */
  async #recover(pair: QueuePair, prepared: PreparedCommand, staged: StagedCommand): Promise<void> {
    const id = pair.identifierOf(prepared);
    if (id !== null && pair !== this.#admin) {
      const words = new Uint32Array(SQE_WORDS);
      words[0] = OPC_ABORT;
      words[10] = id << 16 | pair.id;
      await this.#admin.submit({ words, name: "Abort" }, Deadline.after(ABORT_MS)).catch(() => {});
    }
    const gone = await waitFor(() => pair.isDone(prepared) ? true : undefined, {
      deadline: Deadline.after(ABORT_MS),
      what: "the lost command",
    }).catch(() => false);
    if (!gone) await this.reset().catch((error) => this.#giveUp(error));
    staged.release();
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

  /** Makes the 64 bytes of a command, and finds memory for its data. */
  #stage(command: NvmeCommand, queue: NvmeQueueKind): StagedCommand {
    const words = new Uint32Array(SQE_WORDS);
    words[0] = command.opcode;
    words[1] = command.nsid ?? 0;
    words[2] = command.cdw2 ?? 0;
    words[3] = command.cdw3 ?? 0;
    words[10] = command.cdw10 ?? 0;
    words[11] = command.cdw11 ?? 0;
    words[12] = command.cdw12 ?? 0;
    words[13] = command.cdw13 ?? 0;
    words[14] = command.cdw14 ?? 0;
    words[15] = command.cdw15 ?? 0;
    const toController = (command.opcode & 1) !== 0;
    const toHost = (command.opcode & 2) !== 0;
    const staged = new StagedCommand(words, this.#pool);
    try {
      if (command.data !== undefined) {
        const segment = staged.place(command.data, toController, toHost);
        // Admin commands on PCIe take PRPs only: NVMe over PCIe Transport 1.0.
        if (this.#options.sgl === true && queue === "io") this.#describeBySgl(words, segment);
        else this.#describeByPrps(words, segment, staged);
      }
      if (command.metadata !== undefined) {
        const segment = staged.place(command.metadata, toController, toHost);
        setAddress(words, 4, segment.iova);
      }
    } catch (error) {
      staged.release();
      throw error;
    }
    return staged;
  }

  #describeBySgl(words: Uint32Array, segment: DmaSegment): void {
    const [address, rest] = writeSgl([segment], null);
    words[0] = (words[0] ?? 0) | PSDT_SGL << 14;
    setAddress(words, 6, address);
    setAddress(words, 8, rest);
  }

  #describeByPrps(words: Uint32Array, segment: DmaSegment, staged: StagedCommand): void {
    const entries = prpEntries([segment], this.pageBytes);
    const listPages = prpListPages(entries.length, this.pageBytes);
    const lists: PrpListPage[] = listPages === 0 ? [] : staged.listPages(listPages, this.pageBytes);
    const { prp1, prp2 } = writePrps(entries, lists, this.pageBytes);
    setAddress(words, 6, prp1);
    setAddress(words, 8, prp2);
  }
}

/** The part of a buffer that begins at an aligned address. */
class AlignedDmaBuffer implements DmaBuffer {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly #whole: DmaBuffer;
  readonly #offset: number;

  constructor(whole: DmaBuffer, offset: number, sizeBytes: number) {
    this.#whole = whole;
    this.#offset = offset;
    this.sizeBytes = sizeBytes;
    this.iova = whole.iova + BigInt(offset);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#whole.bytes.subarray(this.#offset, this.#offset + this.sizeBytes);
  }

  get pointer(): Deno.PointerObject {
    const pointer = Deno.UnsafePointer.offset(this.#whole.pointer, this.#offset);
    if (pointer === null) throw new BusbarError("bug", "a buffer at address 0");
    return pointer;
  }

  [Symbol.dispose](): void {
    this.#whole[Symbol.dispose]();
  }
}

function setAddress(words: Uint32Array, at: number, value: bigint): void {
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

/** A command with its memory: what was taken from the pool goes back when it is done. */
class StagedCommand {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly #pool: DmaPool;
  readonly #taken: DmaBuffer[] = [];
  readonly #copies: (() => void)[] = [];

  constructor(words: Uint32Array<ArrayBuffer>, pool: DmaPool) {
    this.words = words;
    this.#pool = pool;
  }

  /** Where data lies for the device. Ordinary memory is copied: before the command, after it, or both. */
  place(data: NonNullable<NvmeCommand["data"]>, toController: boolean, toHost: boolean): DmaSegment {
    if (!(data instanceof Uint8Array)) {
      const { buffer, offset = 0, sizeBytes = buffer.sizeBytes - offset } = data;
      if (!Number.isInteger(offset) || offset < 0 || sizeBytes <= 0 || offset + sizeBytes > buffer.sizeBytes) {
        throw new BusbarError(
          "out-of-range",
          `${sizeBytes} bytes at ${offset} lie outside a buffer of ${buffer.sizeBytes}`,
        );
      }
      return { iova: buffer.iova + BigInt(offset), sizeBytes };
    }
    if (data.length === 0) throw new BusbarError("usage", "a command with data of no length");
    const buffer = this.#take(data.length);
    const bytes = buffer.bytes.subarray(0, data.length);
    if (toController) bytes.set(data);
    else bytes.fill(0);
    if (toHost) this.#copies.push(() => data.set(buffer.bytes.subarray(0, data.length)));
    return { iova: buffer.iova, sizeBytes: data.length };
  }

  listPages(count: number, pageBytes: number): PrpListPage[] {
    const buffer = this.#take(count * pageBytes);
    const { bytes } = buffer;
    return Array.from({ length: count }, (_, i) => ({
      iova: buffer.iova + BigInt(i * pageBytes),
      entries: new BigUint64Array(bytes.buffer, bytes.byteOffset + i * pageBytes, pageBytes / 8),
    }));
  }

  #take(sizeBytes: number): DmaBuffer {
    const buffer = this.#pool.take(sizeBytes);
    this.#taken.push(buffer);
    return buffer;
  }

  copyOut(): void {
    for (const copy of this.#copies) copy();
  }

  release(): void {
    for (const buffer of this.#taken) this.#pool.give(buffer);
    this.#taken.length = 0;
  }
}

/** A command's name for messages; its number where the table of opcodes has none. */
function commandName(queue: NvmeQueueKind, opcode: number): string {
  return `${queue === "admin" ? "admin" : "I/O"} command ${hex(opcode, 2)}`;
}

/** Gives up waiting when the signal is aborted. The command itself goes on. */
async function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    promise.catch(() => {});
  }
}
