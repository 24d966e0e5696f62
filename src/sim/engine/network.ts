/**
 * The links between host and memory, and the route of every kind of access over them.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { Topology } from "../topology/topology.ts";
import { nsOf, ticksOf } from "../units.ts";

/** Reads and writes: latency in ns, or bandwidth in GB/s. */
export type Pair = readonly [read: number, write: number];

/** The figures of the links. */
export interface LinkSettings {
  /** Latency of node 0. */
  readonly localLatencyNs: Pair;
  /** Bandwidth of node 0, or null: nobody waits for it. */
  readonly localBandwidthGBs: Pair | null;
  /** By endpoint, entry 0 is endpoint 1: the whole latency seen by the core, without switches. */
  readonly latencyNs: readonly Pair[];
  /** By endpoint: up (reads) and down (writes). */
  readonly bandwidthGBs: readonly Pair[];
  /** A service time of endpoint links in place of wire bytes / bandwidth; null for that. */
  readonly serviceNs: number | null;
  /** Accesses that an endpoint link accepts before one completes; null for any number. */
  readonly credits: number | null;
  /** A switch: latency for both directions together, uplink bandwidth, service time in its place, credits. */
  readonly switch: {
    readonly latencyNs: number;
    readonly bandwidthGBs: Pair;
    readonly serviceNs: number | null;
    readonly credits: number | null;
  };
  /** The fabric link of an expander of another host. */
  readonly fabric: { readonly latencyNs: number; readonly bandwidthGBs: number; readonly credits: number | null };
  /** Bytes of a line, which is what every access moves. */
  readonly lineBytes: number;
  /** Bytes of a request or an acknowledgement on the other direction; 0: they cost nothing. */
  readonly headerBytes: number;
}

/** One direction of a link. */
export interface Link {
  /** `endpoint 2 up`. */
  readonly name: string;
  /** `local`, `endpoint`, `switch`. */
  readonly kind: "local" | "endpoint" | "switch";
  /** The number of the endpoint or switch; 0 for local. */
  readonly number: number;
  /** `up` is to the host. */
  readonly direction: "up" | "down";
  /** Ticks that a line occupies it. */
  readonly serviceTicks: number;
  /** Bandwidth in GB/s; null where a service time was given. */
  readonly bandwidthGBs: number | null;
  /** Credits, or 0 for any number. */
  readonly credits: number;
}

/** Links and routes, ready for replay. A route is `node * 2 + (write ? 1 : 0)`. */
export interface Network {
  /** Nodes: local and endpoints. */
  readonly nodes: number;
  /** Every direction of every link. */
  readonly links: readonly Link[];
  /** Hops of route r: entries `hopStart[r]` to `hopStart[r + 1]` of the hop columns. */
  readonly hopStart: Int32Array<ArrayBuffer>;
  /** The link of a hop. */
  readonly hopLink: Int32Array<ArrayBuffer>;
  /** Ticks that one line occupies the link of a hop. */
  readonly hopService: Float64Array<ArrayBuffer>;
  /** By link: no access reaches it sooner after its issue, in ticks. */
  readonly soonest: Float64Array<ArrayBuffer>;
  /** Unloaded latency of a route, in ticks. */
  readonly path: Float64Array<ArrayBuffer>;
  /** Of it: the device's own latency, in ticks. */
  readonly deviceTicks: Float64Array<ArrayBuffer>;
  /** Of it: switches and fabric links, in ticks. */
  readonly switchTicks: Float64Array<ArrayBuffer>;
  /** Of it: lengths, in ticks. */
  readonly lengthTicks: Float64Array<ArrayBuffer>;
}

interface Stage {
  readonly up: number;
  readonly down: number;
}

/**
 * Builds links and routes.
 *
 * @throws {BusbarError} `usage` when the links before the last one take longer than the whole path
 */
