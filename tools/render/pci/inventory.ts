/**
 * The devices of a machine as a table and as JSON.
 * @module
 */

import { bold } from "@std/fmt/colors";

import { type Fact, Unknown, valueOf } from "../../../src/core/fact.ts";
import { changing, closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes, formatDecimalBytes } from "../../../src/core/units.ts";
import { functionName, kindName, type PciNames } from "../../../src/pci/ids.ts";
import { DEVICE_KINDS, type InventoryDevice } from "../../../src/pci/inventory.ts";
import type { InventoryChange } from "../../../src/pci/inventory_changes.ts";
import { formatRate, type Link } from "../../../src/pci/link.ts";
import { columns } from "../../cli/table.ts";
import { documentSchema } from "../../cli/run.ts";
import { printable } from "../../../src/core/printable.ts";
import { factJson } from "./pci.ts";
import { LINK_SCHEMA, linkJson } from "./topology_json.ts";

const TOOL = "list";

/** What stands in a cell: `-` for none, `?` for not known. */
function cell<T>(fact: Fact<T>, text: (value: T) => string = String): string {
  if (fact instanceof Unknown) return "?";
  return fact === null ? "-" : printable(text(fact));
}

interface Column {
  readonly title: string;
  readonly cell: (device: InventoryDevice, names: PciNames) => string;
  /** Cut to so many characters at the least, where a line is too long; null is never cut. */
  readonly least: number | null;
  /** Left out where no device has a value, and not --wide. */
  readonly optional: boolean;
}

const COLUMNS: readonly Column[] = [
  { title: "ADDRESS", cell: ({ node, id }) => node === null ? "-" : id, least: null, optional: false },
  { title: "NAME", cell: ({ names }) => cell(names, (all) => all.join(",")), least: 8, optional: false },
  { title: "WHAT", cell: (device, names) => whatOf(device, names), least: 12, optional: false },
  { title: "DRIVER", cell: ({ driver }) => cell(driver), least: 6, optional: false },
  { title: "LINK", cell: ({ link }) => linkCell(link), least: 10, optional: true },
  { title: "NODE", cell: ({ numaNode }) => cell(numaNode), least: null, optional: true },
  { title: "GROUP", cell: ({ iommuGroup }) => cell(iommuGroup), least: null, optional: true },
  {
    title: "SIZE",
    cell: (device) => cell(device.sizeBytes, (size) => sizeText(device, size)),
    least: null,
    optional: true,
  },
  { title: "FIRMWARE", cell: ({ firmware }) => cell(firmware), least: 8, optional: true },
  {
    title: "TEMP",
    cell: ({ temperature }) => cell(temperature, (value) => `${(value / 1000).toFixed(0)} °C`),
    least: null,
    optional: true,
  },
  { title: "USED BY", cell: ({ users }) => cell(users, (all) => all.join("; ")), least: 8, optional: true },
];

/** Drives are sold in powers of ten, memory in powers of two. */
function sizeText({ kind }: InventoryDevice, size: bigint): string {
  return kind === "nvme" ? formatDecimalBytes(size) : formatBytes(size);
}

function whatOf({ node, model }: InventoryDevice, names: PciNames): string {
  const own = valueOf(model);
  if (node === null) return printable(own ?? "device");
  const { function: fn } = node;
  const kind = kindName(names, fn.classCode);
  return `${kind}: ${printable(own ?? functionName(names, fn))}`;
}

/** `16 GT/s x4`, `2.5 GT/s x4 of 16 GT/s x4`, `down`. */
function linkCell(link: Link | null): string {
  if (link === null) return "-";
  if (link.state !== "up") return link.state === "down" ? "down" : "?";
  const isLess = link.isSlower !== false || link.isNarrower !== false;
  return isLess ? `${formatRate(link.current)} of ${formatRate(link.possible)}` : formatRate(link.current);
}

/**
 * The table.
 *
 * @param width characters of the terminal; null: all columns, whole
 */
export function inventoryLines(
  devices: readonly InventoryDevice[],
  names: PciNames,
  width: number | null,
): string[] {
  if (devices.length === 0) return ["no such devices"];
  const rows = devices.map((device) => COLUMNS.map((column) => column.cell(device, names)));
  const kept = COLUMNS.map((column, i) =>
    width === null || !column.optional || rows.some((row) => row[i] !== "-" && row[i] !== "?")
  );
  const shown = COLUMNS.filter((_, i) => kept[i]);
  const texts = [shown.map(({ title }) => title), ...rows.map((row) => row.filter((_, i) => kept[i]))];
  const cut = width === null ? texts : fit(texts, shown, width);
  const [head = "", ...rest] = columns(cut);
  return [bold(head), ...rest];
}

/** Cuts the widest column that may be cut, again and again, until a line has room. */
function fit(rows: readonly (readonly string[])[], shown: readonly Column[], width: number): string[][] {
  const widths = shown.map((_, i) => Math.max(...rows.map((row) => lengthOf(row[i] ?? ""))));
  let excess = widths.reduce((sum, one) => sum + one + 2, -2) - width;
  while (excess > 0) {
    const spare = widths.map((one, i) => one - (shown[i]?.least ?? Infinity));
    const widest = Math.max(...spare.map((one, i) => one > 0 ? widths[i] ?? 0 : 0));
    const at = widths.findIndex((one, i) => one === widest && (spare[i] ?? 0) > 0);
    if (at < 0) break;
    widths[at] = (widths[at] ?? 0) - 1;
    excess--;
  }
  return rows.map((row) => row.map((text, i) => cutTo(text, widths[i] ?? 0)));
}

