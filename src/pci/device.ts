/**
 * A PCI function that this process holds open, whatever is behind it.
 * @module
 */

import type { DmaBuffer } from "../core/dma.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent } from "../core/host.ts";
import { type Locator, wrongLocatorKind } from "../core/locator.ts";
import type { Machine } from "../core/machine.ts";
import type { Mmio } from "../core/mmio.ts";
import { machineOf } from "../../ffi/machine.ts";
import { configUint, EXTENDED_CONFIG_BYTES } from "./config_space.ts";
import { type PciFunction, readPciFunction } from "./function.ts";
import { PCI_LOCATORS } from "./locators.ts";
import { openRecorded } from "./recorded_device.ts";
import { openSoftDevice } from "./soft_device.ts";
import { type BarOptions, barRange } from "./resources.ts";
import { explainMapError, usableBar } from "./accessibility.ts";

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
export function openPciDevice(
  locator: Locator,
  operation: string,
  machine: Machine = machineOf(locator),
): PciDevice {
  switch (locator.kind) {
    case "pci":
      return new SysfsPciDevice(machine, readPciFunction(machine.host, locator.address));
    case "soft":
      return openSoftDevice(locator, operation);
    case "file":
      return openRecorded(locator);
    default:
      throw wrongLocatorKind(locator, operation, PCI_LOCATORS);
  }
}

/** A function of a machine, by its `resourceN` files. */
class SysfsPciDevice implements PciDevice {
  readonly kind = "sysfs";
  readonly host: Host;
  readonly function: PciFunction;
  readonly #machine: Machine;
  readonly #mapped: Disposable[] = [];

  constructor(machine: Machine, fn: PciFunction) {
    this.host = machine.host;
    this.#machine = machine;
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
    const { offset, sizeBytes } = barRange(now.name, resource, options);
    try {
      const path = `${now.folder}/resource${index}`;
      const mmio = this.#machine.mapRegisters({ name: `BAR${index} of ${now.name}`, path, offset, sizeBytes });
      this.#mapped.push(mmio);
      return mmio;
    } catch (error) {
      throw explainMapError(this.host, now, index, error);
    }
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
