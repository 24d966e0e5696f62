/**
 * What `nvme_identify` found, as text.
 * @module
 */

import { bold, cyan, dim, red, yellow } from "@std/fmt/colors";

import type { DecodedTable } from "../../../src/core/decoded.ts";
import type { DecodedRow } from "../../../src/core/layout.ts";
import { type TextLine, textLines } from "../../../src/core/layout_text.ts";
import { formatBytes, formatDecimalBytes, hex } from "../../../src/core/units.ts";
import {
  abilities,
  controllerAbilities,
  type NamespaceSummary,
  summarizeController,
  summarizeNamespace,
} from "../../../src/nvme/tables/summary.ts";
import {
  decodeFetched,
  type FetchedFeature,
  type FetchedPage,
  isWholePage,
  type NvmeReport,
} from "../../../src/nvme/jobs/fetch.ts";
import { version } from "../../../src/nvme/tables/value_text.ts";
import { columns } from "../../cli/table.ts";

/** How the controller was reached, in words for the first line. */
export type AccessPath = "driven from here" | "through the kernel's driver" | "from a file";

const INDENT = "  ";

function heading(text: string): string {
  return `\n${bold(text)}`;
}

function tableOf(fetched: FetchedPage): DecodedTable | null {
  return decodeFetched(fetched);
}

function isOf(name: string, of: number | null = null): (fetched: FetchedPage) => boolean {
  return (fetched) => fetched.page.name === name && fetched.of === of;
}

/** How much is shown: an overview; that, and every field of every page; every field only. */
export type Detail = "overview" | "all" | "pages";

/** Everything that was read, for people. */
export function reportLines(device: string, accessPath: AccessPath, report: NvmeReport, detail: Detail): string[] {
  const { pages, features } = report;
  const head = `${bold(device)}: ${accessPath}`;
  if (detail === "pages") return [head, ...pages.flatMap(pageLines)];
  const everything = detail === "all";
  const identify = pages.filter(({ page }) => page.source.kind === "identify");
  const logs = pages.filter(({ page }) => page.source.kind === "log");
  const overview = overviewLines(identify);
  return [
    head,
    ...overview,
    ...identify.flatMap((fetched) => everything || overview.length === 0 ? pageLines(fetched) : refusalLines(fetched)),
    ...logs.flatMap((fetched) => everything || !isWholePage(fetched) ? pageLines(fetched) : logLines(fetched)),
    ...featureLines(features, everything),
  ];
}

// ---- overview ------------------------------------------------------------------------------------------------------

function overviewLines(pages: readonly FetchedPage[]): string[] {
  const identity = pages.find(isOf("id-ctrl"));
  // Of a page that is there in part, every field is shown with what is missing, and nothing is summed up.
  if (pages.some((fetched) => fetched.bytes !== null && !isWholePage(fetched))) return [];
  const table = identity === undefined ? null : tableOf(identity);
  return [...(table === null ? [] : controllerLines(table)), ...namespaceLines(pages)];
}

function controllerLines(table: DecodedTable): string[] {
  const summary = summarizeController(table);
  const words = (name: string): string => table.row(name).meaning ?? "";
  const lines = [
    ["model", cyan(summary.model)],
    ["serial number", cyan(summary.serial)],
    ["firmware", cyan(summary.firmware)],
    ["NVMe version", version(summary.version)],
    [
      "controller",
      `${summary.controllerId} of ${summary.subsystem || "a subsystem without a name"}, type ${words("CNTRLTYPE")}`,
    ],
    ["capacity", summary.capacityBytes === null ? "not reported" : bytesText(summary.capacityBytes)],
    ["namespaces", `at most ${summary.namespaceLimit}`],
    ["largest transfer", words("MDTS")],
    ["write cache", table.has("VWC", "VWCP") ? "yes" : "no"],
    ["temperature limits", `warning at ${words("WCTEMP")}, critical at ${words("CCTEMP")}`],
  ];
  const able = controllerAbilities(table).map(({ title, names }) => [title, names.join(", ") || dim("none")]);
  return [
    ...columns(lines, INDENT),
    heading("capabilities"),
    ...able.flatMap(([title = "", names = ""]) => wrapped(title, names)),
    ...powerLines(table),
  ];
}

