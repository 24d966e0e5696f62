/**
 * The tree of a machine's PCI functions: root complexes, ports, switches, endpoints, with what matters for traffic
 * between them.
 *
 * Sources: PCI Express Base 6.0 §1.3 (topology), §7.5.3.2 (port types); CXL 3.1 §8.1.5; Linux drivers/pci/probe.c,
 * Documentation/ABI/testing/sysfs-kernel-iommu_groups; ACPI 6.5 (ACPI0016, CXL host bridge).
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { namesIn, textOf } from "../core/host_requests.ts";
import {
  comparePciAddress,
  formatPciAddress,
  isSysfsPciAddress,
  parsePciAddress,
  type PciAddress,
} from "../core/pci_address.ts";
import { type AcsState, readAcs } from "./acs.ts";
import { type CapabilityList, dvsecIdentity, findCapability, listCapabilities } from "./capabilities.ts";
import { CXL_VENDOR_ID, PORT_TYPES } from "./capability_tables.ts";
import { configUint, headerType } from "./config_space.ts";
import { fetchFunctions, PCI_DEVICES, type PciFunction, readFetchedFunction } from "./function.ts";
import { joinLink, type Link, type LinkEnd, linkRequests, readLinkEnd } from "./link.ts";

/** What a function is in the tree. */
export type FunctionKind =
  | "root port"
  | "switch upstream port"
  | "switch downstream port"
  | "PCIe to PCI bridge"
  | "PCI to PCIe bridge"
  | "bridge"
  | "CardBus bridge"
  | "host bridge"
  | "endpoint"
  | "legacy endpoint"
  | "integrated endpoint"
  | "event collector"
  | "conventional device"
  | "device";

/** How the IOMMU sees a function. */
export interface IommuState {
  /** `group`: it has one. `none`: the machine has no IOMMU, or it is off. `unknown`: the machine's files were not had. */
  readonly state: "group" | "none" | "unknown";
  /** Number of the group; null without one. */
  readonly group: string | null;
  /** Kind of its domain: `identity`, `DMA`, `DMA-FQ`, `blocked`, `unmanaged`; null where the kernel does not say. */
  readonly type: string | null;
}

/** A BAR whose size can be changed. */
export interface ResizableBar {
  /** 0 to 5. */
  readonly index: number;
  /** The size it has, in bytes. */
  readonly sizeBytes: bigint;
  /** The largest that the device can do, in bytes. */
  readonly maxBytes: bigint;
}

/** A place where a tree of functions begins. */
export interface RootComplex {
  /** Its name in sysfs: `pci0000:00`; of a bus whose bridge is not known, `bus 0000:01`. */
  readonly name: string;
  /** The bridge above its bus is not known: then it is no root complex, only where what is known of a tree begins. */
  readonly isBelowUnknown: boolean;
  /** PCI domain. */
  readonly domain: number;
  /** Number of its first bus. */
  readonly bus: number;
  /** CXL where the firmware or a root port says so; unknown where nothing below it shows PCI Express. */
  readonly kind: "PCIe" | "CXL" | "unknown";
  /** What says that it is a CXL host bridge, or why its kind is not known; null for PCIe. */
  readonly evidence: string | null;
  /** The function that makes this tree up, for a domain behind a device such as Intel VMD; null for most. */
  readonly behind: string | null;
  /** The NUMA node of everything below it; null where it differs or is not known. */
  readonly numaNode: Fact<number>;
  /** True where the first function on its bus may be missing: in a recording that does not begin with 00.0. */
  readonly mayLackFirst: boolean;
  /** The functions on its first bus, by address. */
  readonly children: readonly TopologyNode[];
}

/** A function in the tree. */
export interface TopologyNode {
  /** What the machine says of it. */
  readonly function: PciFunction;
  /** What it is in the tree. */
  readonly kind: FunctionKind;
  /** The bridge above it; null on the first bus of a root complex. */
  readonly parent: TopologyNode | null;
  /** Where its tree begins. */
  readonly rootComplex: RootComplex;
  /** The functions below it, by address; empty unless it is a bridge. */
  readonly children: readonly TopologyNode[];
  /** Its capabilities. */
  readonly capabilities: CapabilityList;
  /** The link between it and the port above it; for a port that leads down, the link below it; null without one. */
  readonly link: Link | null;
  /** Access control services. */
  readonly acs: AcsState;
  /** IOMMU group. */
  readonly iommu: IommuState;
  /** BARs whose size can be changed. */
  readonly resizableBars: readonly ResizableBar[];
  /** What speaks CXL here: names of its CXL DVSECs; empty for most. */
  readonly cxl: readonly string[];
}

