/**
 * A software device as a PCI function.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import type { DmaBuffer, DmaMapping } from "../core/dma.ts";
import { BusbarError } from "../core/error.ts";
import { readOptions, type SoftLocator, wrongDevice } from "../core/locator.ts";
import type { Mmio } from "../core/mmio.ts";
import { Descriptor } from "../../ffi/fd.ts";
import type { MappedMmio } from "../../ffi/mmio.ts";
import { SoftDevice } from "../../ffi/soft.ts";
import { findCapability, listCapabilities } from "./capabilities.ts";
import { configUint, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "./config_space.ts";
import type { PciDevice } from "./device.ts";
import { identityOf, type PciFunction, UNKNOWN_TO_SYSFS } from "./function.ts";
import type { ClaimedPciDevice, PciInterrupts } from "./claimed_device.ts";
import { PCI_LOCATORS, SOFT_PCI_DEVICES } from "./locators.ts";
import { type BarOptions, barRange, barRegisters, type Resource, resourceFlags } from "./resources.ts";
import { usableBar } from "./accessibility.ts";

/** A software device as a PCI function that is held. */
export interface SoftwareFunction extends PciDevice, ClaimedPciDevice {
  /** The device itself: to make it misbehave, and to ask for its counters. */
  readonly soft: SoftDevice;
}

/**
 * Starts a software PCI device, to read from and to drive.
 *
 * @param operation who opens it, for errors
 */
export function openSoftDevice(locator: SoftLocator): SoftwareFunction {
  const table = SOFT_PCI_DEVICES[locator.device];
  if (table === undefined) throw wrongDevice(locator, "PCI device", PCI_LOCATORS);
  return new SoftPciDevice(SoftDevice.open(locator.text, locator.device, readOptions(locator, table)));
}

/** A software device: nothing of it is in sysfs, so all that is known of it comes from its configuration space. */
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
    barRange(this.function.name, resource, options);
    const mmio = this.#device.bar(index);
    if (mmio === null) throw new BusbarError("bug", `${this.function.name}: BAR${index} has no memory`);
    return mmio;
  }

  allocDma(sizeBytes: number): DmaBuffer {
    return this.#device.allocDma(sizeBytes);
  }

  mapDma(memory: Deno.PointerObject, sizeBytes: number): DmaMapping {
    return this.#device.mapDma(memory, sizeBytes);
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
    return this.#counter(vector).waitEvent(limitMs);
  }

  counter(vector: number): number {
    return this.#counter(vector).number;
  }

  #counter(vector: number): Descriptor {
    const counter = this.#counters[vector];
    if (counter !== undefined) return counter;
    throw new BusbarError("out-of-range", `${this.#name}: no interrupt vector ${vector}`);
  }

  [Symbol.dispose](): void {
    for (const counter of this.#counters) counter[Symbol.dispose]();
  }
}
