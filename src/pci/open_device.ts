/**
 * Opening a PCI function by its locator.
 * @module
 */

import { type Locator, wrongLocatorKind } from "../core/locator.ts";
import type { Machine } from "../core/machine.ts";
import { machineOf } from "../../ffi/machine.ts";
import type { PciDevice } from "./device.ts";
import { readPciFunction } from "./function.ts";
import { PCI_LOCATORS } from "./locators.ts";
import { openRecorded } from "./recorded_device.ts";
import { openSoftDevice } from "./soft_device.ts";
import { SysfsPciDevice } from "./sysfs_device.ts";

/**
 * Opens the PCI function that a locator names. Nothing is written to it.
 *
 * @param operation who opens it, for errors: `dump_bar0`
 * @throws {BusbarError} `usage` for a locator of another kind, and as opening fails
 *
 * @example
 * ```ts
 * import { parseLocator } from "../core/locator.ts";
 * import { openPciDevice } from "./open_device.ts";
 * using device = openPciDevice(parseLocator("soft:nvme"), "example");
 * const version = device.bar(0).read32(0x08);
 * console.assert(version === 0x0001_0400);
 * ```
 */
export function openPciDevice(locator: Locator, operation: string, machine: Machine = machineOf(locator)): PciDevice {
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
