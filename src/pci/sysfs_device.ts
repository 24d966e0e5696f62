/**
 * A function of a machine, by its files in sysfs.
 * @module
 */

import type { DmaBuffer } from "../core/dma.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent } from "../core/host.ts";
import type { Machine } from "../core/machine.ts";
import type { Mmio } from "../core/mmio.ts";
import { explainMapError, usableBar } from "./accessibility.ts";
import { configUint, EXTENDED_CONFIG_BYTES } from "./config_space.ts";
import type { PciDevice } from "./device.ts";
import { type PciFunction, readPciFunction } from "./function.ts";
import { type BarOptions, barRange } from "./resources.ts";

/** A function of a machine, by its `resourceN` files. */
export class SysfsPciDevice implements PciDevice {
  /** How it was found. */
  readonly kind = "sysfs";
  /** The machine that it is a function of. */
  readonly host: Host;
  /** What the machine said of it when it was opened. */
  readonly function: PciFunction;
  readonly #machine: Machine;
  readonly #mapped: Disposable[] = [];

  /** Holds a function that was read. */
  constructor(machine: Machine, fn: PciFunction) {
    this.host = machine.host;
    this.#machine = machine;
    this.function = fn;
  }

  /** Configuration space as it is now. */
  readConfig(): Uint8Array {
    return this.host.readBytes(`${this.function.folder}/config`, 0, EXTENDED_CONFIG_BYTES);
  }

  /** True when it is still there. */
  isPresent(): boolean {
    const header = ifPresent(() => this.host.readBytes(`${this.function.folder}/config`, 0, 4));
    return header !== null && configUint(header, 0, 2) !== 0xffff;
  }

  /** The registers of a BAR. */
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

  /** Refuses. */
  allocDma(): DmaBuffer {
    throw new BusbarError("unsupported", `${this.function.name}: opened for reading; it gets no memory`, {
      operation: "allocate DMA memory",
      path: this.function.name,
    });
  }

  /** Unmaps what it handed out. */
  [Symbol.dispose](): void {
    for (const mmio of this.#mapped) mmio[Symbol.dispose]();
  }
}
