/**
 * A PCI function that this process holds open, whatever is behind it.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import type { DmaBuffer } from "../core/dma.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent, thisMachine } from "../core/host.ts";
import {
  type FileLocator,
  type Locator,
  type OptionTable,
  readOptions,
  type SoftLocator,
  wrongLocatorKind,
} from "../core/locator.ts";
import { accessError, type Mmio, RecordedMmio } from "../core/mmio.ts";
import { formatPciAddress, parsePciAddress } from "../core/pci_address.ts";
import { Mapping, pageSizeBytes } from "../../ffi/memory.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import { SoftDevice } from "../../ffi/soft.ts";
import { findCapability, listCapabilities } from "./capabilities.ts";
import {
  configUint,
  EXTENDED_CONFIG_BYTES,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from "./config_space.ts";
import { identityOf, type PciFunction, readPciFunction } from "./function.ts";
import type { HeldPciDevice, PciInterrupts } from "./held.ts";
import { readMachineFile, type RecordedMachine } from "./machine_file.ts";
import { barRegisters, type Resource, resourceFlags } from "./resources.ts";
import { explainMapError, usableBar } from "./state.ts";

/** What of a BAR is wanted. */
export interface BarOptions {
  /** First byte that is needed; 0 by default. */
  readonly offset?: number;
  /** How many bytes from there are needed; the whole BAR by default. Only the pages that hold them are mapped. */
  readonly sizeBytes?: number;
}

/** A PCI function that is held open. Dispose lets go of it and closes all that it handed out. */
export interface PciDevice extends Disposable {
  /** How it was found: sysfs, a software device, a recording. */
  readonly kind: "sysfs" | "soft" | "recorded";
  /** The machine that it is a function of; null for a software device. */
  readonly host: Host | null;
  /** What the machine said of it when it was opened. */
  readonly function: PciFunction;
  /** Configuration space as it is now; 64 bytes without privilege. */
  readConfig(): Uint8Array;
  /** True when the function is still there: its machine lists it, and configuration space does not read all ones. */
  isPresent(): boolean;
  /**
   * The registers of BAR `index`, for reading. Offsets count from the BAR's start; only what was asked for can be read.
   *
   * @throws {BusbarError} as {@linkcode usableBar} does, and as mapping fails
   */
  bar(index: number, options?: BarOptions): Mmio;
  /** Memory that the device can reach. @throws {BusbarError} `unsupported` where there is no way to give it any */
  allocDma(sizeBytes: number): DmaBuffer;
}

