/**
 * The JSON document of `pcie_topology`, and its schema.
 * @module
 */

import { changing, closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { Unknown, valueOf } from "../../../src/core/fact.ts";
import { ACS_SERVICES } from "../../../src/pci/acs.ts";
import { LINK_SPEEDS } from "../../../src/pci/capability_tables.ts";
import { functionName, type PciNames } from "../../../src/pci/ids.ts";
import { type Link, type LinkRate } from "../../../src/pci/link.ts";
import { P2P_RULES, type PairVerdict } from "../../../src/pci/p2p.ts";
import type { Topology, TopologyNode } from "../../../src/pci/topology.ts";
import { documentSchema } from "../../cli/run.ts";
import { BAR_SCHEMA, barJson, factJson, FUNCTION_SCHEMA, functionJson } from "./pci.ts";

const TOOL = "pcie_topology";

/** The document. `verdicts` is null unless they were asked for. */
export function topologyJson(
  topology: Topology,
  shown: ReadonlySet<TopologyNode>,
  names: PciNames,
  verdicts: readonly PairVerdict[] | null,
): JsonObject {
  const roots = topology.rootComplexes.filter((root) => [...shown].some((node) => node.rootComplex === root));
  return {
    schema: `${TOOL}/1`,
    machine: topology.host.name,
    processor: topology.processor?.name ?? null,
    rootComplexes: roots.map(({ name, kind, evidence, behind, numaNode }) => ({
      name,
      kind,
      evidence,
      behind,
      numaNode: factJson(numaNode, "the firmware does not say, or not the same for all"),
    })),
    functions: topology.nodes.filter((node) => shown.has(node)).map((node) => nodeJson(node, names)),
    problems: topology.problems,
    p2p: verdicts === null ? null : verdicts.map(verdictJson),
  };
}

function nodeJson(node: TopologyNode, names: PciNames): JsonObject {
  const { function: fn, acs, iommu } = node;
  return {
    ...functionJson(fn),
    deviceName: functionName(names, fn),
    kind: node.kind,
    rootComplex: node.rootComplex.name,
    parent: node.parent?.function.name ?? null,
    link: node.link === null ? null : linkJson(node.link),
    acs: {
      state: acs.state,
      capable: servicesOf(acs.capable),
      enabled: servicesOf(acs.enabled),
    },
    iommu: { state: iommu.state, group: iommu.group, type: iommu.type },
    bars: fn.resources === null ? null : fn.resources.filter((bar) => bar.role === "BAR").map((bar) => ({
      ...barJson(bar),
      assigned: bar.assigned,
    })),
    resizableBars: node.resizableBars.map(({ index, sizeBytes, maxBytes }) => ({
      index,
      sizeBytes: sizeBytes.toString(),
      maxBytes: maxBytes.toString(),
    })),
    cxl: node.cxl,
    physicalFunction: valueOf(fn.physicalFunction),
    capabilities: node.capabilities.capabilities.map(({ list, id, version, offset, name }) => ({
      list,
      id,
      version,
      offset,
      name,
    })),
    notKnown: notKnown(node),
  };
}

/** Why a member is null, or a list may be short, by the member's name. */
function notKnown({ function: fn, capabilities }: TopologyNode): JsonObject {
  const { isWhole } = capabilities;
  const bytes = `only ${fn.config.length} bytes of configuration space are known`;
  return {
    ...(fn.resources === null ? { bars: "their sizes are not known" } : {}),
    ...(fn.physicalFunction instanceof Unknown ? { physicalFunction: fn.physicalFunction.reason } : {}),
    ...(isWhole.standard && isWhole.extended ? {} : { capabilities: bytes, resizableBars: bytes, cxl: bytes }),
  };
}

function servicesOf(bits: number): string[] {
  return ACS_SERVICES.filter((service) => (bits & service.bit) !== 0).map((service) => service.lspciName);
}

/** A link as JSON. */
export function linkJson(link: Link): JsonObject {
  return {
    state: link.state,
    current: rateJson(link.current),
    possible: rateJson(link.possible),
    max: rateJson(link.max),
    isSlower: link.isSlower,
    isNarrower: link.isNarrower,
    otherEnd: link.otherEnd,
    remedy: link.remedy,
  };
}

function rateJson({ speed, width }: LinkRate): JsonObject {
  return { gigatransfersPerSecond: speed === null ? null : parseFloat(LINK_SPEEDS[speed] ?? ""), width };
}

/** A verdict as JSON. */
export function verdictJson(verdict: PairVerdict): JsonObject {
  return {
    initiator: verdict.initiator.function.name,
    target: verdict.target.function.name,
    route: verdict.route,
    class: verdict.class,
    hops: verdict.hops,
    commonAncestor: verdict.commonAncestor?.function.name ?? null,
    redirectedBy: verdict.redirectedBy.map((node) => node.function.name),
    writes: verdict.writes,
    reads: verdict.reads,
    findings: verdict.findings.map(({ rule, writes, reads, text, evidence, remedy }) => ({
      rule: P2P_RULES[rule].number,
      title: P2P_RULES[rule].title,
      source: P2P_RULES[rule].source,
      writes,
      reads,
      text,
      evidence,
      remedy,
    })),
  };
}

const TEXT: JsonObject = { type: "string" };
const TEXT_OR_NULL: JsonObject = { type: ["string", "null"] };
const COUNT_OR_NULL: JsonObject = { type: ["integer", "null"], minimum: 0 };
const BYTES: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const ANSWER: JsonObject = { enum: ["yes", "unknown", "no"] };
const RATE: JsonObject = closedObject({
  gigatransfersPerSecond: { type: ["number", "null"], minimum: 2.5 },
  width: COUNT_OR_NULL,
});

function listOf(items: Json): JsonObject {
  return { type: "array", items };
}

function orNull(schema: JsonObject): JsonObject {
  return { anyOf: [schema, { type: "null" }] };
}

/** The members of a schema made by {@linkcode closedObject}. */
function membersOf(schema: JsonObject): Record<string, Json> {
  const { properties } = schema;
  return typeof properties === "object" && properties !== null && !Array.isArray(properties)
    ? { ...(properties as Record<string, Json>) }
    : {};
}

/** The schema of {@linkcode linkJson}, or null. */
export const LINK_SCHEMA: JsonObject = orNull(closedObject({
  state: { enum: ["up", "down", "unknown"] },
  current: RATE,
  possible: RATE,
  max: RATE,
  isSlower: { type: ["boolean", "null"] },
  isNarrower: { type: ["boolean", "null"] },
  otherEnd: { ...TEXT_OR_NULL, description: "why only one end is known, and so isSlower and isNarrower may be null" },
  remedy: TEXT_OR_NULL,
}));

const NODE_SCHEMA: JsonObject = closedObject({
  ...membersOf(FUNCTION_SCHEMA),
  deviceName: TEXT,
  kind: TEXT,
  rootComplex: TEXT,
  parent: TEXT_OR_NULL,
  link: LINK_SCHEMA,
  acs: closedObject({
    state: { enum: ["present", "absent", "unknown"] },
    capable: listOf({ enum: ACS_SERVICES.map((service) => service.lspciName) }),
    enabled: listOf({ enum: ACS_SERVICES.map((service) => service.lspciName) }),
  }),
  iommu: closedObject({
    state: { enum: ["group", "none", "unknown"] },
    group: changing(TEXT_OR_NULL),
    type: TEXT_OR_NULL,
  }),
  bars: orNull(listOf(closedObject({ ...membersOf(BAR_SCHEMA), assigned: { type: "boolean" } }))),
  resizableBars: listOf(
    closedObject({ index: { type: "integer", minimum: 0, maximum: 7 }, sizeBytes: BYTES, maxBytes: BYTES }),
  ),
  cxl: listOf(TEXT),
  physicalFunction: TEXT_OR_NULL,
  capabilities: listOf(closedObject({
    list: { enum: ["standard", "extended"] },
    id: { type: "integer", minimum: 0, maximum: 0xffff },
    version: { type: "integer", minimum: 0, maximum: 15 },
    offset: { type: "integer", minimum: 0x40, maximum: 0xfff },
    name: TEXT,
  })),
  notKnown: {
    type: "object",
    description: "why members are null, or lists may be short, by the member's name",
    additionalProperties: TEXT,
  },
});

const VERDICT_SCHEMA: JsonObject = closedObject({
  initiator: TEXT,
  target: TEXT,
  route: {
    enum: [
      "same function",
      "same device",
      "below one bridge",
      "through the root complex",
      "across root complexes",
      "not known",
    ],
  },
  class: { enum: ["X", "PIX", "PXB", "PHB", "NODE", "SYS", null] },
  hops: COUNT_OR_NULL,
  commonAncestor: TEXT_OR_NULL,
  redirectedBy: listOf(TEXT),
  writes: ANSWER,
  reads: ANSWER,
  findings: listOf(closedObject({
    rule: { type: "integer", minimum: 1, maximum: 7 },
    title: TEXT,
    source: TEXT,
    writes: ANSWER,
    reads: ANSWER,
    text: TEXT,
    evidence: TEXT,
    remedy: TEXT_OR_NULL,
  })),
});

/** The schema of every document that `pcie_topology --json` prints. */
export function topologySchema(): JsonObject {
  return documentSchema(TOOL, [
    closedObject({
      schema: { const: `${TOOL}/1` },
      machine: changing(TEXT),
      processor: TEXT_OR_NULL,
      rootComplexes: listOf(closedObject({
        name: TEXT,
        kind: { enum: ["PCIe", "CXL", "unknown"] },
        evidence: TEXT_OR_NULL,
        behind: TEXT_OR_NULL,
        numaNode: closedObject({ value: COUNT_OR_NULL, reason: TEXT_OR_NULL }),
      })),
      functions: listOf(NODE_SCHEMA),
      problems: listOf(TEXT),
      p2p: orNull(listOf(VERDICT_SCHEMA)),
    }),
  ]);
}
