/**
 * Can one PCI function reach the memory of another, and if not, which link of the chain says no?
 *
 * Rules and their numbers are those of the project's digest of PCI peer-to-peer traffic (§6), each with where it comes
 * from. Every rule gives an answer for posted writes and one for reads; the worst answer is the verdict. Rules 6 and 7
 * need a GPU's driver and are judged elsewhere; here they are named where they matter.
 * @module
 */

import { Unknown, valueOf } from "../core/fact.ts";
import { formatBytes, hex } from "../core/units.ts";
import { redirectingServices } from "./acs.ts";
import { findCapability } from "./capabilities.ts";
import { bridgeWindows, configUint, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "./config_space.ts";
import { barRegisters } from "./resources.ts";
import { judgeRootComplex } from "./root_complexes.ts";
import { decodesMemory, isUnresponsive, powerDown } from "./accessibility.ts";
import { nodesAbove, type Topology, type TopologyNode } from "./topology.ts";

/** A rule that a verdict rests on. */
export interface P2pRule {
  /** Its number. */
  readonly number: 1 | 2 | 3 | 4 | 5 | 6 | 7;
  /** Its name. */
  readonly title: string;
  /** What it says. */
  readonly text: string;
  /** Where it comes from. */
  readonly source: string;
}

/** Name of a rule. */
export type P2pRuleName = "path" | "acs" | "rootComplex" | "iommu" | "window" | "gpuPolicy" | "hostRegister";

/** The rules by name. */
export const P2P_RULES: Readonly<Record<P2pRuleName, P2pRule>> = {
  path: {
    number: 1,
    title: "path",
    text:
      "below one switch traffic may stay there; below one host bridge it passes the root complex; between two host " +
      "bridges it passes both",
    source: "PCI Express Base 6.0 §1.3, §6.12; Linux drivers/pci/p2pdma.c (calc_map_type_and_dist)",
  },
  acs: {
    number: 2,
    title: "ACS",
    text:
      "a port on the way with request redirect, completion redirect or egress control on sends peers' traffic up to " +
      "the root complex; then rule 3 applies",
    source: "PCI Express Base 6.0 §6.12.1; Linux drivers/pci/p2pdma.c (pci_bridge_has_acs_redir)",
  },
  rootComplex: {
    number: 3,
    title: "root complex",
    text: "whether a root complex passes traffic between its ports is its maker's choice: trusted are those on the " +
      "kernel's list; some of those drop reads",
    source: "PCI Express Base 6.0 §1.3.1; Linux drivers/pci/p2pdma.c (pci_p2pdma_whitelist)",
  },
  iommu: {
    number: 4,
    title: "IOMMU",
    text: "without an IOMMU, or with an identity domain, a device sends bus addresses; with translation the target's " +
      "BAR must be mapped for the sender",
    source: "Linux Documentation/driver-api/pci/p2pdma.rst, /sys/kernel/iommu_groups/N/type",
  },
  window: {
    number: 5,
    title: "window",
    text:
      "both must be awake; the target must decode memory and have an address, and every bridge above it must pass " +
      "that address; a GPU's BAR limits how much of its memory can be reached",
    source: "PCI Express Base 6.0 §5.3.1, §7.5.1.1.3, §7.5.1.3, §7.8.6",
  },
  gpuPolicy: {
    number: 6,
    title: "GPU policy",
    text: "memory of a GPU can be a target only where its driver allows it (GPUDirect RDMA, attribute 116)",
    source: "CUDA driver API, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED",
  },
  hostRegister: {
    number: 7,
    title: "host registration",
    text: "a GPU reaches a BAR after cuMemHostRegister with IOMEMORY on its mapping",
    source: "CUDA driver API, cuMemHostRegister",
  },
};

/** `yes`: nothing stands in the way. `unknown`: it cannot be told from what is known. `no`: it does not work. */
export type P2pAnswer = "yes" | "unknown" | "no";

/** What one rule says of a pair. */
export interface P2pFinding {
  /** The rule. */
  readonly rule: P2pRuleName;
  /** Posted writes of the initiator arrive at the target. */
  readonly writes: P2pAnswer;
  /** Reads of the initiator return. */
  readonly reads: P2pAnswer;
  /** Why, in one sentence. */
  readonly text: string;
  /** The path, register or value that it was read from. */
  readonly evidence: string;
  /** What would change it; null where nothing has to change or nothing can. */
  readonly remedy: string | null;
}

/** The way between two functions. */
export type P2pRoute =
  | "same function"
  | "same device"
  | "below one bridge"
  | "through the root complex"
  | "across root complexes"
  | "not known";

/** What `nvidia-smi topo` would call the way. */
export type TopologyClass = "X" | "PIX" | "PXB" | "PHB" | "NODE" | "SYS";

/** The ways between two functions, without a judgement. */
export interface P2pPath {
  /** The way that traffic takes by the addresses alone. */
  readonly route: P2pRoute;
  /** The nearest bridge above both; null when only root complexes join them. */
  readonly commonAncestor: TopologyNode | null;
  /** From the initiator up to the common bridge, or to the root complex; the initiator and the common bridge left out. */
  readonly up: readonly TopologyNode[];
  /** From there down to the target, which is left out. */
  readonly down: readonly TopologyNode[];
  /**
   * Links from the initiator up to the lowest common upstream bridge and down again, as the kernel counts them (0: same function); null
   * where bridges above one of them are not known.
   */
  readonly hops: number | null;
  /** As `nvidia-smi topo` names it; null where it is not known. */
  readonly class: TopologyClass | null;
}

/** The verdict on a pair. */
export interface PairVerdict extends P2pPath {
  /** Who sends. */
  readonly initiator: TopologyNode;
  /** Whose memory is meant. */
  readonly target: TopologyNode;
  /** Functions whose ACS sends the traffic up to the root complex. */
  readonly redirectedBy: readonly TopologyNode[];
  /** Rule by rule. */
  readonly findings: readonly P2pFinding[];
  /** The worst answer on posted writes. */
  readonly writes: P2pAnswer;
  /** The worst answer on reads. */
  readonly reads: P2pAnswer;
  /** The findings that gave those answers; all of them where everything is `yes`. */
  readonly decidedBy: readonly P2pFinding[];
}

/**
 * Judges whether `initiator` can write to and read from the memory of `target`.
 *
 * @example
 * ```ts
 * import { findNode, judgePair, openMachine, readTopology } from "@busbar/busbar";
 * const topology = readTopology(openMachine("file:docs/tools/desktop.dump").host);
 * const verdict = judgePair(topology, findNode(topology, "0a:00.0"), findNode(topology, "01:00.0"));
 * console.log(verdict.writes, verdict.reads, verdict.decidedBy.map((finding) => finding.text));
 * ```
 */
export function judgePair(topology: Topology, initiator: TopologyNode, target: TopologyNode): PairVerdict {
  const path = findPath(initiator, target);
  const redirectedBy = path.route === "same function" ? [] : redirectingOnPath(initiator, target, path);
  const findings = [
    pathFinding(path),
    acsFinding(initiator, target, path, redirectedBy),
    ...rootComplexFinding(topology, initiator, target, path, redirectedBy),
    iommuFinding(initiator, path, redirectedBy),
    windowFinding(initiator, target, path),
    ...gpuFinding(target),
  ];
  return { ...path, initiator, target, redirectedBy, findings, ...combineFindings(findings) };
}

/** The worst answers of findings, and the findings that gave them. */
export function combineFindings(
  findings: readonly P2pFinding[],
): Pick<PairVerdict, "writes" | "reads" | "decidedBy"> {
  const writes = worst(findings.map((finding) => finding.writes));
  const reads = worst(findings.map((finding) => finding.reads));
  const decidedBy = writes === "yes" && reads === "yes"
    ? findings
    : findings.filter((finding) =>
      (writes !== "yes" && finding.writes === writes) || (reads !== "yes" && finding.reads === reads)
    );
  return { writes, reads, decidedBy };
}

const SEVERITY: Readonly<Record<P2pAnswer, number>> = { yes: 0, unknown: 1, no: 2 };

function worst(answers: readonly P2pAnswer[]): P2pAnswer {
  return answers.reduce<P2pAnswer>((a, b) => SEVERITY[a] >= SEVERITY[b] ? a : b, "yes");
}

/** The way between two functions. */
export function findPath(initiator: TopologyNode, target: TopologyNode): P2pPath {
  const up = nodesAbove(initiator);
  const down = nodesAbove(target);
  // A bridge may itself be one of the two: then it is the lowest common upstream bridge.
  const upWithSelf = [initiator, ...up];
  const downWithSelf = [target, ...down];
  const meet = upWithSelf.find((node) => downWithSelf.includes(node)) ?? null;
  const above = meet === null ? up : upWithSelf.slice(1, Math.max(1, upWithSelf.indexOf(meet)));
  const below = meet === null ? down : downWithSelf.slice(1, Math.max(1, downWithSelf.indexOf(meet)));
  const route = routeOf(initiator, target, meet);
  const hops = route === "not known"
    ? null
    : meet === null
    ? upWithSelf.length + downWithSelf.length
    : upWithSelf.indexOf(meet) + downWithSelf.indexOf(meet);
  return {
    route,
    commonAncestor: meet,
    up: above,
    down: below.toReversed(),
    hops,
    class: classOf(initiator, target, meet, above.length + below.length),
  };
}

function routeOf(a: TopologyNode, b: TopologyNode, meet: TopologyNode | null): P2pRoute {
  if (a === b) return "same function";
  if (isSameDevice(a, b)) return "same device";
  if (meet !== null) return "below one bridge";
  if (a.rootComplex.isBelowUnknown || b.rootComplex.isBelowUnknown) return "not known";
  return a.rootComplex === b.rootComplex ? "through the root complex" : "across root complexes";
}

function isSameDevice(a: TopologyNode, b: TopologyNode): boolean {
  const [one, other] = [a.function.address, b.function.address];
  return one !== null && other !== null && one.domain === other.domain && one.bus === other.bus &&
    one.device === other.device;
}

/** NVIDIA's classes: at most one bridge, several bridges, one host bridge, one NUMA node, the rest. */
function classOf(a: TopologyNode, b: TopologyNode, meet: TopologyNode | null, between: number): TopologyClass | null {
  if (a === b) return "X";
  if (routeOf(a, b, meet) === "not known") return null;
  // A switch is two ports deep on each side: its upstream port is the lowest common upstream bridge, its downstream ports lie between.
  if (meet !== null) return between <= 2 ? "PIX" : "PXB";
  if (a.rootComplex === b.rootComplex) return "PHB";
  const [one, other] = [a.function.numaNode, b.function.numaNode];
  // Without nodes the two may hang below one processor or below two.
  if (one instanceof Unknown || other instanceof Unknown) return null;
  return one !== null && one === other ? "NODE" : "SYS";
}

/** The kernel looks at both functions, every port between them and the lowest common upstream bridge. */
function redirectingOnPath(initiator: TopologyNode, target: TopologyNode, path: P2pPath): TopologyNode[] {
  return functionsOnPath(initiator, target, path).filter((node) => redirectingServices(node.acs).length > 0);
}

function functionsOnPath(initiator: TopologyNode, target: TopologyNode, path: P2pPath): TopologyNode[] {
  const meet = path.commonAncestor === null ? [] : [path.commonAncestor];
  return [...new Set([initiator, ...path.up, ...meet, ...path.down, target])];
}

function pathFinding(path: P2pPath): P2pFinding {
  const names = [...path.up, ...(path.commonAncestor === null ? [] : [path.commonAncestor]), ...path.down]
    .map((node) => node.function.name);
  const evidence = names.length > 0
    ? `by way of ${names.join(", ")}`
    : path.route === "not known"
    ? "no bridge above them is known"
    : "no bridge lies between them";
  const texts: Readonly<Record<P2pRoute, string>> = {
    "same function": "a function reaches its own memory without leaving the device",
    "same device": "functions of one device: the device decides whether their traffic leaves it",
    "below one bridge": `the lowest common upstream bridge is ${
      path.commonAncestor?.function.name ?? "not known"
    }, below the root complex`,
    "through the root complex": "there is no common upstream bridge below the root complex",
    "across root complexes": "the two hang below different host bridges",
    "not known": "the bridges above at least one of the two are not known, and so the way between them is not",
  };
  const answer = path.route === "not known" ? "unknown" : "yes";
  return {
    rule: "path",
    writes: answer,
    reads: answer,
    text: path.hops === null
      ? texts[path.route]
      : `${texts[path.route]} (${path.hops} hops${path.class === null ? "" : `, ${path.class}`})`,
    evidence,
    remedy: answer === "yes" ? null : "record the whole machine: pcie_topology --save, or lspci -xxxx",
  };
}

function acsFinding(
  initiator: TopologyNode,
  target: TopologyNode,
  path: P2pPath,
  redirectedBy: readonly TopologyNode[],
): P2pFinding {
  const rule = "acs";
  const unread = functionsOnPath(initiator, target, path).filter((node) => node.acs.state === "unknown");
  if (redirectedBy.length > 0) {
    const names = redirectedBy.map((node) => node.function.name);
    return {
      rule,
      writes: "yes",
      reads: "yes",
      text: path.commonAncestor === null
        ? `${names.join(", ")} would redirect, but the traffic goes through the root complex anyway`
        : `${names.join(", ")} sends the traffic up to the root complex`,
      evidence: redirectedBy.map((node) =>
        `${node.function.name} ACS control at ${hex((node.acs.offset ?? 0) + 6)}: ${
          redirectingServices(node.acs).map((service) => `${service.lspciName}+`).join(" ")
        }`
      ).join("; "),
      remedy: path.commonAncestor === null ? null : `boot with pci=disable_acs_redir=${names.join(";")}`,
    };
  }
  if (unread.length > 0 && path.route !== "same function") {
    return {
      rule,
      writes: "unknown",
      reads: "unknown",
      text: `ACS of ${unread.map((node) => node.function.name).join(", ")} could not be read`,
      evidence: `configuration space of ${Math.min(...unread.map((node) => node.function.config.length))} bytes`,
      remedy: "look as root, or at a recording made as root (lspci -xxxx)",
    };
  }
  if (path.route === "not known") {
    return {
      rule,
      writes: "unknown",
      reads: "unknown",
      text: "nothing on the way that is known redirects",
      evidence: "ACS control",
      remedy: "record the whole machine: pcie_topology --save, or lspci -xxxx",
    };
  }
  return {
    rule,
    writes: "yes",
    reads: "yes",
    text: "nothing on the way redirects",
    evidence: "ACS control",
    remedy: null,
  };
}

function rootComplexFinding(
  topology: Topology,
  initiator: TopologyNode,
  target: TopologyNode,
  path: P2pPath,
  redirectedBy: readonly TopologyNode[],
): P2pFinding[] {
  const passes = path.commonAncestor === null
    ? path.route === "through the root complex" || path.route === "across root complexes"
    : redirectedBy.length > 0;
  if (!passes) return [];
  const trust = judgeRootComplex(initiator.rootComplex, target.rootComplex, topology.processor);
  const remedy = redirectedBy.length > 0 && path.commonAncestor !== null
    ? "let the traffic stay below the switch (rule 2)"
    : "put both devices below one switch, or measure: a posted write first, one read at most";
  return [{ rule: "rootComplex", ...trust, remedy: trust.writes === "yes" && trust.reads === "yes" ? null : remedy }];
}

function iommuFinding(
  initiator: TopologyNode,
  path: P2pPath,
  redirectedBy: readonly TopologyNode[],
): P2pFinding {
  const rule = "iommu";
  const { state, group, type } = initiator.iommu;
  const yes = { rule, writes: "yes", reads: "yes", remedy: null } as const;
  const evidence = state === "unknown"
    ? `iommu_group of ${initiator.function.name}: ${unknownReason(initiator)}`
    : group === null
    ? `${initiator.function.name} has no iommu_group`
    : `/sys/kernel/iommu_groups/${group}/type: ${type ?? "not there"}`;
  if (path.route === "same function") return { ...yes, text: "nothing leaves the device", evidence };
  if (state === "none") {
    return { ...yes, text: "there is no IOMMU, or it is off: bus addresses go as they are", evidence };
  }
  if (type === "identity") return { ...yes, text: "the IOMMU passes the initiator's addresses through", evidence };
  const unknown = { rule, writes: "unknown", reads: "unknown", evidence } as const;
  if (state === "unknown") {
    return {
      ...unknown,
      text: "it is not known whether an IOMMU translates",
      remedy: "record the machine with pcie_topology --save",
    };
  }
  if (type === "blocked") {
    return {
      ...unknown,
      writes: "no",
      reads: "no",
      text: "the IOMMU blocks the initiator",
      remedy: "bind it to a driver",
    };
  }
  const direct = path.commonAncestor !== null && redirectedBy.length === 0;
  return {
    ...unknown,
    text: direct
      ? "the IOMMU translates for the initiator: below a switch its driver has to give it the bus address, not an I/O " +
        "virtual address"
      : "the IOMMU translates for the initiator: the target's BAR has to be mapped for it",
    remedy: "boot with iommu=pt (Intel: intel_iommu=on iommu=pt), or turn the IOMMU off",
  };
}

function unknownReason({ function: fn }: TopologyNode): string {
  return fn.iommuGroup instanceof Unknown ? fn.iommuGroup.reason : "not known";
}

function windowFinding(initiator: TopologyNode, target: TopologyNode, path: P2pPath): P2pFinding {
  const rule = "window";
  const fn = target.function;
  const no = (text: string, evidence: string, remedy: string | null): P2pFinding => ({
    rule,
    writes: "no",
    reads: "no",
    text,
    evidence,
    remedy,
  });
  for (const node of new Set([target, initiator])) {
    const { name, folder } = node.function;
    if (isUnresponsive(node.function)) {
      return no(`${name} does not answer`, "its configuration space reads all ones", "wake it, or plug it in");
    }
    const asleep = powerDown(node.function);
    if (asleep === null) continue;
    const what = node === target ? "" : ", and sends nothing";
    return no(
      `${name} is powered down (${asleep})${what}`,
      "power_state, PMCSR",
      `echo on > ${folder ?? "…"}/power/control`,
    );
  }
  const command = configUint(fn.config, PCI_COMMAND, 2);
  const bars = memoryBars(target);
  const hidden = bars.length === 0 ? whyBarsMayHide(target) : null;
  if (hidden !== null) {
    return {
      ...no(`whether ${fn.name} has a memory BAR is not known: ${hidden}`, "BAR registers", RECORD_RESOURCES),
      writes: "unknown",
      reads: "unknown",
    };
  }
  if (bars.length === 0) return no(`${fn.name} has no memory BAR`, "its BARs", null);
  const unassigned = bars.filter((bar) => !bar.assigned);
  if (unassigned.length === bars.length) {
    return no(
      `no memory BAR of ${fn.name} has an address`,
      "resource",
      "turn Above 4G Decoding on in the firmware, or boot with pci=realloc",
    );
  }
  if (!decodesMemory(fn)) {
    return no(
      `${fn.name} does not decode memory`,
      `COMMAND ${hex(command, 4)}`,
      "its driver turns that on; by hand: setpci -s ADDRESS COMMAND=2:2",
    );
  }
  for (const bridge of path.down) {
    const closed = bridge.kind === "CardBus bridge" ? null : closedBridge(bridge, bars.filter((bar) => bar.assigned));
    if (closed !== null) return no(closed.text, closed.evidence, closed.remedy);
  }
  for (const bridge of path.up) {
    const control = configUint(bridge.function.config, PCI_COMMAND, 2);
    if ((control & PCI_COMMAND_MASTER) === 0) {
      return no(
        `the bridge ${bridge.function.name} passes nothing upwards: bus mastering is off`,
        `COMMAND ${hex(control, 4)}`,
        "its driver (pcieport) turns that on",
      );
    }
  }
  const sizes = bars.map((bar) => `BAR${bar.index} ${bar.sizeBytes === null ? "" : formatBytes(bar.sizeBytes)}`.trim());
  const small = target.resizableBars.find((bar) => bar.sizeBytes < bar.maxBytes);
  const limit = small === undefined
    ? ""
    : `; BAR${small.index} shows ${formatBytes(small.sizeBytes)}, and could show ${formatBytes(small.maxBytes)}`;
  return {
    rule,
    writes: "yes",
    reads: "yes",
    text: `${fn.name} can be addressed: ${sizes.join(", ")}${limit}`,
    evidence: `COMMAND ${hex(command, 4)}, resource`,
    remedy: small === undefined
      ? null
      : `turn Resizable BAR on in the firmware, or write a size to resource${small.index}_resize while no driver has it`,
  };
}

/** A memory BAR, as far as it is known. */
export interface MemoryBar {
  /** 0 to 5. */
  readonly index: number;
  /** Bus address. */
  readonly start: bigint;
  /** Null where only registers are known. */
  readonly sizeBytes: bigint | null;
  /** False when it has no address. */
  readonly assigned: boolean;
}

/** The memory BARs of a function: from sysfs where it was had, else from the registers, which do not tell sizes. */
export function memoryBars(node: TopologyNode): MemoryBar[] {
  const { resources, config } = node.function;
  if (resources !== null) {
    return resources.filter((bar) => bar.role === "BAR" && bar.space === "memory" && bar.sizeBytes > 0n);
  }
  return barRegisters(config).filter((bar) => bar.space === "memory").map((bar) => ({
    index: bar.index,
    start: bar.address,
    sizeBytes: null,
    assigned: bar.address !== 0n,
  }));
}

const RECORD_RESOURCES = "record it with its resources: pcie_topology --save, or lspci -vvxxxx";

/** Why a function may have memory BARs though its registers show none; null where `resource` was read, or nothing hides. */
export function whyBarsMayHide({ function: fn, capabilities }: TopologyNode): string | null {
  if (fn.resources !== null) return null;
  if (fn.vendorId === 0xffff || valueOf(fn.physicalFunction) !== null) return "it is a virtual function";
  if (!capabilities.isWhole.standard) return "its capabilities are not known";
  const isEnhanced = findCapability(capabilities, "standard", 0x14) !== null;
  return isEnhanced ? "it has Enhanced Allocation" : "a register of zero may be a BAR without an address";
}

/** Why a bridge does not pass any of these BARs down, or null when it passes at least one. */
export function closedBridge(
  bridge: TopologyNode,
  bars: readonly MemoryBar[],
): { text: string; evidence: string; remedy: string } | null {
  const fn = bridge.function;
  const command = configUint(fn.config, PCI_COMMAND, 2);
  if ((command & PCI_COMMAND_MEMORY) === 0) {
    return {
      text: `the bridge ${fn.name} passes no memory accesses: decoding is off`,
      evidence: `COMMAND ${hex(command, 4)}`,
      remedy: "its driver (pcieport) turns that on",
    };
  }
  const windows = bridgeWindows(fn.config).filter((window) => window.kind !== "I/O");
  const passed = bars.some((bar) => windows.some((window) => window.base <= bar.start && bar.start <= window.limit));
  if (passed) return null;
  return {
    text: `no memory window of the bridge ${fn.name} has the target's BARs`,
    evidence: windows.map((window) => `${hex(window.base)} to ${hex(window.limit)}`).join(", ") || "no open window",
    remedy: "boot with pci=realloc",
  };
}

const NVIDIA = 0x10de;

/** True for a display controller of NVIDIA, whose driver decides on its memory. */
export function isNvidiaGpu({ function: { classCode, vendorId } }: TopologyNode): boolean {
  return classCode >>> 16 === 0x03 && vendorId === NVIDIA;
}

function gpuFinding(target: TopologyNode): P2pFinding[] {
  const { classCode, vendorId, name } = target.function;
  if (!isNvidiaGpu(target)) return [];
  return [{
    rule: "gpuPolicy",
    writes: "unknown",
    reads: "unknown",
    text: `whether the memory of ${name} may be a target is up to its driver`,
    evidence: `class ${hex(classCode, 6)}, vendor ${hex(vendorId, 4)}`,
    remedy: "ask the driver: attribute 116, GPUDirect RDMA (data-centre and professional parts have it)",
  }];
}

/** `writes arrive, reads return`, `no`, `writes arrive, reads are dropped`, `cannot be told`. */
export function describeAnswers({ writes, reads }: Pick<PairVerdict, "writes" | "reads">): string {
  if (writes === reads) return { yes: "writes arrive, reads return", unknown: "cannot be told", no: "no" }[writes];
  const write = { yes: "writes arrive", unknown: "writes cannot be told", no: "no writes" }[writes];
  const read = { yes: "reads return", unknown: "reads cannot be told", no: "reads are dropped" }[reads];
  return `${write}, ${read}`;
}
