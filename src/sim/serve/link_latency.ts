/**
 * Latency of single accesses over the links of a topology: the unloaded path, and the waits for links that are busy.
 * @module
 */

import { nsOf, ticksOf } from "../units.ts";
import type { AccessLatency } from "./service_settings.ts";

/** The columns of a network that this needs (src/sim/engine/network.ts builds them). A route is `node * 2 + write`. */
export interface RouteTable {
  /** Hops of route r: entries `hopStart[r]` to `hopStart[r + 1]`. */
  readonly hopStart: Int32Array;
  /** The link of a hop. */
  readonly hopLink: Int32Array;
  /** Ticks that one line occupies the link of a hop. */
  readonly hopService: Float64Array;
  /** Unloaded latency of a route, in ticks. */
  readonly path: Float64Array;
  /** Every direction of every link. */
  readonly links: readonly unknown[];
}

/** First come, first served on every link, in the order of the calls. */
export class LinkLatency implements AccessLatency {
  readonly #routes: RouteTable;
  readonly #nodeOf: (address: number) => number;
  readonly #free: Float64Array;

  /** @param nodeOf the node of an address: 0 is local, 1 the first endpoint */
  constructor(routes: RouteTable, nodeOf: (address: number) => number) {
    this.#routes = routes;
    this.#nodeOf = nodeOf;
    this.#free = new Float64Array(routes.links.length);
  }

  /** {@inheritDoc AccessLatency.latencyNs} */
  latencyNs(address: number, write: boolean, timeNs: number | null): number {
    const { hopStart, hopLink, hopService, path } = this.#routes;
    const route = this.#nodeOf(address) * 2 + (write ? 1 : 0);
    if (timeNs === null) return nsOf(path[route] as number);
    const issue = ticksOf(timeNs);
    let arrival = issue;
    let wait = 0;
    for (let hop = hopStart[route] as number; hop < (hopStart[route + 1] as number); hop++) {
      const link = hopLink[hop] as number;
      const start = Math.max(arrival, this.#free[link] as number);
      wait += start - arrival;
      arrival = start + (hopService[hop] as number);
      this.#free[link] = arrival;
    }
    return nsOf((path[route] as number) + wait);
  }
}
