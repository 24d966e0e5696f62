/**
 * Opening a controller: to drive it from here, or through the kernel's driver.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { exists, type Host } from "../../core/host.ts";
import { type Locator, toLocator, wrongDevice } from "../../core/locator.ts";
import type { Machine } from "../../core/machine.ts";
import { findProcessUses } from "../../core/process_uses.ts";
import { openPciDevice } from "../../pci/open_device.ts";
import { SOFT_LOCATORS, SOFT_PCI_DEVICES } from "../../pci/locators.ts";
import { CLASS_NVME, type PciFunction, readPciFunction, summarize } from "../../pci/function.ts";
import { claimPciDevice } from "../../pci/claim.ts";
import { controllersOf } from "../../pci/kernel_names.ts";
import { decodesMemory } from "../../pci/accessibility.ts";
import { localHostOf, localMachineWith, machineOf } from "../../../ffi/machine.ts";
import type { NvmeTransport } from "../queue/command.ts";
import { registerOffset } from "../tables/registers.ts";
import { type DriverOptions, NvmeDriver } from "./driver.ts";
import { kernelName, KernelTransport } from "./kernel.ts";

/** How a controller is opened. */
export interface OpenNvmeOptions extends DriverOptions {
  /** Drive it from here; a controller that the kernel has is then an error. Else its commands go through the kernel. */
  readonly drive?: boolean;
  /** Let admin commands that change something through the kernel too: format, sanitize, namespaces, firmware, features. */
  readonly change?: boolean;
  /** Drive it without an IOMMU: nothing then keeps it from writing to any memory. */
  readonly noIommu?: boolean;
  /** The machine that it is on; that of the locator by default. */
  readonly machine?: Machine;
}

/** The kernel's driver of NVMe controllers. */
const KERNEL_DRIVER = "nvme";

/** What {@linkcode openNvmeTransport} takes. */
export const NVME_LOCATORS: readonly string[] = [
  "a PCI address (as in 0000:01:00.0)",
  ...SOFT_LOCATORS,
  "nvme0 or /dev/nvme0",
];

/**
 * Opens what carries commands to a controller: the driver of this process, or the kernel's.
 *
 * @throws {BusbarError} `usage` for other locators and functions of another class, `busy` when somebody has it, and as
 * starting it fails
 */
export async function openNvmeTransport(
  locator: string | Locator,
  options: OpenNvmeOptions = {},
): Promise<NvmeTransport & AsyncDisposable> {
  const parsed = toLocator(locator);
  const { drive: _drive, change = false, noIommu = false, machine = machineOf(parsed), ...driverOptions } = options;
  if (parsed.kind === "node" && /^\/dev\/nvme\d+$/.test(parsed.path)) {
    return new KernelTransport(parsed.text, parsed.path, machine, change);
  }
  if (parsed.kind === "node" && /^\/dev\/nvme\d+n\d+(?:p\d+)?$/.test(parsed.path)) {
    return new KernelTransport(parsed.text, `/dev/${onlyController(machine, parsed.path)}`, machine, change);
  }
  if (parsed.kind === "pci") {
    const fn = readPciFunction(machine.host, parsed.address);
    // What is written to start a controller would do something else to another device. One that is gone reads all ones.
    if (fn.classCode !== CLASS_NVME && fn.classCode !== 0xff_ffff) throw notAController(fn);
    if (fn.driver === KERNEL_DRIVER && options.drive !== true) return openThroughKernel(machine, fn, change);
  }
  const isSoft = parsed.kind === "soft" && Object.hasOwn(SOFT_PCI_DEVICES, parsed.device);
  if (parsed.kind !== "pci" && !isSoft) throw wrongDevice(parsed, "NVMe controller", NVME_LOCATORS);
  // Held only on this machine, whatever machine was handed in for its files.
  if (parsed.host !== null) localHostOf(parsed, "drive a controller");
  const device = await claimPciDevice(parsed, { noIommu, checkUnowned: refuseDriven, host: machine.host });
  return await NvmeDriver.start(device, driverOptions);
}

/** The one controller that leads to a namespace. */
function onlyController(machine: Machine, node: string): string {
  const controllers = controllersOf(machine.host, node);
  const [only, ...others] = controllers;
  if (only === undefined) {
    throw new BusbarError("absent", `${node}: no such namespace`, {
      operation: "open controller",
      path: node,
      hint: "busbar list nvme shows the controllers and their namespaces",
    });
  }
  if (others.length === 0) return only;
  throw new BusbarError("usage", `${node} is reached by ${controllers.join(", ")}: which?`, {
    operation: "open controller",
    path: node,
    hint: `name one of them, as in ${only}`,
  });
}

function notAController(fn: PciFunction): BusbarError {
  return new BusbarError("usage", `${fn.name} is no NVMe controller: ${summarize(fn)}`, {
    operation: "open controller",
    path: fn.name,
    hint: "lspci -D -d ::0108 lists them",
  });
}

function openThroughKernel(machine: Machine, fn: PciFunction, change: boolean): KernelTransport {
  const { host } = machine;
  const name = kernelName(host, fn.folder ?? "");
  if (name === null || !exists(host, `/dev/${name}`)) {
    throw new BusbarError("absent", `${fn.name}: the kernel's driver has it but shows no controller`, {
      operation: "open controller",
      path: fn.name,
      hint: "its start may have failed: look at the kernel's log (dmesg)",
    });
  }
  return new KernelTransport(fn.name, `/dev/${name}`, machine, change);
}

const CC = registerOffset("CC");
const CSTS = registerOffset("CSTS");
const SHUTDOWN_COMPLETE = 2;

/**
 * A function that no kernel driver has may still be driven, by a process as this one is. An enabled controller says so.
 *
 * @throws {BusbarError} `busy`, naming the processes that have it open or mapped
 */
function refuseDriven(host: Host, fn: PciFunction): void {
  // Without memory decoding nobody can have enabled it.
  if (fn.address === null || !decodesMemory(fn)) return;
  using device = openPciDevice(
    { kind: "pci", text: fn.name, host: null, address: fn.address },
    { machine: localMachineWith(host) },
  );
  const bar0 = device.bar(0, { sizeBytes: 0x1000 });
  // Linux leaves CC.EN set when it lets go of a controller, but shuts it down first.
  const isDriven = (bar0.read32(CC) & 1) !== 0 && (bar0.read32(CSTS) >>> 2 & 3) !== SHUTDOWN_COMPLETE;
  if (!isDriven) return;
  const uses = findProcessUses(
    host,
    (path) => path.includes(`/${fn.name}/resource`) || path === `/dev/vfio/${fn.iommuGroup}`,
  );
  const who = uses.map((use) => `${use.command} (process ${use.pid})`);
  throw new BusbarError(
    "busy",
    `${fn.name}: no kernel driver has it, but it is enabled: ${[...new Set(who)].join(", ") || "somebody"} drives it`,
    {
      operation: "open controller",
      path: fn.name,
      hint: who.length > 0 ? "end that process first" : `if nobody does, reset it: echo 1 > ${fn.folder}/reset`,
    },
  );
}
