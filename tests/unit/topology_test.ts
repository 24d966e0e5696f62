import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { RecordedHost } from "../../src/core/recorded_host.ts";
import { describeAcs, redirectingServices } from "../../src/pci/acs.ts";
import { formatLink, linkBytesPerSecond } from "../../src/pci/link.ts";
import { parseMachine } from "../../src/pci/machine_file.ts";
import { describeAnswers, judgePair, P2P_RULES, type PairVerdict } from "../../src/pci/p2p.ts";
import { hostBridge } from "../../src/pci/root_complexes.ts";
import { findNode, nodesBelow, readTopology, type Topology } from "../../src/pci/topology.ts";
import { type FunctionSpec, pciMachine, type PciMachineSpec } from "./pci_machine.ts";

const NVME = "010802";
const bar = (address: number) => [{ bar: 0, address, size: 0x4000 }];

/** A root port with a switch and two NVMe drives below it, and a third drive behind another root port. */
const SWITCH: readonly FunctionSpec[] = [
  { at: "00:00.0", id: "8086:09a2", kind: "host-bridge" },
  { at: "00:01.0", id: "8086:347a", kind: "root-port", buses: [1, 4], link: [4, 16, 4, 16], acs: [] },
  { at: "01:00.0", id: "10b5:8747", kind: "upstream", buses: [2, 4], link: [4, 16, 4, 16] },
  { at: "02:08.0", id: "10b5:8747", kind: "downstream", buses: [3, 3], link: [4, 4, 4, 4], acs: [] },
  { at: "02:09.0", id: "10b5:8747", kind: "downstream", buses: [4, 4], link: [3, 2, 4, 4], acs: [] },
  { at: "03:00.0", id: "144d:a80a", class: NVME, link: [4, 4, 4, 4], bars: bar(0x8000_0000) },
  { at: "04:00.0", id: "144d:a80a", class: NVME, link: [3, 2, 4, 4], bars: bar(0x8010_0000) },
  { at: "00:02.0", id: "8086:347b", kind: "root-port", buses: [5, 5], link: [3, 4, 4, 8], acs: [] },
  { at: "05:00.0", id: "144d:a808", class: NVME, link: [3, 4, 3, 4], bars: bar(0x9000_0000) },
];

function topologyOf(spec: PciMachineSpec): Topology {
  return readTopology(pciMachine(spec).host);
}

function verdict(topology: Topology, initiator: string, target: string): PairVerdict {
  return judgePair(topology, findNode(topology, initiator), findNode(topology, target));
}

Deno.test("the tree has every function once, below the bridge that leads to its bus", () => {
  const topology = topologyOf({ functions: SWITCH.toReversed() });
  assertEquals(topology.rootComplexes.map((root) => [root.name, root.kind]), [["pci0000:00", "PCIe"]]);
  const drawn = topology.rootComplexes.flatMap((root) => root.children).flatMap(nodesBelow);
  assertEquals(drawn.map((node) => node.function.name).toSorted(), SWITCH.map(({ at }) => `0000:${at}`).toSorted());
  const parents = Object.fromEntries(
    topology.nodes.map((node) => [node.function.name.slice(5), node.parent?.function.name.slice(5) ?? null]),
  );
  assertEquals(parents, {
    "00:00.0": null,
    "00:01.0": null,
    "00:02.0": null,
    "01:00.0": "00:01.0",
    "02:08.0": "01:00.0",
    "02:09.0": "01:00.0",
    "03:00.0": "02:08.0",
    "04:00.0": "02:09.0",
    "05:00.0": "00:02.0",
  });
  assertEquals(findNode(topology, "01:00.0").kind, "switch upstream port");
  assertEquals(findNode(topology, "00:00.0").kind, "host bridge");
});

Deno.test("a link is downgraded when it is below both of its ends, not below its own end alone", () => {
  const topology = topologyOf({ functions: SWITCH });
  const link = (name: string): string => formatLink(findNode(topology, name).link ?? assertNever());
  assertEquals(link("03:00.0"), "16 GT/s x4");
  assertEquals(link("04:00.0"), "8 GT/s x2 (could be 16 GT/s x4: slower, narrower)");
  // The port could do 16 GT/s x8, the drive could not: that is no downgrade.
  assertEquals(link("05:00.0"), "8 GT/s x4");
  assertEquals(link("00:02.0"), "8 GT/s x4");
  assertStringIncludes(findNode(topology, "04:00.0").link?.remedy ?? "", "bifurcation");
});

function assertNever(): never {
  throw new Error("no link");
}

Deno.test("a lane's data rate follows its coding: 8b/10b up to 5 GT/s, then 128b/130b", () => {
  // PCI Express 3.0: x16 is 15.754 GB/s; 2.0: x1 is 500 MB/s.
  assertEquals(Math.round((linkBytesPerSecond({ speed: 3, width: 16 }) ?? 0) / 1e6), 15754);
  assertEquals(linkBytesPerSecond({ speed: 2, width: 1 }), 500e6);
  assertEquals(linkBytesPerSecond({ speed: null, width: 1 }), null);
});

