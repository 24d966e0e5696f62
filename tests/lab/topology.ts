/**
 * pcie_topology on a machine with switches, three root complexes, ACS and SR-IOV, against lspci and the kernel. For
 * topology.test.ts (IOMMU on) and topology.full.test.ts (off).
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { thisMachine } from "../../src/core/host.ts";
import { functionName, readPciNames } from "../../src/pci/ids.ts";
import { LINK_SPEEDS } from "../../src/pci/capability_tables.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { readTopology, type TopologyNode } from "../../src/pci/topology.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import {
  capabilityDifferences,
  expectedHeader,
  headerDifferences,
  type LspciBlock,
  parseLspci,
  parseLspciTree,
  shortSize,
} from "./lspci_text.ts";
import { controllerOf, list, output, read } from "./programs.ts";

interface ToolFunction {
  readonly name: string;
  readonly kind: string;
  readonly parent: string | null;
  readonly deviceName: string;
  readonly link: {
    readonly state: string;
    readonly current: { readonly gigatransfersPerSecond: number | null; readonly width: number | null };
    readonly possible: { readonly gigatransfersPerSecond: number | null; readonly width: number | null };
    readonly max: { readonly gigatransfersPerSecond: number | null; readonly width: number | null };
    readonly isSlower: boolean;
    readonly isNarrower: boolean;
  } | null;
  readonly acs: { readonly state: string; readonly capable: readonly string[]; readonly enabled: readonly string[] };
  readonly iommu: { readonly state: string; readonly group: string | null; readonly type: string | null };
  readonly bars: readonly { index: number; space: string; address: string; sizeBytes: string }[];
  readonly driver: { readonly value: string | null };
  readonly numaNode: { readonly value: number | null };
  readonly physicalFunction: string | null;
}

interface ToolVerdict {
  readonly initiator: string;
  readonly target: string;
  readonly route: string;
  readonly class: string;
  readonly hops: number;
  readonly commonAncestor: string | null;
  readonly redirectedBy: readonly string[];
  readonly writes: string;
  readonly reads: string;
  readonly findings: readonly { rule: number; writes: string; evidence: string; source: string }[];
}

interface ToolDocument {
  readonly rootComplexes: readonly { name: string; kind: string; numaNode: { value: number | null } }[];
  readonly functions: readonly ToolFunction[];
  readonly problems: readonly string[];
  readonly p2p: readonly ToolVerdict[] | null;
}

async function topology(...args: string[]): Promise<ToolDocument> {
  return JSON.parse(await output(Deno.execPath(), ...toolArgs("pcie_topology", [...args, "--json"])));
}

async function lspci(): Promise<Map<string, LspciBlock>> {
  return new Map(parseLspci(await output("lspci", "-Dnvvv")).map((block) => [block.name, block]));
}

/** What several tests compare, read once: programs take seconds in an emulated machine. */
interface Snapshot {
  readonly blocks: ReadonlyMap<string, LspciBlock>;
  readonly document: ToolDocument;
  readonly nodes: readonly TopologyNode[];
}

let snapshot: Promise<Snapshot> | null = null;

/** The recording that the first look at the machine makes. */
const SAVED = `/tmp/busbar-topology-${Deno.pid}.txt`;

/** The machine as it was before any test changed it. */
async function unchanged(): Promise<Snapshot> {
  snapshot ??= (async () => ({
    blocks: await lspci(),
    document: await topology("--save", SAVED),
    nodes: readTopology(thisMachine).nodes,
  }))();
  return await snapshot;
}

function found<T>(value: T | null | undefined, what: string): T {
  assert(value !== null && value !== undefined, `${what} is not there`);
  return value;
}

async function addressOf(serial: string): Promise<string> {
  return (await Deno.realPath(`/sys/class/nvme/${await controllerOf(serial)}/device`)).split("/").at(-1) ?? "";
}

/** The first line of `lines` that begins so, without the beginning. */
function after(lines: Iterable<string>, start: string): string | null {
  for (const line of lines) if (line.startsWith(start)) return line.slice(start.length);
  return null;
}

function linesOf(block: LspciBlock): string[] {
  return [...block.lines, ...[...block.capabilities.values()].flat()];
}

/** Our tool starts in some seconds in an emulated machine, and in many where others compute too. */
const LONG = { timeoutMs: 300_000, isLong: true };