/** The settings of each software PCI device, by name. */
export const SOFT_PCI_DEVICES: Readonly<Record<string, OptionTable>> = {
  nvme: {
    serial: { type: "text", title: "serial number, 20 bytes at most", default: "BUSBAR-SOFT-0001", max: 20n },
    mn: { type: "text", title: "model number, 40 bytes at most", default: "busbar software NVMe controller", max: 40n },
    mqes: {
      type: "integer",
      title: "CAP.MQES: most entries of a queue, 0-based",
      default: "1023",
      min: 1n,
      max: 65535n,
    },
    to: { type: "integer", title: "CAP.TO: longest wait for ready, in 500 ms", default: "15", max: 255n },
    dstrd: { type: "integer", title: "CAP.DSTRD: doorbell stride, 4 bytes × 2^n", default: "0", max: 8n },
    ready_ms: { type: "integer", title: "milliseconds from enable to ready and back", default: "2", max: 600_000n },
    shutdown_ms: { type: "integer", title: "milliseconds that a shutdown takes", default: "2", max: 600_000n },
    fr: { type: "text", title: "firmware revision, 8 bytes at most", default: "1.0", max: 8n },
    vs: { type: "text", title: "version of the specification: 1.4 or 2.0", default: "1.4", max: 3n },
    queues: { type: "integer", title: "most I/O queue pairs", default: "8", min: 1n, max: 1024n },
    vectors: { type: "integer", title: "MSI-X vectors", default: "9", min: 1n, max: 2048n },
    mdts: {
      type: "integer",
      title: "MDTS: most data of a command, 4 KiB × 2^n; 0 has no limit",
      default: "7",
      max: 16n,
    },
    zasl: {
      type: "integer",
      title: "ZASL: most data of a Zone Append, 4 KiB × 2^n; 0 is MDTS",
      default: "0",
      max: 16n,
    },
    nn: { type: "integer", title: "NN: highest namespace identifier", default: "256", min: 1n, max: 65536n },
    cntlid: { type: "integer", title: "CNTLID: controller identifier", default: "1", max: 0xffefn },
    sgls: { type: "integer", title: "SGLs: 0 none, 1 any alignment, 2 dword alignment", default: "1", max: 2n },
    cmb: { type: "size", title: "controller memory buffer, in BAR2; whole 4 KiB", default: "0", max: 1n << 30n },
    capacity: { type: "size", title: "TNVMCAP; 0 is twice what the namespaces take", default: "0", max: 1n << 50n },
    fna: { type: "integer", title: "FNA: what Format NVM does to all namespaces, bits", default: "4", max: 7n },
    vwc: { type: "integer", title: "1: there is a volatile write cache", default: "1", max: 1n },
    spin_us: {
      type: "integer",
      title: "microseconds without work until the device naps; its next command then waits for it",
      default: "500",
      max: 1_000_000n,
    },
    reorder_us: {
      type: "integer",
      title: "each I/O command is delayed by a random time up to this, so that completions come in any order",
      default: "0",
      max: 10_000_000n,
    },
    format_ms: { type: "integer", title: "milliseconds that Format NVM takes", default: "5", max: 600_000n },
    sanitize_ms: { type: "integer", title: "milliseconds that Sanitize takes", default: "20", max: 600_000n },
    selftest_ms: {
      type: "integer",
      title: "milliseconds that a short self-test takes, half of an extended one",
      default: "20",
      max: 600_000n,
    },
    seed: { type: "integer", title: "seed of everything random", default: "1" },
    namespaces: {
      type: "text",
      title:
        "namespaces: NSID[:key=value,...], joined by ';', with the keys from size on; as in 1;3:lba=4096;7:zoned=1",
      default: "1",
      max: 4095n,
    },
    fault: {
      type: "text",
      title: "faults: rules joined by ';', as csrc/soft/busbar_soft.h lists them; as in drop,every=100;latency=10..50",
      default: "",
      max: 4095n,
    },
    size: { type: "size", title: "size of each namespace", default: "64MiB", min: 4096n, max: 1n << 44n },
    lba: { type: "integer", title: "bytes in a block: 512 or 4096", default: "512", min: 512n, max: 4096n },
    ms: { type: "integer", title: "bytes of metadata for each block: 0, 8, 16 or 64", default: "0", max: 64n },
    ext: { type: "integer", title: "1: metadata lies at the end of each block's data", default: "0", max: 1n },
    pi: { type: "integer", title: "protection information, type 1 to 3; 0 is none", default: "0", max: 3n },
    pil: {
      type: "integer",
      title: "1: it is at the beginning of the metadata, else at the end",
      default: "0",
      max: 1n,
    },
    dlfeat: { type: "integer", title: "deallocated blocks read: 0 not told, 1 zeros, 2 ones", default: "1", max: 2n },
    shared: { type: "integer", title: "1: namespaces may be shared between controllers", default: "0", max: 1n },
    zoned: { type: "integer", title: "1: namespaces are zoned", default: "0", max: 1n },
    zone: { type: "size", title: "size of a zone", default: "4MiB", min: 512n, max: 1n << 44n },
    zcap: { type: "size", title: "capacity of a zone; 0 is its size", default: "0", max: 1n << 44n },
    mar: { type: "integer", title: "most active zones; 0 has no limit", default: "0", max: 0xffff_ffffn },
    mor: { type: "integer", title: "most open zones; 0 has no limit", default: "0", max: 0xffff_ffffn },
    zdes: { type: "integer", title: "size of a zone descriptor extension, in 64 bytes", default: "0", max: 255n },
    file: {
      type: "text",
      title: "file that holds the namespace, made if it is not there; its size counts if it is",
      default: "",
      max: 1023n,
    },
  },
};

/** The software PCI devices as locators. */
export const SOFT_LOCATORS: readonly string[] = Object.keys(SOFT_PCI_DEVICES).map((name) => `soft:${name}`);

/** What {@linkcode openPciDevice} takes, for the errors of whoever calls it. */
export const PCI_LOCATORS: readonly string[] = [
  "a PCI address (as in 0000:01:00.0)",
  ...SOFT_LOCATORS,
  "file:RECORDING",
];

