/** Classes of functions that no verdict tells apart: equal to judging every pair, on random trees and on every fixture. */

import { assertEquals } from "@std/assert";
import { parse } from "@std/yaml";

import type { PeerClass } from "../../src/pci/p2p_classes.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { type FunctionSpec, pciMachine, type PciMachineSpec } from "./pci_machine.ts";
import { comparePairs, compareRandomTrees } from "./random_trees.ts";

Deno.test("on 25 random trees a pair of classes has the verdict of every pair of their members", () => {
  compareRandomTrees(25);
});

Deno.test("on every fixture a pair of classes has the verdict of every pair of their members", async () => {
  const folder = new URL("../fixtures/machines/", import.meta.url);
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".yaml")) continue;
    const fixture = parse(await Deno.readTextFile(new URL(name, folder))) as PciMachineSpec & { recording?: string };
    const host = fixture.recording === undefined
      ? pciMachine(fixture).host
      : readMachineFile(new URL(fixture.recording, folder).pathname).host;
    const topology = readTopology(host);
    comparePairs(topology, topology.nodes, name);
  }
});

Deno.test("eight drives below one switch are one class; with redirection on at one of their ports, two", () => {
  const drives = (acs: readonly string[]): PeerClass[] => {
    const functions: FunctionSpec[] = [
      { at: "00:00.0", id: "8086:09a2", kind: "host-bridge" },
      { at: "00:01.0", id: "8086:347a", kind: "root-port", buses: [1, 10] },
      { at: "01:00.0", id: "10b5:8747", kind: "upstream", buses: [2, 10] },
    ];
    for (let i = 0; i < 8; i++) {
      const bars = [{ bar: 0, address: 0x9000_0000 + i * 0x10_0000, size: 0x4000, type: "mem32" as const }];
      functions.push(
        { at: `02:0${i}.0`, id: "10b5:8747", kind: "downstream", buses: [3 + i, 3 + i], acs: i === 5 ? acs : [] },
        { at: `${(3 + i).toString(16).padStart(2, "0")}:00.0`, id: "144d:a80a", class: "010802", bars },
      );
    }
    const topology = readTopology(pciMachine({ functions }).host);
    return comparePairs(topology, topology.nodes.filter((node) => node.function.classCode === 0x010802), "drives");
  };
  assertEquals(drives([]).map((members) => members.length), [8]);
  assertEquals(drives(["ReqRedir"]).map((members) => members.length), [7, 1]);
});