/** Registers the tests of a machine with or without an IOMMU. */
export function topologyTests(lab: Lab, hasIommu: boolean): void {
  lab.test(
    "every line that lspci -vvv prints of a capability that we decode is what our tables say",
    () => everyCapabilityLine(),
    LONG,
  );

  lab.test("header, BARs, windows, IOMMU group, NUMA node and driver of every function are as lspci -vvv says", () =>
    everyHeaderLine());

  lab.test("the tree is the one that lspci -tv draws, with the same functions and names", () => sameTree());

  lab.test("pcie_topology agrees with lspci on links, downgrades, ACS and kinds of every function", () => sameFields());

  lab.test("root complexes: two of PCIe with their NUMA nodes, one CXL host bridge", async () => {
    const { rootComplexes, problems } = (await unchanged()).document;
    assertEquals(problems, []);
    assertEquals(rootComplexes.map(({ name, kind, numaNode }) => [name, kind, numaNode.value]), [
      ["pci0000:00", "PCIe", null],
      ["pci0000:40", "PCIe", 1],
      ["pci0000:80", "CXL", null],
    ]);
    const [cxl] = JSON.parse(await output("cxl", "list", "-M")) as { host: string; ram_size: number }[];
    assertEquals([cxl?.host, cxl?.ram_size], ["0000:81:00.0", 256 << 20] as unknown[]);
  });

  lab.test(
    "the matrix follows from the tree and the ACS that lspci reads back; each verdict cites its rules",
    async () => {
      const verdicts = await sameMatrix();
      const of = (a: string, b: string): ToolVerdict =>
        found(verdicts.find(({ initiator, target }) => initiator === a && target === b), `${a} to ${b}`);
      const [a, b, c, d, e] = await Promise.all(["TOPO-A", "TOPO-B", "TOPO-C", "TOPO-D", "TOPO-E"].map(addressOf));
      assert(a !== undefined && b !== undefined && c !== undefined && d !== undefined && e !== undefined);
      assertEquals([of(a, b).route, of(a, b).class], ["below one bridge", "PIX"]);
      assertEquals([of(a, c).route, of(a, c).class], ["through the root complex", "PHB"]);
      assertEquals([of(a, d).route, of(a, d).class], ["across root complexes", "SYS"]);
      assertEquals(of(a, b).writes, hasIommu ? "unknown" : "yes");
      assertEquals(of(a, c).writes, "unknown");
      // What the machine is for: redirect with the IOMMU on, where Linux sets ACS, and none without.
      const virtual = e.replace(/0$/, "1");
      assertEquals(of(e, virtual).redirectedBy.length, hasIommu ? 1 : 0);
    },
    LONG,
  );

  if (hasIommu) {
    lab.test(
      "ACS off at one port, and an identity domain, change the verdicts that they should change",
      () => switchedOff(),
      LONG,
    );
  }

  lab.test(
    "a recording shows the same as the machine, lspci -F reads it, and lspci -xxxx text shows the same tree",
    () => sameFromFiles(),
    LONG,
  );

  lab.test("root ports separate their devices, switch ports do not", async () => {
    if (!hasIommu) return assertEquals(await list("/sys/kernel/iommu_groups"), []);
    assertStringIncludes(await output("lspci", "-vv", "-d", "1b36:000c"), "Access Control Services");
    const neighbours = async (serial: string): Promise<number> =>
      (await list(`/sys/class/nvme/${await controllerOf(serial)}/device/iommu_group/devices`)).length;
    assertEquals([await neighbours("TOPO-C"), await neighbours("TOPO-A")], [1, 2]);
  });

  lab.test("BARs: an I/O BAR, one smaller than a page, one that is prefetchable", async () => {
    assertMatch(await output("lspci", "-v", "-d", "1b36:0002"), /I\/O ports at .*\[size=8\]/);
    assertMatch(await output("lspci", "-v", "-d", "1af4:1110"), /Memory at .*\[size=256\]/);
    assertMatch(await output("lspci", "-v", "-d", "1b36:0005"), /64-bit, prefetchable\) \[size=64K\]/);
  });
}

async function everyCapabilityLine(): Promise<void> {
  const { blocks, nodes } = await unchanged();
  const differences: string[] = [];
  let lines = 0;
  for (const { function: fn } of nodes) {
    const result = capabilityDifferences(found(blocks.get(fn.name), fn.name), fn.config);
    differences.push(...result.differences);
    lines += result.lines;
  }
  assertEquals(differences, []);
  // A comparison of nothing would find nothing.
  assert(lines > 1000, `only ${lines} lines were compared`);
}

