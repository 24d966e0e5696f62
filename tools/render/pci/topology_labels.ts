/**
 * What pictures of PCI machines say of each thing that they show, and which of many equal things they show as one.
 * @module
 */

import { valueOf } from "../../../src/core/fact.ts";
import { formatBytes } from "../../../src/core/units.ts";
import { isUnresponsive } from "../../../src/pci/accessibility.ts";
import { redirectingServices } from "../../../src/pci/acs.ts";
import { functionName, kindName, type PciNames } from "../../../src/pci/ids.ts";
import { formatLink, formatRate } from "../../../src/pci/link.ts";
import type { NumaNode } from "../../../src/pci/numa_nodes.ts";
import { hostBridge } from "../../../src/pci/root_complexes.ts";
import {
  isBridge,
  nodesBelow,
  type RootComplex,
  shortAddress,
  type Topology,
  type TopologyNode,
} from "../../../src/pci/topology.ts";
import type { BoxKind } from "./topology_colors.ts";
import { rootKind } from "./topology_text.ts";

/** What a picture is of. */
export interface PictureOf {
  /** The machine. */
  readonly topology: Topology;
  /** The functions to show. */
  readonly shown: ReadonlySet<TopologyNode>;
  /** Names of makers, devices and classes. */
  readonly names: PciNames;
  /** The kernel's names for functions (`nvme0`, `eth0`), by PCI address. */
  readonly kernelNames?: ReadonlyMap<string, readonly string[]>;
  /** NUMA nodes, with their processors and memory. */
  readonly numaNodes?: readonly NumaNode[];
}

/** Two lines about one thing, and what deserves a look; empty for most. */
export interface Label {
  readonly first: string;
  readonly second: string;
  readonly warning: string;
}

/** One box of a picture, with those below it. */
export interface PictureBox {
  /** What it is of; a run of equal functions is called by its first. */
  readonly name: string;
  readonly kind: BoxKind;
  readonly label: Label;
  /** The function, where it is one. */
  readonly node: TopologyNode | null;
  readonly children: readonly PictureBox[];
  /** Equal functions that it stands for; empty unless it is such a run. */
  readonly members: readonly PictureBox[];
}

/** Machines with more functions than these are shown folded. */
export const LARGEST_UNFOLDED = 128;
/** So many equal neighbours become one box in a large machine. */
const SMALLEST_RUN = 4;

/** The boxes of a picture: NUMA nodes, where they are known, with the root complexes next to them. */
export function pictureBoxes(of: PictureOf): PictureBox[] {
  const { topology, shown, numaNodes = [] } = of;
  const isFolded = shown.size > LARGEST_UNFOLDED;
  const roots = topology.rootComplexes.flatMap((root) => {
    const children = root.children.filter((node) => nodesBelow(node).some((one) => shown.has(one)));
    if (children.length === 0) return [];
    const boxes = children.map((node) => boxOf(of, node, isFolded));
    const box: PictureBox = {
      name: root.name,
      kind: "root",
      label: rootLabel(root, of.names, numaNodes.length > 0),
      node: null,
      children: isFolded ? joinRuns(of, boxes) : boxes,
      members: [],
    };
    return [{ box, numaNode: valueOf(root.numaNode) }];
  });
  const nodes = numaNodes.map((node): PictureBox => ({
    name: `node${node.id}`,
    kind: "numa",
    label: numaLabel(node),
    node: null,
    children: roots.filter(({ numaNode }) => numaNode === node.id).map(({ box }) => box),
    members: [],
  }));
  const isPlaced = (id: number | null): boolean => numaNodes.some((node) => node.id === id);
  return [...nodes, ...roots.filter(({ numaNode }) => !isPlaced(numaNode)).map(({ box }) => box)];
}

function boxOf(of: PictureOf, node: TopologyNode, isFolded: boolean): PictureBox {
  const children = node.children.filter((child) => of.shown.has(child)).map((child) => boxOf(of, child, isFolded));
  return {
    name: node.function.name,
    kind: kindOf(node),
    label: nodeLabel(node, of),
    node,
    children: isFolded ? joinRuns(of, children) : children,
    members: [],
  };
}

/** Puts neighbours that differ in nothing but their addresses and names into one box. */
function joinRuns(of: PictureOf, boxes: readonly PictureBox[]): PictureBox[] {
  const joined: PictureBox[] = [];
  for (let at = 0; at < boxes.length;) {
    const key = likenessOf(boxes[at]);
    let end = at + 1;
    while (end < boxes.length && likenessOf(boxes[end]) === key) end++;
    const run = boxes.slice(at, end);
    joined.push(...run.length < SMALLEST_RUN ? run : [runBox(of, run)]);
    at = end;
  }
  return joined;
}

function likenessOf(box: PictureBox | undefined): string {
  if (box === undefined) return "";
  const { node } = box;
  const fn = node?.function;
  return JSON.stringify([
    box.kind,
    box.label.warning,
    box.members.length,
    fn === undefined ? box.name : [fn.vendorId, fn.deviceId, fn.classCode, fn.driver, valueOf(fn.numaNode)],
    node === null || node.link === null ? null : formatLink(node.link),
    box.children.map(likenessOf),
  ]);
}

