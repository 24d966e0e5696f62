/**
 * What is on a machine: every PCI function with the kernel's names for it, and the devices that are no PCI function.
 *
 * Sources: Linux Documentation/ABI/testing/sysfs-class-net, sysfs-bus-cxl, sysfs-bus-dax, sysfs-bus-nd, sysfs-class-hwmon,
 * sysfs-devices-power (runtime_status); drivers/gpu/drm/amd (mem_info_vram_total, vbios_version).
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { blockUses } from "../core/block_users.ts";
import { BusbarError } from "../core/error.ts";
import { type Fact, Unknown } from "../core/fact.ts";
import { factOf, type Host, ifReadable } from "../core/host.ts";
import { type HostRequest, linkAt, namesIn, textOf } from "../core/host_requests.ts";
import { describeUse, findProcessUses } from "../core/process_uses.ts";
import { PCI_DEVICES } from "./function.ts";
import { type NameClass, type NamedDevice, namespaceNames, readNamedDevices } from "./kernel_names.ts";
import type { Link } from "./link.ts";
import { readTopology, type TopologyNode } from "./topology.ts";

/** The kinds that an inventory is asked for by. */
export const DEVICE_KINDS = ["nvme", "gpu", "cxl", "dax", "net", "other"] as const;

/** What kind of device it is. */
export type DeviceKind = typeof DEVICE_KINDS[number];

/** A device. A {@linkcode Fact} tells apart what there is none of and what is not known. */
export interface InventoryDevice {
  /** Its PCI address, or the kernel's name where it is no PCI function: the same at the next look. */
  readonly id: string;
  /** Its kind. */
  readonly kind: DeviceKind;
  /** The PCI function; null where it is none. */
  readonly node: TopologyNode | null;
  /** The kernel's names for it and for what lies on it, the most telling first; null where it gives none. */
  readonly names: Fact<readonly string[]>;
  /** What the device calls itself, or what kind of kernel device it is; null where only its IDs tell. */
  readonly model: Fact<string>;
  /** The kernel driver that has it. */
  readonly driver: Fact<string>;
  /** Its link; null for none. */
  readonly link: Link | null;
  /** The NUMA node that it is next to, or that its memory is. */
  readonly numaNode: Fact<number>;
  /** Its IOMMU group. */
  readonly iommuGroup: Fact<string>;
  /** What it stores, in bytes. */
  readonly sizeBytes: Fact<bigint>;
  /** Revision of its firmware. */
  readonly firmware: Fact<string>;
  /** In thousandths of a degree Celsius. */
  readonly temperature: Fact<number>;
  /** Who uses it, a sentence each. */
  readonly users: Fact<readonly string[]>;
}

/** What there is on a machine. */
export interface Inventory {
  /** The machine. */
  readonly host: Host;
  /** PCI functions by address, then the others by name. */
  readonly devices: readonly InventoryDevice[];
  /** What could not be read, a sentence each. */
  readonly problems: readonly string[];
}

/** What of an inventory costs something to read. */
export interface InventoryOptions {
  /**
   * Also temperatures that the kernel asks the device for: of an NVMe drive each is a command to the drive. Sleeping
   * devices are never asked.
   */
  readonly askDevices?: boolean;
}

/**
 * Reads what there is. Nothing is sent to a device, unless `askDevices`.
 *
 * @throws {BusbarError} as listing PCI functions fails, for other reasons than that there are none
 */
export function readInventory(host: Host, options: InventoryOptions = {}): Inventory {
  const problems: string[] = [];
  const nodes = topologyNodes(host, problems);
  const reads = new BatchedReads(host);
  const named = readNamedDevices(reads);
  const all = [...named.values()].flatMap((devices) => devices instanceof Unknown ? [] : devices);
  reads.fetchNew([
    ...all.flatMap(({ kind, folder }) => ATTRIBUTES[kind].map((request) => request(folder))),
    ...all.flatMap(({ kind, pciAddress }) =>
      kind === "hwmon" && pciAddress !== null ? [textOf(`${PCI_DEVICES}/${pciAddress}/power/runtime_status`)] : []
    ),
  ]);
  const found: Named = { host, reads, all };
  const machine: Machine = { ...found, named, options, users: readUsers(found) };
  const devices = [
    ...nodes.map((node) => ofFunction(machine, node)),
    ...all.filter(({ kind, pciAddress }) => standsAlone(kind, pciAddress)).map((one) => ofNamed(machine, one)),
  ];
  return { host, devices, problems };
}