async function everyHeaderLine(): Promise<void> {
  const { blocks, document: { functions }, nodes } = await unchanged();
  assertEquals(functions.map(({ name }) => name), [...blocks.keys()]);
  const differences = functions.flatMap((fn) => {
    const node = found(nodes.find((one) => one.function.name === fn.name), fn.name);
    const ours = expectedHeader(node.function.config, {
      group: fn.iommu.group,
      numaNode: fn.numaNode.value,
      driver: fn.driver.value,
      regions: regionLines(fn, node),
    });
    return headerDifferences(found(blocks.get(fn.name), fn.name), ours);
  });
  assertEquals(differences, []);
}

/** The lines of a function's BARs, from the tool's JSON. */
function regionLines(fn: ToolFunction, node: TopologyNode): string[] {
  return fn.bars.map(({ index, space, address, sizeBytes }) => {
    const size = `[size=${shortSize(BigInt(sizeBytes))}]`;
    const hex = (digits: number): string => BigInt(address).toString(16).padStart(digits, "0");
    if (space === "I/O") return `Region ${index}: I/O ports at ${hex(4)} ${size}`;
    const bar = found(node.function.resources?.find((one) => one.index === index), `BAR${index}`);
    // The BARs of a virtual function are in its physical function's SR-IOV capability, not in its own header.
    const virtual = fn.physicalFunction === null ? "" : "[virtual] ";
    const kind = bar.prefetchable ? "prefetchable" : "non-prefetchable";
    return `Region ${index}: Memory at ${hex(8)} (${bar.is64Bit ? 64 : 32}-bit, ${kind}) ${virtual}${size}`;
  });
}

async function sameTree(): Promise<void> {
  const { document: { functions }, nodes } = await unchanged();
  const theirs = parseLspciTree(await output("lspci", "-tv"));
  assertEquals(
    functions.map(({ name, parent }) => [name, parent]),
    [...theirs].sort(([a], [b]) => a < b ? -1 : 1),
  );
  const names = readPciNames(thisMachine);
  assert(names.path !== null, "pci.ids is not installed");
  const lines = (await output("lspci", "-D")).split("\n");
  for (const { function: fn } of nodes) {
    const line = found(lines.find((text) => text.startsWith(fn.name)), fn.name);
    const device = names.device(fn.vendorId, fn.deviceId);
    if (device !== null) assertStringIncludes(line, device);
    else assertMatch(line, /Device/);
    const vendor = names.vendor(fn.vendorId);
    if (vendor !== null) assertStringIncludes(line, vendor);
    assert(functionName(names, fn) !== "");
  }
}

