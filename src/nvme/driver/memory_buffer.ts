/**
 * The Controller Memory Buffer: memory of the controller's own, in one of its BARs, for submission queues. Commands that lie
 * there need not be fetched over the bus.
 *
 * Source: NVM Express Base 2.0 §8.5, §3.1.3.12 to 3.1.3.18 (CMBLOC, CMBSZ, CMBMSC, CMBSTS).
 * @module
 */

import { Deadline } from "../../core/deadline.ts";
import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import { bitField, fieldOf } from "../../core/layout.ts";
import { goneError, pollRegister } from "../../core/mmio.ts";
import type { MappedMmio } from "../../../ffi/mmio.ts";
import type { ClaimedPciDevice } from "../../pci/claimed_device.ts";
import { CAP_CMBS, NVME_REGISTERS, registerOffset } from "../tables/registers.ts";

const field = (register: string, name: string): ReturnType<typeof bitField> => bitField(NVME_REGISTERS, register, name);

const BIR = field("CMBLOC", "BIR");
const OFST = field("CMBLOC", "OFST");
const SQS = field("CMBSZ", "SQS");
const SZU = field("CMBSZ", "SZU");
const SZ = field("CMBSZ", "SZ");

const CMBLOC = registerOffset("CMBLOC");
const CMBSZ = registerOffset("CMBSZ");
const CMBMSC = registerOffset("CMBMSC");
const CMBSTS = registerOffset("CMBSTS");
const CRE = 1;
const CMSE = 2;
const CBAI = 1n;
const SHOW_MS = 200;
const ALL_ONES = 0xffff_ffffn;

/**
 * Where the buffer appears among the addresses that the controller uses. Only the controller ever sees it; it has to lie
 * where no memory does, and no IOMMU gives out addresses of more than 52 bits.
 */
const CONTROLLER_BASE = 1n << 56n;

/** The submission queues' share of a Controller Memory Buffer. */
export class ControllerMemoryBuffer {
  /** Its length in bytes. */
  readonly sizeBytes: number;
  readonly #device: string;
  readonly #memory: MappedMmio;
  readonly #offset: number;
  readonly #base: bigint;
  #used = 0;

  private constructor(device: string, memory: MappedMmio, offset: number, sizeBytes: number, base: bigint) {
    this.#device = device;
    this.#memory = memory;
    this.#offset = offset;
    this.sizeBytes = sizeBytes;
    this.#base = base;
  }

  /**
   * Makes the buffer visible and part of the controller's addresses. A controller reset keeps that, a function reset does not.
   *
   * @param capabilities CAP
   * @throws {BusbarError} `unsupported` when there is no buffer, it takes no submission queues, or it refuses its place
   */
  static async open(
    device: ClaimedPciDevice,
    registers: MappedMmio,
    capabilities: bigint,
  ): Promise<ControllerMemoryBuffer> {
    const { name } = device.function;
    const refuse = (why: string): BusbarError =>
      new BusbarError("unsupported", `${name}: ${why}`, { operation: "use the controller memory buffer", path: name });
    // Before 1.4 the buffer was simply there, at the BAR's own bus address.
    const hasControl = fieldOf(capabilities, CAP_CMBS) === 1n;
    if (hasControl) registers.write32(CMBMSC, CRE);
    const size = await readSize(registers, hasControl);
    if (size === ALL_ONES) throw goneError(name, "CMBSZ reads all ones");
    if (size === 0n) throw refuse("the controller has no memory buffer");
    if (fieldOf(size, SQS) === 0n) throw refuse("its memory buffer takes no submission queues");
    const location = BigInt(registers.read32(CMBLOC));
    const bar = Number(fieldOf(location, BIR));
    const unit = 4096n * 16n ** fieldOf(size, SZU);
    const offset = fieldOf(location, OFST) * unit;
    const memory = device.registers(bar);
    const sizeBytes = Number(fieldOf(size, SZ) * unit);
    if (offset + BigInt(sizeBytes) > BigInt(memory.endOffset)) {
      throw refuse(`its memory buffer (${sizeBytes} bytes at ${offset}) does not fit in BAR${bar}`);
    }
    let base = CONTROLLER_BASE;
    if (hasControl) {
      registers.write32(CMBMSC + 4, Number(base >> 32n));
      registers.write32(CMBMSC, Number(base & 0xffff_f000n) | CMSE | CRE);
      if ((BigInt(registers.read32(CMBSTS)) & CBAI) !== 0n) throw refuse("its memory buffer takes no address of ours");
    } else {
      const resource = device.function.resources?.find((one) => one.index === bar);
      if (resource === undefined) throw refuse(`nothing is known of BAR${bar}`);
      base = resource.start + offset;
    }
    return new ControllerMemoryBuffer(name, memory, Number(offset), sizeBytes, base);
  }

  /**
   * A piece of it, for a submission queue. It is never given back: a driver makes its queues once.
   *
   * @throws {BusbarError} `out-of-range` when it is used up
   */
  allocate(sizeBytes: number, alignBytes: number): DmaBuffer {
    const at = Math.ceil(this.#used / alignBytes) * alignBytes;
    if (at + sizeBytes > this.sizeBytes) {
      throw new BusbarError(
        "out-of-range",
        `${this.#device}: ${sizeBytes} bytes do not fit in its memory buffer: ${
          this.sizeBytes - at
        } of ${this.sizeBytes} are left`,
        {
          operation: "place a submission queue",
          path: this.#device,
          hint: "ask for fewer queues, or for shorter ones",
        },
      );
    }
    this.#used = at + sizeBytes;
    return new DeviceMemory(this.#memory, this.#offset + at, sizeBytes, this.#base + BigInt(at));
  }
}

/** CMBSZ, once it shows something: CRE takes effect when the controller gets to it. */
async function readSize(registers: MappedMmio, hasControl: boolean): Promise<bigint> {
  if (!hasControl) return BigInt(registers.read32(CMBSZ));
  return await pollRegister(registers, {
    offset: CMBSZ,
    accessBytes: 4,
    mask: 1n,
    wanted: 1n,
    what: "CMBSZ",
    deadline: Deadline.after(SHOW_MS),
  }).catch((error) => {
    // Nothing to show for submission queues is an answer; a controller that is gone is not.
    if (isBusbarError(error, "timeout")) return BigInt(registers.read32(CMBSZ));
    throw error;
  });
}

/** Memory in a BAR. It is written by single stores in C, never as an array. */
class DeviceMemory implements DmaBuffer {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly #memory: MappedMmio;
  readonly #offset: number;

  constructor(memory: MappedMmio, offset: number, sizeBytes: number, iova: bigint) {
    this.#memory = memory;
    this.#offset = offset;
    this.sizeBytes = sizeBytes;
    this.iova = iova;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    throw new BusbarError("unsupported", `${this.#memory.name}: device memory is no array`);
  }

  get pointer(): Deno.PointerObject {
    const pointer = Deno.UnsafePointer.offset(this.#memory.pointer, this.#offset);
    if (pointer === null) throw new BusbarError("bug", `${this.#memory.name} lies at address 0`);
    return pointer;
  }

  [Symbol.dispose](): void {}
}