/** A machine may well have devices and no PCI. */
function topologyNodes(host: Host, problems: string[]): readonly TopologyNode[] {
  try {
    const topology = readTopology(host);
    problems.push(...topology.problems);
    return topology.nodes;
  } catch (error) {
    if (!(error instanceof BusbarError) || (error.code !== "absent" && error.code !== "not-recorded")) throw error;
    problems.push(error.message);
    return [];
  }
}

interface Named {
  readonly host: Host;
  readonly reads: BatchedReads;
  readonly all: readonly NamedDevice[];
}

interface Machine extends Named {
  readonly named: ReadonlyMap<NameClass["kind"], readonly NamedDevice[] | Unknown>;
  readonly options: InventoryOptions;
  readonly users: ReadonlyMap<string, readonly string[]>;
}

type Attribute = (folder: string) => HostRequest;

const text = (file: string): Attribute => (folder) => textOf(`${folder}/${file}`);

/** What is read of each named device. */
const ATTRIBUTES: Readonly<Record<NameClass["kind"], readonly Attribute[]>> = {
  nvme: [...["model", "firmware_rev", "transport"].map(text), namesIn],
  block: [],
  net: [...["type", "operstate"].map(text), (folder) => linkAt(`${folder}/master`)],
  drm: ["device/mem_info_vram_total", "device/vbios_version"].map(text),
  infiniband: [text("fw_ver")],
  cxl: ["ram/size", "pmem/size", "firmware_version", "numa_node"].map(text),
  dax: [...["size", "target_node"].map(text), (folder) => linkAt(`${folder}/driver`)],
  namespace: [...["size", "mode", "holder", "numa_node"].map(text), (folder) => linkAt(`${folder}/driver`), namesIn],
  hwmon: [],
};

/** Devices with a row of their own: memory that only the kernel puts together, and what hangs below no PCI function. */
function standsAlone(kind: NameClass["kind"], pciAddress: string | null): boolean {
  if (kind === "dax" || kind === "namespace") return true;
  return pciAddress === null && (kind === "nvme" || kind === "net" || kind === "cxl" || kind === "drm");
}

function ofFunction(machine: Machine, node: TopologyNode): InventoryDevice {
  const { function: fn } = node;
  const own = machine.all.filter(({ pciAddress }) => pciAddress === fn.name);
  const names = own.filter(({ kind }) => !["hwmon", "dax", "namespace"].includes(kind))
    .flatMap((one) => [one.name, ...namespacesOf(machine, one).filter((name) => name !== one.name)]);
  const first = own[0] ?? null;
  const none = unlessUnknown(machine, kindOf(fn.classCode));
  return {
    id: fn.name,
    kind: kindOf(fn.classCode),
    node,
    names: names.length > 0 ? names : none,
    model: first === null || first.kind !== "nvme" ? null : read(machine, first, "model"),
    driver: fn.driver,
    link: node.link,
    numaNode: fn.numaNode,
    iommuGroup: fn.iommuGroup,
    sizeBytes: own.length === 0 ? none : combined(own.map((one) => sizeOf(machine, one))),
    firmware: own.length === 0 ? none : combined(own.map((one) => firmwareOf(machine, one))),
    temperature: temperatureOf(machine, node, own),
    users: usersOf(machine, [fn.name, ...names, ...own.map(({ name }) => name)]),
  };
}

const KIND_OF_CLASS: Readonly<Record<NameClass["kind"], DeviceKind>> = {
  nvme: "nvme",
  block: "other",
  net: "net",
  drm: "gpu",
  infiniband: "net",
  cxl: "cxl",
  dax: "dax",
  namespace: "dax",
  hwmon: "other",
};

function ofNamed(machine: Machine, one: NamedDevice): InventoryDevice {
  const { reads } = machine;
  const link = (file: string): Fact<string> =>
    factOf(() => reads.readLink(`${one.folder}/${file}`).split("/").at(-1) ?? "");
  const nodeFile = one.kind === "dax" ? "target_node" : "numa_node";
  const node = one.kind === "dax" || one.kind === "namespace" || one.kind === "cxl"
    ? read(machine, one, nodeFile)
    : null;
  const names = [one.name, ...namespacesOf(machine, one), ...blockNamesOf(machine, one)];
  return {
    id: one.name,
    kind: KIND_OF_CLASS[one.kind],
    node: null,
    names,
    model: modelOf(machine, one),
    driver: one.kind === "dax" || one.kind === "namespace" ? link("driver") : null,
    link: null,
    numaNode: node instanceof Unknown ? node : node !== null && /^\d+$/.test(node) ? Number(node) : null,
    iommuGroup: null,
    sizeBytes: sizeOf(machine, one),
    firmware: firmwareOf(machine, one),
    temperature: null,
    users: usersOf(machine, names),
  };
}