async function sameFields(): Promise<void> {
  const { blocks, document: { functions } } = await unchanged();
  const byName = new Map(functions.map((fn) => [fn.name, fn]));
  let links = 0;
  let services = 0;
  for (const fn of functions) {
    const lines = linesOf(found(blocks.get(fn.name), fn.name));
    const express = lines.map((line) => /Express \(v\d\) (.*?)(?: \(Slot[+-]\))?, MSI/.exec(line)?.[1]).find(Boolean);
    if (express !== undefined) assertEquals(fn.kind, KINDS[express], fn.name);
    // ACS: what is capable and what is on, both as lspci names it.
    const on = (text: string | null): string[] => text === null ? [] : (text.match(/\w+(?=\+)/g) ?? []);
    assertEquals(fn.acs.capable, on(after(lines, "ACSCap: ")), fn.name);
    assertEquals(fn.acs.enabled, on(after(lines, "ACSCtl: ")), fn.name);
    services += fn.acs.capable.length;
    const status = rateOf(after(lines, "LnkSta: "));
    const own = rateOf(after(lines, "LnkCap: ")?.replace(/^Port #\d+, /, "") ?? null);
    if (status === null || own === null || fn.link === null) continue;
    if (DOWN.includes(fn.kind)) continue;
    links++;
    assertEquals(fn.link.current, status, fn.name);
    assertEquals(fn.link.max, own, fn.name);
    // The other end's maximum, from lspci's lines about the port above.
    const port = fn.parent === null ? undefined : byName.get(fn.parent);
    const other = port === undefined ? null : rateOf(
      after(linesOf(found(blocks.get(port.name), port.name)), "LnkCap: ")?.replace(/^Port #\d+, /, "") ?? null,
    );
    const lower = (a: number | null, b: number | null): number | null =>
      a === null || b === null ? a ?? b : Math.min(a, b);
    const possible = {
      gigatransfersPerSecond: lower(own.gigatransfersPerSecond, other?.gigatransfersPerSecond ?? null),
      width: lower(own.width, other?.width ?? null),
    };
    assertEquals(fn.link.possible, possible, fn.name);
    assertEquals(
      [fn.link.isSlower, fn.link.isNarrower],
      [
        (status.gigatransfersPerSecond ?? 0) < (possible.gigatransfersPerSecond ?? 0),
        (status.width ?? 0) < (possible.width ?? 0),
      ],
      fn.name,
    );
  }
  assert(links >= 8 && services >= 12, `${links} links and ${services} ACS services are too few to mean anything`);
  // Speeds of the kernel's own files agree too.
  for (const fn of functions) {
    if (fn.link === null || DOWN.includes(fn.kind)) continue;
    const speed = await read(`/sys/bus/pci/devices/${fn.name}/current_link_speed`);
    assertEquals(`${fn.link.current.gigatransfersPerSecond?.toFixed(1)} GT/s PCIe`, speed, fn.name);
  }
}

const DOWN: readonly string[] = ["root port", "switch downstream port"];

const KINDS: Readonly<Record<string, string>> = {
  "Endpoint": "endpoint",
  "Legacy Endpoint": "legacy endpoint",
  "Root Port": "root port",
  "Upstream Port": "switch upstream port",
  "Downstream Port": "switch downstream port",
  "PCI-Express to PCI/PCI-X Bridge": "PCIe to PCI bridge",
  "Root Complex Integrated Endpoint": "integrated endpoint",
};

/** `Speed 16GT/s, Width x4`; speeds and widths that lspci does not know are null. */
function rateOf(text: string | null): { gigatransfersPerSecond: number | null; width: number | null } | null {
  const match = /^Speed (\S+?)(?: \(\w+\))?, Width x(\d+)/.exec(text ?? "");
  if (match === null) return null;
  const speed = parseFloat(match[1] ?? "");
  const known = Object.values(LINK_SPEEDS).some((name) => parseFloat(name) === speed);
  return { gigatransfersPerSecond: known ? speed : null, width: Number(match[2]) || null };
}

/** Compares every pair with what follows from lspci's tree and ACS lines, and returns the verdicts. */
async function sameMatrix(): Promise<readonly ToolVerdict[]> {
  const serials = ["TOPO-A", "TOPO-B", "TOPO-C", "TOPO-D", "TOPO-E", "TOPO-F"];
  const e = await addressOf("TOPO-E");
  const count = `/sys/bus/pci/devices/${e}/sriov_numvfs`;
  if (await read(count) === "0") await Deno.writeTextFile(count, "2");
  const virtual = e.replace(/0$/, "1");
  const peers = [...await Promise.all(serials.map(addressOf)), virtual, "0000:81:00.0"];
  // ACS is read back before the matrix is asked for.
  const blocks = await lspci();
  const parents = parseLspciTree(await output("lspci", "-t"));
  const chain = (name: string): string[] => {
    const above = parents.get(name) ?? null;
    return above === null ? [name] : [name, ...chain(above)];
  };
  const redirects = (name: string): boolean =>
    /(ReqRedir|CmpltRedir|EgressCtrl)\+/.test(after(linesOf(found(blocks.get(name), name)), "ACSCtl: ") ?? "");
  const { p2p } = await topology("--p2p", ...peers);
  const verdicts = found(p2p, "the matrix");
  assertEquals(verdicts.length, peers.length ** 2);
  for (const verdict of verdicts) {
    const { initiator, target } = verdict;
    const label = `${initiator} to ${target}`;
    const [up, down] = [chain(initiator), chain(target)];
    const meet = up.find((name) => down.includes(name)) ?? null;
    assertEquals(verdict.commonAncestor, meet, label);
    assertEquals(
      verdict.hops,
      meet === null ? up.length + down.length : up.indexOf(meet) + down.indexOf(meet),
      label,
    );
    const upTo = (names: string[]): string[] => meet === null ? names : names.slice(0, names.indexOf(meet) + 1);
    const way = [...new Set([...upTo(up), ...upTo(down)])];
    const redirecting = initiator === target ? [] : way.filter(redirects);
    assertEquals([...verdict.redirectedBy].sort(), redirecting.sort(), label);
    const passesRoot = initiator !== target && (meet === null || redirecting.length > 0);
    const rules = verdict.findings.map(({ rule }) => rule);
    assertEquals(rules.includes(3), passesRoot, label);
    const group = await Deno.readLink(`/sys/bus/pci/devices/${initiator}/iommu_group`).then(
      (link) => link.split("/").at(-1) ?? null,
      () => null,
    );
    const type = group === null ? null : await read(`/sys/kernel/iommu_groups/${group}/type`);
    const translates = type !== null && type !== "identity" && initiator !== target;
    // QEMU's root complex is on nobody's list: unknown, never yes or no.
    assertEquals(verdict.writes, passesRoot || translates ? "unknown" : "yes", label);
    assertEquals(verdict.reads, verdict.writes, label);
    for (const finding of verdict.findings) {
      assert(finding.rule >= 1 && finding.rule <= 7 && finding.evidence !== "" && finding.source !== "", label);
    }
    assertEquals(rules.filter((rule) => [1, 2, 4, 5].includes(rule)), [1, 2, 4, 5], label);
  }
  return verdicts;
}

async function sameFromFiles(): Promise<void> {
  const { document } = await unchanged();
  const names = readPciNames(thisMachine);
  const look = (path: string): ToolDocument => {
    const tree = readTopology(readMachineFile(path).host);
    return JSON.parse(JSON.stringify(topologyJson(tree, new Set(tree.nodes), names, null)));
  };
  const recorded = look(SAVED);
  assertEquals(recorded.functions, document.functions);
  assertEquals(recorded.rootComplexes, document.rootComplexes);
  const drawn = parseLspciTree(await output("lspci", "-F", SAVED, "-t"));
  assertEquals([...drawn].sort(), document.functions.map(({ name, parent }) => [name, parent]).sort());
  const mailed = `${SAVED}.lspci`;
  await Deno.writeTextFile(mailed, await output("lspci", "-F", SAVED, "-xxxx"));
  const shape = ({ functions }: ToolDocument): unknown =>
    functions.map(({ name, kind, parent, link, acs }) => ({ name, kind, parent, link, acs }));
  assertEquals(shape(look(mailed)), shape(document));
}

async function switchedOff(): Promise<void> {
  const [c, e] = await Promise.all(["TOPO-C", "TOPO-E"].map(addressOf));
  assert(c !== undefined && e !== undefined);
  const virtual = e.replace(/0$/, "1");
  const port = found(parseLspciTree(await output("lspci", "-t")).get(e), "the port of TOPO-E");
  const control = (await output("setpci", "-s", port, "ECAP_ACS+6.w")).trim();
  assertStringIncludes(await output("lspci", "-vvs", port), "ReqRedir+");
  // A group alone with its device can be given an identity domain while no driver has the device.
  const group = (await Deno.readLink(`/sys/bus/pci/devices/${c}/iommu_group`)).split("/").at(-1);
  const type = `/sys/kernel/iommu_groups/${group}/type`;
  const domain = await read(type);
  await output("setpci", "-s", port, "ECAP_ACS+6.w=0");
  await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/unbind", c);
  try {
    await Deno.writeTextFile(type, "identity");
    assertMatch(await output("lspci", "-vvs", port), /ACSCtl:.*ReqRedir- CmpltRedir-/);
    const verdicts = found((await topology("--p2p", c, e, virtual)).p2p, "the matrix");
    const of = (a: string, b: string): ToolVerdict =>
      found(verdicts.find(({ initiator, target }) => initiator === a && target === b), `${a} to ${b}`);
    assertEquals([of(e, virtual).route, of(e, virtual).redirectedBy], ["same device", []] as unknown[]);
    assertEquals(of(e, virtual).findings.map(({ rule }) => rule), [1, 2, 4, 5]);
    const iommu = of(c, e).findings.find(({ rule }) => rule === 4);
    assertEquals([iommu?.writes, iommu?.evidence], ["yes", `${type}: identity`]);
  } finally {
    await Deno.writeTextFile(type, domain);
    await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/bind", c);
    await output("setpci", "-s", port, `ECAP_ACS+6.w=${control}`);
  }
}
