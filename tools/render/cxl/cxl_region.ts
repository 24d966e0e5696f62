/**
 * CXL and dax memory as lines of text and as JSON.
 * @module
 */

import { bold } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, hex } from "../../../src/core/units.ts";
import type { CxlOverview, DaxDeviceMemory } from "../../../src/cxl/overview.ts";
import type { CxlMemdev, CxlRegion, CxlTopology, CxlWindow } from "../../../src/cxl/topology.ts";
import { largestExtent } from "../../../src/cxl/plan.ts";
import type { MemoryBlock } from "../../../src/memory/blocks.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

/** All that there is, as lines. */
export function cxlLines(state: CxlOverview): string[] {
  const { topology } = state;
  const lines: string[] = [];
  const section = (title: string, rows: readonly (readonly string[])[], none: string): void => {
    lines.push(bold(title), ...rows.length === 0 ? [`  ${none}`] : columns(rows, "  "));
  };
  if (topology !== null) {
    section(
      "windows",
      topology.windows.map((window) => windowCells(topology, window)),
      "none: firmware gives CXL none",
    );
    section("memory devices", topology.memdevs.map(memdevCells), "none");
    section("regions", topology.regions.map(regionCells), "none: cxl_region create makes one");
  }
  section("dax devices", state.dax.map(daxCells), "none");
  return lines;
}

function windowCells(topology: CxlTopology, window: CxlWindow): string[] {
  const bridges = window.bridges.map((bridge) => bridge ?? "(nothing)").join(" + ");
  const every = window.ways > 1 ? ` every ${formatBytes(window.granularityBytes)}` : "";
  return [
    window.name,
    `${formatBytes(window.sizeBytes)} at ${hex(window.start)}`,
    `to ${bridges}${every}`,
    `takes ${window.types.join(", ") || "nothing"}`,
    `largest free run ${formatBytes(largestExtent(topology, window))}`,
  ];
}

function memdevCells(device: CxlMemdev): string[] {
  const of = (name: string, all: bigint, free: bigint): string[] =>
    all === 0n ? [] : [`${name} ${formatBytes(all)}${free === all ? "" : ` (${formatBytes(free)} free)`}`];
  return [
    device.name,
    `serial ${hex(device.serial)}`,
    device.pciAddress ?? "no PCI function",
    [...of("ram", device.ramBytes, device.freeRamBytes), ...of("pmem", device.pmemBytes, device.freePmemBytes)]
      .join(", ") || "no memory",
    device.endpoint === null ? "no way to it" : device.path.join(" → "),
  ];
}

function regionCells(region: CxlRegion): string[] {
  const at = region.start === null ? "without addresses" : `at ${hex(region.start)}`;
  const devices = region.memdevs.map((name) => name ?? "(none)").join(" + ");
  const every = region.ways > 1 ? ` every ${formatBytes(region.granularityBytes)}` : "";
  const state = region.enabled ? "enabled" : region.committed ? "committed, not enabled" : "not committed";
  return [
    region.name,
    `${region.type}, ${formatBytes(region.sizeBytes)} ${at}`,
    `in ${region.window} on ${devices}${every}`,
    state,
    region.daxDevices.join(", "),
  ];
}

function daxCells({ device, blocks }: DaxDeviceMemory): string[] {
  const node = device.targetNode === null ? "no node" : `node ${device.targetNode}`;
  return [
    device.name,
    formatBytes(device.sizeBytes),
    device.mode,
    node,
    device.region?.source ?? "",
    device.mode === "system-ram" ? blocksText(blocks) : `align ${formatBytes(device.alignBytes)}`,
  ];
}

/** `2 of 2 blocks of 128 MiB online (Movable)`. */
function blocksText(blocks: readonly MemoryBlock[]): string {
  const [first] = blocks;
  if (first === undefined) return "no memory blocks seen";
  const online = blocks.filter((block) => block.state === "online");
  const zones = [...new Set(online.map((block) => block.zone ?? "zone unknown"))].join(", ");
  const count = `${online.length} of ${blocks.length} blocks of ${formatBytes(first.sizeBytes)} online`;
  return zones === "" ? count : `${count} (${zones})`;
}