/** What the first processor says of itself in /proc/cpuinfo. */
export interface Processor {
  /** `AuthenticAMD`, `GenuineIntel`; null where the line is missing (Arm has none). */
  readonly vendor: string | null;
  /** Family number; null where the line is missing. */
  readonly family: number | null;
  /** Model number; null where the line is missing. */
  readonly model: number | null;
  /** Name as sold; null where the line is missing. */
  readonly name: string | null;
  /** It runs below a hypervisor, which says so in the flags. */
  readonly isVirtual: boolean;
}

/**
 * A machine's PCI.
 *
 * @example
 * ```ts
 * import { openMachine, readTopology, type Topology } from "@busbar/busbar";
 * const drives = ({ nodes }: Topology): number => nodes.filter((node) => node.function.classCode === 0x010802).length;
 * console.assert(drives(readTopology(openMachine("file:docs/tools/desktop.dump").host)) === 1);
 * ```
 */
export interface Topology {
  /** The machine. */
  readonly host: Host;
  /** By domain and bus. */
  readonly rootComplexes: readonly RootComplex[];
  /** Every function, by address. */
  readonly nodes: readonly TopologyNode[];
  /** What could not be read, each in one sentence. */
  readonly problems: readonly string[];
  /** The processor; null where the machine does not tell. */
  readonly processor: Processor | null;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Reads the whole tree, in four batches at most ({@linkcode Host.batch}). A function that vanishes meanwhile, or cannot
 * be read, is left out and named in `problems`.
 *
 * @throws {BusbarError} `absent` when the machine has no PCI
 *
 * @example
 * ```ts
 * import { openMachine, readTopology } from "@busbar/busbar";
 * const topology = readTopology(openMachine("file:docs/tools/desktop.dump").host);
 * for (const node of topology.nodes) console.log(node.function.name, node.kind);
 * ```
 */
export function readTopology(host: Host): Topology {
  const problems: string[] = [];
  const reads = new BatchedReads(host);
  const found = readFunctions(reads, problems);
  const roots = new Map<string, Mutable<RootComplex>>();
  const byName = new Map<string, Draft>();
  for (const draft of found.sort((a, b) => a.depth - b.depth)) {
    const root = rootOf(roots, reads, draft);
    byName.set(draft.name, draft);
    // Ancestors are always placed before their children: a path that leads through itself cannot make a loop.
    const parent = draft.ancestors.map((name) => byName.get(name)).findLast((one) =>
      one !== undefined && one !== draft
    );
    draft.node.rootComplex = root;
    draft.node.parent = parent?.node ?? null;
    if (parent === undefined) pushChild(root, draft.node);
    else pushChild(parent.node, draft.node);
  }
  for (const { node, end } of found) node.link = linkOf(node, end, byName);
  const rootComplexes = [...roots.values()].sort((a, b) => a.domain - b.domain || a.bus - b.bus);
  for (const root of rootComplexes) describeRoot(root, host.isPartial === true);
  return {
    host,
    rootComplexes,
    nodes: found.map(({ node }) => node).sort((a, b) => byAddress(a, b)),
    problems,
    processor: readProcessor(reads),
  };
}

/**
 * The node of a function.
 *
 * @param address `0000:01:00.0`, or `01:00.0` in domain 0
 * @throws {BusbarError} `usage` when it is no address, `absent` when the tree has no such function
 *
 * @example
 * ```ts
 * import { findNode, openMachine, readTopology } from "@busbar/busbar";
 * const topology = readTopology(openMachine("file:docs/tools/desktop.dump").host);
 * console.assert(findNode(topology, "01:00.0").kind === "endpoint");
 * ```
 */
export function findNode(topology: Topology, address: string | PciAddress): TopologyNode {
  const wanted = typeof address === "string" ? parsePciAddress(address) : address;
  const node = topology.nodes.find(({ function: fn }) =>
    fn.address !== null && comparePciAddress(fn.address, wanted) === 0
  );
  if (node !== undefined) return node;
  const name = typeof address === "string" ? address : formatPciAddress(address);
  const isPartial = topology.host.isPartial === true;
  const what = isPartial ? "not recorded" : "no such PCI function";
  throw new BusbarError(isPartial ? "not-recorded" : "absent", `${name}: ${what} in ${topology.host.name}`, {
    operation: "find PCI function",
    path: name,
    hint: "pcie_topology lists them",
  });
}

/** The bridges above a function, the nearest first. */
export function nodesAbove(node: TopologyNode): TopologyNode[] {
  const above: TopologyNode[] = [];
  for (let one = node.parent; one !== null; one = one.parent) above.push(one);
  return above;
}

/** A function and everything below it, in the order in which a tree is drawn. */
export function nodesBelow(node: TopologyNode): TopologyNode[] {
  return [node, ...node.children.flatMap(nodesBelow)];
}

/** True for a port whose link leads away from the root complex. */
export function leadsDown(kind: FunctionKind): boolean {
  return kind === "root port" || kind === "switch downstream port" || kind === "PCI to PCIe bridge";
}

const OTHER_BRIDGES: readonly FunctionKind[] = [
  "switch upstream port",
  "PCIe to PCI bridge",
  "bridge",
  "CardBus bridge",
];

/** True for everything that has a bus below it. */
export function isBridge(kind: FunctionKind): boolean {
  return leadsDown(kind) || OTHER_BRIDGES.includes(kind);
}

interface Draft extends Place {
  readonly name: string;
  readonly node: Mutable<TopologyNode>;
  readonly end: Fact<LinkEnd>;
  readonly depth: number;
}

function groupTypeFile(group: string): string {
  return `/sys/kernel/iommu_groups/${group}/type`;
}

function hardwareIdFile(root: string): string {
  return `/sys/devices/${root}/firmware_node/hid`;
}

function listFunctions(host: Host): string[] {
  try {
    return host.list(PCI_DEVICES).filter(isSysfsPciAddress);
  } catch (cause) {
    if (!isBusbarError(cause, "absent")) throw cause;
    throw new BusbarError("absent", `${host.name} has no PCI`, {
      operation: "read PCI topology",
      path: PCI_DEVICES,
      hint: "in a container, give it /sys; or look at a recorded machine: file:RECORDING",
      cause,
    });
  }
}

function readFunctions(reads: BatchedReads, problems: string[]): Draft[] {
  reads.fetch([namesIn(PCI_DEVICES), textOf("/proc/cpuinfo")]);
  const names = listFunctions(reads);
  fetchFunctions(reads, names);
  const functions = names.map((name): FoundFunction | string => {
    try {
      const fn = readFetchedFunction(reads, name);
      return { fn, capabilities: listCapabilities(fn.config), place: placeOf(reads, fn) };
    } catch (error) {
      if (error instanceof BusbarError) return error.message;
      throw error;
    }
  });
  reads.fetchNew(functions.flatMap((one) =>
    typeof one === "string" ? [] : [
      ...(valueOf(one.fn.iommuGroup) === null ? [] : [textOf(groupTypeFile(`${one.fn.iommuGroup}`))]),
      ...linkRequests(one.fn, one.capabilities),
      textOf(hardwareIdFile(one.place.rootName)),
    ]
  ));
  return functions.flatMap((one) => {
    if (typeof one !== "string") return [draftOf(reads, one, problems)];
    problems.push(one);
    return [];
  });
}

interface FoundFunction {
  readonly fn: PciFunction;
  readonly capabilities: CapabilityList;
  readonly place: Place;
}

/** Where a function hangs, by the path of its folder. */
interface Place {
  readonly rootName: string;
  readonly behind: string | null;
  readonly ancestors: readonly string[];
}

function placeOf(host: Host, fn: PciFunction): Place {
  const path = (ifReadable(() => host.realPath(fn.folder ?? "")) ?? fn.folder ?? "").split("/");
  // A domain behind a device (Intel VMD) has a root of its own further down the path.
  const rootAt = path.findLastIndex((part) => /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/.test(part));
  const ancestors = path.slice(rootAt + 1, -1).filter(isSysfsPciAddress);
  return {
    rootName: path[rootAt] ?? `${BELOW_UNKNOWN}${(ancestors[0] ?? fn.name).slice(0, -5)}`,
    behind: path.slice(0, Math.max(0, rootAt)).findLast(isSysfsPciAddress) ?? null,
    ancestors,
  };
}

/** Begins the name of a bus that no known bridge leads to and that nothing shows to be a root bus. */
const BELOW_UNKNOWN = "bus ";

function draftOf(
  host: Host,
  { fn, capabilities, place }: FoundFunction,
  problems: string[],
): Draft {
  for (const problem of capabilities.problems) problems.push(`${fn.name}: ${problem}`);
  const node: Mutable<TopologyNode> = {
    function: fn,
    kind: kindOf(fn, capabilities),
    parent: null,
    rootComplex: PLACEHOLDER,
    children: [],
    capabilities,
    link: null,
    acs: readAcs(fn.config, capabilities),
    iommu: readIommu(host, fn),
    resizableBars: readResizableBars(fn.config, capabilities),
    cxl: readCxl(fn.config, capabilities),
  };
  return { ...place, name: fn.name, node, end: readLinkEnd(host, fn, capabilities), depth: place.ancestors.length };
}

/** Every node gets its root complex before anybody sees it. */
const PLACEHOLDER: RootComplex = {
  name: "",
  isBelowUnknown: false,
  mayLackFirst: false,
  domain: 0,
  bus: 0,
  kind: "PCIe",
  evidence: null,
  behind: null,
  numaNode: null,
  children: [],
};

function kindOf(fn: PciFunction, capabilities: CapabilityList): FunctionKind {
  if (headerType(fn.config) === 2) return "CardBus bridge";
  const isType1 = headerType(fn.config) === 1;
  const pcie = findCapability(capabilities, "standard", 0x10);
  if (pcie === null) {
    if (isType1) return "bridge";
    if (fn.classCode >>> 8 === 0x0600) return "host bridge";
    return capabilities.isWhole.standard && fn.config.length > 64 ? "conventional device" : "device";
  }
  const type = PORT_TYPES[configUint(fn.config, pcie.offset + 2, 2) >>> 4 & 0xf];
  if (fn.classCode >>> 8 === 0x0600 && !isType1) return "host bridge";
  switch (type) {
    case "root port":
    case "switch upstream port":
    case "switch downstream port":
    case "PCIe to PCI bridge":
    case "PCI to PCIe bridge":
      return type;
    case "root complex integrated endpoint":
      return "integrated endpoint";
    case "root complex event collector":
      return "event collector";
    case "endpoint":
    case "legacy endpoint":
      return isType1 ? "bridge" : type;
    default:
      return isType1 ? "bridge" : "device";
  }
}

function readIommu(host: Host, fn: PciFunction): IommuState {
  const { iommuGroup: group } = fn;
  if (group instanceof Unknown) return { state: "unknown", group: null, type: null };
  if (group === null) return { state: "none", group: null, type: null };
  return { state: "group", group, type: ifReadable(() => host.readText(groupTypeFile(group)).trim()) };
}

function readResizableBars(config: Uint8Array, capabilities: CapabilityList): ResizableBar[] {
  const capability = findCapability(capabilities, "extended", 0x15);
  if (capability === null) return [];
  const at = (offset: number): number => configUint(config, capability.offset + offset, 4);
  const room = Math.floor((config.length - capability.offset - 4) / 8);
  const count = Math.min(6, room, Math.max(1, at(8) >>> 5 & 0x7));
  return Array.from({ length: count }, (_, i): ResizableBar => {
    const control = at(8 + 8 * i);
    const sizes = BigInt(at(4 + 8 * i) >>> 4) | BigInt(control >>> 16) << 28n;
    const largest = sizes === 0n ? 0 : sizes.toString(2).length - 1;
    return {
      index: control & 0x7,
      sizeBytes: 1n << BigInt(20 + (control >>> 8 & 0x3f)),
      maxBytes: 1n << BigInt(20 + largest),
    };
  });
}

function readCxl(config: Uint8Array, capabilities: CapabilityList): string[] {
  return capabilities.capabilities.filter(({ list, id }) => list === "extended" && id === 0x23).flatMap(
    (capability) => {
      const { vendorId, name } = dvsecIdentity(capability, config);
      return vendorId === CXL_VENDOR_ID && name !== null ? [name] : [];
    },
  );
}

function rootOf(roots: Map<string, Mutable<RootComplex>>, host: Host, draft: Draft): Mutable<RootComplex> {
  const known = roots.get(draft.rootName);
  if (known !== undefined) return known;
  const [domain = "0", bus = "0"] = draft.rootName.slice(3).split(":");
  const hid = ifReadable(() => host.readText(hardwareIdFile(draft.rootName)).trim());
  const root: Mutable<RootComplex> = {
    ...PLACEHOLDER,
    name: draft.rootName,
    isBelowUnknown: draft.rootName.startsWith(BELOW_UNKNOWN),
    domain: parseInt(domain, 16),
    bus: parseInt(bus, 16),
    kind: hid === CXL_HOST_BRIDGE ? "CXL" : "unknown",
    evidence: hid === CXL_HOST_BRIDGE ? `ACPI names it ${CXL_HOST_BRIDGE}, a CXL host bridge` : null,
    behind: draft.behind,
    children: [],
  };
  roots.set(draft.rootName, root);
  return root;
}

/** ACPI's hardware ID of a CXL host bridge, CXL 3.1 §9.18.2. */
const CXL_HOST_BRIDGE = "ACPI0016";

function describeRoot(root: Mutable<RootComplex>, isPartial: boolean): void {
  const below = root.children.flatMap(nodesBelow);
  const known = below.map((node) => node.function.numaNode);
  const nodes = new Set(known.map(valueOf));
  const [only] = nodes;
  root.numaNode = known.find((node) => node instanceof Unknown) ?? (nodes.size === 1 ? only ?? null : null);
  const { device, function: fn } = root.children[0]?.function.address ?? { device: 0, function: 0 };
  root.mayLackFirst = isPartial && (device !== 0 || fn !== 0);
  if (root.kind === "CXL") return;
  const port = root.children.find((node) => node.kind === "root port" && node.cxl.length > 0);
  if (port !== undefined) {
    root.kind = "CXL";
    root.evidence = `root port ${port.function.name} has the DVSEC '${port.cxl[0]}'`;
  } else if (root.isBelowUnknown) root.evidence = `no bridge that leads to ${root.name} is known`;
  else if (below.some(isExpress)) root.kind = "PCIe";
  else root.evidence = "nothing that is known of it shows PCI Express";
}

/** By its capability, or by a configuration space that only PCI Express has. */
function isExpress({ function: fn, capabilities }: TopologyNode): boolean {
  return fn.config.length > 256 || findCapability(capabilities, "standard", 0x10) !== null;
}

function pushChild(parent: Mutable<TopologyNode> | Mutable<RootComplex>, child: TopologyNode): void {
  parent.children = [...parent.children, child].sort(byAddress);
}

function byAddress(a: TopologyNode, b: TopologyNode): number {
  return a.function.address === null || b.function.address === null
    ? 0
    : comparePciAddress(a.function.address, b.function.address);
}

function linkOf(node: TopologyNode, end: Fact<LinkEnd>, drafts: ReadonlyMap<string, Draft>): Link | null {
  const endOf = (other: TopologyNode | null | undefined): Fact<LinkEnd> =>
    other === null || other === undefined ? null : drafts.get(other.function.name)?.end ?? null;
  if (leadsDown(node.kind)) return joinLink(end, endOf(node.children[0]), node.children.length > 0);
  const above = node.parent !== null && leadsDown(node.parent.kind) ? endOf(node.parent) : null;
  return end === null ? null : joinLink(above, end, true);
}

function readProcessor(host: Host): Processor | null {
  const text = ifReadable(() => host.readText("/proc/cpuinfo"));
  if (text === null) return null;
  const line = (key: string): string | null => new RegExp(`^${key}\\s*: (.*)$`, "m").exec(text)?.[1]?.trim() ?? null;
  const number = (key: string): number | null => {
    const value = line(key);
    return value === null || !/^\d+$/.test(value) ? null : Number(value);
  };
  return {
    vendor: line("vendor_id"),
    family: number("cpu family"),
    model: number("model"),
    name: line("model name"),
    isVirtual: line("flags")?.split(" ").includes("hypervisor") === true,
  };
}

/** Base classes of devices that move data by themselves: storage, network, display, processors, accelerators. */
const PEER_CLASSES: readonly number[] = [0x01, 0x02, 0x03, 0x0b, 0x12];

/** True for the devices between which people want traffic: drives, network, GPUs, accelerators, CXL memory. */
export function isPeer(node: TopologyNode): boolean {
  const { classCode } = node.function;
  const isOther = isBridge(node.kind) || node.kind === "host bridge" || node.kind === "event collector";
  return !isOther && (PEER_CLASSES.includes(classCode >>> 16) || classCode >>> 8 === 0x0502);
}

/** An address without its domain where that is 0: `01:00.0`. */
export function shortAddress(fn: Pick<PciFunction, "name">): string {
  return fn.name.replace(/^0000:/, "");
}