/** Without a name and without a list of names, nothing is known; with a list, there is none. */
function unlessUnknown({ named }: Machine, kind: DeviceKind): Unknown | null {
  const lists = CLASSES_OF[kind].map((one) => named.get(one));
  return lists.find((one) => one instanceof Unknown) instanceof Unknown ? new Unknown("not recorded") : null;
}

const CLASSES_OF: Readonly<Record<DeviceKind, readonly NameClass["kind"][]>> = {
  nvme: ["nvme"],
  gpu: ["drm"],
  cxl: ["cxl"],
  dax: ["dax"],
  net: ["net"],
  other: ["block"],
};

/** PCI Code and ID Assignment 1.14: non-volatile memory, network, display and accelerators, CXL memory. */
function kindOf(classCode: number): DeviceKind {
  const [base, sub] = [classCode >>> 16, classCode >>> 8];
  if (sub === 0x0108) return "nvme";
  if (sub === 0x0502) return "cxl";
  if (base === 0x02) return "net";
  return base === 0x03 || base === 0x12 ? "gpu" : "other";
}

function read({ reads }: Named, { folder }: NamedDevice, file: string): Fact<string> {
  return factOf(() => reads.readText(`${folder}/${file}`).trim());
}

function namespacesOf({ reads }: Named, one: NamedDevice): string[] {
  if (one.kind === "block") return [one.name];
  return one.kind === "nvme" ? namespaceNames(ifReadable(() => reads.list(one.folder)) ?? []) : [];
}

/** `pmem0`, for a namespace of persistent memory that a block device shows. */
function blockNamesOf({ reads, host }: Named, one: NamedDevice): string[] {
  if (one.kind !== "namespace" || !(ifReadable(() => reads.list(one.folder)) ?? []).includes("block")) return [];
  return ifReadable(() => host.list(`${one.folder}/block`)) ?? [];
}

function modelOf(machine: Machine, one: NamedDevice): Fact<string> {
  switch (one.kind) {
    case "nvme": {
      const transport = read(machine, one, "transport");
      return typeof transport === "string" ? `NVMe controller over ${transport}` : "NVMe controller";
    }
    case "net":
      return read(machine, one, "type") === "772" ? "loopback" : "network interface of the kernel";
    case "dax":
      return driverOf(machine, one) === "kmem" ? "memory, online as system RAM" : "direct-access memory";
    case "namespace": {
      const mode = read(machine, one, "mode");
      return typeof mode === "string" ? `persistent memory, ${mode}` : "persistent memory";
    }
    default:
      return null;
  }
}

function driverOf({ reads }: Named, { folder }: NamedDevice): string | null {
  return ifReadable(() => reads.readLink(`${folder}/driver`).split("/").at(-1) ?? "");
}

function sizeOf(machine: Machine, one: NamedDevice): Fact<bigint> {
  const number = (file: string): Fact<bigint> => {
    const value = read(machine, one, file);
    if (value === null || value instanceof Unknown) return value;
    return /^(?:\d+|0x[0-9a-f]+)$/i.test(value) ? BigInt(value) : new Unknown(`${file} is no number`);
  };
  switch (one.kind) {
    case "nvme":
      return combined(namespacesOf(machine, one).map((name) => namespaceBytes(machine, name)), (a, b) => a + b);
    case "block":
      return combined(namespacesOf(machine, one).map((name) => sectorsOf(machine, name)), (a, b) => a + b);
    case "cxl":
      return combined([number("ram/size"), number("pmem/size")], (a, b) => a + b);
    case "drm":
      return number("device/mem_info_vram_total");
    case "dax":
    case "namespace":
      return number("size");
    default:
      return null;
  }
}

/**
 * A namespace has at least one block (NVM Command Set, NSZE), but the kernel shows 0 for one whose blocks it cannot use, with
 * metadata that it does not understand for example (drivers/nvme/host/core.c). Only the drive could tell, at a command's cost.
 */
function namespaceBytes(machine: Machine, name: string): Fact<bigint> {
  const value = sectorsOf(machine, name);
  return value === 0n ? new Unknown(`the kernel cannot use the blocks of ${name}, and shows no size`) : value;
}

/** The kernel counts in sectors of 512 bytes, whatever the block size is. */
function sectorsOf({ host }: Machine, block: string): Fact<bigint> {
  const value = factOf(() => host.readText(`/sys/class/block/${block}/size`).trim());
  if (value === null || value instanceof Unknown) return value;
  return /^\d+$/.test(value) ? BigInt(value) * 512n : new Unknown(`the size of ${block} is no number`);
}

const FIRMWARE_FILES: Readonly<Partial<Record<NameClass["kind"], string>>> = {
  nvme: "firmware_rev",
  cxl: "firmware_version",
  drm: "device/vbios_version",
  infiniband: "fw_ver",
};

