/**
 * The CXL hierarchy as Linux shows it: windows, ports, decoders, memory devices and regions. Only reads.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-bus-cxl; CXL 3.1, section 8.2.4.20 (HDM decoders).
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent, ifReadable } from "../core/host.ts";
import { type HostRequest, linkAt, namesIn, realPathOf, textOf } from "../core/host_requests.ts";

/** Where Linux lists everything on the CXL bus. */
export const CXL_DEVICES = "/sys/bus/cxl/devices";

/** What a region's memory keeps: `ram` is lost with power, `pmem` is not. */
export type CxlMemoryType = "ram" | "pmem";

/** A window of physical addresses that firmware routes to host bridges; Linux calls it a root decoder. */
export interface CxlWindow {
  /** Its name: `decoder0.0`. */
  readonly name: string;
  /** First physical address. */
  readonly start: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** Over how many host bridges it is interleaved. */
  readonly ways: number;
  /** Bytes that go to one host bridge before the next one's turn. */
  readonly granularityBytes: number;
  /** The ports of the host bridges, by position: `port2`. Null where none answers. */
  readonly bridges: readonly (string | null)[];
  /** The kinds of regions that it takes. */
  readonly types: readonly CxlMemoryType[];
  /** The name that the next region would have; null where Linux cannot create any. */
  readonly nextRegion: string | null;
}

/** A decoder of a port: a range of addresses that it sends on. Endpoint decoders take memory of their device. */
export interface CxlDecoder {
  /** Its name: `decoder4.0`. */
  readonly name: string;
  /** The port or endpoint that it belongs to. */
  readonly port: string;
  /** The region that uses it; null when it is free. */
  readonly region: string | null;
  /** Bytes of the device's memory that an endpoint decoder has reserved; null for other decoders. */
  readonly reservedBytes: bigint | null;
  /** Of which kind that memory is; null for other decoders, and while the kernel calls it `none`. */
  readonly mode: CxlMemoryType | null;
  /** True when firmware set it and nobody may change it. */
  readonly locked: boolean;
}

/** A memory device. */
export interface CxlMemdev {
  /** Its name: `mem0`. The kernel counts in the order in which devices answer. */
  readonly name: string;
  /** Its serial number. */
  readonly serial: bigint;
  /** The PCI function that it is; null for devices that are none. */
  readonly pciAddress: string | null;
  /** Volatile bytes. */
  readonly ramBytes: bigint;
  /** Persistent bytes. */
  readonly pmemBytes: bigint;
  /** Of those, not reserved by any decoder. */
  readonly freeRamBytes: bigint;
  /** Of those, not reserved by any decoder. */
  readonly freePmemBytes: bigint;
  /** The nearest node with processors; null where unknown. */
  readonly numaNode: number | null;
  /** Text of the firmware's version. */
  readonly firmware: string | null;
  /** The endpoint; null while no driver has it, or no way leads to it. */
  readonly endpoint: string | null;
  /** The ports on the way from the root, the host bridge's first, the endpoint last. */
  readonly path: readonly string[];
}

/** A port: a host bridge, a switch, or a memory device's endpoint. */
export interface CxlPort {
  /** Its name: `root0`, `port1`, `endpoint3`. */
  readonly name: string;
  /** What it is, by the device it stands for: `pci0000:20`, `0000:22:00.0`, `mem0`. */
  readonly device: string;
  /** The port above it; null for the root. */
  readonly parent: string | null;
}

/** A region: addresses of a window that memory devices serve. */
export interface CxlRegion {
  /** Its name: `region0`. */
  readonly name: string;
  /** The window that it lies in. */
  readonly window: string;
  /** `ram`, `pmem`, or what else a kernel may say. */
  readonly type: string;
  /** First physical address; null while it has none. */
  readonly start: bigint | null;
  /** Bytes; 0 while none were set. */
  readonly sizeBytes: bigint;
  /** Over how many devices it is interleaved; 0 while not set. */
  readonly ways: number;
  /** Bytes that go to one device before the next one's turn; 0 while not set. */
  readonly granularityBytes: number;
  /** The endpoint decoders, by position; null where none is attached. */
  readonly targets: readonly (string | null)[];
  /** The memory devices, by position; null where none is attached. */
  readonly memdevs: readonly (string | null)[];
  /** True when the decoders were set in the hardware. */
  readonly committed: boolean;
  /** True when the region driver has it, and so its memory is in use or can be. */
  readonly enabled: boolean;
  /** Identifies a region of persistent memory; null for volatile ones. */
  readonly uuid: string | null;
  /** The dax devices that were made of it: `dax0.0`. */
  readonly daxDevices: readonly string[];
}