const TEXT_WIDTH = 110;

/** A title, and a list behind it that goes on below itself. */
function wrapped(title: string, text: string): string[] {
  const head = `${INDENT}${title.padEnd(TITLE_WIDTH)}  `;
  const lines: string[] = [];
  let line = "";
  for (const part of text.split(", ")) {
    const longer = line === "" ? part : `${line}, ${part}`;
    if (line !== "" && head.length + longer.length > TEXT_WIDTH) {
      lines.push(`${line},`);
      line = part;
    } else line = longer;
  }
  lines.push(line);
  return lines.map((one, i) => (i === 0 ? head : " ".repeat(head.length)) + one);
}

const TITLE_WIDTH = 18;

function powerLines(table: DecodedTable): string[] {
  const states = table.elements("PSD");
  if (states.length === 0) return [];
  const rows = states.map((state) => [
    String(state.index),
    state.row("POWER").meaning ?? "-",
    state.has("POWER", "NOPS") ? "no I/O" : "I/O",
    state.row("ENLAT").meaning ?? "-",
    state.row("EXLAT").meaning ?? "-",
    state.row("IDLE").meaning ?? "-",
    state.row("ACTIVE").meaning ?? "-",
  ]);
  const head = ["state", "at most", "serves", "entry", "exit", "idle", "active"].map(dim);
  return [heading("power states"), ...columns([head, ...rows], INDENT)];
}

function namespaceLines(pages: readonly FetchedPage[]): string[] {
  const found = pages.filter(({ page }) => page.name === "id-ns").flatMap((fetched) => {
    const table = tableOf(fetched);
    return table === null ? [] : [{ of: fetched.of, table, summary: summarizeNamespace(table) }];
  });
  if (found.length === 0) return [];
  const rows = found.map(({ of, table, summary }) => [
    of === null ? "?" : String(of),
    summary.isActive ? bytesText(summary.sizeBytes ?? 0n) : "not active",
    `${usedPercent(summary)} %`,
    summary.format === null ? "not described" : formatBytes(summary.format.dataBytes),
    summary.format === null ? "-" : metadataText(summary),
    summary.protection,
    commandSetText(pages, of),
    identifierText(pages, of, table),
  ]);
  const head = ["namespace", "size", "used", "blocks of", "metadata", "protection", "command set", "identifier"].map(
    dim,
  );
  return [
    heading("namespaces"),
    ...columns([head, ...rows], INDENT),
    ...found.flatMap(({ of, table, summary }) => formatLines(pages, of, table, summary)),
  ];
}

function usedPercent({ usedBlocks, sizeBlocks }: NamespaceSummary): string {
  return sizeBlocks === 0n ? "0" : (Number((usedBlocks * 1000n + sizeBlocks / 2n) / sizeBlocks) / 10).toString();
}

function metadataText({ format, metadata }: NamespaceSummary): string {
  return format === null || format.metadataBytes === 0 ? "none" : `${formatBytes(format.metadataBytes)} ${metadata}`;
}

function commandSetText(pages: readonly FetchedPage[], of: number | null): string {
  const list = pages.find(isOf("ns-descs", of));
  const csi = (list === undefined ? null : tableOf(list))?.elements("NID").find((one) => one.kind === "CSI");
  return csi?.row("NID").meaning ?? "NVM";
}

/** The first identifier that there is: in the list of descriptors, or in the page itself. */
function identifierText(pages: readonly FetchedPage[], of: number | null, table: DecodedTable): string {
  const list = pages.find(isOf("ns-descs", of));
  for (const one of (list === undefined ? null : tableOf(list))?.elements("NID") ?? []) {
    if (one.kind === "UUID") return `uuid ${one.row("NID").meaning}`;
  }
  for (const name of ["NGUID", "EUI64"]) {
    const value = table.bytes(name);
    if (value?.some((byte) => byte !== 0)) return `${name.toLowerCase()} ${value.toHex()}`;
  }
  return dim("none");
}

