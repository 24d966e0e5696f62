/**
 * A machine that is wide, deep and has names that need escaping, for tests of pictures.
 * @module
 */

import { parsePciNames, type PciNames } from "../../src/pci/ids.ts";
import { judgeClasses, type PeerMatrix } from "../../src/pci/p2p_classes.ts";
import { isPeer, readTopology, type Topology, type TopologyNode } from "../../src/pci/topology.ts";
import { type FunctionSpec, pciMachine } from "./pci_machine.ts";

/** Names that need escaping. */
export const NAMES: PciNames = parsePciNames(
  "10de  NVIDIA Corporation\n\t2330  GH100 [H100 SXM5 80GB] <&\"'>\n",
  "made-up",
);

/** Three switches with eight devices each, one of them downgraded: wide, deep, and with names that need escaping. */
function bigMachine(): Topology {
  const functions: FunctionSpec[] = [{ at: "00:00.0", id: "8086:09a2", kind: "host-bridge" }];
  for (let s = 0; s < 3; s++) {
    const bus = 0x10 + 0x20 * s;
    const at = (n: number): string => (bus + n).toString(16).padStart(2, "0");
    functions.push(
      {
        at: `00:0${s + 1}.0`,
        id: "8086:347a",
        kind: "root-port",
        buses: [bus, bus + 9],
        link: [4, 16, 4, 16],
        acs: [],
      },
      { at: `${at(0)}:00.0`, id: "10b5:8747", kind: "upstream", buses: [bus + 1, bus + 9], link: [4, 16, 4, 16] },
    );
    for (let d = 0; d < 8; d++) {
      const port = `${at(1)}:${d.toString(16).padStart(2, "0")}.0`;
      functions.push(
        {
          at: port,
          id: "10b5:8747",
          kind: "downstream",
          buses: [bus + 2 + d, bus + 2 + d],
          link: [4, 16, 4, 16],
          acs: [],
        },
        {
          at: `${at(2 + d)}:00.0`,
          id: "10de:2330",
          class: "030200",
          link: d === 3 ? [1, 8, 5, 16] : [4, 16, 5, 16],
          bars: [{ bar: 0, address: 0x8000_0000 + 0x1000_0000 * (8 * s + d), size: 0x100_0000 }],
          group: 8 * s + d,
          node: s,
          driver: "nvidia",
        },
      );
    }
  }
  return readTopology(pciMachine({ functions, cpu: { "model name": "A <processor> & more" } }).host);
}

/** The machine. */
export const topology: Topology = bigMachine();
/** All its functions. */
export const shown: ReadonlySet<TopologyNode> = new Set(topology.nodes);
/** Verdicts of some pairs, function by function. */
export const matrix: PeerMatrix = judgeClasses(
  topology,
  topology.nodes.filter(isPeer).slice(0, 8).map((peer) => [peer]),
);