/** Everything on the CXL bus. */
export interface CxlTopology {
  /** The windows, by number. */
  readonly windows: readonly CxlWindow[];
  /** The ports, the root among them. */
  readonly ports: readonly CxlPort[];
  /** The decoders of ports and endpoints; those of the root are the windows. */
  readonly decoders: readonly CxlDecoder[];
  /** The memory devices, by number. */
  readonly memdevs: readonly CxlMemdev[];
  /** The regions, by number. */
  readonly regions: readonly CxlRegion[];
}

/**
 * Reads everything on the CXL bus, in two batches and a listing. What vanishes meanwhile is left out.
 *
 * @throws {BusbarError} `absent` when the machine has no CXL bus; `malformed` for a number that sysfs does not write so
 *
 * @example
 * ```ts
 * import { isBusbarError, openMachine, readCxl } from "@busbar/busbar";
 * try {
 *   for (const device of readCxl(openMachine().host).memdevs) console.log(device.name, device.ramBytes);
 * } catch (error) {
 *   if (!isBusbarError(error, "absent")) throw error; // this machine has no CXL
 * }
 * ```
 */
export function readCxl(machine: Host): CxlTopology {
  const names = ifPresent(() => machine.list(CXL_DEVICES));
  if (names === null || names.length === 0) {
    throw new BusbarError("absent", `${CXL_DEVICES}: this machine shows no CXL`, {
      operation: "read the CXL bus",
      path: CXL_DEVICES,
      hint: "the modules cxl_acpi, cxl_pci, cxl_port and cxl_mem are needed, and a firmware with a CEDT table",
    });
  }
  const host = fetchBus(machine, names);
  const read = <T>(pattern: RegExp, one: (name: string) => T | null): T[] =>
    names.filter((name) => pattern.test(name)).sort(byNumbers).flatMap((name) => ifPresent(() => one(name)) ?? []);
  const ports = read(/^(?:root|port|endpoint)\d+$/, (name) => readPort(host, name));
  const roots = new Set(ports.filter((port) => port.name.startsWith("root")).map((port) => port.name));
  const isWindow = (name: string): boolean => roots.has(parentName(host, name));
  const windows = read(/^decoder\d+\.\d+$/, (name) => isWindow(name) ? readWindow(host, name, ports) : null);
  const decoders = read(/^decoder\d+\.\d+$/, (name) => isWindow(name) ? null : readDecoder(host, name));
  const memdevs = read(/^mem\d+$/, (name) => readMemdev(host, name, ports, decoders));
  const regions = read(/^region\d+$/, (name) => readRegion(host, name, ports));
  return { windows, ports, decoders, memdevs, regions };
}

/** What is read of a thing on the bus, by its name: files, and links. */
const ATTRIBUTES: readonly { of: RegExp; files: readonly string[]; links?: readonly string[] }[] = [
  { of: /^(?:root|port|endpoint)\d+$/, files: [], links: ["uport"] },
  {
    of: /^decoder\d+\.\d+$/,
    files: [
      ...["cap_ram", "cap_pmem", "target_list", "start", "size", "interleave_ways", "interleave_granularity"],
      ...["create_ram_region", "create_pmem_region", "mode", "region", "dpa_size", "locked"],
    ],
  },
  { of: /^mem\d+$/, files: ["ram/size", "pmem/size", "numa_node", "serial", "firmware_version"] },
  {
    of: /^region\d+$/,
    files: ["resource", "interleave_ways", "interleave_granularity", "uuid", "mode", "size", "commit"],
    links: ["driver"],
  },
];

