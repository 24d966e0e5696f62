/**
 * Devices with direct access (`/dev/daxN.M`): which there are, how large and how aligned, whether their memory is mapped
 * by programs or used by the kernel as RAM, and who uses them. Only reads.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-bus-dax and drivers/dax/bus.c; nd namespaces: drivers/nvdimm.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent, ifReadable } from "../core/host.ts";
import { linkAt, namesIn, realPathOf, textOf } from "../core/host_requests.ts";
import { describeUse, findProcessUses } from "../core/process_uses.ts";
import { formatBytes } from "../core/units.ts";

const DAX_DEVICES = "/sys/bus/dax/devices";

/**
 * What a dax device is at the moment: `devdax`: programs map it; `system-ram`: the kernel has its memory;
 * `disabled`: no driver has it.
 */
export type DaxMode = "devdax" | "system-ram" | "disabled";

/** The region that dax devices are cut from: an NVDIMM namespace, a CXL region, or memory that firmware set aside. */
export interface DaxRegion {
  /** Its number: the first one in the device's name. */
  readonly id: number;
  /** The folder that its attributes are in, without links; the attributes are in `dax_region` below it. */
  readonly folder: string;
  /** Bytes of the region. */
  readonly sizeBytes: bigint;
  /** Bytes that no device has; null where the kernel does not tell (static regions). */
  readonly availableBytes: bigint | null;
  /** Bytes that a device's size is a multiple of. */
  readonly alignBytes: bigint;
  /** What it stands on, read from its folder. */
  readonly provider: "nvdimm" | "cxl" | "firmware";
  /** The NVDIMM namespace or CXL region: `namespace0.0`, `region0`. Null where it has none. */
  readonly source: string | null;
}

/** Physical addresses. */
export interface MemoryRange {
  /** The first byte. */
  readonly start: bigint;
  /** The byte after the last. */
  readonly end: bigint;
}

/** A device with direct access. */
export interface DaxDevice {
  /** Its name: `dax0.0`. */
  readonly name: string;
  /** Its node: `/dev/dax0.0`. In other modes than devdax the node may be there, but cannot be opened. */
  readonly path: string;
  /** Its folder in sysfs, without links. */
  readonly folder: string;
  /** Bytes. 0 for the seed device that new ones are made from. */
  readonly sizeBytes: bigint;
  /** Bytes that start and length of a mapping are multiples of. */
  readonly alignBytes: bigint;
  /** Who has its memory. */
  readonly mode: DaxMode;
  /** The driver: `device_dax`, `kmem`; null when none is bound. */
  readonly driver: string | null;
  /** Physical address of the first byte; null where it is hidden (it is for root only). */
  readonly address: bigint | null;
  /** Where its bytes lie, in order; empty where that is hidden (it is for root only). */
  readonly ranges: readonly MemoryRange[];
  /** The node that its memory becomes, or is, as system RAM; null where firmware named none. */
  readonly targetNode: number | null;
  /** The nearest node that has processors; null where unknown. */
  readonly numaNode: number | null;
  /** The region that it is cut from; null where the kernel shows none. */
  readonly region: DaxRegion | null;
}

/**
 * Every dax device of the machine, ordered by number. None where the kernel has no dax bus.
 *
 * @example
 * ```ts
 * import { formatBytes, listDaxDevices, openMachine } from "@busbar/busbar";
 * for (const device of listDaxDevices(openMachine().host)) {
 *   console.log(device.path, device.mode, formatBytes(device.sizeBytes));
 * }
 * ```
 */
export function listDaxDevices(host: Host): DaxDevice[] {
  const names = ifPresent(() => host.list(DAX_DEVICES)) ?? [];
  const reads = fetchAttributes(host, names.filter(isDaxName));
  // One that vanishes meanwhile is left out.
  const devices = names.filter(isDaxName).flatMap((name) => ifPresent(() => readAttributes(reads, name)) ?? []);
  return devices.sort((a, b) => compareNumbers(a.name, b.name));
}

/**
 * Reads a dax device.
 *
 * @param name `dax0.0` or `/dev/dax0.0`
 * @throws {BusbarError} `absent`, with the devices that there are and how one is made; `malformed` for a number that
 * sysfs does not write that way
 */
