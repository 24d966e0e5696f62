/** What `pcie_topology --p2p --json` says of each fixture is, byte for byte, what it said before functions were put into classes. */

import { assertEquals } from "@std/assert";
import { parse } from "@std/yaml";

import { parsePciNames } from "../../src/pci/ids.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { judgePair } from "../../src/pci/p2p.ts";
import { isPeer, readTopology } from "../../src/pci/topology.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { pciMachine, type PciMachineSpec } from "./pci_machine.ts";

const FOLDER = new URL("../fixtures/machines/", import.meta.url);
/** A line for each: file, characters, SHA-256. Written by the revision before classes; BUSBAR_UPDATE=1 writes what is said now. */
const RECORD = new URL("../fixtures/p2p_verdicts.txt", import.meta.url);

async function lineOf(name: string): Promise<string> {
  const fixture = parse(await Deno.readTextFile(new URL(name, FOLDER))) as PciMachineSpec & { recording?: string };
  const host = fixture.recording === undefined
    ? pciMachine(fixture).host
    : readMachineFile(new URL(fixture.recording, FOLDER).pathname).host;
  const topology = readTopology(host);
  const peers = topology.nodes.filter(isPeer);
  const verdicts = peers.flatMap((from) => peers.map((to) => judgePair(topology, from, to)));
  const { p2p } = topologyJson(topology, new Set(topology.nodes), parsePciNames("", "none"), verdicts);
  const text = JSON.stringify(p2p);
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `${name} ${text.length} ${new Uint8Array(hash).toHex()}`;
}

Deno.test("the verdicts of every fixture in JSON are those from before functions were put into classes", async () => {
  const recorded = (await Deno.readTextFile(RECORD)).trimEnd().split("\n");
  const names = recorded.map((line) => line.split(" ")[0] ?? "");
  const now = await Promise.all(names.map(lineOf));
  if (Deno.env.get("BUSBAR_UPDATE") === "1") await Deno.writeTextFile(RECORD, `${now.join("\n")}\n`);
  else assertEquals(now, recorded);
});
