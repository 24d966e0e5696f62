/**
 * `pcie_topology [device…]`: the tree of a machine's PCI functions, and which of them can reach each other.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BatchedReads } from "../src/core/batched_reads.ts";
import { BusbarError } from "../src/core/error.ts";
import { type Host, thisMachine } from "../src/core/host.ts";
import { type Locator, parseLocator, readOptions, wrongLocatorKind } from "../src/core/locator.ts";
import { formatPciAddress } from "../src/core/pci_address.ts";
import { machineOf } from "../ffi/machine.ts";
import { type PciNames, readPciNames } from "../src/pci/ids.ts";
import { namesOfFunctions, pciLocatorOf } from "../src/pci/kernel_names.ts";
import { formatMachine, readMachineFile } from "../src/pci/machine_file.ts";
import { readNumaNodes } from "../src/pci/numa_nodes.ts";
import { judgePair, type PairVerdict } from "../src/pci/p2p.ts";
import { judgeClasses, peerClasses, type PeerMatrix } from "../src/pci/p2p_classes.ts";
import { findNode, isPeer, nodesAbove, readTopology, type Topology, type TopologyNode } from "../src/pci/topology.ts";
import { writeOutput } from "./cli/files.ts";
import { HOST_OPTION, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printJsonWithList, printSchema } from "./cli/output.ts";
import { topologyJson, topologySchema, verdictJson } from "./render/pci/topology_json.ts";
import type { PictureOf } from "./render/pci/topology_labels.ts";
import { pictureHtml } from "./render/pci/topology_page.ts";
import { pictureSvg } from "./render/pci/topology_picture.ts";
import { matrixLines, treeLines } from "./render/pci/topology_text.ts";
import { run } from "./cli/run.ts";

/** The command line of `pcie_topology`. */
export const command: CommandUnknownOpts = new Command("pcie_topology")
  .description("Show the tree of PCI functions: links, ACS, IOMMU groups, BARs; and who can reach whom. Only reads.")
  .argument("[device...]", "0000:01:00.0: only these and what lies above them; file:RECORDING: another machine")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--p2p", "judge traffic between the devices given, or between all drives, GPUs, network and CXL devices")
  .option(
    "--svg <file>",
    "write a picture: one SVG, nothing fetched, readable in light and dark; with --p2p the verdicts too",
  )
  .option("--html <file>", "write a page: a tree to fold and search, and the verdicts with their reasons")
  .option("--save <file>", "write a recording: file:FILE shows the same again, lspci -F reads it")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action((texts, options) => {
    if (options.jsonSchema) return printSchema(topologySchema());
    const { host, addresses, problems } = placeOf(options.host === undefined ? texts : [...texts, options.host]);
    const read = readTopology(host);
    const topology: Topology = { ...read, problems: [...problems, ...read.problems] };
    const chosen = addresses.map((address) => findNode(topology, address));
    const shown = new Set(chosen.length === 0 ? topology.nodes : chosen.flatMap((node) => [node, ...nodesAbove(node)]));
    const names = readPciNames();
    const peers = options.p2p || options.html !== undefined ? peersOf(topology, chosen) : [];
    const isDrawn = options.svg !== undefined || options.html !== undefined;
    const matrix = peers.length > 0 && (isDrawn || !options.json) ? matrixOf(topology, peers) : null;
    if (options.save !== undefined) writeOutput(options.save, formatMachine(host, functionsOf(shown), []));
    if (isDrawn) {
      const of = pictureOf(topology, shown, names);
      if (options.svg !== undefined) writeOutput(options.svg, pictureSvg(of, options.p2p ? matrix : null));
      if (options.html !== undefined) writeOutput(options.html, pictureHtml(of, matrix));
    }
    for (const problem of topology.problems) note(`pcie_topology: ${problem}`);
    if (options.json) {
      if (!options.p2p) return printJson(topologyJson(topology, shown, names, null));
      const verdicts = verdictsOf(topology, peers).map(verdictJson);
      return printJsonWithList(topologyJson(topology, shown, names, []), "p2p", verdicts);
    }
    print(treeLines(topology, shown, names).join("\n"));
    if (options.p2p && matrix !== null) print(["", ...matrixLines(matrix, names)].join("\n"));
  });

