/**
 * Decoded registers as text.
 * @module
 */

import { bold, cyan, dim, yellow } from "@std/fmt/colors";

import { uintRow } from "../../../src/core/layout.ts";
import { textLines, uintText } from "../../../src/core/layout_text.ts";
import type { RegisterChange, RegisterDump } from "../../../src/nvme/tables/register_dump.ts";
import { NVME_REGISTERS } from "../../../src/nvme/tables/registers.ts";
import { columns } from "../../cli/table.ts";

/** One line for each register, one for each of its fields below it, remarks at the end of the line. */
export function registerLines(dump: RegisterDump): string[] {
  const notes = new Map(dump.notes.map((note) => [note.register, note.text]));
  const rows = textLines(dump.registers).map(({ kind, place, name, value, text, remark }) => {
    const note = kind === "row" ? remark ?? notes.get(name) ?? null : null;
    const tail = note === null ? text : `${text}  ${yellow(`[${note}]`)}`;
    return kind === "row"
      ? [place, bold(name), cyan(value), tail]
      : ["", `  ${name}`, `  ${value}`, `${dim(`[${place}]`)} ${tail}`];
  });
  return columns([["offset", "register", "value", "meaning"].map(dim), ...rows]);
}

/** One line for each register that changed, with the fields that did. */
export function changeLines(changes: readonly RegisterChange[]): string[] {
  return changes.map(({ register, before, after, fields }) => {
    const row = uintRow(NVME_REGISTERS, register);
    const show = (value: bigint | null): string => value === null ? "-" : uintText(value, row);
    const parts = fields.map(({ field, before, after }) => `${field} ${before} → ${after}`);
    return `${bold(register)}  ${show(before)} → ${yellow(show(after))}  ${parts.join(", ")}`.trimEnd();
  });
}