function lengthOf(text: string): number {
  return [...text].length;
}

/** Ends with `…` where something was cut. */
function cutTo(text: string, width: number): string {
  return lengthOf(text) <= width ? text : `${[...text].slice(0, Math.max(0, width - 1)).join("")}…`;
}

/** The document. */
export function inventoryJson(
  machine: string,
  devices: readonly InventoryDevice[],
  names: PciNames,
  problems: readonly string[],
): JsonObject {
  return {
    schema: `${TOOL}/1`,
    machine,
    devices: devices.map((device) => deviceJson(device, names)),
    problems: [...problems],
  };
}

function deviceJson(device: InventoryDevice, names: PciNames): JsonObject {
  const { node } = device;
  const list = (fact: Fact<readonly string[]>, none: string): JsonObject => ({
    value: fact === null || fact instanceof Unknown ? null : [...fact],
    reason: fact instanceof Unknown ? fact.reason : fact === null ? none : null,
  });
  const { sizeBytes } = device;
  return {
    id: device.id,
    kind: device.kind,
    address: node?.function.name ?? null,
    vendorId: node?.function.vendorId ?? null,
    deviceId: node?.function.deviceId ?? null,
    classCode: node?.function.classCode ?? null,
    names: list(device.names, "the kernel gives it none"),
    what: whatOf(device, names),
    driver: factJson(device.driver, "no driver has it"),
    link: device.link === null ? null : linkJson(device.link),
    numaNode: factJson(device.numaNode, "the firmware does not say"),
    iommuGroup: factJson(device.iommuGroup, "no IOMMU, or no PCI function"),
    sizeBytes: factJson(
      typeof sizeBytes === "bigint" ? sizeBytes.toString() : sizeBytes,
      "it stores nothing, or does not say",
    ),
    firmware: factJson(device.firmware, "the kernel does not show it"),
    temperatureCelsius: factJson(
      typeof device.temperature === "number" ? device.temperature / 1000 : device.temperature,
      "no sensor",
    ),
    users: list(device.users, "nobody was found"),
  };
}

/** A look that differs, as a line of JSON Lines. */
export function changeJson(
  machine: string,
  time: string,
  changes: readonly InventoryChange[],
  names: PciNames,
): JsonObject {
  return {
    schema: `${TOOL}/1`,
    machine,
    time,
    changes: changes.map(({ change, device, values }) => ({
      change,
      device: deviceJson(device, names),
      values: values.map((value) => ({ ...value })),
    })),
  };
}

/** `2026-01-01T00:00:00.000Z + 0000:01:00.0 nvme0  NVMe controller: …`. */
export function changeLine(time: string, { change, device, values }: InventoryChange, names: PciNames): string {
  const mark = { came: "+", went: "-", changed: "~" }[change];
  const own = valueOf(device.names)?.[0];
  const name = own === undefined || own === device.id ? device.id : `${device.id} ${own}`;
  const what = change === "changed"
    ? values.map(({ name, before, after }) => `${name} ${printable(before)} → ${printable(after)}`).join(", ")
    : whatOf(device, names);
  return `${time} ${mark} ${name}  ${what}`;
}

/** The schema of the documents. */
export function inventorySchema(): JsonObject {
  const text = { type: "string" };
  const device = deviceSchema();
  const machine = { schema: { const: `${TOOL}/1` }, machine: changing(text) };
  const values = { type: "array", items: closedObject({ name: text, before: text, after: text }) };
  const change = closedObject({ change: { enum: ["came", "went", "changed"] }, device, values });
  return documentSchema(TOOL, [
    closedObject({
      ...machine,
      devices: { type: "array", items: device },
      problems: { type: "array", items: text },
    }),
    closedObject({
      ...machine,
      time: text,
      changes: { type: "array", items: change },
    }),
  ]);
}

function deviceSchema(): JsonObject {
  const reason = { type: ["string", "null"] };
  const fact = (type: string, more: JsonObject = {}): JsonObject =>
    closedObject({ value: { type: [type, "null"], ...more }, reason });
  const list = closedObject({ value: { type: ["array", "null"], items: { type: "string" } }, reason });
  const id = (maximum: number): JsonObject => ({ type: ["integer", "null"], minimum: 0, maximum });
  return closedObject({
    id: { type: "string" },
    kind: { enum: [...DEVICE_KINDS] },
    address: { type: ["string", "null"] },
    vendorId: id(0xffff),
    deviceId: id(0xffff),
    classCode: id(0xff_ffff),
    names: list,
    what: { type: "string" },
    driver: fact("string"),
    link: LINK_SCHEMA,
    numaNode: fact("integer"),
    iommuGroup: changing(fact("string")),
    sizeBytes: fact("string", { pattern: "^[0-9]+$" }),
    firmware: fact("string"),
    temperatureCelsius: changing(fact("number")),
    users: changing(list),
  });
}