function firmwareOf(machine: Machine, one: NamedDevice): Fact<string> {
  const file = FIRMWARE_FILES[one.kind];
  const value = file === undefined ? null : read(machine, one, file);
  return value === "" ? null : value;
}

/** The first value; with `join`, all values joined. Not known where one is not known. */
function combined<T extends string | bigint>(facts: readonly Fact<T>[], join?: (a: T, b: T) => T): Fact<T> {
  const unknown = facts.find((fact) => fact instanceof Unknown);
  const values: T[] = facts.flatMap((fact) => fact === null || fact instanceof Unknown ? [] : [fact]);
  if (join === undefined) return values[0] ?? unknown ?? null;
  const [first, ...rest] = values;
  return unknown ?? (first === undefined ? null : rest.reduce<T>(join, first));
}

function temperatureOf(machine: Machine, { function: fn }: TopologyNode, own: readonly NamedDevice[]): Fact<number> {
  const sensor = own.find(({ kind }) => kind === "hwmon");
  if (sensor === undefined) return machine.named.get("hwmon") instanceof Unknown ? new Unknown("not recorded") : null;
  if (own.some(({ kind }) => kind === "nvme") && machine.options.askDevices !== true) {
    return new Unknown("reading it sends the drive a command");
  }
  const status = factOf(() => machine.reads.readText(`${PCI_DEVICES}/${fn.name}/power/runtime_status`).trim());
  if (status !== "active" && status !== "unsupported") return new Unknown("the device sleeps, or may");
  const value = factOf(() => machine.host.readText(`${sensor.folder}/temp1_input`).trim());
  if (value === null || value instanceof Unknown) return value;
  return /^-?\d+$/.test(value) ? Number(value) : new Unknown("the sensor's file is no number");
}

function usersOf(machine: Machine, names: readonly string[]): Fact<readonly string[]> {
  if (machine.host.isPartial === true) return new Unknown("not recorded");
  const users = names.flatMap((name) => machine.users.get(name) ?? []);
  return users.length === 0 ? null : [...new Set(users)];
}

/** Who uses what, by the name of a device or the address of a function; one look through the processes for all. */
function readUsers(machine: Named): ReadonlyMap<string, readonly string[]> {
  const { host, reads, all } = machine;
  const users = new Map<string, string[]>();
  if (host.isPartial === true) return users;
  const add = (name: string, who: string): void => void users.set(name, [...users.get(name) ?? [], who]);
  const blocks = all.flatMap((one) => [...namespacesOf(machine, one), ...blockNamesOf(machine, one)]);
  const stacks = new Map<string, string>();
  const allBlocks = new Set(ifReadable(() => host.list("/sys/class/block"))?.map((name) => `/dev/${name}`));
  const opened = findProcessUses(host, (path) => allBlocks.has(path) || nameOfNode(path) !== null);
  for (const use of blockUses(host, [...new Set(blocks)], undefined, opened)) {
    const block = blocks.find((name) => use.device === name || use.device.startsWith(`${name}p`)) ??
      stacks.get(use.device);
    if (block === undefined) continue;
    const holder = /is part of (\S+)/.exec(use.text)?.[1];
    if (holder !== undefined) stacks.set(holder, block);
    add(block, use.text);
  }
  for (const one of all) {
    const master = one.kind !== "net" ? null : ifReadable(() => reads.readLink(`${one.folder}/master`));
    if (master !== null) add(one.name, `${one.name} is part of ${master.split("/").at(-1)}`);
    if (one.kind === "net" && read(machine, one, "operstate") === "up") add(one.name, `${one.name} is up`);
    if (one.kind === "dax" && driverOf(machine, one) === "kmem") add(one.name, `${one.name} is system RAM`);
    const holder = one.kind === "namespace" ? read(machine, one, "holder") : null;
    if (typeof holder === "string" && holder !== "") add(one.name, `${one.name} is held as ${holder}`);
  }
  for (const use of opened) {
    const name = nameOfNode(use.path);
    if (name !== null) add(name, describeUse(use));
  }
  return users;
}

/** The device that a path in /dev or sysfs belongs to; block devices have been asked for already. */
function nameOfNode(path: string): string | null {
  const [, resource] =
    /^\/sys\/(?:devices|bus)\/.*\/([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\/resource\d(?:_wc)?$/.exec(path) ?? [];
  if (resource !== undefined) return resource;
  return /^\/dev\/(?:dri\/|cxl\/)?(nvme\d+|ng\d+n\d+|card\d+|renderD\d+|mem\d+|dax\d+\.\d+)$/.exec(path)?.[1] ?? null;
}