const FILE_OPTIONS: OptionTable = {
  device: { type: "text", title: "address of the function, where the file has several", default: "" },
};

/**
 * Opens the PCI function that a locator names. Nothing is written to it.
 *
 * @param operation who opens it, for errors: `dump_bar0`
 * @throws {BusbarError} `usage` for a locator of another kind, and as opening fails
 *
 * @example
 * ```ts
 * import { parseLocator } from "../core/locator.ts";
 * import { openPciDevice } from "./device.ts";
 * using device = openPciDevice(parseLocator("soft:nvme"), "example");
 * const version = device.bar(0).read32(0x08);
 * console.assert(version === 0x0001_0400);
 * ```
 */
export function openPciDevice(locator: Locator, operation: string, host: Host = thisMachine): PciDevice {
  switch (locator.kind) {
    case "pci":
      return new SysfsPciDevice(host, readPciFunction(host, locator.address));
    case "soft":
      return openSoftDevice(locator, operation);
    case "file":
      return openRecorded(locator);
    default:
      throw wrongLocatorKind(locator, operation, PCI_LOCATORS);
  }
}

/** A function of this machine, by its `resourceN` files. */
class SysfsPciDevice implements PciDevice {
  readonly kind = "sysfs";
  readonly host: Host;
  readonly function: PciFunction;
  readonly #mapped: MappedMmio[] = [];

  constructor(host: Host, fn: PciFunction) {
    this.host = host;
    this.function = fn;
  }

  readConfig(): Uint8Array {
    return this.host.readBytes(`${this.function.folder}/config`, 0, EXTENDED_CONFIG_BYTES);
  }

  isPresent(): boolean {
    const header = ifPresent(() => this.host.readBytes(`${this.function.folder}/config`, 0, 4));
    return header !== null && configUint(header, 0, 2) !== 0xffff;
  }

  bar(index: number, options: BarOptions = {}): Mmio {
    // Looked at again, because the function may have been changed since it was opened: memory decoding turned on.
    const now = readPciFunction(this.host, this.function.name);
    const resource = usableBar(now, index);
    const { offset, sizeBytes } = checkRange(now, resource, options);
    const page = pageSizeBytes();
    const start = Math.floor(offset / page) * page;
    let mapping: Mapping;
    try {
      mapping = Mapping.file(`${now.folder}/resource${index}`, offset + sizeBytes - start, { offset: BigInt(start) });
    } catch (error) {
      throw explainMapError(this.host, now, index, error);
    }
    const name = `BAR${index} of ${now.name}`;
    const unmap = (): void => mapping[Symbol.dispose]();
    const mmio = new MappedMmio(name, mapping.registers, offset + sizeBytes - start, unmap, start);
    this.#mapped.push(mmio);
    return mmio;
  }

  allocDma(): DmaBuffer {
    throw new BusbarError("unsupported", `${this.function.name}: opened for reading; it gets no memory`, {
      operation: "allocate DMA memory",
      path: this.function.name,
    });
  }

  [Symbol.dispose](): void {
    for (const mmio of this.#mapped) mmio[Symbol.dispose]();
  }
}

function checkRange(fn: PciFunction, bar: Resource, options: BarOptions): { offset: number; sizeBytes: number } {
  const offset = options.offset ?? 0;
  const sizeBytes = options.sizeBytes ?? Number(bar.sizeBytes) - offset;
  if (offset < 0 || sizeBytes <= 0 || BigInt(offset) + BigInt(sizeBytes) > bar.sizeBytes) {
    throw new BusbarError(
      "out-of-range",
      `${fn.name}: ${sizeBytes} bytes at 0x${offset.toString(16)} lie outside BAR${bar.index} (${bar.sizeBytes} bytes)`,
      {
        operation: `open BAR${bar.index}`,
        path: fn.name,
        hint: `the whole BAR is 0+${bar.sizeBytes}`,
      },
    );
  }
  return { offset, sizeBytes };
}

/** A software device as a PCI function that is held. */
export interface SoftwareFunction extends PciDevice, HeldPciDevice {
  /** The device itself: to make it misbehave, and to ask for its counters. */
  readonly soft: SoftDevice;
}

/**
 * Starts a software PCI device, to read from and to drive.
 *
 * @param operation who opens it, for errors
 */
export function openSoftDevice(locator: SoftLocator, operation: string): SoftwareFunction {
  const table = SOFT_PCI_DEVICES[locator.device];
  if (table === undefined) throw wrongLocatorKind(locator, operation, PCI_LOCATORS);
  return new SoftPciDevice(SoftDevice.open(locator.text, locator.device, readOptions(locator, table)));
}

/** A software device: nothing of it is in sysfs, so its facts come from its configuration space. */
class SoftPciDevice implements SoftwareFunction {
  readonly kind = "soft";
  readonly how = "soft";
  readonly host = null;
  readonly function: PciFunction;
  readonly interruptVectors: number;
  readonly soft: SoftDevice;
  readonly #device: SoftDevice;