/** Fetches what is read of everything on the bus. */
function fetchBus(machine: Host, names: readonly string[]): BatchedReads {
  const reads = new BatchedReads(machine);
  reads.fetch(names.flatMap((name) => {
    const folder = `${CXL_DEVICES}/${name}`;
    const row = ATTRIBUTES.find(({ of }) => of.test(name));
    if (row === undefined) return [];
    const inside = /^region/.test(name) ? [namesIn(folder)] : [];
    const files = row.files.map((file) => textOf(`${folder}/${file}`));
    return [realPathOf(folder), ...files, ...(row.links ?? []).map((link) => linkAt(`${folder}/${link}`)), ...inside];
  }));
  // The names of what comes next are in what was read.
  reads.fetch(names.flatMap((name): HostRequest[] => {
    const folder = `${CXL_DEVICES}/${name}`;
    const text = (file: string): string => ifReadable(() => reads.readText(`${folder}/${file}`).trim()) ?? "";
    if (/^region/.test(name)) {
      const ways = Math.min(Number(text("interleave_ways")) || 0, MAX_WAYS);
      const parts = (ifReadable(() => reads.list(folder)) ?? []).filter((part) => /^dax_region\d+$/.test(part));
      return [
        ...Array.from({ length: ways }, (_, k) => textOf(`${folder}/target${k}`)),
        ...parts.map((part) => namesIn(`${folder}/${part}`)),
      ];
    }
    const root = ifReadable(() => parentName(reads, name)) ?? "";
    if (!/^decoder/.test(name) || !/^root\d+$/.test(root)) return [];
    return text("target_list").split(",").filter((id) => id !== "").map((id) =>
      linkAt(`${CXL_DEVICES}/${root}/dport${id}`)
    );
  }));
  return reads;
}

