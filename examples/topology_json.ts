// The PCI tree as JSON, for other programs: address, kind, and what hangs below.
import { openMachine, readTopology } from "@busbar/busbar";
import type { TopologyNode } from "@busbar/busbar/pci";

interface Branch {
  readonly address: string;
  readonly kind: string;
  readonly below: readonly Branch[];
}

function branch({ function: fn, kind, children }: TopologyNode): Branch {
  return { address: fn.name, kind, below: children.map(branch) };
}

const topology = readTopology(openMachine(Deno.args[0]).host);
const roots = topology.nodes.filter((node) => node.parent === null);
console.log(JSON.stringify(roots.map(branch), null, 2));
