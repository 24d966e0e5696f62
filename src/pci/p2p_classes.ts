/**
 * Peer-to-peer verdicts of machines with hundreds of functions: functions that no verdict tells apart are one class, and a
 * pair of classes is judged once.
 *
 * Eight drives below one switch are such a class: exchanging two of them changes names, and nothing else, in every verdict.
 * @module
 */

import { Unknown } from "../core/fact.ts";
import { redirectingServices } from "./acs.ts";
import { decodesMemory, isUnresponsive, powerDown } from "./accessibility.ts";
import { configUint, PCI_COMMAND, PCI_COMMAND_MASTER } from "./config_space.ts";
import { closedBridge, isNvidiaGpu, judgePair, memoryBars, type PairVerdict, whyBarsMayHide } from "./p2p.ts";
import { isBridge, nodesAbove, type Topology, type TopologyNode } from "./topology.ts";

/** What is known of the traffic between functions, class by class. */
export interface PeerMatrix {
  /** The classes; each function by itself where none was sought. */
  readonly classes: readonly PeerClass[];
  /** For each class as initiator, the verdict with each class as target; within a class, of its first two members. */
  readonly verdicts: readonly (readonly PairVerdict[])[];
}

/** Functions that stand for each other in every verdict. At least one, in the order that they were given. */
export type PeerClass = readonly TopologyNode[];

/**
 * Sorts functions into classes: two are in one when exchanging them changes only names in the verdicts on all pairs.
 *
 * @returns the classes, in the order of their first members
 */
export function peerClasses(peers: readonly TopologyNode[]): PeerClass[] {
  const asked = new Set(peers);
  const devices = new Map<TopologyNode, Set<string>>();
  const functionsOf = new Map<string, number>();
  const above = new Set<TopologyNode>();
  for (const peer of asked) {
    const device = deviceOf(peer);
    functionsOf.set(device, (functionsOf.get(device) ?? 0) + 1);
    for (const bridge of nodesAbove(peer)) {
      above.add(bridge);
      const below = devices.get(bridge) ?? new Set();
      devices.set(bridge, below.add(device));
    }
  }
  const classes = new Map<string, TopologyNode[]>();
  for (const peer of asked) {
    const device = deviceOf(peer);
    const isAlone = functionsOf.get(device) === 1;
    const isOnWay = above.has(peer) || isBridge(peer.kind);
    const key = JSON.stringify([
      isAlone ? null : device,
      isOnWay ? peer.function.name : null,
      ownFacts(peer),
      // A port with one device below it meets no other traffic, so its name does not matter, unless it is asked for too.
      nodesAbove(peer).map((bridge) => [
        devices.get(bridge)?.size === 1 && isAlone && !asked.has(bridge) ? null : bridge.function.name,
        ...bridgeFacts(bridge, peer),
      ]),
    ]);
    const members = classes.get(key);
    if (members === undefined) classes.set(key, [peer]);
    else members.push(peer);
  }
  return [...classes.values()];
}

/** Judges each ordered pair of classes on their first members; within a class, on its first two, or the only one with itself. */
export function judgeClasses(topology: Topology, classes: readonly PeerClass[]): PeerMatrix {
  const verdicts = classes.map((from) =>
    classes.flatMap((to) => {
      const [initiator] = from;
      const [first, second] = to;
      const target = from === to ? second ?? first : first;
      return initiator === undefined || target === undefined ? [] : [judgePair(topology, initiator, target)];
    })
  );
  return { classes, verdicts };
}

/** Without an address nothing tells which functions are of one device: then it is one by itself. */
function deviceOf({ function: fn }: TopologyNode): string {
  const { address } = fn;
  return address === null ? fn.name : `${address.domain}:${address.bus}:${address.device}`;
}

/** What the rules read of a function itself. */
function ownFacts(node: TopologyNode): unknown[] {
  const { function: fn, acs, iommu } = node;
  const bars = memoryBars(node);
  return [
    node.rootComplex.name,
    node.parent === null,
    [iommu.state, iommu.type],
    [acs.state, redirectingServices(acs).length > 0],
    fn.numaNode instanceof Unknown ? "not known" : fn.numaNode,
    isNvidiaGpu(node),
    isUnresponsive(fn),
    powerDown(fn),
    bars.length === 0 ? whyBarsMayHide(node) ?? "none" : bars.every((bar) => !bar.assigned) ? "no address" : "address",
    decodesMemory(fn),
    node.resizableBars.some((bar) => bar.sizeBytes < bar.maxBytes),
  ];
}

/** What the rules read of a bridge above a function. */
function bridgeFacts(bridge: TopologyNode, below: TopologyNode): unknown[] {
  const assigned = memoryBars(below).filter((bar) => bar.assigned);
  return [
    bridge.kind,
    [bridge.acs.state, redirectingServices(bridge.acs).length > 0],
    (configUint(bridge.function.config, PCI_COMMAND, 2) & PCI_COMMAND_MASTER) !== 0,
    bridge.kind === "CardBus bridge" || closedBridge(bridge, assigned) === null,
  ];
}
