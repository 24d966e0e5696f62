/**
 * The memory of a server as the endpoints of a topology: their shares of the address space follow each other.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { buildNetwork, type Pair } from "../engine/network.ts";
import { readTopology } from "../topology/topology.ts";
import { ADDRESS_LIMIT } from "../units.ts";
import { LinkLatency } from "./link_latency.ts";
import type { AccessLatency } from "./service_settings.ts";

/** The endpoints. A list that is too short repeats its last value or pair. */
export interface EndpointSettings {
  /** Newick text. */
  readonly topology: string;
  /** By endpoint, in bytes. */
  readonly capacityBytes: readonly number[];
  /** Read and write by endpoint, in ns. */
  readonly latencyNs: readonly number[];
  /** Read and write by endpoint, in GB/s. */
  readonly bandwidthGBs: readonly number[];
  /** Of each switch, in ns. */
  readonly switchLatencyNs: number;
  /** Of each switch's uplink, in GB/s. */
  readonly switchBandwidthGBs: number;
}

/** A list of `count` entries, `width` numbers each. */
function complete(name: string, list: readonly number[], count: number, width: number): number[][] {
  if (list.length % width !== 0 || list.length > count * width || list.length === 0) {
    throw new BusbarError("usage", `${name}: ${list.length} numbers for ${count} endpoint(s), ${width} each`, {
      operation: "serve",
      hint: `give up to ${count * width}; a shorter list repeats its last ${width === 1 ? "number" : "pair"}`,
    });
  }
  const last = list.slice(list.length - width);
  return Array.from({ length: count }, (_, i) => {
    const part = list.slice(i * width, (i + 1) * width);
    return part.length === width ? part : last;
  });
}

/**
 * Lays the endpoints' memory one behind the other, from address 0.
 *
 * @throws {BusbarError} `usage` when the topology or a list is wrong
 */
export function endpointMemory(
  settings: EndpointSettings,
): { readonly sizeBytes: number; readonly latency: AccessLatency; readonly warnings: readonly string[] } {
  const topology = readTopology(settings.topology);
  const count = topology.endpoints.length;
  if (count === 0) throw new BusbarError("usage", "the topology has no endpoint", { operation: "serve", hint: "(1)" });
  const pairs = (name: string, list: readonly number[]): Pair[] =>
    complete(name, list, count, 2).map(([read = 0, write = 0]) => [read, write]);
  const uplink: Pair = [settings.switchBandwidthGBs, settings.switchBandwidthGBs];
  const network = buildNetwork(topology, {
    localLatencyNs: [1, 1],
    localBandwidthGBs: null,
    latencyNs: pairs("--latency", settings.latencyNs),
    bandwidthGBs: pairs("--bandwidth", settings.bandwidthGBs),
    serviceNs: null,
    credits: null,
    switch: { latencyNs: settings.switchLatencyNs, bandwidthGBs: uplink, serviceNs: null, credits: null },
    fabric: { latencyNs: 100, bandwidthGBs: 25, credits: null },
    lineBytes: 64,
    headerBytes: 0,
  });
  const ends: number[] = [];
  let sizeBytes = 0;
  for (const [capacity = 0] of complete("--capacity", settings.capacityBytes, count, 1)) {
    sizeBytes += capacity;
    ends.push(sizeBytes);
  }
  if (sizeBytes > ADDRESS_LIMIT) {
    throw new BusbarError("usage", "--capacity: more than 2^52 bytes together", {
      operation: "serve",
      hint: "give less",
    });
  }
  const nodeOf = (address: number): number => {
    let node = 0;
    while (node < ends.length - 1 && address >= (ends[node] as number)) node++;
    return node + 1;
  };
  return { sizeBytes, latency: new LinkLatency(network, nodeOf), warnings: topology.warnings };
}
