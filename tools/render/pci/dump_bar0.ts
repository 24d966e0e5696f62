/**
 * The JSON documents of `dump_bar0`, and their schema.
 * @module
 */

import {
  closedObject,
  type Json,
  type JsonObject,
  rowsSchema,
  rowsToJson,
  uintToJson,
} from "../../../src/core/layout_json.ts";
import { rowSizeBytes, uintRow } from "../../../src/core/layout.ts";
import type { AccessBytes, RecordedPiece } from "../../../src/core/mmio.ts";
import { hex } from "../../../src/core/units.ts";
import type { RegisterChange, RegisterDump } from "../../../src/nvme/tables/register_dump.ts";
import { NVME_REGISTERS } from "../../../src/nvme/tables/registers.ts";
import type { PciFunction } from "../../../src/pci/function.ts";
import type { Resource } from "../../../src/pci/resources.ts";
import { documentSchema } from "../../cli/run.ts";
import { BAR_SCHEMA, barJson, FUNCTION_SCHEMA, functionJson } from "./pci.ts";

const SCHEMA = "dump_bar0/1";
const WATCH_SCHEMA = "dump_bar0.watch/1";
const DIFF_SCHEMA = "dump_bar0.diff/1";

function head(fn: PciFunction, bar: Resource | null): Record<string, Json> {
  return { schema: SCHEMA, device: functionJson(fn), bar: bar === null ? null : barJson(bar) };
}

/** Decoded registers. */
export function registersJson(fn: PciFunction, bar: Resource | null, dump: RegisterDump): JsonObject {
  const notes = dump.notes.map(({ register, text }) => ({ register, text }));
  return { ...head(fn, bar), registers: rowsToJson(dump.registers), notes };
}

/** Bytes. */
export function bytesJson(
  fn: PciFunction,
  bar: Resource | null,
  accessBytes: AccessBytes,
  pieces: readonly RecordedPiece[],
): JsonObject {
  return {
    ...head(fn, bar),
    accessBytes,
    bytes: pieces.map((piece) => ({ offset: hex(piece.offset), hex: piece.bytes.toHex() })),
  };
}

function changesJson(changes: readonly RegisterChange[]): Json {
  return changes.map(({ register, before, after, fields }) => {
    const row = uintRow(NVME_REGISTERS, register);
    const value = (of: bigint | null): Json => of === null ? null : uintToJson(of, 8 * rowSizeBytes(row), row.kind);
    return {
      register,
      before: value(before),
      after: value(after),
      fields: fields.map(({ field, before, after }) => ({ field, before: before.toString(), after: after.toString() })),
    };
  });
}

/** One line of `--watch --json`. */
export function changeJson(time: Date, changes: readonly RegisterChange[]): JsonObject {
  return { schema: WATCH_SCHEMA, time: time.toISOString(), changes: changesJson(changes) };
}

/** What `--diff --json` prints. */
export function diffJson(file: string, changes: readonly RegisterChange[]): JsonObject {
  return { schema: DIFF_SCHEMA, file, changes: changesJson(changes) };
}

const HEAD_SCHEMA: Record<string, Json> = {
  schema: { const: SCHEMA },
  device: FUNCTION_SCHEMA,
  bar: { anyOf: [BAR_SCHEMA, { type: "null" }] },
};

const VALUE_SCHEMA: JsonObject = { type: ["integer", "string", "null"] };

const CHANGES_SCHEMA: JsonObject = {
  type: "array",
  items: closedObject({
    register: { enum: NVME_REGISTERS.rows.map((row) => row.name) },
    before: VALUE_SCHEMA,
    after: VALUE_SCHEMA,
    fields: {
      type: "array",
      items: closedObject({
        field: { type: "string" },
        before: { type: "string", pattern: "^[0-9]+$" },
        after: { type: "string", pattern: "^[0-9]+$" },
      }),
    },
  }),
};

/** The schema of every document that `dump_bar0 --json` prints. */
export function dumpBar0Schema(): JsonObject {
  return documentSchema("dump_bar0", [
    closedObject({
      ...HEAD_SCHEMA,
      registers: rowsSchema(NVME_REGISTERS.rows),
      notes: { type: "array", items: closedObject({ register: { type: "string" }, text: { type: "string" } }) },
    }),
    closedObject({
      ...HEAD_SCHEMA,
      accessBytes: { enum: [1, 2, 4, 8] },
      bytes: {
        type: "array",
        items: closedObject({
          offset: { type: "string", pattern: "^0x[0-9a-f]+$" },
          hex: { type: "string", pattern: "^([0-9a-f]{2})*$" },
        }),
      },
    }),
    closedObject({ schema: { const: WATCH_SCHEMA }, time: { type: "string" }, changes: CHANGES_SCHEMA }),
    closedObject({ schema: { const: DIFF_SCHEMA }, file: { type: "string" }, changes: CHANGES_SCHEMA }),
  ]);
}