export function buildNetwork(topology: Topology, settings: LinkSettings): Network {
  const links: Link[] = [];
  const add = (kind: Link["kind"], number: number, name: string, pair: Pair, service: number | null, credits: number) =>
    ["up", "down"].map((direction, i) => {
      const bandwidth = pair[i] ?? pair[0];
      links.push({
        name: `${name} ${direction}`,
        kind,
        number,
        direction: i === 0 ? "up" : "down",
        serviceTicks: ticksOf(service ?? settings.lineBytes / bandwidth),
        bandwidthGBs: service === null ? bandwidth : null,
        credits,
      });
      return links.length - 1;
    });
  const stage = (...args: Parameters<typeof add>): Stage => {
    const [up = 0, down = 0] = add(...args);
    return { up, down };
  };
  const local = settings.localBandwidthGBs === null
    ? null
    : stage("local", 0, "local", settings.localBandwidthGBs, null, 0);
  const ends = topology.endpoints.map((endpoint, i) =>
    stage(
      "endpoint",
      endpoint.number,
      endpoint.name,
      settings.bandwidthGBs[i] ?? [50, 50],
      settings.serviceNs,
      settings.credits ?? 0,
    )
  );
  const switches = topology.switches.map((one) => {
    const name = one.fabric ? one.label ?? "fabric" : `switch ${one.label ?? one.number}`;
    const { fabric, switch: setting } = settings;
    return one.fabric
      ? stage("switch", one.number, name, [fabric.bandwidthGBs, fabric.bandwidthGBs], null, fabric.credits ?? 0)
      : stage("switch", one.number, name, setting.bandwidthGBs, setting.serviceNs, setting.credits ?? 0);
  });

  const nodes = 1 + ends.length;
  const hopStart = new Int32Array(nodes * 2 + 1);
  const hopLinks: number[] = [];
  const hopServices: number[] = [];
  const path = new Float64Array(nodes * 2);
  const deviceTicks = new Float64Array(nodes * 2);
  const switchTicks = new Float64Array(nodes * 2);
  const lengthTicks = new Float64Array(nodes * 2);
  const header = (link: number): number =>
    Math.round((links[link] as Link).serviceTicks * settings.headerBytes / settings.lineBytes);
  for (let node = 0; node < nodes; node++) {
    const endpoint = topology.endpoints[node - 1];
    const end = node === 0 ? local : ends[node - 1] ?? null;
    const stages = end === null ? [] : [end, ...(endpoint?.via ?? []).map((number) => switches[number - 1] as Stage)];
    for (const write of [0, 1] as const) {
      const route = node * 2 + write;
      hopStart[route] = hopLinks.length;
      const up = stages.map((one) => one.up);
      const down = stages.map((one) => one.down).reverse();
      const data = write === 0 ? up : down;
      if (settings.headerBytes > 0 && write === 0) {
        for (const link of down) hopLinks.push(link), hopServices.push(header(link));
      }
      for (const link of data) hopLinks.push(link), hopServices.push((links[link] as Link).serviceTicks);
      if (settings.headerBytes > 0 && write === 1) {
        for (const link of up) hopLinks.push(link), hopServices.push(header(link));
      }
      const latency = node === 0 ? settings.localLatencyNs : settings.latencyNs[node - 1] ?? [0, 0];
      deviceTicks[route] = ticksOf(latency[write]);
      for (const number of endpoint?.via ?? []) {
        const fabric = topology.switches[number - 1]?.fabric === true;
        switchTicks[route] = (switchTicks[route] as number) +
          ticksOf(fabric ? settings.fabric.latencyNs : settings.switch.latencyNs);
      }
      lengthTicks[route] = ticksOf(endpoint?.extraNs ?? 0);
      path[route] = (deviceTicks[route] as number) + (switchTicks[route] as number) + (lengthTicks[route] as number);
      const before = hopServices.slice(hopStart[route], -1).reduce((sum, ticks) => sum + ticks, 0);
      if (before > 0 && !(before < (path[route] as number))) {
        const what = `${write === 0 ? "reads of" : "writes to"} ${endpoint?.name ?? "local memory"}`;
        throw new BusbarError(
          "usage",
          `${what} take ${nsOf(path[route] as number)} ns, but ${nsOf(before)} ns on the links before the last`,
          { operation: "build the links", hint: "raise the bandwidth of the links or the latency" },
        );
      }
    }
  }
  hopStart[nodes * 2] = hopLinks.length;
  return {
    nodes,
    links,
    hopStart,
    hopLink: Int32Array.from(hopLinks),
    hopService: Float64Array.from(hopServices),
    soonest: soonestArrivals(links.length, hopStart, hopLinks, hopServices),
    path,
    deviceTicks,
    switchTicks,
    lengthTicks,
  };
}

/** The same links with every route leading to node 0: the baseline that a slowdown is measured against. */
export function everythingLocal(network: Network): Network {
  const take = (column: Float64Array): Float64Array<ArrayBuffer> =>
    column.map((_, route) => column[route % 2] as number);
  const hopStart = new Int32Array(network.hopStart.length);
  const hopLink: number[] = [];
  const hopService: number[] = [];
  for (let route = 0; route < network.nodes * 2; route++) {
    hopStart[route] = hopLink.length;
    for (let hop = network.hopStart[route % 2] as number; hop < (network.hopStart[route % 2 + 1] as number); hop++) {
      hopLink.push(network.hopLink[hop] as number);
      hopService.push(network.hopService[hop] as number);
    }
  }
  hopStart[network.nodes * 2] = hopLink.length;
  return {
    ...network,
    hopStart,
    hopLink: Int32Array.from(hopLink),
    hopService: Float64Array.from(hopService),
    soonest: soonestArrivals(network.links.length, hopStart, hopLink, hopService),
    path: take(network.path),
    deviceTicks: take(network.deviceTicks),
    switchTicks: take(network.switchTicks),
    lengthTicks: take(network.lengthTicks),
  };
}

function soonestArrivals(
  links: number,
  hopStart: Int32Array,
  hopLink: readonly number[],
  hopService: readonly number[],
): Float64Array<ArrayBuffer> {
  const soonest = new Float64Array(links).fill(Infinity);
  for (let route = 0; route + 1 < hopStart.length; route++) {
    let after = 0;
    for (let hop = hopStart[route] as number; hop < (hopStart[route + 1] as number); hop++) {
      const link = hopLink[hop] as number;
      soonest[link] = Math.min(soonest[link] as number, after);
      after += hopService[hop] as number;
    }
  }
  return soonest;
}