export function readDaxDevice(host: Host, name: string): DaxDevice {
  const bare = name.replace(/^\/dev\//, "");
  const device = isDaxName(bare) ? ifPresent(() => readAttributes(fetchAttributes(host, [bare]), bare)) : null;
  if (device === null) throw noSuchDevice(host, name);
  return device;
}

const DEVICE_FILES: readonly string[] = ["size", "align", "resource", "target_node", "numa_node"];
const REGION_FILES: readonly string[] = ["id", "size", "available_size", "align"];

/** Fetches what is read of devices, in three batches. */
function fetchAttributes(host: Host, names: readonly string[]): BatchedReads {
  const reads = new BatchedReads(host);
  reads.fetch(names.map((name) => realPathOf(`${DAX_DEVICES}/${name}`)));
  const folders = names.flatMap((name) => ifReadable(() => reads.realPath(`${DAX_DEVICES}/${name}`)) ?? []);
  reads.fetchNew(folders.flatMap((folder) => [
    linkAt(`${folder}/driver`),
    ...DEVICE_FILES.map((file) => textOf(`${folder}/${file}`)),
    namesIn(folder),
    ...REGION_FILES.map((file) => textOf(`${parentOf(folder)}/dax_region/${file}`)),
    textOf(`${parentOf(folder)}/namespace`),
  ]));
  reads.fetch(
    folders.flatMap((folder) =>
      mappingFolders(reads, folder).flatMap((mapping) => [textOf(`${mapping}/start`), textOf(`${mapping}/end`)])
    ),
  );
  return reads;
}

function mappingFolders(host: Host, folder: string): string[] {
  const names = (ifReadable(() => host.list(folder)) ?? []).filter((name) => /^mapping\d+$/.test(name));
  return names.sort((a, b) => Number(a.slice(7)) - Number(b.slice(7))).map((name) => `${folder}/${name}`);
}

function readAttributes(host: Host, name: string): DaxDevice {
  const folder = host.realPath(`${DAX_DEVICES}/${name}`);
  const driver = ifPresent(() => host.readLink(`${folder}/driver`))?.split("/").at(-1) ?? null;
  return {
    name,
    path: `/dev/${name}`,
    folder,
    sizeBytes: readNumber(host, `${folder}/size`),
    // Kernels before 5.10 show the alignment in the region only.
    alignBytes: ifPresent(() => readNumber(host, `${folder}/align`)) ??
      ifPresent(() => readNumber(host, `${parentOf(folder)}/dax_region/align`)) ?? (2n << 20n),
    mode: driver === null ? "disabled" : driver === "kmem" ? "system-ram" : "devdax",
    driver,
    address: ifReadable(() => readNumber(host, `${folder}/resource`)),
    ranges: readRanges(host, folder),
    targetNode: readNode(host, `${folder}/target_node`),
    numaNode: readNode(host, `${folder}/numa_node`),
    region: readRegion(host, parentOf(folder)),
  };
}

/** True for text that is the name of a dax device: `dax0.0`. */
export function isDaxName(text: string): boolean {
  return /^dax\d+\.\d+$/.test(text);
}

function readRanges(host: Host, folder: string): MemoryRange[] {
  const names = host.list(folder).filter((name) => /^mapping\d+$/.test(name));
  const ranges = names.sort((a, b) => Number(a.slice(7)) - Number(b.slice(7))).map((name) =>
    ifReadable(() => ({
      start: readNumber(host, `${folder}/${name}/start`),
      // sysfs names the last byte.
      end: readNumber(host, `${folder}/${name}/end`) + 1n,
    }))
  );
  return ranges.every((range) => range !== null) ? ranges : [];
}

function readRegion(host: Host, folder: string): DaxRegion | null {
  const attributes = `${folder}/dax_region`;
  const id = ifPresent(() => readNumber(host, `${attributes}/id`));
  if (id === null) return null;
  const region = /\/(region\d+)\/dax_region\d+$/.exec(folder)?.[1] ?? null;
  const namespace = ifReadable(() => host.readText(`${folder}/namespace`).trim()) || null;
  return {
    id: Number(id),
    folder,
    sizeBytes: readNumber(host, `${attributes}/size`),
    availableBytes: ifReadable(() => readNumber(host, `${attributes}/available_size`)),
    alignBytes: readNumber(host, `${attributes}/align`),
    provider: region !== null ? "cxl" : folder.includes("/ndbus") ? "nvdimm" : "firmware",
    source: region ?? namespace,
  };
}

/** A number as sysfs writes it: decimal, or hexadecimal with `0x`. */
function readNumber(host: Host, path: string): bigint {
  const text = host.readText(path).trim();
  if (/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) return BigInt(text);
  throw new BusbarError("malformed", `${path}: '${text.slice(0, 40)}' is no number`, { operation: "read", path });
}

/** A node's number; null for -1, which is how the kernel writes that there is none. */
function readNode(host: Host, path: string): number | null {
  const text = ifReadable(() => host.readText(path).trim());
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function compareNumbers(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.replace("dax", "").split(".").map(Number));
  return (left?.[0] ?? 0) - (right?.[0] ?? 0) || (left?.[1] ?? 0) - (right?.[1] ?? 0);
}

function noSuchDevice(host: Host, name: string): BusbarError {
  const devices = listDaxDevices(host);
  const there = devices.length === 0
    ? "this machine has no dax device"
    : `there ${devices.length === 1 ? "is" : "are"} ${devices.map((device) => device.path).join(", ")}`;
  return new BusbarError("absent", `${name}: no such dax device; ${there}`, {
    operation: "read",
    path: name,
    hint: howToMakeOne(host),
  });
}

/** The command that would make a dax device on this machine, from what it has. */
function howToMakeOne(host: Host): string {
  const disabled = listDaxDevices(host).find((device) => device.mode === "disabled" && device.sizeBytes > 0n);
  if (disabled !== undefined) {
    return `${disabled.name} has no driver: daxctl reconfigure-device --mode=devdax ${disabled.name}`;
  }
  const namespace = listNamespaces(host).find(({ mode, sizeBytes }) => mode !== "devdax" && sizeBytes > 0n);
  if (namespace !== undefined) {
    return `ndctl create-namespace -f -e ${namespace.name} -m devdax makes one of ${namespace.name} ` +
      `(mode ${namespace.mode}, ${formatBytes(namespace.sizeBytes)}) and erases it`;
  }
  if ((ifReadable(() => host.list("/sys/bus/nd/devices")) ?? []).some((device) => /^region\d+$/.test(device))) {
    return "ndctl create-namespace -m devdax makes one of a region's free space";
  }
  if ((ifReadable(() => host.list("/sys/bus/cxl/devices")) ?? []).some((device) => /^mem\d+$/.test(device))) {
    return "cxl create-region -t ram -d decoder0.0 mem0 makes one of a CXL memory device";
  }
  return "the machine needs an NVDIMM or CXL memory; ndctl list -NRD and cxl list -MDR show them";
}

/** A namespace of persistent memory. */
export interface PmemNamespace {
  /** Its name: `namespace0.0`. */
  readonly name: string;
  /** Its folder in sysfs, without links. */
  readonly folder: string;
  /** `devdax`, `fsdax`, `sector`, `raw`: as ndctl calls them. */
  readonly mode: "devdax" | "fsdax" | "sector" | "raw";
  /** Bytes that it takes of its region; 0 for the seed that new ones are made from. */
  readonly sizeBytes: bigint;
  /** The block device: `pmem0`; null in mode devdax, and when none is there. */
  readonly blockDevice: string | null;
}

/** The words of sysfs for ndctl's modes (drivers/nvdimm/claim.c, `mode_show`). */
const NAMESPACE_MODES: Readonly<Record<string, PmemNamespace["mode"]>> = {
  dax: "devdax",
  memory: "fsdax",
  safe: "sector",
  raw: "raw",
};

/** Every namespace of persistent memory, seeds left out. */
export function listNamespaces(host: Host): PmemNamespace[] {
  const names = (ifReadable(() => host.list("/sys/bus/nd/devices")) ?? []).filter((name) =>
    /^namespace\d+\.\d+$/.test(name)
  );
  const reads = new BatchedReads(host);
  reads.fetch(names.map((name) => realPathOf(`/sys/bus/nd/devices/${name}`)));
  const folders = names.flatMap((name) => ifReadable(() => reads.realPath(`/sys/bus/nd/devices/${name}`)) ?? []);
  reads.fetchNew(folders.flatMap((folder) => [
    ...["size", "mode", "holder"].map((file) => textOf(`${folder}/${file}`)),
    namesIn(`${folder}/block`),
  ]));
  return names.flatMap((name) => {
    const folder = ifPresent(() => reads.realPath(`/sys/bus/nd/devices/${name}`));
    const sizeBytes = ifReadable(() => readNumber(reads, `${folder}/size`));
    if (folder === null || sizeBytes === null || sizeBytes === 0n) return [];
    const mode = NAMESPACE_MODES[ifReadable(() => reads.readText(`${folder}/mode`).trim()) ?? ""] ?? "raw";
    return [{ name, folder, mode, sizeBytes, blockDevice: blockDeviceOf(reads, folder) }];
  });
}

/** The block device of a namespace: its own, or that of the pfn or btt device which holds it. */
function blockDeviceOf(host: Host, folder: string): string | null {
  const holder = ifReadable(() => host.readText(`${folder}/holder`).trim()) ?? "";
  const folders = [folder, ...(holder === "" ? [] : [`${parentOf(folder)}/${holder}`])];
  for (const one of folders) {
    const [name] = ifReadable(() => host.list(`${one}/block`)) ?? [];
    if (name !== undefined) return name;
  }
  return null;
}

/** Something that stands in the way of taking a dax device or its memory away. */
export interface DaxUse {
  /**
   * `open`, `mapped`: by a process. `system-ram`: the kernel has its memory. `namespace`: an NVDIMM namespace, whose
   * contents outlive the machine's power, is behind it.
   */
  readonly kind: "open" | "mapped" | "system-ram" | "namespace";
  /** One sentence. */
  readonly text: string;
}

/**
 * Who uses a dax device. Asked before its mode is changed or it is taken away, and again just before.
 * What this user may not see of other users' processes is missed: root sees all.
 */
export function daxUses(host: Host, device: DaxDevice): DaxUse[] {
  const uses: DaxUse[] = [];
  if (device.mode === "system-ram") {
    const node = device.targetNode === null ? "" : ` of node ${device.targetNode}`;
    uses.push({ kind: "system-ram", text: `the kernel uses the memory of ${device.name} as system RAM${node}` });
  }
  for (const use of findProcessUses(host, (path) => path === device.path || path === `${device.path} (deleted)`)) {
    uses.push({ kind: use.how, text: describeUse(use) });
  }
  if (device.region?.provider === "nvdimm" && device.region.source !== null) {
    uses.push({ kind: "namespace", text: `${device.name} is the contents of ${device.region.source}` });
  }
  return uses;
}
