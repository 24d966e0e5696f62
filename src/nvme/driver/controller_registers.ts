/**
 * A controller by its registers: what it can do, enable, disable, shutdown.
 *
 * Source: NVM Express Base 2.0 §3.1.3 (registers), §3.5 (initialisation), §3.6 (shutdown).
 * @module
 */

import { Deadline } from "../../core/deadline.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import { bitField, fieldOf, withField } from "../../core/layout.ts";
import { goneError, pollRegister } from "../../core/mmio.ts";
import { hex } from "../../core/units.ts";
import type { MappedMmio } from "../../../ffi/mmio.ts";
import type { QueueRings } from "../queue/rings.ts";
import { NVME_REGISTERS, registerOffset } from "../tables/registers.ts";

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
  CAP: registerOffset("CAP"),
  VS: registerOffset("VS"),
  CC: registerOffset("CC"),
  CSTS: registerOffset("CSTS"),
  AQA: registerOffset("AQA"),
  ASQ: registerOffset("ASQ"),
  ACQ: registerOffset("ACQ"),
  CRTO: registerOffset("CRTO"),
};
const CSTS_RDY = 1n;
const CSTS_CFS = 2n;
const CSTS_SHST = 0xcn;
const CSTS_SHST_DONE = 0x8n;
const ALL_ONES = 0xffff_ffffn;
const SHUTDOWN_MS = 10_000;

/** How long its changes may take. */
export interface ControllerRegistersOptions {
  /** Milliseconds for each wait until it is ready, disabled or shut down, in place of CAP.TO and 10 s. */
  readonly readyTimeoutMs?: number;
  /** Ends waits early. */
  readonly signal?: AbortSignal | undefined;
}

/** A controller by its registers. */
export class ControllerRegisters {
  /** CAP, as it was read at the start. */
  readonly capabilities: bigint;
  readonly #name: string;
  readonly #registers: MappedMmio;
  readonly #options: ControllerRegistersOptions;

  /**
   * Reads what the controller can do.
   *
   * @param registers BAR0
   * @param name the function, for messages
   * @throws {BusbarError} `unreachable` when no controller answers; `unsupported` for memory pages above 64 KiB
   */
  constructor(registers: MappedMmio, name: string, options: ControllerRegistersOptions) {
    this.#registers = registers;
    this.#name = name;
    this.#options = options;
    this.capabilities = BigInt(registers.read32(REG.CAP)) | BigInt(registers.read32(REG.CAP + 4)) << 32n;
    this.#checkCapabilities();
  }

  /** Most entries that an I/O queue can have: CAP.MQES. */
  get maxEntries(): number {
    return Number(fieldOf(this.capabilities, CAP.MQES)) + 1;
  }

  /** The memory page size that is set in CC.MPS, in bytes. */
  get pageBytes(): number {
    const low = Number(fieldOf(this.capabilities, CAP.MPSMIN));
    return 2 ** (12 + low);
  }

  /** Bytes between doorbells. */
  get strideBytes(): number {
    return 4 << Number(fieldOf(this.capabilities, CAP.DSTRD));
  }

  /** True when it has I/O queues; a controller of the administrative kind has none. */
  get hasIoQueues(): boolean {
    return this.#commandSet() !== 7n;
  }

  /** CC and CSTS as they are now. */
  get state(): { readonly cc: number; readonly csts: number } {
    return { cc: this.#registers.read32(REG.CC), csts: this.#registers.read32(REG.CSTS) };
  }

  /** Looks at CSTS. @throws {BusbarError} `device-gone` when CSTS reads all ones; `device-failed` for a fatal status */
  checkStatus(): void {
    const csts = BigInt(this.#registers.read32(REG.CSTS));
    if (csts === ALL_ONES) throw goneError(this.#name, "CSTS reads all ones");
    if ((csts & CSTS_CFS) !== 0n) throw this.#fatal(csts);
  }

  /**
   * Enables it with its admin queue. It must be disabled.
   *
   * @throws {BusbarError} `timeout` when it does not become ready; `device-failed` for a fatal status
   */
  async enable({ entries, submission, completion }: QueueRings): Promise<void> {
    const registers = this.#registers;
    registers.write32(REG.AQA, (entries - 1) << 16 | (entries - 1));
    // Two dwords: some controllers take one 64-bit write as nothing.
    for (const [at, iova] of [[REG.ASQ, submission.iova], [REG.ACQ, completion.iova]] as const) {
      registers.write32(at, Number(iova & 0xffff_ffffn));
      registers.write32(at + 4, Number(iova >> 32n));
    }
    let cc = withField(0n, CC.CSS, this.#commandSet());
    cc = withField(cc, CC.MPS, BigInt(Math.log2(this.pageBytes) - 12));
    cc = withField(cc, CC.IOSQES, BigInt(Math.log2(submission.entryBytes)));
    cc = withField(cc, CC.IOCQES, BigInt(Math.log2(completion.entryBytes)));
    registers.write32(REG.CC, Number(withField(cc, CC.EN, 1n)));
    await this.#waitStatus(CSTS_RDY, CSTS_RDY, "CSTS.RDY = 1", this.#readyDeadline());
  }

  /** CC.CSS: all I/O command sets where the controller has them, so that zoned namespaces can be reached. */
  #commandSet(): bigint {
    const css = fieldOf(this.capabilities, CAP.CSS);
    if ((css >> 6n & 1n) === 1n) return 6n;
    return (css & 1n) === 1n ? 0n : 7n;
  }

  /**
   * Disables it, which deletes all its queues and ends its reach into memory.
   *
   * @throws {BusbarError} `timeout` when it does not stop; `device-gone`
   */
  async disable(): Promise<void> {
    const cc = BigInt(this.#registers.read32(REG.CC));
    if (cc === ALL_ONES) throw goneError(this.#name, "CC reads all ones");
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

  #checkCapabilities(): void {
    const vs = this.#registers.read32(REG.VS);
    if (this.capabilities === 0n || this.capabilities === 0xffff_ffff_ffff_ffffn || vs === 0 || vs === 0xffff_ffff) {
      throw new BusbarError(
        "unreachable",
        `${this.#name}: no controller answers (CAP ${hex(this.capabilities, 16)}, VS ${hex(vs, 8)})`,
        {
          operation: "start the controller",
          path: this.#name,
          hint: "the function may be powered down or unplugged: look at lspci -vv and dmesg",
        },
      );
    }
    if (this.pageBytes > 65_536) {
      throw new BusbarError("unsupported", `${this.#name}: its smallest memory page is ${this.pageBytes} bytes`, {
        path: this.#name,
      });
    }
  }

  #readyDeadline(): Deadline {
    if (this.#options.readyTimeoutMs !== undefined) return Deadline.after(this.#options.readyTimeoutMs);
    // 0 is not a promise of no time at all; and with CRMS the longer one is in CRTO.
    const to = Math.max(1, Number(fieldOf(this.capabilities, CAP.TO)));
    const crto = fieldOf(this.capabilities, CAP.CRMS) === 0n
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
        if (csts === ALL_ONES) throw goneError(this.#name, "CSTS reads all ones");
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
      `${this.#name}: the controller reports a fatal status (CSTS ${hex(csts, 8)})`,
      {
        operation: "wait for the controller",
        path: this.#name,
        hint: `${
          names.join(", ")
        }; a reset of the function may help: echo 1 > /sys/bus/pci/devices/${this.#name}/reset`,
      },
    );
  }
}
