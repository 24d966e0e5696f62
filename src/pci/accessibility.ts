/**
 * Why the registers of a function cannot be read, told before they are read as zeros or all ones.
 *
 * Sources: PCI Express Base 6.0 §5.3 (power states), §7.5.1.1.3 (Command register); Linux drivers/pci/pci-sysfs.c and
 * kernel/resource.c (iomem_is_exclusive), Documentation/admin-guide/kernel-parameters.txt (`iomem=`).
 * @module
 */

import { BusbarError, errnoOf, isBusbarError } from "../core/error.ts";
import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import { factOf, type Host, presence } from "../core/host.ts";
import { hex } from "../core/units.ts";
import { findCapability, listCapabilities } from "./capabilities.ts";
import { configUint, PCI_COMMAND, PCI_COMMAND_MEMORY } from "./config_space.ts";
import type { PciFunction } from "./function.ts";
import { barRegisters, type Resource } from "./resources.ts";

/** The power state that the function itself shows in PMCSR, or null when it has none or could not be read. */
export function shownPowerState(fn: PciFunction): string | null {
  const pm = findCapability(listCapabilities(fn.config), "standard", 0x01);
  if (pm === null) return null;
  const state = configUint(fn.config, pm.offset + 4, 2);
  return state === 0xffff ? null : ["D0", "D1", "D2", "D3hot"][state & 3] ?? null;
}

/**
 * True when COMMAND lets the function answer memory accesses. A virtual function has no such bit: its physical function
 * switches all of them on (PCI Express Base 6.0 §9.3.4.1.3).
 */