  constructor(device: SoftDevice) {
    this.soft = this.#device = device;
    const config = device.config.slice();
    const resources = barRegisters(config).flatMap((register): Resource[] => {
      const bar = device.bar(register.index);
      if (bar === null) return [];
      return [{
        index: register.index,
        role: "BAR",
        space: register.space,
        start: register.address,
        sizeBytes: BigInt(bar.endOffset),
        is64Bit: register.is64Bit,
        prefetchable: register.prefetchable,
        assigned: true,
        flags: resourceFlags(register),
      }];
    });
    this.function = { ...UNKNOWN_TO_SYSFS, ...identityOf(config), name: device.name, config, resources };
    const control = capabilityOffset(config, MSIX_CAPABILITY) + 2;
    this.interruptVectors = control === 2 ? 0 : (configUint(config, control, 2) & 0x7ff) + 1;
  }

  readConfig(): Uint8Array {
    return this.#device.config.slice();
  }

  isPresent(): boolean {
    return configUint(this.#device.config, 0, 2) !== 0xffff;
  }

  bar(index: number, options: BarOptions = {}): Mmio {
    const resource = usableBar({ ...this.function, config: this.readConfig() }, index);
    checkRange(this.function, resource, options);
    const mmio = this.#device.bar(index);
    if (mmio === null) throw new BusbarError("bug", `${this.function.name}: BAR${index} has no memory`);
    return mmio;
  }

  allocDma(sizeBytes: number): DmaBuffer {
    return this.#device.allocDma(sizeBytes);
  }

  registers(index: number): MappedMmio {
    const mmio = this.#device.bar(index);
    if (mmio !== null) return mmio;
    throw new BusbarError("absent", `${this.function.name}: no BAR${index}`, { path: this.function.name });
  }

  isRequestedBack(): boolean {
    return false;
  }

  setBusMaster(on: boolean): void {
    const { config } = this.#device;
    const command = (config[PCI_COMMAND] ?? 0) & ~PCI_COMMAND_MASTER;
    config[PCI_COMMAND] = on ? command | PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY : command;
  }

  enableInterrupts(count: number): PciInterrupts {
    if (!Number.isInteger(count) || count < 1 || count > this.interruptVectors) {
      throw new BusbarError("out-of-range", `${this.function.name}: ${count} of ${this.interruptVectors} vectors`, {
        operation: "enable interrupts",
        path: this.function.name,
      });
    }
    return new SoftInterrupts(this.#device, count);
  }

  reset(): void {
    const { config } = this.#device;
    const control = capabilityOffset(config, PCIE_CAPABILITY) + DEVICE_CONTROL_HIGH;
    config[control] = (config[control] ?? 0) | START_FUNCTION_RESET;
    // The device takes the bit back when it is done; hardware would be given 100 ms (PCIe Base 5.0 §6.6.2).
    const end = Deadline.after(FUNCTION_RESET_MS);
    while (((this.#device.config[control] ?? 0) & START_FUNCTION_RESET) !== 0) {
      end.check("function level reset", this.function.name);
    }
  }

  [Symbol.dispose](): void {
    this.#device[Symbol.dispose]();
  }
}

/** Where a capability begins in configuration space; 0 when there is none. */
function capabilityOffset(config: Uint8Array, id: number): number {
  return findCapability(listCapabilities(config), "standard", id)?.offset ?? 0;
}

const PCIE_CAPABILITY = 0x10;
const MSIX_CAPABILITY = 0x11;
/** The upper byte of Device Control, and its bit that starts a function level reset. */
const DEVICE_CONTROL_HIGH = 9;
const START_FUNCTION_RESET = 0x80;
const FUNCTION_RESET_MS = 50;

class SoftInterrupts implements PciInterrupts {
  readonly vectors: number;
  readonly #name: string;
  readonly #counters: Descriptor[];

  constructor(device: SoftDevice, count: number) {
    this.vectors = count;
    this.#name = device.name;
    this.#counters = Array.from(
      { length: count },
      (_, i) => Descriptor.borrow(`vector ${i} of ${device.name}`, device.interruptFd(i)),
    );
  }

  wait(vector: number, limitMs: number): boolean {
    const counter = this.#counters[vector];
    if (counter === undefined) throw new BusbarError("out-of-range", `${this.#name}: no interrupt vector ${vector}`);
    return counter.waitEvent(limitMs);
  }

  [Symbol.dispose](): void {
    for (const counter of this.#counters) counter[Symbol.dispose]();
  }
}

function openRecorded(locator: FileLocator): PciDevice {
  const wanted = readOptions(locator, FILE_OPTIONS).get("device") ?? "";
  const machine = readMachineFile(locator.path);
  const name = wanted === "" ? onlyDevice(machine, locator) : formatPciAddress(parsePciAddress(wanted));
  const fn = readPciFunction(machine.host, name);
  const softName = machine.names.get(name);
  return new RecordedPciDevice(
    machine,
    name,
    softName === undefined ? fn : { ...fn, ...UNKNOWN_TO_SYSFS, name: softName },
  );
}

/** The function meant by a file that holds one, or by the only one in it whose registers were recorded. */
function onlyDevice(machine: RecordedMachine, locator: FileLocator): string {
  const withRegisters = machine.devices.filter((name) => machine.regions.some((region) => region.device === name));
  const choice = withRegisters.length === 1 ? withRegisters : machine.devices;
  const [only, ...others] = choice;
  if (only !== undefined && others.length === 0) return only;
  throw new BusbarError("usage", `${locator.path} holds ${choice.length} PCI functions`, {
    operation: "open recorded machine",
    path: locator.path,
    hint: `say which: '${locator.text}?device=${only ?? ""}'`,
  });
}

/** A function of a recorded machine. */
class RecordedPciDevice implements PciDevice {
  readonly kind = "recorded";
  readonly host: Host | null;
  readonly function: PciFunction;
  readonly #machine: RecordedMachine;
  readonly #recordedAs: string;

  constructor(machine: RecordedMachine, recordedAs: string, fn: PciFunction) {
    this.#machine = machine;
    this.#recordedAs = recordedAs;
    this.host = fn.address === null ? null : machine.host;
    this.function = fn;
  }

  readConfig(): Uint8Array {
    return this.function.config.slice();
  }

  isPresent(): boolean {
    return true;
  }

  bar(index: number, options: BarOptions = {}): Mmio {
    const region = this.#machine.regions.find((one) => one.device === this.#recordedAs && one.bar === index);
    if (region === undefined) {
      throw new BusbarError("absent", `${this.function.name}: the registers of BAR${index} were not recorded`, {
        operation: `open BAR${index}`,
        path: this.function.name,
        hint: `record them on that machine: dump_bar0 ${this.function.name} --bar ${index} --save FILE`,
      });
    }
    const mmio = new RecordedMmio(`BAR${index} of ${this.function.name}`, region.sizeBytes, region.pieces);
    if ((options.offset ?? 0) + (options.sizeBytes ?? 0) > region.sizeBytes) {
      throw accessError(mmio, options.offset ?? 0, options.sizeBytes ?? 0, 1);
    }
    return mmio;
  }

  allocDma(): DmaBuffer {
    throw new BusbarError("unsupported", `${this.function.name}: a recorded device has no DMA`, {
      operation: "allocate DMA memory",
      path: this.function.name,
    });
  }

  [Symbol.dispose](): void {}
}

/** What only sysfs knows. */
const UNKNOWN_TO_SYSFS: Pick<
  PciFunction,
  | "address"
  | "folder"
  | "driver"
  | "iommuGroup"
  | "numaNode"
  | "powerState"
  | "enableCount"
  | "ancestors"
  | "hostBridge"
  | "physicalFunction"
> = {
  address: null,
  folder: null,
  driver: null,
  iommuGroup: null,
  numaNode: null,
  powerState: null,
  enableCount: null,
  ancestors: [],
  hostBridge: null,
  physicalFunction: null,
};
