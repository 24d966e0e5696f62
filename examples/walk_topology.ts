// Walks the PCI tree of this machine or of a recorded one, and asks which functions reach the drive.
import { findNode, judgePair, openMachine, readTopology } from "@busbar/busbar";

const topology = readTopology(openMachine(Deno.args[0] ?? "file:docs/tools/desktop.dump").host);
for (const node of topology.nodes) console.log(node.function.name, node.kind, node.rootComplex.name);
const [gpu, drive] = [findNode(topology, "0a:00.0"), findNode(topology, "01:00.0")];
const { writes, reads, decidedBy } = judgePair(topology, gpu, drive);
console.log(`writes: ${writes}, reads: ${reads}`);
for (const { text } of decidedBy) console.log(`  ${text}`);
