/**
 * The tree of PCI functions and the matrix of verdicts, as lines of text.
 * @module
 */

import { bold, cyan, dim, green, red, yellow } from "@std/fmt/colors";

import { type Fact, Unknown, valueOf } from "../../../src/core/fact.ts";
import { formatBytes } from "../../../src/core/units.ts";
import { describeAcs, redirectingServices } from "../../../src/pci/acs.ts";
import { functionName, kindName, type PciNames } from "../../../src/pci/ids.ts";
import { formatLink } from "../../../src/pci/link.ts";
import { describeAnswers, P2P_RULES, type P2pAnswer, type PairVerdict } from "../../../src/pci/p2p.ts";
import type { PeerMatrix } from "../../../src/pci/p2p_classes.ts";
import { hostBridge } from "../../../src/pci/root_complexes.ts";
import { isUnresponsive } from "../../../src/pci/accessibility.ts";
import {
  isBridge,
  type RootComplex,
  shortAddress,
  type Topology,
  type TopologyNode,
} from "../../../src/pci/topology.ts";
import { columns } from "../../cli/table.ts";

/** One line for each function, then what deserves a look. */
export function treeLines(topology: Topology, shown: ReadonlySet<TopologyNode>, names: PciNames): string[] {
  const rows: string[][] = [["function", "link", "ACS", "IOMMU", "node", "driver", "BARs", "name"].map(dim)];
  for (const root of topology.rootComplexes) {
    const children = root.children.filter((node) => shown.has(node));
    if (children.length === 0) continue;
    rows.push([rootLine(root, names)]);
    children.forEach((node, i) => branch(rows, node, "", i === children.length - 1, shown, names));
  }
  const remarks = [...shown].flatMap(remarksOf);
  return [...columns(rows), ...(remarks.length === 0 ? [] : ["", ...remarks])];
}

/** What a tree begins with. */
export function rootKind(root: RootComplex): string {
  if (root.isBelowUnknown) return "the bridge above it is not known";
  return root.kind === "unknown" ? "root bus" : `${root.kind} root complex`;
}

function rootLine(root: RootComplex, names: PciNames): string {
  const bridge = hostBridge(root);
  const facts = [
    rootKind(root),
    ...(valueOf(root.numaNode) === null ? [] : [`NUMA node ${root.numaNode}`]),
    ...(root.behind === null ? [] : [`behind ${root.behind}`]),
    ...(bridge?.kind === "host bridge" ? [functionName(names, bridge.function)] : []),
  ];
  return `${bold(root.name)}  ${facts.join(", ")}`;
}

function branch(
  rows: string[][],
  node: TopologyNode,
  indent: string,
  isLast: boolean,
  shown: ReadonlySet<TopologyNode>,
  names: PciNames,
): void {
  const { function: fn } = node;
  const kind = isBridge(node.kind) ? node.kind : kindName(names, fn.classCode);
  rows.push([
    `${dim(`${indent}${isLast ? "└─ " : "├─ "}`)}${bold(shortAddress(fn))} ${kind}`,
    linkCell(node),
    acsCell(node),
    iommuCell(node),
    factCell(fn.numaNode),
    typeof fn.driver === "string" ? cyan(fn.driver) : factCell(fn.driver),
    barCell(node),
    functionName(names, fn),
  ]);
  const children = node.children.filter((child) => shown.has(child));
  children.forEach((child, i) =>
    branch(rows, child, `${indent}${isLast ? "   " : "│  "}`, i === children.length - 1, shown, names)
  );
}

/** Blank for none, a question mark for what is not known. */
function factCell(fact: Fact<string | number>): string {
  return fact instanceof Unknown ? "?" : fact === null ? "" : String(fact);
}

function linkCell(node: TopologyNode): string {
  const { link } = node;
  if (link === null) return "";
  // A port shows its link only where nothing below it does.
  if (node.children.length > 0 && isBridge(node.kind) && node.kind !== "switch upstream port") {
    if (node.children.some((child) => child.link !== null)) return "";
  }
  const text = formatLink(link);
  return link.isSlower === true || link.isNarrower === true
    ? yellow(`▼ ${text}`)
    : link.state === "down"
    ? dim(text)
    : text;
}

function acsCell(node: TopologyNode): string {
  const { acs } = node;
  if (acs.state === "absent" && !isBridge(node.kind)) return "";
  const text = describeAcs(acs);
  return redirectingServices(acs).length > 0 ? yellow(text) : text;
}

function iommuCell({ iommu }: TopologyNode): string {
  if (iommu.state === "none") return "";
  if (iommu.state === "unknown") return "?";
  return `${iommu.group}${iommu.type === null ? "" : ` ${iommu.type}`}`;
}

function barCell(node: TopologyNode): string {
  const { resources } = node.function;
  if (resources === null) return "?";
  return resources.filter((bar) => bar.role === "BAR").map((bar) => {
    const place = bar.space === "I/O" ? " I/O" : "";
    return `${bar.index}: ${formatBytes(bar.sizeBytes)}${place}${bar.assigned ? "" : red(" unassigned")}`;
  }).join(", ");
}

