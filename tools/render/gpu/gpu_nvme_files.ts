/**
 * What `gpu_nvme cat` and `gpu_nvme load` did, as text and JSON.
 * @module
 */

import { bold } from "@std/fmt/colors";

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDurationMs, hex } from "../../../src/core/units.ts";
import type { CatResult } from "../../../src/gpu/cat_file.ts";
import type { FileMap } from "../../../src/gpu/files/file_map.ts";
import type { LoadedModel } from "../../../src/gpu/load_model.ts";
import { columns } from "../../cli/table.ts";

/** What was read, and how. */
export interface FileDescription {
  /** The controller's locator. */
  readonly device: string;
  /** The GPU, in words. */
  readonly gpu: string;
  /** The file. */
  readonly map: FileMap;
  /** Who found its blocks. */
  readonly resolve: "host" | "gpu";
  /** Wall time in milliseconds. */
  readonly elapsedMs: number;
}

function rate(bytes: number, elapsedMs: number): string {
  return elapsedMs > 0 ? `, ${formatBytes(Math.round(bytes / elapsedMs * 1000))}/s` : "";
}

function fileLine({ map }: FileDescription): string {
  const { key, extents, path } = map;
  return `${path} on ${key.fileSystem}${key.uuid === "" ? "" : ` ${key.uuid}`}: ${
    formatBytes(key.sizeBytes)
  } in ${extents.length} extents`;
}

/** What `cat` did, for people. */
export function catLines(what: FileDescription, result: CatResult, sha256: string): string[] {
  const { sizeBytes, commands, zeroBytes, metadataReads } = result;
  const found = what.resolve === "gpu"
    ? `the kernel found its blocks itself, by ${metadataReads} reads of metadata`
    : `its blocks were found by the CPU; ${commands} commands and fills`;
  return [
    `GPU ${what.gpu}`,
    fileLine(what),
    `${bold("cat")}: ${formatBytes(sizeBytes)} in ${formatDurationMs(what.elapsedMs)}${
      rate(sizeBytes, what.elapsedMs)
    }`,
    `${found}${zeroBytes > 0 ? `; ${formatBytes(zeroBytes)} of holes` : ""}`,
    `SHA-256 ${sha256}`,
  ];
}

/** What `load` did, for people. */
export function loadLines(what: FileDescription, model: LoadedModel): string[] {
  const { header, tensors, arena, directBytes, copiedBytes } = model;
  const rows = [...tensors.values()].map((one) => [
    one.name,
    one.type,
    one.shape.join(" × ") || "scalar",
    hex(one.address),
    formatBytes(one.sizeBytes),
    one.sha256.slice(0, 16),
  ]);
  const total = directBytes + copiedBytes;
  return [
    `GPU ${what.gpu}`,
    fileLine(what),
    `${header.format}: ${tensors.size} of ${header.tensors.length} tensors in ${
      arena.place === "device" ? "device memory" : "pinned host memory"
    }`,
    `${bold("load")}: ${formatBytes(total)} in ${formatDurationMs(what.elapsedMs)}${rate(total, what.elapsedMs)}`,
    `${formatBytes(directBytes)} written to their place by the drive, ${formatBytes(copiedBytes)} copied by the kernel`,
    ...columns([["tensor", "type", "shape", "address", "size", "SHA-256 begins"], ...rows]),
  ];
}

function fileJson(what: FileDescription): JsonObject {
  const { map } = what;
  return {
    schema: "gpu_nvme/1",
    device: what.device,
    gpu: what.gpu,
    path: map.path,
    fileSystem: map.key.fileSystem,
    uuid: map.key.uuid,
    bytes: String(map.key.sizeBytes),
    extents: map.extents.length,
    elapsedMs: what.elapsedMs,
  };
}

/** What `cat` did, for programs. */
export function catJson(what: FileDescription, result: CatResult, sha256: string): JsonObject {
  const { commands, zeroBytes, metadataReads } = result;
  return {
    ...fileJson(what),
    action: "cat",
    resolve: what.resolve,
    commands,
    zeroBytes: String(zeroBytes),
    metadataReads,
    sha256,
  };
}

/** What `load` did, for programs. */
export function loadJson(what: FileDescription, model: LoadedModel): JsonObject {
  return {
    ...fileJson(what),
    action: "load",
    format: model.header.format,
    place: model.arena.place,
    directBytes: String(model.directBytes),
    copiedBytes: String(model.copiedBytes),
    tensors: [...model.tensors.values()].map((one) => ({
      name: one.name,
      type: one.type,
      shape: [...one.shape],
      address: hex(one.address),
      bytes: String(one.sizeBytes),
      sha256: one.sha256,
    })),
  };
}

const INTEGER = { type: "integer", minimum: 0 } as const;
const DECIMAL = { type: "string", pattern: "^[0-9]+$" } as const;
const TEXT = { type: "string" } as const;
const HASH = { type: "string", pattern: "^[0-9a-f]{64}$" } as const;

/** The schemas of both documents. */
export function fileSchemas(): JsonObject[] {
  const file = {
    schema: { const: "gpu_nvme/1" },
    device: TEXT,
    gpu: TEXT,
    path: TEXT,
    fileSystem: TEXT,
    uuid: TEXT,
    bytes: DECIMAL,
    extents: INTEGER,
    elapsedMs: { type: "number", minimum: 0 },
  };
  const tensor = closedObject({
    name: TEXT,
    type: TEXT,
    shape: { type: "array", items: INTEGER },
    address: { type: "string", pattern: "^0x[0-9a-f]+$" },
    bytes: DECIMAL,
    sha256: HASH,
  });
  return [
    closedObject({
      ...file,
      action: { const: "cat" },
      resolve: { enum: ["host", "gpu"] },
      commands: INTEGER,
      zeroBytes: DECIMAL,
      metadataReads: INTEGER,
      sha256: HASH,
    }),
    closedObject({
      ...file,
      action: { const: "load" },
      format: TEXT,
      place: { enum: ["device", "pinned"] },
      directBytes: DECIMAL,
      copiedBytes: DECIMAL,
      tensors: { type: "array", items: tensor },
    }),
  ];
}