/** What a picture shows besides the tree: the kernel's names, and NUMA nodes. */
function pictureOf(topology: Topology, shown: ReadonlySet<TopologyNode>, names: PciNames): PictureOf {
  return {
    topology,
    shown,
    names,
    kernelNames: namesOfFunctions(new BatchedReads(topology.host)),
    numaNodes: readNumaNodes(topology.host, functionsOf(shown)),
  };
}

/** The machine that is meant, and the functions of it. */
function placeOf(texts: readonly string[]): { host: Host; addresses: string[]; problems: readonly string[] } {
  const machines = new Map<string, () => Host>();
  const addresses: string[] = [];
  const nodes: Locator[] = [];
  let problems: readonly string[] = [];
  let recordings = 0;
  for (const text of texts) {
    const locator = parseLocator(text);
    if (locator.host !== null) machines.set(locator.host.text, () => machineOf(locator).host);
    if (locator.kind === "pci") addresses.push(locator.host === null ? text : formatPciAddress(locator.address));
    else if (locator.kind === "file") {
      recordings++;
      readOptions(locator, {});
      machines.set(text, () => {
        const machine = readMachineFile(locator.path);
        problems = machine.problems;
        return machine.host;
      });
    } else if (locator.kind === "node") nodes.push(locator);
    else if (locator.kind !== "machine") throw wrongLocatorKind(locator, "pcie_topology", TAKES);
  }
  if (recordings > 1) throw new BusbarError("usage", "one machine at a time: two recordings are given");
  if (machines.size > 1) throw new BusbarError("usage", `one machine at a time: ${[...machines.keys()].join(" or ")}`);
  const [open] = machines.values();
  const host = open?.() ?? thisMachine;
  for (const node of nodes) {
    const named = pciLocatorOf(node, host, "pcie_topology");
    if (named.kind !== "pci") throw wrongLocatorKind(node, "pcie_topology", TAKES);
    addresses.push(formatPciAddress(named.address));
  }
  return { host, addresses, problems };
}

const TAKES: readonly string[] = [
  "PCI addresses (as in 0000:01:00.0)",
  "names as nvme0, nvme0n1, mem0",
  "file:RECORDING",
  "ssh:HOST/ for all of a machine",
];

function functionsOf(nodes: Iterable<TopologyNode>): TopologyNode["function"][] {
  return [...nodes].map((node) => node.function).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** More functions than these are shown class by class: a matrix of hundreds of columns tells nobody anything. */
const LARGEST_WHOLE_MATRIX = 24;

/** The functions that were asked for, or those that move data. */
function peersOf(topology: Topology, chosen: readonly TopologyNode[]): readonly TopologyNode[] {
  const peers = chosen.length > 0 ? [...new Set(chosen)] : topology.nodes.filter(isPeer);
  if (peers.length === 0) {
    throw new BusbarError("absent", `${topology.host.name} has no drives, GPUs, network or CXL devices`, {
      hint: "name the functions: pcie_topology --p2p 0000:01:00.0 0000:02:00.0",
    });
  }
  return peers;
}

function matrixOf(topology: Topology, peers: readonly TopologyNode[]): PeerMatrix {
  const classes = peers.length > LARGEST_WHOLE_MATRIX ? peerClasses(peers) : peers.map((peer) => [peer]);
  return judgeClasses(topology, classes);
}

/** Every ordered pair, one at a time: of hundreds of functions there are tens of thousands. */
function* verdictsOf(topology: Topology, peers: readonly TopologyNode[]): Generator<PairVerdict> {
  for (const initiator of peers) {
    for (const target of peers) yield judgePair(topology, initiator, target);
  }
}

if (import.meta.main) await run(command);
