/**
 * Holding a PCI function, to drive it.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import { type Locator, toLocator, wrongDevice } from "../core/locator.ts";
import { localHostOf } from "../../ffi/machine.ts";
import { SOFT_LOCATORS } from "./locators.ts";
import { openSoftDevice } from "./soft_device.ts";
import { type PciFunction, readPciFunction } from "./function.ts";
import type { ClaimedPciDevice } from "./claimed_device.ts";
import { pciLocatorOf } from "./kernel_names.ts";
import { lockFunction } from "./lock.ts";
import { openWithoutIommu } from "./no_iommu.ts";
import { openVfio, VFIO_DRIVER } from "./vfio.ts";

/** How a function may be held. */
export interface ClaimOptions {
  /** Allow it to be driven without an IOMMU: nothing then keeps it from writing to any memory. */
  readonly noIommu?: boolean;
  /** Called before a function that no kernel driver has is driven: throws when somebody else drives it. */
  readonly checkUnowned?: (host: Host, fn: PciFunction) => void;
  /** The text interfaces of the machine; this machine's by default. */
  readonly host?: Host;
}

/** A held function together with its lock. */
function withLock(device: ClaimedPciDevice, lock: Disposable): ClaimedPciDevice {
  const dispose = device[Symbol.dispose].bind(device);
  device[Symbol.dispose] = (): void => {
    try {
      dispose();
    } finally {
      lock[Symbol.dispose]();
    }
  };
  return device;
}

/**
 * Holds the function that a locator names, with a lock so that no other run drives it meanwhile.
 *
 * @throws {BusbarError} `busy` when a kernel driver, another run or another process has it; `usage` for other locators;
 * `unsupported` for a function of another machine
 *
 * @example
 * ```ts
 * import { claimPciDevice } from "@busbar/busbar";
 * using device = await claimPciDevice("soft:nvme");
 * using buffer = device.allocDma(4096);
 * console.assert(buffer.bytes.length === 4096 && buffer.iova % 4096n === 0n);
 * ```
 */
export async function claimPciDevice(
  locator: string | Locator,
  options: ClaimOptions = {},
): Promise<ClaimedPciDevice> {
  const parsed = toLocator(locator);
  const host = options.host ?? localHostOf(parsed, "hold PCI function");
  if (parsed.kind === "soft") return openSoftDevice(parsed);
  const named = pciLocatorOf(parsed, host, "hold PCI function");
  if (named.kind !== "pci") {
    throw wrongDevice(parsed, "PCI device that can be held", ["a PCI address (as in 0000:01:00.0)", ...SOFT_LOCATORS]);
  }
  const fn = readPciFunction(host, named.address);
  if (fn.driver !== null && fn.driver !== VFIO_DRIVER) throw heldByKernel(fn);
  const lock = lockFunction(host, fn);
  try {
    if (fn.driver === VFIO_DRIVER) return withLock(openVfio(host, fn), lock);
    if (options.noIommu !== true) throw unbound(fn);
    options.checkUnowned?.(host, fn);
    return withLock(await openWithoutIommu(host, fn), lock);
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

function heldByKernel(fn: PciFunction): BusbarError {
  return new BusbarError("busy", `${fn.name}: the kernel's driver ${fn.driver} has it`, {
    operation: "hold PCI function",
    path: fn.name,
    hint: `busbar bind vfio ${fn.name} gives it to user space, busbar bind restore ${fn.name} gives it back`,
  });
}

function unbound(fn: PciFunction): BusbarError {
  const vfio = `busbar bind vfio ${fn.name}`;
  return new BusbarError("unsupported", `${fn.name}: no driver has it, and it is not bound to ${VFIO_DRIVER}`, {
    operation: "hold PCI function",
    path: fn.name,
    hint: fn.iommuGroup === null
      ? `this machine has no IOMMU: --no-iommu drives it all the same, without protection`
      : vfio,
  });
}
