/**
 * The parts of a report that belong to a node, a switch or a link.
 * @module
 */

import type { RunState } from "./run_state.ts";
import { nsOf } from "./units.ts";

/** A node: local memory or an endpoint. */
export interface NodeReport {
  /** 0 is local. */
  readonly node: number;
  /** As the topology names it. */
  readonly name: string;
  /** Switches on the way. */
  readonly hops: number;
  /** What the way adds to local latency. */
  readonly extraNs: number;
  /** Unloaded latency of a read. */
  readonly pathReadNs: number;
  /** Unloaded latency of a write. */
  readonly pathWriteNs: number;
  /** Lines read. */
  readonly reads: number;
  /** Lines written. */
  readonly writes: number;
  /** Both together, decimal. */
  readonly bytes: string;
  /** Mean latency of the program's accesses; null without any, or without a replay. */
  readonly meanNs: number | null;
  /** Over the simulated time. */
  readonly GBs: number;
  /** Decimal. */
  readonly capacityBytes: string;
  /** Decimal. */
  readonly usedBytes: string;
}

/** A switch. */
export interface SwitchReport {
  /** Number of the switch. */
  readonly switch: number;
  /** As the topology names it. */
  readonly name: string;
  /** Switch above it; -1 for the root. */
  readonly parent: number;
  /** Lines read through it. */
  readonly reads: number;
  /** Lines written through it. */
  readonly writes: number;
  /** Both together, decimal. */
  readonly bytes: string;
  /** Over the simulated time. */
  readonly GBs: number;
}

/** One direction of a link. */
export interface LinkReport {
  /** As the topology names it. */
  readonly name: string;
  /** What it belongs to. */
  readonly kind: "local" | "endpoint" | "switch";
  /** Number of the endpoint or switch. */
  readonly number: number;
  /** `up`: reads' data; `down`: writes. */
  readonly direction: "up" | "down";
  /** Null for no limit. */
  readonly bandwidthGBs: number | null;
  /** Time of a line. */
  readonly serviceNs: number;
  /** Share of the run that it was occupied; null without a replay. */
  readonly utilisation: number | null;
  /** The same for its busiest epoch. */
  readonly peakUtilisation: number | null;
  /** Sum of waits: a statistic, never a delay. */
  readonly waitNs: number | null;
  /** Most accesses that waited in line. */
  readonly longestQueue: number | null;
  /** Requests that waited for a credit; null without credits. */
  readonly creditStalls: number | null;
}

function totals(state: RunState): { readonly reads: number[]; readonly writes: number[] } {
  const nodes = state.network.nodes;
  const reads = Array.from({ length: nodes }, () => 0);
  const writes = Array.from({ length: nodes }, () => 0);
  for (const row of state.rows.rows) {
    for (let node = 0; node < nodes; node++) {
      reads[node] = (reads[node] ?? 0) + (row.readLines[node] ?? 0);
      writes[node] = (writes[node] ?? 0) + (row.writeLines[node] ?? 0);
    }
  }
  return { reads, writes };
}

/** Every node. */
export function nodeReports(state: RunState, simulatedNs: number): NodeReport[] {
  const { config, network, pages, replay } = state;
  const { reads, writes } = totals(state);
  return Array.from({ length: network.nodes }, (_, node) => {
    const endpoint = config.topology.endpoints[node - 1];
    const bytes = ((reads[node] ?? 0) + (writes[node] ?? 0)) * config.lineBytes;
    const events = replay?.events;
    const count = events === undefined
      ? 0
      : (events.counts.routeCount[node * 2] ?? 0) + (events.counts.routeCount[node * 2 + 1] ?? 0);
    const sum = events === undefined
      ? 0
      : (events.counts.routeLatency[node * 2] ?? 0) + (events.counts.routeLatency[node * 2 + 1] ?? 0);
    return {
      node,
      name: endpoint?.name ?? "local",
      hops: endpoint?.hops ?? 0,
      extraNs: endpoint?.extraNs ?? 0,
      pathReadNs: nsOf(network.path[node * 2] as number),
      pathWriteNs: nsOf(network.path[node * 2 + 1] as number),
      reads: reads[node] ?? 0,
      writes: writes[node] ?? 0,
      bytes: String(bytes),
      meanNs: count === 0 ? null : nsOf(sum) / count,
      GBs: simulatedNs === 0 ? 0 : bytes / simulatedNs,
      capacityBytes: String(config.capacityBytes[node] ?? 0),
      usedBytes: String(pages.placement.used[node] ?? 0),
    };
  });
}

/** Every switch: what its endpoints moved. */
export function switchReports(state: RunState, simulatedNs: number): SwitchReport[] {
  const { config } = state;
  const { reads, writes } = totals(state);
  const { topology } = config;
  return topology.switches.map((one) => {
    const below = topology.endpoints.filter(({ via }) => via.includes(one.number));
    const sum = (lines: readonly number[]): number =>
      below.reduce((total, { number }) => total + (lines[number] ?? 0), 0);
    const bytes = (sum(reads) + sum(writes)) * config.lineBytes;
    return {
      switch: one.number,
      name: one.label ?? `switch ${one.number}`,
      parent: one.parent,
      reads: sum(reads),
      writes: sum(writes),
      bytes: String(bytes),
      GBs: simulatedNs === 0 ? 0 : bytes / simulatedNs,
    };
  });
}

/** Every direction of every link. */
export function linkReports(state: RunState, simulatedNs: number): LinkReport[] {
  const states = state.replay?.events.links;
  return state.network.links.map((link, i) => {
    const share = (ticks: number, ofNs: number): number => ofNs === 0 ? 0 : nsOf(ticks) / ofNs;
    const longest = states?.longestWait[i] ?? 0;
    return {
      name: link.name,
      kind: link.kind,
      number: link.number,
      direction: link.direction,
      bandwidthGBs: link.bandwidthGBs,
      serviceNs: nsOf(link.serviceTicks),
      utilisation: states === undefined ? null : share(states.busy[i] ?? 0, simulatedNs),
      peakUtilisation: states === undefined ? null : states.peak[i] ?? 0,
      waitNs: states === undefined ? null : nsOf(states.waits[i] ?? 0),
      longestQueue: states === undefined ? null : link.serviceTicks === 0 ? 0 : Math.ceil(longest / link.serviceTicks),
      creditStalls: states === undefined ? null : states.creditStalls[i] ?? 0,
    };
  });
}
