/**
 * What a machine says of a PCI function, read once from sysfs.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import { exists, factOf, type Host, ifReadable } from "../core/host.ts";
import { type HostRequest, linkAt, realPathOf, sizeOf, textOf } from "../core/host_requests.ts";
import { formatPciAddress, isSysfsPciAddress, parsePciAddress, type PciAddress } from "../core/pci_address.ts";
import { configUint, EXTENDED_CONFIG_BYTES, formatId, HEADER_BYTES } from "./config_space.ts";
import { parseResources, type Resource } from "./resources.ts";

/** Where sysfs lists the PCI functions. */
export const PCI_DEVICES = "/sys/bus/pci/devices";

/** NVM Express, I/O controller: base class, subclass and programming interface. */
export const CLASS_NVME = 0x010802;

/**
 * A PCI function as a machine describes it. A {@linkcode Fact} tells apart what there is none of and what is not known; the
 * other fields are null where they are not known.
 */
export interface PciFunction {
  /** Its address as sysfs writes it, or a software device's locator. */
  readonly name: string;
  /** Its address; null for a software device. */
  readonly address: PciAddress | null;
  /** Its folder in sysfs; null for a software device. */
  readonly folder: string | null;
  /** Configuration space as far as it could be read: 64 bytes without privilege, else 256 or 4096; any length recorded. */
  readonly config: Uint8Array;
  /** Why configuration space ends before its end; null where it is whole, or where nothing shows that it goes on. */
  readonly configEnds: string | null;
  /** Vendor ID; 0xffff when the function does not answer. */
  readonly vendorId: number;
  /** Device ID. */
  readonly deviceId: number;
  /** Base class, subclass and programming interface in one 24-bit number. */
  readonly classCode: number;
  /** Address ranges; null when they are not known (what lspci printed has none). */
  readonly resources: readonly Resource[] | null;
  /** Name of the kernel driver that holds it; null when none does. */
  readonly driver: Fact<string>;
  /** Number of its IOMMU group; null without an IOMMU. */
  readonly iommuGroup: Fact<string>;
  /** NUMA node; null when the firmware does not say (sysfs says -1). */
  readonly numaNode: Fact<number>;
  /** Power state as the kernel keeps it: `D0`, `D3hot`, `D3cold`; null when it does not say. */
  readonly powerState: Fact<string>;
  /** How often the kernel was asked to enable it. */
  readonly enableCount: number | null;
  /** The functions on the path from the root complex to it, outermost first, itself left out. */
  readonly ancestors: readonly string[];
  /** The host bridge it hangs below: `pci0000:00`; null when not known. */
  readonly hostBridge: string | null;
  /** The physical function of an SR-IOV virtual function; null for all others. */
  readonly physicalFunction: Fact<string>;
}

/**
 * Reads what `host` knows of the function at `address`.
 *
 * @throws {BusbarError} `absent` when there is none, `device-gone` when it vanished while it was being read
 */
export function readPciFunction(host: Host, address: PciAddress | string): PciFunction {
  const where = typeof address === "string" ? parsePciAddress(address) : address;
  const reads = new BatchedReads(host);
  fetchFunctions(reads, [formatPciAddress(where)]);
  return readFetchedFunction(reads, where);
}

/**
 * Reads what `host` knows of many functions, in two batches.
 *
 * @param names addresses as sysfs writes them
 * @returns for each name the function, or the error that {@linkcode readPciFunction} would throw
 */
export function readPciFunctions(host: Host, names: readonly string[]): (PciFunction | BusbarError)[] {
  const reads = new BatchedReads(host);
  fetchFunctions(reads, names);
  return names.map((name) => {
    try {
      return readFetchedFunction(reads, name);
    } catch (error) {
      if (error instanceof BusbarError) return error;
      throw error;
    }
  });
}

/** Fetches what {@linkcode readFetchedFunction} reads of each function, in one batch, or two where some are virtual. */
export function fetchFunctions(reads: BatchedReads, names: readonly string[]): void {
  reads.fetch(names.flatMap((name) => functionRequests(`${PCI_DEVICES}/${name}`)));
  // Only the kernel knows who a virtual function is.
  const virtual = names.map((name) => `${PCI_DEVICES}/${name}`).filter((folder) =>
    ifReadable(() => reads.readLink(`${folder}/physfn`)) !== null
  );
  // Its folder is looked at again, as the last thing that is read of a function.
  reads.fetch(virtual.flatMap((folder) => [textOf(`${folder}/vendor`), textOf(`${folder}/device`), sizeOf(folder)]));
}

