/**
 * The parts of a report that belong to a node, a switch or a link.
 * @module
 */

import type { RunState } from "./simulator.ts";
import { nsOf } from "./units.ts";

/** A node: local memory or an endpoint. */
export interface NodeReport {
  readonly node: number;
  readonly name: string;
  readonly hops: number;
  readonly extraNs: number;
  readonly pathReadNs: number;
  readonly pathWriteNs: number;
  readonly reads: number;
  readonly writes: number;
  readonly bytes: string;
  /** Mean latency of the program's accesses; null without any, or without a replay. */
  readonly meanNs: number | null;
  readonly GBs: number;
  readonly capacityBytes: string;
  readonly usedBytes: string;
}

/** A switch. */
export interface SwitchReport {
  readonly switch: number;
  readonly name: string;
  readonly parent: number;
  readonly reads: number;
  readonly writes: number;
  readonly bytes: string;
  readonly GBs: number;
}

/** One direction of a link. */
export interface LinkReport {
  readonly name: string;
  readonly kind: "local" | "endpoint" | "switch";
  readonly number: number;
  readonly direction: "up" | "down";
  readonly bandwidthGBs: number | null;
  readonly serviceNs: number;
  /** Share of the run that it was occupied; null without a replay. */
  readonly utilisation: number | null;
  /** The same for its busiest epoch. */
  readonly peakUtilisation: number | null;
  /** Sum of waits: a statistic, never a delay. */
  readonly waitNs: number | null;
  /** Most accesses that waited in line. */
  readonly longestQueue: number | null;
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
      : (events.routeCount[node * 2] ?? 0) + (events.routeCount[node * 2 + 1] ?? 0);
    const sum = events === undefined
      ? 0
      : (events.routeLatency[node * 2] ?? 0) + (events.routeLatency[node * 2 + 1] ?? 0);
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