Deno.test("below one switch without redirect, traffic is direct: writes arrive, reads return", () => {
  const topology = topologyOf({ functions: SWITCH });
  const { route, hops, writes, reads, commonAncestor, findings } = verdict(topology, "03:00.0", "04:00.0");
  assertEquals([route, hops, writes, reads], ["below one bridge", 4, "yes", "yes"] as unknown[]);
  assertEquals(commonAncestor?.function.name, "0000:01:00.0");
  for (const finding of findings) {
    assert(P2P_RULES[finding.rule].number >= 1);
    assert(finding.evidence !== "", finding.rule);
  }
});

Deno.test("one port with request redirect sends the traffic to the root complex, and the remedy names that port", () => {
  for (const service of ["ReqRedir", "CmpltRedir", "EgressCtrl"]) {
    const functions = SWITCH.map((fn) => fn.at === "02:09.0" ? { ...fn, acs: [service] } : fn);
    // Listed root complex: works by way of it. QEMU's is not listed: unknown.
    for (const [id, answer] of [["8086:09a2", "yes"], ["8086:29c0", "unknown"]] as const) {
      const topology = topologyOf({ functions: functions.map((fn) => fn.at === "00:00.0" ? { ...fn, id } : fn) });
      const { writes, reads, redirectedBy, findings } = verdict(topology, "03:00.0", "04:00.0");
      assertEquals([writes, reads], [answer, answer]);
      assertEquals(redirectedBy.map((node) => node.function.name), ["0000:02:09.0"]);
      const acs = findings.find((finding) => finding.rule === "acs");
      assertEquals(acs?.remedy, "boot with pci=disable_acs_redir=0000:02:09.0");
      assertStringIncludes(acs?.evidence ?? "", `${service}+`);
      assert(findings.some((finding) => finding.rule === "rootComplex"));
    }
  }
});

Deno.test("the bridge where two paths meet counts: with redirect there alone, traffic goes up to the root complex", () => {
  const functions = SWITCH.map((fn) => fn.at === "01:00.0" ? { ...fn, acs: ["ReqRedir"] } : fn);
  const { commonAncestor, redirectedBy, writes, findings } = verdict(topologyOf({ functions }), "03:00.0", "04:00.0");
  assertEquals(commonAncestor?.function.name, "0000:01:00.0");
  assertEquals(redirectedBy.map((node) => node.function.name), ["0000:01:00.0"]);
  assert(findings.some((finding) => finding.rule === "rootComplex"), writes);
});

Deno.test("a bridge whose open window lies elsewhere does not pass the target's BARs", () => {
  const topology = topologyOf({ functions: SWITCH });
  const { config } = findNode(topology, "02:09.0").function;
  // Memory 0x10000000 to 0x100fffff; the prefetchable window is closed.
  config.set([0x00, 0x10, 0x00, 0x10, 0xf0, 0xff, 0x00, 0x00], 0x20);
  const { writes, decidedBy } = verdict(topology, "03:00.0", "04:00.0");
  assertEquals([writes, decidedBy.map(({ rule, text }) => `${rule}: ${text}`)], [
    "no",
    ["window: no memory window of the bridge 0000:02:09.0 has the target's BARs"],
  ]);
});

Deno.test("services that do not redirect leave traffic below the switch", () => {
  const acs = ["SrcValid", "TransBlk", "UpstreamFwd", "DirectTrans"];
  const topology = topologyOf({ functions: SWITCH.map((fn) => fn.acs === undefined ? fn : { ...fn, acs }) });
  assertEquals(redirectingServices(findNode(topology, "02:08.0").acs), []);
  assertEquals(describeAcs(findNode(topology, "02:08.0").acs), "on, does not redirect");
  assertEquals(verdict(topology, "03:00.0", "04:00.0").redirectedBy, []);
});

Deno.test("between two root ports only the root complex can pass traffic; unlisted ones are unknown, not no", () => {
  const unlisted = topologyOf({ functions: SWITCH.map((fn) => fn.at === "00:00.0" ? { ...fn, id: "8086:29c0" } : fn) });
  const one = verdict(unlisted, "03:00.0", "05:00.0");
  // Up: downstream port, upstream port, root port; down: root port. Both functions count too.
  assertEquals([one.route, one.hops, one.class], ["through the root complex", 6, "PHB"] as unknown[]);
  assertEquals([one.writes, one.reads], ["unknown", "unknown"]);
  assertEquals(one.decidedBy.map((finding) => finding.rule), ["rootComplex"]);
  const listed = topologyOf({ functions: SWITCH });
  assertEquals(hostBridge(listed.rootComplexes[0] ?? assertNever())?.function.deviceId, 0x09a2);
  assertEquals(describeAnswers(verdict(listed, "03:00.0", "05:00.0")), "writes arrive, reads return");
});