/** How a zoned namespace is divided. */
function zoneLines(
  pages: readonly FetchedPage[],
  of: number | null,
  { format, sizeBlocks }: NamespaceSummary,
): string[] {
  const fetched = pages.find(isOf("zns-id-ns", of));
  const table = fetched === undefined ? null : tableOf(fetched);
  const zone = table?.elements("LBAFE").find(({ index }) => index === format?.index)?.uint("ZSZE") ?? 0n;
  if (table === null || format === null || zone === 0n) return [];
  const size = formatBytes(zone * BigInt(format.dataBytes));
  const limit = (name: string): string => table.row(name).meaning ?? "-";
  return wrapped("zones", `${sizeBlocks / zone} of ${size}, open: ${limit("MOR")}, active: ${limit("MAR")}`);
}

function formatLines(
  pages: readonly FetchedPage[],
  of: number | null,
  table: DecodedTable,
  summary: NamespaceSummary,
): string[] {
  const rows = summary.formats.map((format) => [
    format.inUse ? bold(`${format.index} in use`) : String(format.index),
    formatBytes(format.dataBytes),
    format.metadataBytes === 0 ? "none" : formatBytes(format.metadataBytes),
    table.elements("LBAF").find(({ index }) => index === format.index)?.row("RP").fields[0]?.meaning ?? "-",
  ]);
  const able = [["NSFEAT", "features"], ["MC", "metadata"], ["DPC", "protection"], ["NMIC", "sharing"], [
    "RESCAP",
    "reservations",
  ]]
    .flatMap(([row = "", title = ""]) => {
      const names = abilities(table.row(row));
      return names.length === 0 ? [] : wrapped(title, names.join(", "));
    });
  return [
    heading(`namespace ${of ?? "of this page"}`),
    ...able,
    ...zoneLines(pages, of, summary),
    ...columns([["format", "blocks of", "metadata", "performance"].map(dim), ...rows], INDENT),
  ];
}

function bytesText(sizeBytes: bigint): string {
  return sizeBytes < 1000n ? formatBytes(sizeBytes) : `${formatBytes(sizeBytes)} (${formatDecimalBytes(sizeBytes)})`;
}

// ---- pages ---------------------------------------------------------------------------------------------------------

function title({ page, of }: FetchedPage): string {
  const what = page.scope === "controller" || of === null
    ? ""
    : ` of ${page.scope === "zoned namespace" ? "namespace" : page.scope} ${of}`;
  return `${page.layout.name}${what} ${dim(`(${page.name})`)}`;
}

function refusalLines(fetched: FetchedPage): string[] {
  return fetched.reason === null ? [] : [heading(title(fetched)), `${INDENT}${yellow(`refused: ${fetched.reason}`)}`];
}

/** Every field of a page. */
function pageLines(fetched: FetchedPage): string[] {
  const table = tableOf(fetched);
  if (table === null) return refusalLines(fetched);
  return [heading(title(fetched)), ...rowLines(table.rows, true)];
}

/** A log for reading: flags that are set, one line for each command in lists of commands, equal elements once. */
function logLines(fetched: FetchedPage): string[] {
  const table = tableOf(fetched);
  if (table === null) return refusalLines(fetched);
  const lines: string[] = [];
  let plain: DecodedRow[] = [];
  const flush = (): void => {
    lines.push(...rowLines(plain, false));
    plain = [];
  };
  for (const decoded of table.rows) {
    const listed = listLines(decoded);
    if (listed === null) {
      plain.push(withoutRepeats(decoded));
      continue;
    }
    flush();
    lines.push(...listed);
  }
  flush();
  return [heading(title(fetched)), ...lines];
}

/** An array without the elements at its end that are all equal to the one before them. */
function withoutRepeats(decoded: DecodedRow): DecodedRow {
  const { row, value, places } = decoded;
  if (row.type !== "array" || !Array.isArray(value)) return decoded;
  const elements = value as readonly (readonly DecodedRow[])[];
  const same = (a: readonly DecodedRow[] | undefined, b: readonly DecodedRow[] | undefined): boolean =>
    a !== undefined && b !== undefined && a.every((one, i) => one.value === b[i]?.value);
  let kept = elements.length;
  while (kept > 1 && same(elements[kept - 1], elements[kept - 2])) kept--;
  if (kept === elements.length) return decoded;
  return {
    ...decoded,
    value: elements.slice(0, kept),
    cut: `${elements.length - kept} more like the last one`,
    ...(places === undefined ? {} : { places: places.slice(0, kept) }),
  };
}