/** In the order in which they matter: whether the function is there is asked first and, once all is read, again. */
function functionRequests(folder: string): HostRequest[] {
  return [
    sizeOf(folder),
    { call: "readBytes", path: `${folder}/config`, offset: 0, sizeBytes: EXTENDED_CONFIG_BYTES },
    sizeOf(`${folder}/config`),
    textOf(`${folder}/resource`),
    ...FUNCTION_LINKS.map((link) => linkAt(`${folder}/${link}`)),
    ...FUNCTION_TEXTS.map((file) => textOf(`${folder}/${file}`)),
    realPathOf(folder),
    sizeOf(folder),
  ];
}

const FUNCTION_LINKS: readonly string[] = ["physfn", "driver", "iommu_group"];
const FUNCTION_TEXTS: readonly string[] = ["numa_node", "power_state", "enable"];

/** As {@linkcode readPciFunction}, from what was fetched. */
export function readFetchedFunction(host: BatchedReads, address: PciAddress | string): PciFunction {
  const where = typeof address === "string" ? parsePciAddress(address) : address;
  const name = formatPciAddress(where);
  const folder = `${PCI_DEVICES}/${name}`;
  if (!isThere(host, folder)) throw absentError(host, name);
  try {
    return describe(host, name, where, folder);
  } catch (error) {
    if (!isBusbarError(error, "absent") || isThere(host, folder)) throw error;
    throw new BusbarError("device-gone", `${name}: the function vanished while it was being read`, {
      operation: "read PCI function",
      path: name,
      hint: "look at the kernel's log (dmesg) for a hot-unplug",
      cause: error,
    });
  }
}

/** A recording that does not have a function says nothing of whether the machine does; there the error says so. */
function isThere(host: Host, folder: string): boolean {
  return host.isPartial === true ? ifReadable(() => host.sizeBytes(folder)) !== null : exists(host, folder);
}

function absentError(host: Host, name: string): BusbarError {
  const known = ifReadable(() => host.list(PCI_DEVICES).length);
  if (host.isPartial === true) {
    return new BusbarError(
      "not-recorded",
      `${name}: not recorded: ${host.name} holds ${known ?? 0} other PCI functions`,
      {
        operation: "open PCI function",
        path: name,
        hint: "pcie_topology file:RECORDING lists them",
      },
    );
  }
  const why = known === null
    ? `${host.name} has no PCI bus`
    : `${host.name} has ${known} PCI functions, and this is none of them`;
  return new BusbarError("absent", `${name}: no such PCI function (${why})`, {
    operation: "open PCI function",
    path: name,
    hint: "lspci -D lists them; a function that was unplugged comes back with: echo 1 > /sys/bus/pci/rescan",
  });
}

function describe(host: Host, name: string, address: PciAddress, folder: string): PciFunction {
  const config = host.readBytes(`${folder}/config`, 0, EXTENDED_CONFIG_BYTES);
  if (config.length < HEADER_BYTES) {
    throw new BusbarError("malformed", `${name}: configuration space of ${config.length} bytes`, {
      operation: "read PCI function",
      path: `${folder}/config`,
    });
  }
  const text = (file: string): string | null => ifReadable(() => host.readText(`${folder}/${file}`).trim());
  const link = (file: string): Fact<string> => factOf(() => host.readLink(`${folder}/${file}`).split("/").at(-1) ?? "");
  const fact = (file: string): Fact<string> => factOf(() => host.readText(`${folder}/${file}`).trim());
  const resources = valueOf(factOf(() => host.readText(`${folder}/resource`)));
  const physicalFunction = link("physfn");
  const path = (ifReadable(() => host.realPath(folder)) ?? folder).split("/");
  const fn: PciFunction = {
    name,
    address,
    folder,
    config,
    ...identityOf(config),
    configEnds: configEnds(host, folder, config),
    ...(valueOf(physicalFunction) === null ? {} : virtualIdentity(text)),
    resources: resources === null ? null : parseResources(resources),
    driver: link("driver"),
    iommuGroup: link("iommu_group"),
    numaNode: nodeOf(fact("numa_node")),
    powerState: powerStateOf(fact("power_state")),
    enableCount: countOf(text("enable")),
    ancestors: path.slice(0, -1).filter(isSysfsPciAddress),
    hostBridge: path.find((part) => /^pci[0-9a-f]{4,}:[0-9a-f]{2}$/.test(part)) ?? null,
    physicalFunction,
  };
  // A function that has vanished loses its files at once: without this last look, "no driver" might be a lie.
  if (!isThere(host, folder)) throw absentError(host, name);
  return fn;
}

/** The bridges above a function, outermost first, as far as they can be read. */
export function readAncestors(host: Host, fn: PciFunction): PciFunction[] {
  return fn.ancestors.flatMap((name) => ifReadable(() => readPciFunction(host, name)) ?? []);
}

