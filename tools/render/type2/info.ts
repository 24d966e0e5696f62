/**
 * What `cxl_gpu info` prints.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, hex } from "../../../src/core/units.ts";
import type { Type2Gpu } from "../../../src/type2/client.ts";
import { COMMANDS } from "../../../src/type2/commands.ts";
import { hasFeature, newerVersion } from "../../../src/type2/generation.ts";
import { type Quirk, QUIRKS } from "../../../src/type2/quirks.ts";
import { CAPS_FIELDS, registerOffset } from "../../../src/type2/registers.ts";
import { columns } from "../../cli/table.ts";
import { printable } from "../../../src/core/printable.ts";

const STATES = ["ready", "busy", "error", "context active"] as const;

function featuresOf(gpu: Type2Gpu): string[] {
  const { generation } = gpu;
  return CAPS_FIELDS.map((field) => field.name)
    .filter((name) => COMMANDS.some((row) => row.feature === name && hasFeature(generation, row.feature)));
}

function stateOf(status: number): string {
  return STATES.filter((_, bit) => (status >> bit & 1) !== 0).join(", ") || "no backend";
}

/** The facts as lines. */
export function infoLines(gpu: Type2Gpu): string[] {
  const { generation, transport } = gpu;
  const info = gpu.info();
  const pool = gpu.has("COHERENT_ALLOC") ? transport.read64(registerOffset("COH_POOL_SIZE")) : 0n;
  return columns([
    ["device", printable(info.name)],
    ["generation", `${generation.profile.name}: ${generation.profile.title}`],
    [
      "version",
      hex(generation.version, 8) + (newerVersion(generation) === null ? "" : `: ${newerVersion(generation)}`),
    ],
    ["transport", transport.kind],
    ["features", `${hex(generation.caps, 8)}  ${featuresOf(gpu).join(", ") || "none"}`],
    ["extension", generation.hasExtension ? "sessions, streams, module variables, printf, long PTX" : "none"],
    ["state", stateOf(info.status)],
    ["memory", `${formatBytes(info.totalBytes)} (${info.totalBytes} bytes), ${formatBytes(info.freeBytes)} free`],
    [
      "BAR4",
      transport.bar4 === null ? "not mapped" : `${formatBytes(transport.bar4.length)}, pool ${formatBytes(pool)}`,
    ],
    ["compute", `${Math.floor(info.capability / 10)}.${info.capability % 10}, ${info.multiprocessors} multiprocessors`],
    ["threads", `${info.mostThreads} of a block, ${info.warp} of a warp`],
  ]);
}

/** Quirks that were looked for as lines; none when nobody looked. */
export function quirkLines(quirks: readonly Quirk[] | null): string[] {
  if (quirks === null) return [];
  if (quirks.length === 0) return ["quirks: none of those that devices of the public code have"];
  return ["quirks:", ...columns(quirks.map(({ name, title, remedy }) => [`  ${name}`, `${title}; ${remedy}`]))];
}

/** The same as a document. `quirks` null: nobody looked. */
export function infoDocument(gpu: Type2Gpu, quirks: readonly Quirk[] | null = null): JsonObject {
  const info = gpu.info();
  return {
    schema: "cxl_gpu/1",
    command: "info",
    name: info.name,
    generation: gpu.generation.profile.name,
    version: gpu.generation.version,
    caps: gpu.generation.caps,
    features: featuresOf(gpu),
    extension: gpu.generation.hasExtension,
    transport: gpu.transport.kind,
    status: info.status,
    dataBytes: gpu.dataBytes,
    bar4Bytes: gpu.transport.bar4?.length ?? null,
    totalBytes: info.totalBytes.toString(),
    freeBytes: info.freeBytes.toString(),
    capability: info.capability,
    multiprocessors: info.multiprocessors,
    mostThreads: info.mostThreads,
    warp: info.warp,
    quirks: quirks === null ? null : quirks.map(({ name }) => name),
  };
}

/** The schema of {@linkcode infoDocument}. */
export function infoSchema(): JsonObject {
  const count = { type: "integer", minimum: 0 };
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "info" },
    name: { type: "string" },
    generation: { enum: ["v1", "v2", "v2-J", "newer"] },
    version: count,
    caps: count,
    features: { type: "array", items: { type: "string" } },
    extension: { type: "boolean" },
    transport: { enum: ["trapped registers", "shared memory", "in this process"] },
    status: count,
    dataBytes: count,
    bar4Bytes: { type: ["integer", "null"], description: "null: BAR4 is not mapped" },
    totalBytes: decimal,
    freeBytes: decimal,
    capability: count,
    multiprocessors: count,
    mostThreads: count,
    warp: count,
    quirks: {
      type: ["array", "null"],
      items: { enum: QUIRKS.map(({ name }) => name) },
      description: "null: they were not looked for, see --quirks",
    },
  });
}