export function decodesMemory(fn: PciFunction): boolean {
  return valueOf(fn.physicalFunction) !== null || (configUint(fn.config, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) !== 0;
}

/** True when configuration space reads all ones. The IDs of a virtual function do too, but not its class. */
export function isUnresponsive(fn: Pick<PciFunction, "config">): boolean {
  return configUint(fn.config, 0, 4) === 0xffff_ffff && configUint(fn.config, 8, 4) === 0xffff_ffff;
}

/**
 * Does nothing when the function answers.
 *
 * @throws {BusbarError} `unreachable` when its configuration space reads all ones
 */
export function checkAnswers(fn: PciFunction): void {
  if (fn.vendorId !== 0xffff) return;
  throw new BusbarError(
    "unreachable",
    `${fn.name}: does not answer: its configuration space reads all ones (unplugged, link down or in D3cold)`,
    {
      operation: "read PCI function",
      path: fn.name,
      hint: powerHint(fn) + `; if it was unplugged: echo 1 > ${fn.folder ?? "…"}/remove; echo 1 > /sys/bus/pci/rescan`,
    },
  );
}

function powerHint(fn: PciFunction): string {
  return `echo on > ${fn.folder ?? "/sys/bus/pci/devices/…"}/power/control wakes it`;
}

/**
 * The memory BAR `index` of a function, when its registers can be read as things stand.
 *
 * @throws {BusbarError} `absent` no such BAR; `not-recorded` where nothing tells its size; `unsupported` an I/O BAR;
 * `unreachable` unassigned, powered down or memory decoding off. Each says why and what to do.
 */
export function usableBar(fn: PciFunction, index: number): Resource {
  checkAnswers(fn);
  // What stands in the way for certain comes before what is not known.
  if (fn.resources === null) checkDecoding(fn, index);
  const bar = existingBar(fn, index);
  const details = { operation: `open BAR${index}`, path: fn.name };
  if (bar.space === "I/O") {
    throw new BusbarError("unsupported", `${fn.name}: BAR${index} is I/O ports, which cannot be mapped`, {
      ...details,
      hint: `the memory BARs are ${memoryBars(fn).join(", ") || "none"}`,
    });
  }
  if (!bar.assigned) {
    throw new BusbarError(
      "unreachable",
      `${fn.name}: BAR${index} has no address: firmware and kernel found no room for it`,
      {
        ...details,
        hint: "turn on Above 4G Decoding in the firmware, or boot with pci=realloc",
      },
    );
  }
  checkDecoding(fn, index);
  return bar;
}

/** @throws {BusbarError} `unreachable` when the function is powered down or does not decode memory */
function checkDecoding(fn: PciFunction, index: number): void {
  const details = { operation: `open BAR${index}`, path: fn.name };
  const state = powerDown(fn);
  if (state !== null) {
    throw new BusbarError("unreachable", `${fn.name}: is powered down (${state}): its registers read all ones`, {
      ...details,
      hint: powerHint(fn),
    });
  }
  if (!decodesMemory(fn)) {
    throw new BusbarError(
      "unreachable",
      `${fn.name}: memory decoding is off (COMMAND ${hex(configUint(fn.config, PCI_COMMAND, 2), 4)}): its registers ` +
        "would read all ones or zeros",
      {
        ...details,
        hint:
          `dump_bar0 ${fn.name} --enable-memory turns it on for its own time; setpci -s ${fn.name} COMMAND=2:2 for good`,
      },
    );
  }
}

/** D3hot or D3cold, by what the kernel or the function itself says; null where neither says so. */
export function powerDown(fn: PciFunction): string | null {
  const states = [valueOf(fn.powerState), shownPowerState(fn)];
  return states.find((state) => state === "D3hot" || state === "D3cold") ?? null;
}

function existingBar(fn: PciFunction, index: number): Resource {
  const bar = (fn.resources ?? []).find((resource) => resource.role === "BAR" && resource.index === index);
  if (bar !== undefined) return bar;
  if (fn.resources === null) throw sizeNotKnown(fn, index);
  const below = barRegisters(fn.config).find((register) => register.index === index - 1 && register.is64Bit);
  const why = below === undefined
    ? "the function does not implement it"
    : `it is the upper half of the 64-bit BAR${index - 1}`;
  throw new BusbarError("absent", `${fn.name}: no BAR${index}: ${why}`, {
    operation: `open BAR${index}`,
    path: fn.name,
    hint: `its memory BARs are ${memoryBars(fn).join(", ") || "none"}`,
  });
}

/** What the registers say of a BAR, where nobody says how large it is. */
function sizeNotKnown(fn: PciFunction, index: number): BusbarError {
  const registers = barRegisters(fn.config);
  const register = registers.find((one) => one.index === index);
  const upper = registers.find((one) => one.index === index - 1 && one.is64Bit);
  const shown = register !== undefined
    ? `its register holds ${hex(register.address)} (${register.space}); its size is not known`
    : upper !== undefined
    ? `its register is the upper half of the 64-bit BAR${index - 1}`
    : "its register is zero: it is not implemented, or has no address";
  return new BusbarError(upper === undefined ? "not-recorded" : "absent", `${fn.name}: BAR${index}: ${shown}`, {
    operation: `open BAR${index}`,
    path: fn.name,
    hint: "lspci -vv on that machine shows sizes; busbar pcie_topology --save FILE records them",
  });
}

function memoryBars(fn: PciFunction): string[] {
  return (fn.resources ?? []).filter((bar) => bar.role === "BAR" && bar.space === "memory").map((bar) =>
    `BAR${bar.index}`
  );
}

const EPERM = 1;
const EINVAL = 22;

/**
 * Says why mmap of a `resourceN` file failed, from what the machine shows: lockdown, a driver under
 * CONFIG_IO_STRICT_DEVMEM, permission, a function that vanished.
 */
export function explainMapError(host: Host, fn: PciFunction, index: number, error: unknown): unknown {
  if (!isBusbarError(error)) return error;
  const details = { operation: `map BAR${index}`, path: `${fn.folder}/resource${index}`, cause: error };
  const errno = errnoOf(error) ?? errnoInMessage(error);
  if (error.code === "absent") {
    const isThere = fn.folder === null ? new Unknown("no folder") : presence(host, fn.folder);
    if (isThere === false) {
      return new BusbarError("device-gone", `${fn.name}: the function vanished before BAR${index} could be mapped`, {
        ...details,
        hint: "look at the kernel's log (dmesg) for a hot-unplug",
      });
    }
    return new BusbarError(
      "absent",
      `${fn.name}: sysfs has no resource${index} to map BAR${index} by, although ${
        isThere === true ? "the function is there" : "nothing says that the function is gone"
      }`,
      { ...details, hint: `ls ${fn.folder}/ shows what there is` },
    );
  }
  const lockdown = lockdownMode(host);
  if (errno === EPERM && typeof lockdown === "string" && lockdown !== "none") {
    return new BusbarError("permission", `${fn.name}: the kernel is locked down (${lockdown}): BARs cannot be mapped`, {
      ...details,
      hint: "turn Secure Boot off, or bind the function to vfio-pci",
    });
  }
  if (errno === EINVAL && valueOf(fn.driver) !== null) {
    return new BusbarError(
      "busy",
      `${fn.name}: the driver ${fn.driver} holds BAR${index}, and this kernel lets nobody else map it (CONFIG_IO_STRICT_DEVMEM)`,
      {
        ...details,
        hint: `boot with iomem=relaxed, or unbind it: echo ${fn.name} > ${fn.folder}/driver/unbind`,
      },
    );
  }
  if (error.code === "permission") {
    return new BusbarError("permission", `${fn.name}: this user may not map BAR${index}`, {
      ...details,
      hint: "run it as root",
    });
  }
  return error;
}

function errnoInMessage(error: BusbarError): number | null {
  if (error.message.endsWith("(EPERM)")) return EPERM;
  return error.message.endsWith("(EINVAL)") ? EINVAL : null;
}

/** Where the kernel shows its lockdown mode. */
export const LOCKDOWN_FILE = "/sys/kernel/security/lockdown";

/** The security modules of the kernel. securityfs has it always: where it is missing, securityfs is not mounted. */
export const SECURITY_MODULES_FILE = "/sys/kernel/security/lsm";

/**
 * The kernel's lockdown mode: `none`, `integrity`, `confidentiality`; null when the kernel has no lockdown, which shows only
 * where securityfs is mounted.
 */
export function lockdownMode(host: Host): Fact<string> {
  const text = factOf(() => host.readText(LOCKDOWN_FILE));
  if (text instanceof Unknown) return text;
  if (text !== null) return /\[(\w+)\]/.exec(text)?.[1] ?? new Unknown(`'${text.slice(0, 40)}' is no lockdown mode`);
  const modules = presence(host, SECURITY_MODULES_FILE);
  if (modules instanceof Unknown) return modules;
  return modules ? null : new Unknown("securityfs is not mounted");
}