function runBox(of: PictureOf, run: readonly PictureBox[]): PictureBox {
  const [first] = run;
  const last = run.at(-1);
  const place = (box: PictureBox | undefined): string =>
    box === undefined || box.node === null ? "" : shortAddress(box.node.function);
  // A port with one device below it is drawn for the device.
  const told = first?.children.length === 1 && first.children[0]?.children.length === 0 ? first.children[0] : first;
  const node = told?.node ?? null;
  const what = told === undefined || node === null ? "" : functionName(of.names, node.function);
  const below = summaryOf(run.flatMap(({ children }) => children), of.names);
  return {
    name: first?.name ?? "",
    kind: told?.kind ?? "device",
    label: {
      first: `${run.length} × ${what}`,
      second: [`${place(first)} to ${place(last)}`, ...(below === "" ? [] : [`below: ${below}`])].join(" · "),
      warning: first?.label.warning ?? "",
    },
    node,
    children: [],
    members: run,
  };
}

/** `8 NVMe controllers, 2 Ethernet controllers`: the devices among boxes and below them. */
export function summaryOf(boxes: readonly PictureBox[], names: PciNames): string {
  const counts = new Map<string, number>();
  const count = (box: PictureBox): void => {
    box.members.forEach(count);
    box.children.forEach(count);
    if (box.node === null || box.members.length > 0 || isBridge(box.node.kind) || box.node.kind === "host bridge") {
      return;
    }
    const kind = kindName(names, box.node.function.classCode);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  };
  boxes.forEach(count);
  return [...counts].map(([kind, number]) => `${number} ${kind}${number === 1 ? "" : "s"}`).join(", ");
}

function numaLabel({ id, cpus, memoryBytes }: NumaNode): Label {
  const facts = [
    ...(cpus === null ? [] : [cpus === "" ? "no processors" : `processors ${cpus}`]),
    ...(memoryBytes === null ? [] : [`memory ${formatBytes(memoryBytes)}`]),
  ];
  return { first: `NUMA node ${id}`, second: facts.join(" · "), warning: "" };
}

function rootLabel(root: RootComplex, names: PciNames, isInNode: boolean): Label {
  const bridge = hostBridge(root);
  const facts = [
    ...(valueOf(root.numaNode) === null || isInNode ? [] : [`NUMA node ${root.numaNode}`]),
    ...(root.behind === null ? [] : [`behind ${root.behind}`]),
    ...(bridge?.kind === "host bridge" ? [functionName(names, bridge.function)] : []),
  ];
  const first = root.isBelowUnknown ? `${root.name}: ${rootKind(root)}` : `${rootKind(root)} ${root.name.slice(3)}`;
  return { first, second: facts.join(" · "), warning: "" };
}

function nodeLabel(node: TopologyNode, { names, kernelNames }: PictureOf): Label {
  const { function: fn, link, iommu } = node;
  const kind = isBridge(node.kind) ? node.kind : kindName(names, fn.classCode);
  const bars = (fn.resources ?? []).filter((bar) => bar.role === "BAR" && bar.space === "memory");
  const facts = [
    ...(link === null || isHiddenLink(node) ? [] : [link.state === "up" ? formatRate(link.current) : formatLink(link)]),
    ...(redirectingServices(node.acs).length > 0 ? ["ACS redirects"] : []),
    ...(iommu.group === null ? [] : [`IOMMU group ${iommu.group}${iommu.type === null ? "" : ` (${iommu.type})`}`]),
    ...(valueOf(fn.numaNode) === null ? [] : [`node ${fn.numaNode}`]),
    ...(typeof fn.driver === "string" ? [fn.driver] : []),
    ...(isBridge(node.kind) ? [] : bars.map((bar) => `BAR${bar.index} ${formatBytes(bar.sizeBytes)}`)),
  ];
  const asleep = valueOf(fn.powerState)?.startsWith("D3") ? [`powered down (${fn.powerState})`] : [];
  const slow = isDowngraded(node) && link !== null ? [`could be ${formatRate(link.possible)}`] : [];
  const warning = [...slow, ...asleep, ...(isUnresponsive(fn) ? ["does not answer"] : [])].join(", ");
  const called = kernelNames?.get(fn.name) ?? [];
  return {
    first: [shortAddress(fn), ...called, functionName(names, fn)].join("  "),
    second: [kind, ...facts].join(" · "),
    warning: warning === "" ? "" : `▼ ${warning}`,
  };
}

/** A port's link is that of the function below it, which shows it. */
export function isHiddenLink(node: TopologyNode): boolean {
  return isBridge(node.kind) && node.kind !== "switch upstream port" &&
    node.children.some((child) => child.link !== null);
}

/** Its own link is slower or narrower than both ends could. */
export function isDowngraded(node: TopologyNode): boolean {
  const { link } = node;
  return link !== null && !isHiddenLink(node) && (link.isSlower === true || link.isNarrower === true);
}

function kindOf(node: TopologyNode): BoxKind {
  if (isBridge(node.kind) || node.kind === "host bridge") return "port";
  const { classCode } = node.function;
  if (classCode >>> 16 === 0x03 || classCode >>> 16 === 0x12) return "gpu";
  if (classCode >>> 16 === 0x01) return "drive";
  return classCode >>> 8 === 0x0502 ? "cxl" : "device";
}
