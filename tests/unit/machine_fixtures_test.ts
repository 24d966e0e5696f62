/** Machines of many kinds, with the verdicts that are expected of them and why: tests/fixtures/machines. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";

import { formatLink } from "../../src/pci/link.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { judgePair, P2P_RULES } from "../../src/pci/p2p.ts";
import { findNode, readTopology, shortAddress, type Topology } from "../../src/pci/topology.ts";
import { pciMachine, type PciMachineSpec } from "./pci_machine.ts";

interface Expectation {
  readonly from: string;
  readonly to: string;
  readonly route: string;
  readonly class: string;
  readonly hops?: number;
  readonly writes: string;
  readonly reads: string;
  /** Numbers of the rules that decide; not given where everything says yes. */
  readonly rules?: readonly number[];
  readonly redirectedBy?: readonly string[];
  /** What a deciding finding says or is read from. */
  readonly because: string;
  /** What some remedy says. */
  readonly remedy?: string;
}

interface Fixture extends PciMachineSpec {
  readonly title: string;
  /** Where the machine comes from: recorded, or made up and from which rule. */
  readonly source: string;
  /** A recording beside this file, in place of functions. */
  readonly recording?: string;
  readonly expect: readonly Expectation[];
  readonly links?: Readonly<Record<string, string>>;
  readonly behind?: Readonly<Record<string, string>>;
}

const FOLDER = new URL("../fixtures/machines/", import.meta.url);

const KEYS = [
  "title",
  "source",
  "recording",
  "cpu",
  "groups",
  "sysfs",
  "cxlHostBridges",
  "functions",
  "expect",
  "links",
  "behind",
];

function readFixture(name: string): Fixture {
  const value = parse(Deno.readTextFileSync(new URL(name, FOLDER)));
  assert(typeof value === "object" && value !== null, name);
  for (const key of Object.keys(value)) assert(KEYS.includes(key), `${name}: no such key: ${key}`);
  for (const key of ["title", "source", "expect"]) assert(key in value, `${name}: no ${key}`);
  return value as Fixture;
}

function topologyOf(fixture: Fixture): Topology {
  if (fixture.recording === undefined) return readTopology(pciMachine(fixture).host);
  return readTopology(readMachineFile(new URL(fixture.recording, FOLDER).pathname).host);
}

const names = [...Deno.readDirSync(FOLDER)].map((entry) => entry.name).filter((name) => name.endsWith(".yaml")).sort();

Deno.test("there are machines of at least twenty kinds", () => {
  assert(names.length >= 20, `${names.length} machines`);
});

for (const name of names) {
  const fixture = readFixture(name);
  Deno.test(`${name.replace(".yaml", "")}: ${fixture.title}`, () => {
    assert(/^(made up|recorded)/.test(fixture.source), "a source says made up, or recorded");
    const topology = topologyOf(fixture);
    assert(fixture.expect.length > 0);
    for (const wanted of fixture.expect) {
      const verdict = judgePair(topology, findNode(topology, wanted.from), findNode(topology, wanted.to));
      const label = `${wanted.from} to ${wanted.to}`;
      assertEquals(
        [verdict.route, verdict.class, verdict.writes, verdict.reads],
        [wanted.route, wanted.class, wanted.writes, wanted.reads],
        label,
      );
      if (wanted.hops !== undefined) assertEquals(verdict.hops, wanted.hops, label);
      assertEquals(verdict.redirectedBy.map((node) => shortAddress(node.function)), wanted.redirectedBy ?? [], label);
      const isYes = wanted.writes === "yes" && wanted.reads === "yes";
      const rules = verdict.decidedBy.map((finding): number => P2P_RULES[finding.rule].number);
      if (!isYes) assertEquals(rules, wanted.rules ?? [], label);
      const reasons = verdict.decidedBy.map((finding) => `${finding.text} [${finding.evidence}]`).join("; ");
      assertStringIncludes(reasons, wanted.because, label);
      const remedies = verdict.findings.map((finding) => finding.remedy ?? "").join("; ");
      if (wanted.remedy !== undefined) assertStringIncludes(remedies, wanted.remedy, label);
      // An answer other than yes has a way out, or says why there is none.
      if (!isYes) assert(remedies.replaceAll("; ", "") !== "", label);
    }
    for (const [address, text] of Object.entries(fixture.links ?? {})) {
      const { link } = findNode(topology, address);
      assertEquals(link === null ? null : formatLink(link), text, address);
    }
    for (const [root, behind] of Object.entries(fixture.behind ?? {})) {
      assertEquals(topology.rootComplexes.find((one) => one.name === root)?.behind, behind);
    }
  });
}
