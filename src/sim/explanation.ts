/**
 * How the latency of one access is made up.
 * @module
 */

import type { RunState } from "./run_state.ts";
import { nsOf } from "./units.ts";

/** One access, taken apart. All times in ns of the run. */
export interface Explanation {
  /** Where it went: `read of endpoint 2`; or why there is nothing to take apart. */
  readonly access: string;
  /** When it was issued; null where requests are not replayed. */
  readonly issueNs: number | null;
  /** When it was complete; null where requests are not replayed. */
  readonly completionNs: number | null;
  /** Parts that add up to completion less issue. */
  readonly parts: readonly { readonly part: string; readonly ns: number }[];
  /** The links of its way, with arrival, wait and service. */
  readonly links: readonly {
    readonly link: string;
    readonly arrivalNs: number;
    readonly waitNs: number;
    readonly serviceNs: number;
  }[];
}

/** The explanation that was asked for; null when none was. */
export function explanationOf(state: RunState): Explanation | null {
  const { explained, network, config } = state;
  if (explained === null) return null;
  if (explained === "no request") {
    return {
      access: "it made no request: it hit a cache, or its page found no room",
      issueNs: null,
      completionNs: null,
      parts: [],
      links: [],
    };
  }
  const { route, issueTicks, pathTicks, extraTicks, hops, completionTicks } = explained;
  const node = route >> 1;
  const name = config.topology.endpoints[node - 1]?.name ?? "local memory";
  const beyond = (network.switchTicks[route] as number) + (network.lengthTicks[route] as number);
  const parts = [
    // A curve may have changed the device's part since the run began.
    { part: node === 0 ? "local memory" : "device", ns: nsOf(pathTicks - beyond) },
    { part: "switches", ns: nsOf(network.switchTicks[route] as number) },
    { part: "lengths", ns: nsOf(network.lengthTicks[route] as number) },
    ...hops.map(({ link, arrivalTicks, startTicks }) => ({
      part: `wait for ${network.links[link]?.name ?? "link"}`,
      ns: nsOf(startTicks - arrivalTicks),
    })),
    { part: "coherence, walks and moves", ns: nsOf(extraTicks) },
  ];
  return {
    access: `${(route & 1) === 0 ? "read of" : "write to"} ${name}`,
    issueNs: nsOf(issueTicks),
    completionNs: nsOf(completionTicks),
    parts,
    links: hops.map(({ link, arrivalTicks, startTicks, serviceTicks }) => ({
      link: network.links[link]?.name ?? "link",
      arrivalNs: nsOf(arrivalTicks),
      waitNs: nsOf(startTicks - arrivalTicks),
      serviceNs: nsOf(serviceTicks),
    })),
  };
}
