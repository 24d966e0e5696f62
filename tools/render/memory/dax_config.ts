/**
 * What `dax_config` found, as text and JSON.
 * @module
 */

import { bold, green, red, yellow } from "@std/fmt/colors";

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, hex } from "../../../src/core/units.ts";
import type { DaxDevice, PmemNamespace } from "../../../src/memory/devdax.ts";
import type { LogVerdict, ProcessVerdict } from "../../../src/memory/evidence.ts";
import type { MemoryResource, ResourceFinding } from "../../../src/memory/resource.ts";
import { SETTINGS_SCHEMA } from "../../dax_config/settings.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

const COLORS: Readonly<Record<ResourceFinding["result"], (text: string) => string>> = {
  good: green,
  limited: yellow,
  bad: red,
  unknown: yellow,
};

/** A dax device in one line. */
export function daxDeviceCells(device: DaxDevice): string[] {
  return [
    bold(device.name),
    formatBytes(device.sizeBytes),
    `aligned to ${formatBytes(device.alignBytes)}`,
    device.mode,
    device.targetNode === null ? "no node" : `node ${device.targetNode}`,
    device.region?.source ?? device.region?.provider ?? "",
  ];
}

/** A namespace in one line. */
export function namespaceCells(namespace: PmemNamespace): string[] {
  const device = namespace.blockDevice === null ? "" : `/dev/${namespace.blockDevice}`;
  return [bold(namespace.name), formatBytes(namespace.sizeBytes), namespace.mode, device];
}

/** A dax device for programs. */
export function daxDeviceJson(device: DaxDevice): JsonObject {
  return {
    name: device.name,
    path: device.path,
    sizeBytes: device.sizeBytes.toString(),
    alignBytes: device.alignBytes.toString(),
    mode: device.mode,
    driver: device.driver,
    address: device.address === null ? null : hex(device.address),
    targetNode: device.targetNode,
    numaNode: device.numaNode,
    source: device.region?.source ?? null,
  };
}

/** A namespace for programs. */
export function namespaceJson(namespace: PmemNamespace): JsonObject {
  const { name, mode, sizeBytes, blockDevice } = namespace;
  return { name, mode, sizeBytes: sizeBytes.toString(), blockDevice };
}

/** Findings for people: result, what was looked at, what was found, and what to do. */
export function findingLines(findings: readonly ResourceFinding[]): string[] {
  return findings.flatMap(({ name, result, text, remedy }) => [
    `${COLORS[result](result.padEnd(7))}  ${bold(name)}: ${text}`,
    ...(remedy === null ? [] : [`         ${remedy}`]),
  ]);
}

/** A resource for programs. */
export function resourceJson({ kind, path, sizeBytes, alignBytes, device, findings }: MemoryResource): JsonObject {
  return {
    kind,
    path,
    sizeBytes: sizeBytes === null ? null : sizeBytes.toString(),
    alignBytes: alignBytes.toString(),
    device: device?.name ?? null,
    findings: findings.map(({ name, result, text, remedy }) => ({ name, result, text, remedy })),
  };
}

/** What a process maps, for people. */
export function processLines({ pid, command, verdict, reason, daxBytes, mappings }: ProcessVerdict): string[] {
  const color = { yes: green, no: red, "cannot tell": yellow }[verdict];
  const cells = mappings.map((one) => [formatBytes(one.sizeBytes), one.kind, one.path, one.reason]);
  return [
    `${color(verdict)}: ${command} (process ${pid}): ${reason}` +
    (daxBytes > 0n ? `, ${formatBytes(daxBytes)} with direct access` : ""),
    ...columns(cells, "  "),
  ];
}

/** What a process maps, for programs. */
export function processJson(process: ProcessVerdict): JsonObject {
  const { pid, command, verdict, reason, daxBytes } = process;
  const mappings = process.mappings.map((one): Json => ({
    start: hex(one.start),
    sizeBytes: one.sizeBytes.toString(),
    path: one.path,
    kind: one.kind,
    shared: one.isShared,
    sync: one.isSync,
    kernelPageBytes: one.kernelPageBytes === null ? null : one.kernelPageBytes.toString(),
    reason: one.reason,
  }));
  return { pid, command, verdict, reason, daxBytes: daxBytes.toString(), mappings };
}

