/**
 * The tree that the text describes: endpoints with their paths, switches with their uplinks.
 * @module
 */

import { type NewickGroup, type NewickLeaf, parseNewick } from "./newick.ts";

/** A switch, or the fabric link in front of an expander of another host. */
export interface Switch {
  /** From 1, in the order of the `(` in the text; fabric links come after all switches. */
  readonly number: number;
  /** Its label, or null. */
  readonly label: string | null;
  /** The switch above it, or 0 for the host. */
  readonly parent: number;
  /** Extra latency of its uplink, in ns. */
  readonly lengthNs: number;
  /** True for the fabric link of a remote expander. */
  readonly fabric: boolean;
}

/** An endpoint: a memory device. */
export interface Endpoint {
  /** From 1. Remote ones come after all others. */
  readonly number: number;
  /** As printed: `endpoint 2`, `R:1:2`. */
  readonly name: string;
  /** Switches and fabric links on its path, from the device to the host. */
  readonly via: readonly number[];
  /** Switches on its path. */
  readonly hops: number;
  /** Sum of the lengths on its path, in ns. */
  readonly extraNs: number;
  /** True for an expander of another host. */
  readonly remote: boolean;
}

/** A topology, checked. */
export interface Topology {
  /** The text it was read from. */
  readonly text: string;
  /** By number: entry 0 is endpoint 1. */
  readonly endpoints: readonly Endpoint[];
  /** By number: entry 0 is switch 1. */
  readonly switches: readonly Switch[];
  /** What is odd and allowed, such as an endpoint that the text does not mention. */
  readonly warnings: readonly string[];
}

interface Found {
  readonly leaf: NewickLeaf;
  readonly via: readonly number[];
  readonly extraNs: number;
}

/**
 * Reads a topology and numbers what is in it.
 *
 * @param configured how many endpoints there are, or null to take the largest number in the text
 * @throws {BusbarError} `usage`, see {@linkcode parseNewick}
 */
export function readTopology(text: string, configured: number | null = null): Topology {
  const root = parseNewick(text, configured);
  const switches: Switch[] = [];
  const found: Found[] = [];
  const walk = (group: NewickGroup, above: number, via: readonly number[], extraNs: number): void => {
    for (const child of group.children) {
      if (child.kind !== "group") {
        if (child.kind !== "cpu") found.push({ leaf: child, via, extraNs: extraNs + child.lengthNs });
        continue;
      }
      const number = switches.length + 1;
      switches.push({ number, label: child.label, parent: above, lengthNs: child.lengthNs, fabric: false });
      walk(child, number, [number, ...via], extraNs + child.lengthNs);
    }
  };
  walk(root, 0, [], 0);
  const warnings: string[] = [];
  const count = Math.max(configured ?? 0, ...found.filter(({ leaf }) => leaf.kind === "endpoint").map(numberOf));
  const endpoints: Endpoint[] = [];
  for (let number = 1; number <= count; number++) {
    const here = found.find(({ leaf }) => leaf.kind === "endpoint" && leaf.number === number);
    if (here === undefined) warnings.push(`endpoint ${number} is not in the topology: it stands directly at the host`);
    const via = here?.via ?? [];
    const extraNs = here?.extraNs ?? 0;
    endpoints.push({ number, name: `endpoint ${number}`, via, hops: via.length, extraNs, remote: false });
  }
  for (const { leaf, via, extraNs } of found.filter(({ leaf }) => leaf.kind === "remote")) {
    const fabric = switches.length + 1;
    const name = `R:${leaf.remoteHost}:${leaf.number}`;
    switches.push({ number: fabric, label: `fabric ${name}`, parent: via[0] ?? 0, lengthNs: 0, fabric: true });
    const number = endpoints.length + 1;
    endpoints.push({ number, name, via: [fabric, ...via], hops: via.length, extraNs, remote: true });
  }
  return { text, endpoints, switches, warnings };
}

function numberOf({ leaf }: Found): number {
  return leaf.number;
}