/** Orders `decoder2.10` after `decoder2.9`. */
function byNumbers(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

function parentName(host: Host, name: string): string {
  return host.realPath(`${CXL_DEVICES}/${name}`).split("/").at(-2) ?? "";
}

function readPort(host: Host, name: string): CxlPort {
  const parent = parentName(host, name);
  return {
    name,
    device: lastPart(host.readLink(`${CXL_DEVICES}/${name}/uport`)),
    parent: /^(?:root|port)\d+$/.test(parent) ? parent : null,
  };
}

function readWindow(host: Host, name: string, ports: readonly CxlPort[]): CxlWindow {
  const folder = `${CXL_DEVICES}/${name}`;
  const root = parentName(host, name);
  const types: CxlMemoryType[] = [];
  if (ifReadable(() => host.readText(`${folder}/cap_ram`)) === "1") types.push("ram");
  if (ifReadable(() => host.readText(`${folder}/cap_pmem`)) === "1") types.push("pmem");
  const targets = host.readText(`${folder}/target_list`).split(",").filter((id) => id !== "");
  return {
    name,
    start: readNumber(host, `${folder}/start`),
    sizeBytes: readNumber(host, `${folder}/size`),
    ways: Number(readNumber(host, `${folder}/interleave_ways`)),
    granularityBytes: Number(readNumber(host, `${folder}/interleave_granularity`)),
    bridges: targets.map((id) => {
      const device = ifReadable(() => lastPart(host.readLink(`${CXL_DEVICES}/${root}/dport${id}`)));
      return ports.find((port) => port.parent === root && port.device === device)?.name ?? null;
    }),
    types,
    nextRegion: nextRegion(host, name, types[0] ?? "ram"),
  };
}

/** The name that the kernel will give the next region of a window; null where it makes none. */
export function nextRegion(host: Host, window: string, type: CxlMemoryType): string | null {
  const text = ifReadable(() => host.readText(`${CXL_DEVICES}/${window}/create_${type}_region`).trim());
  return text !== null && /^region\d+$/.test(text) ? text : null;
}

function readDecoder(host: Host, name: string): CxlDecoder {
  const folder = `${CXL_DEVICES}/${name}`;
  const mode = ifReadable(() => host.readText(`${folder}/mode`).trim());
  return {
    name,
    port: parentName(host, name),
    region: ifReadable(() => host.readText(`${folder}/region`).trim()) || null,
    reservedBytes: ifPresent(() => readNumber(host, `${folder}/dpa_size`)),
    mode: mode === "ram" || mode === "pmem" ? mode : null,
    locked: ifReadable(() => host.readText(`${folder}/locked`).trim()) === "1",
  };
}

function readMemdev(
  host: Host,
  name: string,
  ports: readonly CxlPort[],
  decoders: readonly CxlDecoder[],
): CxlMemdev {
  const folder = `${CXL_DEVICES}/${name}`;
  const endpoint = ports.find((port) => port.name.startsWith("endpoint") && port.device === name);
  const reserved = (type: CxlMemoryType): bigint =>
    decoders.filter((decoder) => decoder.port === endpoint?.name && decoder.mode === type)
      .reduce((sum, decoder) => sum + (decoder.reservedBytes ?? 0n), 0n);
  const sizeOf = (type: CxlMemoryType): bigint => ifPresent(() => readNumber(host, `${folder}/${type}/size`)) ?? 0n;
  const atLeastZero = (value: bigint): bigint => value < 0n ? 0n : value;
  const node = ifReadable(() => host.readText(`${folder}/numa_node`).trim());
  return {
    name,
    serial: readNumber(host, `${folder}/serial`),
    pciAddress: host.realPath(folder).split("/").reverse().find((part) => /^[0-9a-f]{4,}:[0-9a-f]{2}:/.test(part)) ??
      null,
    ramBytes: sizeOf("ram"),
    pmemBytes: sizeOf("pmem"),
    freeRamBytes: atLeastZero(sizeOf("ram") - reserved("ram")),
    freePmemBytes: atLeastZero(sizeOf("pmem") - reserved("pmem")),
    numaNode: node !== null && /^\d+$/.test(node) ? Number(node) : null,
    firmware: ifReadable(() => host.readText(`${folder}/firmware_version`).trim()) || null,
    endpoint: endpoint?.name ?? null,
    path: endpoint === undefined ? [] : pathTo(endpoint, ports),
  };
}

function pathTo(endpoint: CxlPort, ports: readonly CxlPort[]): string[] {
  const path = [endpoint.name];
  let at = ports.find((port) => port.name === endpoint.parent);
  while (at !== undefined && at.parent !== null && path.length <= ports.length) {
    path.unshift(at.name);
    const { parent } = at;
    at = ports.find((port) => port.name === parent);
  }
  return path;
}

/** Reads one region. */
export function readRegion(host: Host, name: string, ports: readonly CxlPort[] = []): CxlRegion {
  const folder = `${CXL_DEVICES}/${name}`;
  const start = ifReadable(() => readNumber(host, `${folder}/resource`)) ?? NO_ADDRESS;
  const ways = Number(readNumber(host, `${folder}/interleave_ways`));
  const targets = Array.from(
    { length: Math.min(ways, MAX_WAYS) },
    (_, k) => ifReadable(() => host.readText(`${folder}/target${k}`).trim()) || null,
  );
  const uuid = ifReadable(() => host.readText(`${folder}/uuid`).trim()) || null;
  return {
    name,
    window: parentName(host, name),
    type: ifReadable(() => host.readText(`${folder}/mode`).trim()) ?? "unknown",
    start: start === NO_ADDRESS ? null : start,
    sizeBytes: readNumber(host, `${folder}/size`),
    ways,
    granularityBytes: Number(readNumber(host, `${folder}/interleave_granularity`)),
    targets,
    memdevs: targets.map((target) => target === null ? null : memdevOf(host, target, ports)),
    committed: host.readText(`${folder}/commit`).trim() === "1",
    enabled: ifPresent(() => host.readLink(`${folder}/driver`)) !== null,
    uuid: uuid === null || /^[0-]+$/.test(uuid) ? null : uuid,
    daxDevices: daxDevicesOf(host, name),
  };
}

/** The dax devices that the kernel made of a region, sorted; empty for regions that are not enabled. */
export function daxDevicesOf(host: Host, region: string): string[] {
  const folder = `${CXL_DEVICES}/${region}`;
  const parts = (ifPresent(() => host.list(folder)) ?? []).filter((name) => /^dax_region\d+$/.test(name));
  return parts.flatMap((part) =>
    (ifPresent(() => host.list(`${folder}/${part}`)) ?? []).filter((name) => /^dax\d+\.\d+$/.test(name))
  ).sort(byNumbers);
}

/** The memory device that an endpoint decoder belongs to. */
function memdevOf(host: Host, decoder: string, ports: readonly CxlPort[]): string | null {
  const endpoint = ifPresent(() => parentName(host, decoder));
  const known = ports.find((port) => port.name === endpoint)?.device;
  return known ?? ifPresent(() => lastPart(host.readLink(`${CXL_DEVICES}/${endpoint}/uport`)));
}

/** Linux writes all ones for a region that has no addresses yet. */
const NO_ADDRESS = 0xffff_ffff_ffff_ffffn;

/** CXL 3.1, table 8-119: sixteen is the most. */
const MAX_WAYS = 16;

/** A number as sysfs writes it: decimal, or hexadecimal with `0x`. */
function readNumber(host: Host, path: string): bigint {
  const text = host.readText(path).trim();
  if (/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) return BigInt(text);
  throw new BusbarError("malformed", `${path}: '${text.slice(0, 40)}' is no number`, { operation: "read", path });
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
