/**
 * Single registers for people, and their JSON schema. For mmio and config.
 * @module
 */

import { bold, cyan, dim } from "@std/fmt/colors";

import { closedObject, type Json, type JsonObject, uintToJson } from "../../../src/core/layout_json.ts";
import { textLines } from "../../../src/core/layout_text.ts";
import { explainRegister, type NamedRegister } from "../../../src/core/named_register.ts";
import { hex } from "../../../src/core/units.ts";

/** What was done to a register. */
export interface RegisterAccess {
  /** Whose it is: `BAR0 of 0000:01:00.0`. */
  readonly region: string;
  /** The register. */
  readonly register: NamedRegister;
  /** Its value before, or the only one. */
  readonly before: bigint;
  /** Its value after a write; null after a read. */
  readonly after: bigint | null;
  /** The command that undoes a write; null after a read. */
  readonly undo: string | null;
}

/** The lines of an access: the value, what it means, and how to undo it. */
export function accessLines({ register, before, after, undo }: RegisterAccess): string[] {
  const digits = 2 * register.accessBytes;
  const values = after === null ? hex(before, digits) : `${hex(before, digits)} → ${hex(after, digits)}`;
  const title = register.row === null ? "" : `  ${register.row.title}`;
  const fields = textLines(explainRegister(register, after ?? before)).filter(({ kind }) => kind !== "row");
  return [
    `${hex(register.offset, 4)}  ${register.name === null ? "" : `${bold(register.name)}  `}${cyan(values)}${title}`,
    ...fields.map(({ place, name, value, text }) => `  ${name} ${value}  ${dim(`[${place}]`)} ${text}`),
    ...(undo === null ? [] : [`undo: ${undo}`]),
  ];
}

/** An access as a JSON document. */
export function accessJson(tool: string, { region, register, before, after, undo }: RegisterAccess): Json {
  const show = (value: bigint): Json => uintToJson(value, 8 * register.accessBytes, "register");
  return {
    schema: `${tool}/1`,
    region,
    register: register.name,
    offset: register.offset,
    width: register.accessBytes,
    before: show(before),
    after: after === null ? null : show(after),
    undo,
  };
}

/** The schema of {@linkcode accessJson}. */
export function accessSchema(tool: string): JsonObject {
  const value = [{ type: "integer", minimum: 0 }, { type: "string", pattern: "^0x[0-9a-f]{16}$" }];
  return closedObject({
    schema: { const: `${tool}/1` },
    region: { type: "string" },
    register: { type: ["string", "null"] },
    offset: { type: "integer", minimum: 0 },
    width: { enum: [1, 2, 4, 8] },
    before: { anyOf: value },
    after: { anyOf: [...value, { type: "null" }] },
    undo: { type: ["string", "null"] },
  });
}