/** A virtual function's IDs read all ones in configuration space (PCIe Base 6.0 §9.3.4.1); the kernel knows them. */
function virtualIdentity(text: (file: string) => string | null): Partial<Pick<PciFunction, "vendorId" | "deviceId">> {
  const id = (file: string): number | null => {
    const value = text(file);
    return value !== null && /^0x[0-9a-f]{4}$/.test(value) ? Number(value) : null;
  };
  const [vendorId, deviceId] = [id("vendor"), id("device")];
  return vendorId === null || deviceId === null ? {} : { vendorId, deviceId };
}

/** Who a function is, by its configuration header. */
export function identityOf(config: Uint8Array): Pick<PciFunction, "vendorId" | "deviceId" | "classCode"> {
  return {
    vendorId: configUint(config, 0x00, 2),
    deviceId: configUint(config, 0x02, 2),
    classCode: configUint(config, 0x09, 3),
  };
}

/** Why less of configuration space was read than the file has: the kernel shows 64 bytes without CAP_SYS_ADMIN. */
function configEnds(host: Host, folder: string, config: Uint8Array): string | null {
  if (config.length >= EXTENDED_CONFIG_BYTES) return null;
  const sizeBytes = ifReadable(() => host.sizeBytes(`${folder}/config`));
  if (host.isPartial === true) return `only ${config.length} bytes were recorded`;
  return sizeBytes !== null && sizeBytes > config.length
    ? `the kernel shows this user ${config.length} of ${sizeBytes} bytes`
    : null;
}

function nodeOf(text: Fact<string>): Fact<number> {
  if (text instanceof Unknown) return text;
  const node = countOf(text);
  return node === null || node < 0 ? null : node;
}

function countOf(text: string | null): number | null {
  return text !== null && /^-?\d+$/.test(text) ? Number(text) : null;
}

function powerStateOf(text: Fact<string>): Fact<string> {
  return text === null || text === "unknown" || text === "error" ? null : text;
}

/** One line that says what a function is: class, vendor and device ID, driver. */
export function summarize(fn: PciFunction): string {
  const parts = [`${className(fn.classCode)} ${formatId(fn.vendorId, fn.deviceId)}`];
  if (fn.address === null) parts.push("software device");
  else if (fn.driver instanceof Unknown) parts.push(`driver ${fn.driver.reason}`);
  else parts.push(fn.driver === null ? "no driver" : `driver ${fn.driver}`);
  if (valueOf(fn.iommuGroup) !== null) parts.push(`IOMMU group ${fn.iommuGroup}`);
  if (valueOf(fn.numaNode) !== null) parts.push(`NUMA node ${fn.numaNode}`);
  return parts.join(", ");
}

/** PCI Code and ID Assignment 1.14: the classes that people meet on a bench. The subclass wins over the base class. */
const CLASS_NAMES: Readonly<Record<string, string>> = {
  "0101": "IDE controller",
  "0106": "SATA controller",
  "0107": "SAS controller",
  "0108": "non-volatile memory controller",
  "010802": "NVMe controller",
  "010803": "NVMe administrative controller",
  "01": "mass storage controller",
  "0200": "Ethernet controller",
  "0207": "InfiniBand controller",
  "02": "network controller",
  "0300": "VGA controller",
  "0302": "3D controller",
  "03": "display controller",
  "0403": "audio device",
  "04": "multimedia device",
  "0500": "RAM",
  "0502": "CXL memory device",
  "05": "memory controller",
  "0600": "host bridge",
  "0601": "ISA bridge",
  "0604": "PCI bridge",
  "06": "bridge",
  "0700": "serial controller",
  "07": "communication controller",
  "0806": "IOMMU",
  "08": "system peripheral",
  "09": "input device",
  "0b": "processor",
  "0c03": "USB controller",
  "0c05": "SMBus controller",
  "0c": "serial bus controller",
  "0d": "wireless controller",
  "12": "processing accelerator",
  "13": "non-essential instrumentation",
  "00": "unclassified device",
};

/** A class code in words. */
export function className(classCode: number): string {
  const digits = classCode.toString(16).padStart(6, "0");
  return CLASS_NAMES[digits] ?? CLASS_NAMES[digits.slice(0, 4)] ?? CLASS_NAMES[digits.slice(0, 2)] ?? `class ${digits}`;
}

/** What only sysfs knows, for functions that it knows nothing of. */
export const UNKNOWN_TO_SYSFS: Pick<
  PciFunction,
  | "address"
  | "folder"
  | "configEnds"
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
  configEnds: null,
  driver: null,
  iommuGroup: null,
  numaNode: null,
  powerState: null,
  enableCount: null,
  ancestors: [],
  hostBridge: null,
  physicalFunction: null,
};
