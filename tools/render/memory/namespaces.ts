/**
 * Regions and namespaces of persistent memory, as text and JSON.
 * @module
 */

import { bold, yellow } from "@std/fmt/colors";

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes } from "../../../src/core/units.ts";
import type { Namespace, PersistentMemory, PmemRegion } from "../../../src/memory/namespaces.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

/** Who uses each namespace, by its name; null where that was not looked for. */
export type NamespaceUses = ReadonlyMap<string, readonly string[] | null>;

/** Regions, their namespaces, and who uses those. */
export function namespaceListLines({ regions, namespaces }: PersistentMemory, uses: NamespaceUses): string[] {
  if (regions.length === 0) return ["no persistent memory"];
  return [
    ...columns(regions.map(regionCells)),
    ...namespaces.length === 0 ? ["no namespace"] : columns(namespaces.map(namespaceCells)),
    ...namespaces.flatMap(({ name }) => (uses.get(name) ?? []).map((use) => yellow(`${name}: ${use}`))),
  ];
}

function regionCells(region: PmemRegion): string[] {
  const free = region.availableBytes;
  return [
    bold(region.name),
    formatBytes(region.sizeBytes),
    !region.hasLabels ? "one namespace: no labels" : free === null ? "free space unknown" : `${formatBytes(free)} free`,
    region.provider,
    region.dimms.join(" "),
    region.isReadOnly ? "read-only" : "",
  ];
}

function namespaceCells(namespace: Namespace): string[] {
  const { sizeBytes, rawSizeBytes, alignBytes, map } = namespace;
  return [
    bold(namespace.name),
    formatBytes(sizeBytes ?? rawSizeBytes),
    namespace.mode,
    alignBytes === null ? "" : `aligned to ${formatBytes(alignBytes)}`,
    map === null ? "" : `map in ${map}`,
    namespace.isEnabled ? namespace.device ?? "no device" : "disabled",
  ];
}

function decimal(value: bigint | null): string | null {
  return value === null ? null : value.toString();
}

/** The same for programs. */
export function namespaceListJson({ regions, namespaces }: PersistentMemory, uses: NamespaceUses): JsonObject {
  return {
    schema: "dax_config_namespace/1",
    regions: regions.map((one): Json => ({
      name: one.name,
      provider: one.provider,
      hasLabels: one.hasLabels,
      sizeBytes: one.sizeBytes.toString(),
      availableBytes: decimal(one.availableBytes),
      largestFreeBytes: decimal(one.largestFreeBytes),
      alignBytes: one.alignBytes.toString(),
      dimms: [...one.dimms],
      isReadOnly: one.isReadOnly,
    })),
    namespaces: namespaces.map((one): Json => ({
      name: one.name,
      region: one.region,
      mode: one.mode,
      rawSizeBytes: one.rawSizeBytes.toString(),
      sizeBytes: decimal(one.sizeBytes),
      alignBytes: decimal(one.alignBytes),
      map: one.map,
      uuid: one.uuid,
      holder: one.holder,
      isEnabled: one.isEnabled,
      device: one.device,
      numaNode: one.numaNode,
      uses: uses.get(one.name)?.slice() ?? null,
    })),
  };
}

const TEXT: JsonObject = { type: "string" };
const TEXT_OR_NULL: JsonObject = { type: ["string", "null"] };
const TEXTS: JsonObject = { type: "array", items: TEXT };
const DECIMAL: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const DECIMAL_OR_NULL: JsonObject = { type: ["string", "null"], pattern: "^[0-9]+$" };

/** The schema of {@linkcode namespaceListJson}. */
export function namespaceListSchema(): JsonObject {
  const list = (properties: Record<string, Json>): JsonObject => ({ type: "array", items: closedObject(properties) });
  return documentSchema("dax_config", [closedObject({
    schema: { const: "dax_config_namespace/1" },
    regions: list({
      name: TEXT,
      provider: { enum: ["nvdimm", "cxl", "firmware"] },
      hasLabels: { type: "boolean" },
      sizeBytes: DECIMAL,
      availableBytes: DECIMAL_OR_NULL,
      largestFreeBytes: DECIMAL_OR_NULL,
      alignBytes: DECIMAL,
      dimms: TEXTS,
      isReadOnly: { type: "boolean" },
    }),
    namespaces: list({
      name: TEXT,
      region: TEXT,
      mode: { enum: ["devdax", "fsdax", "sector", "raw"] },
      rawSizeBytes: DECIMAL,
      sizeBytes: DECIMAL_OR_NULL,
      alignBytes: DECIMAL_OR_NULL,
      map: { enum: ["dev", "mem", null] },
      uuid: TEXT_OR_NULL,
      holder: TEXT_OR_NULL,
      isEnabled: { type: "boolean" },
      device: TEXT_OR_NULL,
      numaNode: { type: ["integer", "null"], minimum: 0 },
      uses: { type: ["array", "null"], items: TEXT },
    }),
  })]);
}