Deno.test("a translating IOMMU makes it unknown, an identity domain does not, and the initiator's group counts", () => {
  const grouped = SWITCH.map((fn, i) => ({ ...fn, group: i }));
  const answer = (groups: Record<string, string>): string[] => {
    const { writes, decidedBy } = verdict(topologyOf({ functions: grouped, groups }), "03:00.0", "04:00.0");
    return [writes, ...decidedBy.filter((finding) => finding.writes !== "yes").map((finding) => finding.rule)];
  };
  assertEquals(answer({}), ["unknown", "iommu"]);
  assertEquals(answer({ "5": "identity" }), ["yes"]);
  assertEquals(answer({ "6": "identity" }), ["unknown", "iommu"]);
  assertEquals(answer({ "5": "blocked" }), ["no", "iommu"]);
});

Deno.test("what lspci printed tells nothing of the IOMMU: unknown, and the remedy says how to find out", () => {
  const topology = topologyOf({ functions: SWITCH, sysfs: false });
  const { writes, decidedBy } = verdict(topology, "03:00.0", "04:00.0");
  assertEquals([writes, decidedBy.map((finding) => finding.rule)], ["unknown", ["iommu"]] as unknown[]);
  assertStringIncludes(decidedBy[0]?.remedy ?? "", "--save");
});

Deno.test("a target asleep, deaf, without an address, or behind a closed window cannot be reached", () => {
  const change = (at: string, changes: Partial<FunctionSpec>): Topology =>
    topologyOf({ functions: SWITCH.map((fn) => fn.at === at ? { ...fn, ...changes } : fn) });
  const cases: readonly [string, Partial<FunctionSpec>, string][] = [
    ["04:00.0", { power: "D3hot" }, "powered down (D3hot)"],
    ["04:00.0", { command: 4 }, "does not decode memory"],
    ["04:00.0", { bars: bar(0) }, "has an address"],
    ["04:00.0", { bars: [] }, "no memory BAR"],
    ["04:00.0", { gone: true }, "does not answer"],
    ["02:09.0", { command: 4 }, "the bridge 0000:02:09.0 passes no memory accesses"],
    ["02:08.0", { command: 2 }, "the bridge 0000:02:08.0 passes nothing upwards"],
  ];
  for (const [at, changes, text] of cases) {
    const { writes, reads, decidedBy } = verdict(change(at, changes), "03:00.0", "04:00.0");
    assertEquals([writes, reads], ["no", "no"], text);
    assertStringIncludes(decidedBy.map((finding) => finding.text).join("; "), text);
    assert(decidedBy.every((finding) => finding.rule === "window"));
  }
  // The root port lies above the lowest common upstream bridge: its state does not matter.
  assertEquals(verdict(change("00:01.0", { command: 0 }), "03:00.0", "04:00.0").writes, "yes");
});

Deno.test("without privilege ACS cannot be read: unknown, not absent", () => {
  const topology = topologyOf({ functions: SWITCH.map((fn) => ({ ...fn, readable: 64 as const })) });
  assertEquals(findNode(topology, "02:08.0").acs.state, "unknown");
  assertEquals(findNode(topology, "02:08.0").kind, "bridge");
  const { writes, decidedBy } = verdict(topology, "03:00.0", "04:00.0");
  assertEquals(writes, "unknown");
  assertEquals(decidedBy.map((finding) => finding.rule), ["acs"]);
});

Deno.test("paths that lead through each other make no loop", () => {
  const text = (name: string): string =>
    `\n${name} x\n${
      Array.from({ length: 4 }, (_, i) => `${(16 * i).toString(16).padStart(2, "0")}: ${"00 ".repeat(16).trim()}`).join(
        "\n",
      )
    }\n`;
  const [a, b] = ["0000:01:00.0", "0000:02:00.0"];
  const machine = parse(
    `${text(a)}#link "/sys/bus/pci/devices/${a}" "/sys/devices/pci0000:00/${b}/${a}"\n` +
      `${text(b)}#link "/sys/bus/pci/devices/${b}" "/sys/devices/pci0000:00/${a}/${b}"\n`,
  );
  const topology = readTopology(machine);
  assertEquals(topology.rootComplexes.flatMap((root) => root.children).flatMap(nodesBelow).length, 2);
});

Deno.test("a function that the machine does not have is an error with a hint; a machine without PCI too", () => {
  const topology = topologyOf({ functions: SWITCH });
  assertEquals(assertThrows(() => findNode(topology, "09:00.0"), BusbarError).code, "not-recorded");
  assertEquals(assertThrows(() => findNode(topology, "9"), BusbarError).code, "usage");
  assertEquals(
    assertThrows(() => readTopology(new RecordedHost("x", { files: new Map(), links: new Map() })), BusbarError)
      .code,
    "absent",
  );
});

function parse(text: string): RecordedHost {
  return parseMachine(text, "loop.txt").host;
}
