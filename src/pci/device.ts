/**
 * A PCI function that this process holds open, whatever is behind it.
 * @module
 */

import type { DmaBuffer } from "../core/dma.ts";
import type { Host } from "../core/host.ts";
import type { Mmio } from "../core/mmio.ts";
import type { PciFunction } from "./function.ts";
import type { BarOptions } from "./resources.ts";

/**
 * A PCI function that is held open. Dispose lets go of it and closes all that it handed out.
 *
 * @example
 * ```ts
 * import { openPciDevice, type PciDevice } from "@busbar/busbar";
 * const vendor = (device: PciDevice): number => device.readConfig()[0]! | device.readConfig()[1]! << 8;
 * using device = openPciDevice("soft:nvme");
 * console.assert(vendor(device) === 0x1234);
 * ```
 */
export interface PciDevice extends Disposable {
  /** How it was found: sysfs, a software device, a recording. */
  readonly kind: "sysfs" | "soft" | "recorded";
  /** The machine that it is a function of; null for a software device. */
  readonly host: Host | null;
  /** What the machine said of it when it was opened. */
  readonly function: PciFunction;
  /** What of a recording could not be used, each in one sentence; missing where nothing was recorded. */
  readonly problems?: readonly string[];
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
