/**
 * A machine with 400 functions: its tree, verdicts between all pairs of its devices by class, and pictures. The design's limit is
 * 1 s for the verdicts, and 1 MB for the page.
 *
 * The baseline reads the tree alone, so that a ratio says what the rest costs beside it.
 */

import { judgeClasses, peerClasses } from "../src/pci/p2p_classes.ts";
import { judgePair } from "../src/pci/p2p.ts";
import { isPeer, readTopology } from "../src/pci/topology.ts";
import { manyFunctions } from "../tests/unit/many_functions.ts";
import { pciMachine } from "../tests/unit/pci_machine.ts";
import { parsePciNames } from "../src/pci/ids.ts";
import { pictureHtml } from "../tools/render/pci/topology_page.ts";
import { pictureSvg } from "../tools/render/pci/topology_picture.ts";

const COUNT = 400;
const group = `${COUNT} functions`;
const { host } = pciMachine({ functions: manyFunctions(COUNT) });
const topology = readTopology(host);
const of = { topology, shown: new Set(topology.nodes), names: parsePciNames("", null) };
const peers = topology.nodes.filter(isPeer);
const matrix = judgeClasses(topology, peerClasses(peers));

Deno.bench({ name: "tree", group, baseline: true }, () => {
  if (readTopology(host).nodes.length !== COUNT) throw new Error("too few");
});

Deno.bench({ name: `verdicts of ${peers.length}², by class`, group }, () => {
  judgeClasses(topology, peerClasses(peers));
});

Deno.bench({ name: `verdicts of ${peers.length}², pair by pair`, group }, () => {
  for (const from of peers) for (const to of peers) judgePair(topology, from, to);
});

Deno.bench({ name: "page with verdicts", group }, () => {
  if (pictureHtml(of, matrix).length > 1e6) throw new Error("more than 1 MB");
});

Deno.bench({ name: "picture with verdicts", group }, () => {
  pictureSvg(of, matrix);
});