/** What somebody who looks at the tree should not miss. */
function remarksOf(node: TopologyNode): string[] {
  const { function: fn, link } = node;
  const remarks: string[] = [];
  const isOwnLink = !isBridge(node.kind) || node.kind === "switch upstream port" || node.children.length === 0;
  if (link?.remedy && isOwnLink) remarks.push(`${formatLink(link)}; ${link.remedy}`);
  if (isUnresponsive(fn)) remarks.push("does not answer");
  if (valueOf(fn.powerState)?.startsWith("D3")) remarks.push(`powered down (${fn.powerState})`);
  for (const bar of fn.resources ?? []) {
    if (bar.role === "BAR" && !bar.assigned) remarks.push(`BAR${bar.index} has no address`);
  }
  for (const bar of node.resizableBars) {
    if (bar.sizeBytes < bar.maxBytes) {
      remarks.push(`BAR${bar.index} is ${formatBytes(bar.sizeBytes)} and could be ${formatBytes(bar.maxBytes)}`);
    }
  }
  return remarks.map((text) => `${yellow("!")} ${bold(shortAddress(fn))}: ${text}`);
}

const ANSWER_COLORS: Readonly<Record<P2pAnswer, (text: string) => string>> = { yes: green, unknown: yellow, no: red };

/** `yes`, `writes`, `?`, `no`: what a cell of the matrix says. */
export function cellText({ writes, reads }: Pick<PairVerdict, "writes" | "reads">): string {
  if (writes === reads) return writes === "unknown" ? "?" : writes;
  if (writes === "yes") return reads === "no" ? "writes" : "writes, reads ?";
  return writes === "no" ? "no" : "?";
}

/** The matrix: a row for each initiator or class of them, a column for each target, then the classes and the reasons. */
export function matrixLines({ classes, verdicts }: PeerMatrix, names: PciNames): string[] {
  const head = ["from \\ to", ...classes.map((_, index) => String(index + 1)), ""];
  const rows = classes.map((members, row) => {
    const [first] = members;
    const label = first === undefined ? "" : bold(shortAddress(first.function));
    return [
      `${row + 1} ${label}${members.length > 1 ? ` and ${members.length - 1} more` : ""}`,
      ...(verdicts[row] ?? []).map((verdict) =>
        verdict.class === "X"
          ? dim("·")
          : `${dim(verdict.class ?? "?")} ${ANSWER_COLORS[verdict.writes](cellText(verdict))}`
      ),
      first === undefined ? "" : functionName(names, first.function),
    ];
  });
  const folded = classes.flatMap((members, index) =>
    members.length === 1 ? [] : [`${index + 1}: ${members.map((node) => shortAddress(node.function)).join(" ")}`]
  );
  return [
    ...columns([head.map(dim), ...rows]),
    "",
    ...(folded.length === 0 ? [] : [dim("functions that no verdict tells apart, judged once:"), ...folded, ""]),
    ...reasonLines({ classes, verdicts }),
  ];
}

/** Pairs with the same reasons. */
export interface ReasonGroup {
  /** The verdict of the first of them. */
  readonly first: PairVerdict;
  /** Numbers of the classes, from 1: initiator and target. */
  readonly pairs: readonly (readonly [number, number])[];
}

/** Sorts the pairs of a matrix by their reasons, in the order of their first pairs. */
export function reasonGroups({ verdicts }: PeerMatrix): ReasonGroup[] {
  const groups = new Map<string, { first: PairVerdict; pairs: [number, number][] }>();
  verdicts.forEach((row, from) =>
    row.forEach((verdict, to) => {
      if (verdict.class === "X") return;
      const key = JSON.stringify([
        describeAnswers(verdict),
        verdict.decidedBy.map(({ rule, text, remedy }) => [
          rule,
          rule === "path" ? `${verdict.route} ${verdict.hops} ${verdict.class}` : text,
          remedy,
        ]),
      ]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { first: verdict, pairs: [[from + 1, to + 1]] });
      else group.pairs.push([from + 1, to + 1]);
    })
  );
  return [...groups.values()];
}

function reasonLines(matrix: PeerMatrix): string[] {
  const groups = reasonGroups(matrix);
  const all = groups.reduce((sum, { pairs }) => sum + pairs.length, 0);
  return groups.flatMap(({ first, pairs }) => {
    const reasons = first.decidedBy.flatMap((finding) => [
      `  rule ${P2P_RULES[finding.rule].number}, ${P2P_RULES[finding.rule].title}: ${finding.text} ${
        dim(`[${finding.evidence}]`)
      }`,
      ...(finding.remedy === null ? [] : [`    ${cyan("→")} ${finding.remedy}`]),
    ]);
    return [`${pairsText(pairs, all)}: ${ANSWER_COLORS[first.writes](describeAnswers(first))}`, ...reasons];
  });
}

/** More pairs than these are counted, not listed: the matrix shows them. */
const LISTED_PAIRS = 12;

/** `every pair`, `40 pairs`, `1↔2 3→4`. */
export function pairsText(pairs: ReasonGroup["pairs"], all: number): string {
  if (pairs.length === all) return "every pair";
  if (pairs.length > LISTED_PAIRS) return `${pairs.length} pairs`;
  const texts = new Set<string>();
  for (const [from, to] of pairs) {
    if (texts.delete(`${to}→${from}`)) texts.add(`${to}↔${from}`);
    else texts.add(from === to ? `within ${from}` : `${from}→${to}`);
  }
  return [...texts].join(" ");
}
