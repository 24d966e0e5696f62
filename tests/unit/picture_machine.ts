/**
 * A machine that is wide, deep and has names that need escaping, for tests of pictures.
 * @module
 */

import { parsePciNames, type PciNames } from "../../src/pci/ids.ts";
import { readNumaNodes } from "../../src/pci/numa_nodes.ts";
import { judgeClasses, peerClasses, type PeerMatrix } from "../../src/pci/p2p_classes.ts";
import { isPeer, readTopology, type Topology, type TopologyNode } from "../../src/pci/topology.ts";
import type { PictureOf } from "../../tools/render/pci/topology_labels.ts";
import { manyFunctions } from "./many_functions.ts";
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
/** What pictures of it are made from. */
export const picture: PictureOf = { topology, shown, names: NAMES };
/** Verdicts of some pairs, function by function. */
export const matrix: PeerMatrix = judgeClasses(
  topology,
  topology.nodes.filter(isPeer).slice(0, 8).map((peer) => [peer]),
);

const SERVER_NAMES: PciNames = parsePciNames(
  [
    ...["10de  NVIDIA Corporation", "\t2330  GH100 [H100 SXM5 80GB]", "15b3  Mellanox Technologies"],
    ...["\t1021  MT2910 Family [ConnectX-7]", "144d  Samsung Electronics Co Ltd"],
    ...[
      "\ta80a  NVMe SSD Controller PM9A1/PM9A3/980PRO",
      "8086  Intel Corporation",
      "\t347a  Root Port",
      "\t09a2  VT-d",
    ],
    ...[
      "1000  Broadcom / LSI",
      "\tc030  PEX890xx PCIe Gen 5 Switch",
      "10b5  PLX Technology, Inc.",
      "\t8747  PEX 8747 Switch",
    ],
    "",
  ].join("\n"),
  "made-up",
);

/** A server as it is sold for training: two sockets, four switches, eight GPUs, eight network cards, sixteen drives. */
export const server: PictureOf = gpuServer();
/** Verdicts of all pairs of {@linkcode server}, by class. */
export const serverMatrix: PeerMatrix = judgeClasses(
  server.topology,
  peerClasses(server.topology.nodes.filter(isPeer)),
);
/** 400 functions below switches of three sockets. */
export const large: PictureOf = pictureOf(manyFunctions(400));
/** Verdicts of all pairs of {@linkcode large}, by class. */
export const largeMatrix: PeerMatrix = judgeClasses(large.topology, peerClasses(large.topology.nodes.filter(isPeer)));

function pictureOf(
  functions: readonly FunctionSpec[],
  called: ReadonlyMap<string, readonly string[]> = new Map(),
  groups: Readonly<Record<string, string>> = {},
): PictureOf {
  const sockets = new Set(functions.flatMap(({ node }) => node ?? [])).size;
  const topology = readTopology(
    pciMachine({
      functions,
      groups,
      cpu: { "model name": `${sockets} sockets, made up` },
      nodes: Array.from({ length: sockets }, (_, i) => [`${56 * i}-${56 * i + 55}`, 512 << 20] as const),
    }).host,
  );
  return {
    topology,
    shown: new Set(topology.nodes),
    names: SERVER_NAMES,
    kernelNames: called,
    numaNodes: readNumaNodes(topology.host, topology.nodes.map((node) => node.function)),
  };
}

function gpuServer(): PictureOf {
  const functions: FunctionSpec[] = [];
  const called = new Map<string, readonly string[]>();
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  const counts = { gpu: 0, nic: 0, drive: 0 };
  for (let board = 0; board < 4; board++) {
    const node = board >> 1;
    const root = board * 0x40;
    const port = { link: [5, 16, 5, 16], acs: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"], node } as const;
    functions.push(
      { at: `${two(root)}:00.0`, id: "8086:09a2", kind: "host-bridge", node },
      { at: `${two(root)}:01.0`, id: "8086:347a", kind: "root-port", buses: [root + 1, root + 20], ...port },
      {
        ...{ at: `${two(root + 1)}:00.0`, id: "1000:c030", kind: "upstream", buses: [root + 2, root + 20] },
        ...{ link: [5, 16, 5, 16], node },
      },
    );
    for (let slot = 0; slot < 8; slot++) {
      const bus = root + 3 + slot;
      const at = `${two(bus)}:00.0`;
      const kind = slot < 2 ? "gpu" : slot < 4 ? "nic" : "drive";
      const lanes = kind === "drive" ? 4 : 16;
      const own = {
        gpu: { id: "10de:2330", class: "030200", driver: "nvidia" },
        nic: { id: "15b3:1021", class: "020000", driver: "mlx5_core" },
        drive: { id: "144d:a80a", class: "010802", driver: "nvme" },
      }[kind];
      const index = counts[kind]++;
      called.set(
        `0000:${at}`,
        kind === "gpu" ? [`card${index}`] : kind === "nic" ? [`eth${index}`, `mlx5_${index}`] : [`nvme${index}`],
      );
      // The third drive of the second switch came up with half its lanes.
      const isSlow = kind === "drive" && index === 6;
      functions.push(
        {
          ...{ at: `${two(root + 2)}:${two(slot)}.0`, id: "1000:c030", kind: "downstream", buses: [bus, bus], node },
          ...{ link: [5, lanes, 5, lanes], acs: board === 3 ? ["SrcValid", "ReqRedir", "CmpltRedir"] : ["SrcValid"] },
        },
        {
          ...{ at, ...own, node, group: 16 * board + slot },
          link: isSlow ? [4, 2, 4, 4] : kind === "drive" ? [4, 4, 4, 4] : [5, 16, 5, 16],
          bars: [{
            bar: 0,
            address: 0x20_0000_0000 + (8 * board + slot) * 0x20_0000_0000,
            size: kind === "gpu" ? 0x20_0000_0000 : kind === "nic" ? 0x200_0000 : 0x4000,
            type: "mem64-prefetchable",
          }],
        },
      );
    }
  }
  const groups = functions.flatMap(({ group }) => group === undefined ? [] : [[String(group), "identity"] as const]);
  return pictureOf(functions, called, Object.fromEntries(groups));
}