/** All that there is, as JSON. */
export function cxlJson(state: CxlOverview): unknown {
  const { topology } = state;
  return {
    schema: "cxl_region/1",
    windows: (topology?.windows ?? []).map((window) => ({
      name: window.name,
      start: hex(window.start),
      sizeBytes: window.sizeBytes.toString(),
      ways: window.ways,
      granularityBytes: window.granularityBytes,
      bridges: window.bridges,
      types: window.types,
    })),
    memdevs: (topology?.memdevs ?? []).map((device) => ({
      name: device.name,
      serial: hex(device.serial),
      pciAddress: device.pciAddress,
      ramBytes: device.ramBytes.toString(),
      pmemBytes: device.pmemBytes.toString(),
      freeRamBytes: device.freeRamBytes.toString(),
      freePmemBytes: device.freePmemBytes.toString(),
      numaNode: device.numaNode,
      firmware: device.firmware,
      path: device.path,
    })),
    regions: (topology?.regions ?? []).map((region) => ({
      name: region.name,
      window: region.window,
      type: region.type,
      start: region.start === null ? null : hex(region.start),
      sizeBytes: region.sizeBytes.toString(),
      ways: region.ways,
      granularityBytes: region.granularityBytes,
      memdevs: region.memdevs,
      decoders: region.targets,
      committed: region.committed,
      enabled: region.enabled,
      uuid: region.uuid,
      daxDevices: region.daxDevices,
    })),
    dax: state.dax.map(({ device, blocks }) => ({
      name: device.name,
      sizeBytes: device.sizeBytes.toString(),
      mode: device.mode,
      alignBytes: device.alignBytes.toString(),
      targetNode: device.targetNode,
      source: device.region?.source ?? null,
      blocks: blocks.map((block) => ({
        name: block.name,
        start: hex(block.start),
        sizeBytes: block.sizeBytes.toString(),
        state: block.state,
        zone: block.zone,
        node: block.node,
      })),
    })),
  };
}

const TEXT: JsonObject = { type: "string" };
const TEXT_OR_NULL: JsonObject = { type: ["string", "null"] };
const NUMBER: JsonObject = { type: "integer", minimum: 0 };
const NUMBER_OR_NULL: JsonObject = { type: ["integer", "null"] };
const QUANTITY: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const ADDRESS: JsonObject = { type: "string", pattern: "^0x[0-9a-f]+$" };
const ADDRESS_OR_NULL: JsonObject = { type: ["string", "null"], pattern: "^0x[0-9a-f]+$" };
const FLAG: JsonObject = { type: "boolean" };
const list = (items: JsonObject): JsonObject => ({ type: "array", items });

/** The schema of what `cxl_region --json` prints. */
export function cxlSchema(): JsonObject {
  return documentSchema("cxl_region", [closedObject({
    schema: { const: "cxl_region/1" },
    windows: list(closedObject({
      name: TEXT,
      start: ADDRESS,
      sizeBytes: QUANTITY,
      ways: NUMBER,
      granularityBytes: NUMBER,
      bridges: list(TEXT_OR_NULL),
      types: list({ enum: ["ram", "pmem"] }),
    })),
    memdevs: list(closedObject({
      name: TEXT,
      serial: ADDRESS,
      pciAddress: TEXT_OR_NULL,
      ramBytes: QUANTITY,
      pmemBytes: QUANTITY,
      freeRamBytes: QUANTITY,
      freePmemBytes: QUANTITY,
      numaNode: NUMBER_OR_NULL,
      firmware: TEXT_OR_NULL,
      path: list(TEXT),
    })),
    regions: list(closedObject({
      name: TEXT,
      window: TEXT,
      type: TEXT,
      start: ADDRESS_OR_NULL,
      sizeBytes: QUANTITY,
      ways: NUMBER,
      granularityBytes: NUMBER,
      memdevs: list(TEXT_OR_NULL),
      decoders: list(TEXT_OR_NULL),
      committed: FLAG,
      enabled: FLAG,
      uuid: TEXT_OR_NULL,
      daxDevices: list(TEXT),
    })),
    dax: list(closedObject({
      name: TEXT,
      sizeBytes: QUANTITY,
      mode: { enum: ["devdax", "system-ram", "disabled"] },
      alignBytes: QUANTITY,
      targetNode: NUMBER_OR_NULL,
      source: TEXT_OR_NULL,
      blocks: list(closedObject({
        name: TEXT,
        start: ADDRESS,
        sizeBytes: QUANTITY,
        state: TEXT,
        zone: TEXT_OR_NULL,
        node: NUMBER_OR_NULL,
      })),
    })),
  })]);
}
