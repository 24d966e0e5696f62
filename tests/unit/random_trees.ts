/** Judging classes of functions compared with judging every pair, on random trees. */

import { assert, assertEquals } from "@std/assert";

import { judgePair, type PairVerdict } from "../../src/pci/p2p.ts";
import { judgeClasses, type PeerClass, peerClasses } from "../../src/pci/p2p_classes.ts";
import { isBridge, readTopology, type Topology, type TopologyNode } from "../../src/pci/topology.ts";
import { Random } from "./random.ts";
import { type FunctionSpec, pciMachine, type PciMachineSpec } from "./pci_machine.ts";

/** A verdict without the names of the functions. */
function shapeOf({ route, class: kind, hops, writes, reads, findings }: PairVerdict): string {
  return JSON.stringify([
    route,
    kind,
    hops,
    writes,
    reads,
    findings.map((finding) => [finding.rule, finding.writes, finding.reads]),
  ]);
}

/** Judges every pair both ways and compares. */
export function comparePairs(topology: Topology, peers: readonly TopologyNode[], where: string): PeerClass[] {
  const classes = peerClasses(peers);
  assertEquals(classes.flat().length, peers.length, where);
  const { verdicts } = judgeClasses(topology, classes);
  const indexOf = new Map(classes.flatMap((members, index) => members.map((node) => [node, index] as const)));
  for (const from of peers) {
    for (const to of peers) {
      if (from === to) continue;
      const grouped = verdicts[indexOf.get(from) ?? -1]?.[indexOf.get(to) ?? -1];
      assert(grouped !== undefined, where);
      const [one, all] = [shapeOf(grouped), shapeOf(judgePair(topology, from, to))];
      if (one !== all) assertEquals(one, all, `${where}: ${from.function.name} to ${to.function.name}`);
    }
  }
  return classes;
}

/** A random machine: root ports with switches, devices of several functions, and every fact that a rule reads. */
function randomMachine(random: Random): PciMachineSpec {
  const functions: FunctionSpec[] = [];
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  const oneOf = <T>(...values: readonly T[]): T => values[random.below(values.length)] as T;
  const rarely = (): boolean => random.below(6) === 0;
  let group = 0;
  let address = 0x9000_0000;
  const device = (domain: string, bus: number): void => {
    const count = oneOf(1, 1, 1, 2, 3);
    const gpu = rarely();
    for (let fn = 0; fn < count; fn++) {
      functions.push({
        at: `${domain}:${two(bus)}:00.${fn}`,
        id: gpu ? "10de:2684" : "144d:a80a",
        class: gpu ? "030000" : "010802",
        bars: rarely() ? [] : [{ bar: 0, address: rarely() ? 0 : address, size: 0x4000, type: "mem32" }],
        ...(rarely() ? { power: "D3hot" as const } : {}),
        ...(rarely() ? { command: oneOf(0, 2, 4) } : {}),
        ...(rarely() ? {} : { group: group++ }),
        ...(rarely() ? {} : { node: random.below(2) }),
        ...(rarely() ? { readable: oneOf(64, 256) as 64 | 256 } : {}),
        ...(random.below(20) === 0 ? { gone: true } : {}),
      });
      address += 0x10_0000;
    }
  };
  const port = (at: string, kind: "root-port" | "upstream" | "downstream", first: number, last: number): void => {
    functions.push({
      at,
      id: "8086:347a",
      kind,
      buses: [first, last],
      acs: rarely() ? ["ReqRedir"] : [],
      ...(rarely() ? { command: oneOf(0, 2, 4) } : {}),
    });
  };
  const roots = 1 + random.below(2);
  for (let root = 0; root < roots; root++) {
    const domain = root.toString(16).padStart(4, "0");
    functions.push({ at: `${domain}:00:00.0`, id: "8086:09a2", kind: "host-bridge", node: root });
    let bus = 1;
    for (let slot = 1; slot <= 3; slot++) {
      const below = random.below(5);
      const last = bus + 1 + below;
      port(`${domain}:00:${two(slot)}.0`, "root-port", bus, last);
      if (below === 0) device(domain, bus);
      else {
        port(`${domain}:${two(bus)}:00.0`, "upstream", bus + 1, last);
        for (let i = 0; i < below; i++) {
          port(`${domain}:${two(bus + 1)}:${two(i)}.0`, "downstream", bus + 2 + i, bus + 2 + i);
          device(domain, bus + 2 + i);
        }
      }
      bus = last + 1;
    }
  }
  return { functions };
}

/**
 * Compares on so many random trees, with bridges among the peers now and then.
 *
 * @returns how many functions another one stood for: about one in two trees
 */
export function compareRandomTrees(count: number): number {
  const random = new Random("classes of peers");
  let grouped = 0;
  for (let i = 0; i < count; i++) {
    const { host } = pciMachine(randomMachine(random));
    const topology = readTopology(host);
    const peers = topology.nodes.filter((node) => !isBridge(node.kind) || random.below(8) === 0);
    const classes = comparePairs(topology, peers, `tree ${i}`);
    grouped += peers.length - classes.length;
  }
  return grouped;
}