/** What a log says, for people. */
export function logLines(path: string, { initialized, refused }: LogVerdict): string[] {
  const lines = initialized.map(({ line, thread, backend, resource }) =>
    `${path}:${line}: thread ${thread} asked for backend ${bold(backend)}, resource ${bold(resource)}`
  );
  const refusals = refused.flatMap(({ line, text, isFatal }) => {
    const next = initialized.find((one) => one.line > line);
    const then = isFatal
      ? "the program ended there"
      : next === undefined
      ? "the log does not say what it did then"
      : `it went on with ${next.backend} on ${next.resource} (line ${next.line})`;
    return [
      `${red("bad")}: ${path}:${line}: ${text}`,
      `  ${then}: export CXL_MEMORY_RESOURCE=/dev/dax0.0, not SS`,
    ];
  });
  if (lines.length + refusals.length === 0) {
    return [
      `${red("no")}: ${path} has no line of cxlalloc`,
      "  run the program with --logtostderr=1 and keep standard error too: 2>&1",
    ];
  }
  return [...lines, ...refusals];
}

/** What a log says, for programs. */
export function logJson(path: string, { initialized, refused }: LogVerdict): JsonObject {
  return { path, initialized: initialized.map((one) => ({ ...one })), refused: refused.map((one) => ({ ...one })) };
}

const text: JsonObject = { type: "string" };
const textOrNull: JsonObject = { type: ["string", "null"] };
const integer: JsonObject = { type: "integer", minimum: 0 };
const integerOrNull: JsonObject = { type: ["integer", "null"], minimum: 0 };
const decimal: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const decimalOrNull: JsonObject = { type: ["string", "null"], pattern: "^[0-9]+$" };

function list(properties: Record<string, Json>): JsonObject {
  return { type: "array", items: closedObject(properties) };
}

/** The schema of `dax_config show --json`. */
export function showSchema(): JsonObject {
  const device = {
    name: text,
    path: text,
    sizeBytes: decimal,
    alignBytes: decimal,
    mode: { enum: ["devdax", "system-ram", "disabled"] },
    driver: textOrNull,
    address: { type: ["string", "null"], pattern: "^0x[0-9a-f]+$" },
    targetNode: integerOrNull,
    numaNode: integerOrNull,
    source: textOrNull,
  };
  const mode = { enum: ["devdax", "fsdax", "sector", "raw"] };
  return documentSchema("dax_config", [closedObject({
    schema: { const: "dax_config_show/1" },
    settings: SETTINGS_SCHEMA,
    devices: list(device),
    namespaces: list({ name: text, mode, sizeBytes: decimal, blockDevice: textOrNull }),
  })], "show");
}

/** The schema of `dax_config check --json`. */
export function checkSchema(): JsonObject {
  const schema = { const: "dax_config_check/1" };
  const findings = list({
    name: text,
    result: { enum: ["good", "limited", "bad", "unknown"] },
    text,
    remedy: textOrNull,
  });
  const kind = { enum: ["devdax", "fsdax", "file", "shared memory", "BAR", "block device", "none"] };
  const resource = closedObject({
    kind,
    path: text,
    sizeBytes: decimalOrNull,
    alignBytes: decimal,
    device: textOrNull,
    findings,
  });
  const mappings = list({
    start: { type: "string", pattern: "^0x[0-9a-f]+$" },
    sizeBytes: decimal,
    path: text,
    kind: { enum: ["devdax", "fsdax", "page cache", "shared memory", "BAR", "unknown"] },
    shared: { type: "boolean" },
    sync: { type: "boolean" },
    kernelPageBytes: decimalOrNull,
    reason: text,
  });
  const verdict = { enum: ["yes", "no", "cannot tell"] };
  const process = { pid: integer, command: text, verdict, reason: text, daxBytes: decimal, mappings };
  const log = closedObject({
    path: text,
    initialized: list({ line: integer, thread: integer, backend: text, resource: text }),
    refused: list({ line: integer, text, isFatal: { type: "boolean" } }),
  });
  return documentSchema("dax_config", [
    closedObject({ schema, settings: SETTINGS_SCHEMA, resource }),
    closedObject({ schema, processes: list(process) }),
    closedObject({ schema, log }),
  ], "check");
}

/** The schema of `dax_config qemu --json`. */
export function qemuSchema(): JsonObject {
  const texts = { type: "array", items: text };
  return documentSchema("dax_config", [
    closedObject({
      schema: { const: "dax_config_qemu/1" },
      argv: texts,
      files: list({ path: text, sizeBytes: decimal }),
      notes: texts,
    }),
    closedObject({
      schema: { const: "dax_config_qemu_hosts/1" },
      hosts: list({ address: text, before: texts, argv: texts, after: texts }),
      files: list({ path: text, sizeBytes: decimal }),
      notes: texts,
    }),
  ], "qemu");
}