/** An array by opcode or identifier, of which each element is flags: one line for each. Null for anything else. */
function listLines({ row, value, places }: DecodedRow): string[] | null {
  if (row.type !== "array" || row.elementName === undefined || !Array.isArray(value)) return null;
  const elements = value as readonly (readonly DecodedRow[])[];
  if (elements.length === 0) return [`${INDENT}${row.title}: none`];
  return [
    `${INDENT}${dim(row.title)}`,
    ...columns(
      elements.map((element, i) => [
        `${hex(places?.[i]?.index ?? 0, 2)}`,
        places?.[i]?.name ?? "",
        element.flatMap((one) => abilities(one)).join(", "),
      ]),
      INDENT + INDENT,
    ),
  ];
}

function rowLines(rows: readonly DecodedRow[], everything: boolean): string[] {
  const lines = textLines(rows).filter((line) => everything || !isUnsetFlag(line));
  return columns(
    lines.map(({ kind, place, name, value, text, remark }) => {
      const tail = remark === null ? text : `${text}  ${yellow(`[${remark}]`)}`;
      if (kind === "row") {
        // A long value would push the text of all the others away.
        return value.length > VALUE_WIDTH
          ? [place, bold(name), "", `${tail}: ${cyan(value)}`]
          : [place, bold(name), cyan(value), tail];
      }
      return ["", `  ${name}`, `  ${value}`, `${dim(`[${place}]`)} ${tail}`];
    }),
    INDENT,
  );
}

const VALUE_WIDTH = 34;

/** A flag that is not set. */
function isUnsetFlag({ kind, value, text }: TextLine): boolean {
  return kind === "field" && value === "0" && text.endsWith(": no");
}

// ---- features ------------------------------------------------------------------------------------------------------

function featureLines(features: readonly FetchedFeature[], everything: boolean): string[] {
  if (features.length === 0) return [];
  const refused = features.filter(({ current }) => current === null);
  return [
    heading("features"),
    ...features.flatMap((one) => oneFeatureLines(one, everything)),
    ...(refused.length === 0 ? [] : [
      heading("features that the controller refused"),
      ...columns(refused.map((one) => [featureTitle(one), one.reason ?? ""]), INDENT),
    ]),
  ];
}

function featureTitle({ feature, instance, of }: FetchedFeature): string {
  return [
    `${hex(feature.id, 2)} ${feature.name}`,
    ...(instance.name === null ? [] : [`, ${instance.name}`]),
    ...(of === null ? [] : [` of ${feature.scope} ${of}`]),
  ].join("");
}

function oneFeatureLines(one: FetchedFeature, everything: boolean): string[] {
  const { current, byDefault, capabilities } = one;
  if (current === null) return [];
  const can = capabilities === null ? [] : abilities(capabilities.row("DW0"));
  const differs = byDefault !== null && byDefault.result.uint("DW0") !== current.result.uint("DW0")
    ? [yellow(`by default ${hex(byDefault.result.uint("DW0") ?? 0n, 8)}`)]
    : [];
  const notes = [...can, ...differs];
  return [
    `${INDENT}${bold(featureTitle(one))}  ${cyan(hex(current.result.uint("DW0") ?? 0n, 8))}${
      notes.length === 0 ? "" : `  ${dim(`(${notes.join(", ")})`)}`
    }`,
    ...fieldLines(current.result.rows, everything),
    ...(current.data === null ? [] : rowLines(current.data.rows, everything).map((line) => INDENT + line)),
  ];
}

function fieldLines(rows: readonly DecodedRow[], everything: boolean): string[] {
  const fields = textLines(rows).filter((line) => line.kind === "field" && (everything || !isUnsetFlag(line)));
  const remarks = textLines(rows).flatMap(({ remark }) => remark === null ? [] : [red(remark)]);
  return [
    ...columns(fields.map(({ name, value, text }) => [name, value, text]), INDENT + INDENT),
    ...remarks.map((remark) => INDENT + INDENT + remark),
  ];
}
