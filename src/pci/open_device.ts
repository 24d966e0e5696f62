/**
 * Opening a PCI function by its locator.
 * @module
 */

import { type Locator, toLocator, wrongDevice } from "../core/locator.ts";
import type { Machine } from "../core/machine.ts";
import { machineOf } from "../../ffi/machine.ts";
import type { PciDevice } from "./device.ts";
import { readPciFunction } from "./function.ts";
import { pciLocatorOf } from "./kernel_names.ts";
import { PCI_LOCATORS } from "./locators.ts";
import { openRecorded } from "./recorded_device.ts";
import { openSoftDevice } from "./soft_device.ts";
import { SysfsPciDevice } from "./sysfs_device.ts";

/** How a PCI function is opened. */
export interface OpenPciOptions {
  /** The machine that it is on; that of the locator by default. */
  readonly machine?: Machine;
}

/**
 * Opens the PCI function that a locator names: `0000:01:00.0`, `soft:nvme`, `file:saved.dump`. Nothing is written to it.
 *
 * @throws {BusbarError} `usage` for a locator of another kind, and as opening fails
 *
 * @example
 * ```ts
 * import { openPciDevice } from "./open_device.ts";
 * using device = openPciDevice("soft:nvme");
 * const version = device.bar(0).read32(0x08);
 * console.assert(version === 0x0001_0400);
 * ```
 */
export function openPciDevice(locator: string | Locator, options: OpenPciOptions = {}): PciDevice {
  const parsed = toLocator(locator);
  const machine = options.machine ?? machineOf(parsed);
  const named = pciLocatorOf(parsed, machine.host, "open PCI device");
  switch (named.kind) {
    case "pci":
      return new SysfsPciDevice(machine, readPciFunction(machine.host, named.address));
    case "soft":
      return openSoftDevice(named);
    case "file":
      return openRecorded(named);
    default:
      throw wrongDevice(named, "PCI device", PCI_LOCATORS);
  }
}
