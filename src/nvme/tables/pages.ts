/**
 * The data pages of NVMe by name: what Identify and Get Log Page return, and the table that decodes each.
 *
 * One page is one row here; fetching, decoding files, fuzz tests and the comparison with nvme-cli go through this list.
 * The names are those of nvme-cli's commands, without `-log`.
 * @module
 */

import { DecodedTable, decodeTable } from "../../core/decoded.ts";
import { decodeRows, type Layout, type RowSource } from "../../core/layout.ts";
import { IDENTIFY_BYTES } from "./identity.ts";
import {
  COMMAND_SET_COMBINATIONS,
  IDENTIFY_CONTROLLER,
  IDENTIFY_CONTROLLER_NVM,
  IDENTIFY_CONTROLLER_ZONED,
  PRIMARY_CONTROLLER,
  SECONDARY_CONTROLLERS,
} from "./identify_controller.ts";
import {
  CONTROLLER_LIST,
  DOMAIN_LIST,
  ENDURANCE_GROUP_LIST,
  GRANULARITY_LIST,
  NAMESPACE_LIST,
  NVM_SET_LIST,
  UUID_LIST,
} from "./identify_lists.ts";
import {
  IDENTIFY_NAMESPACE,
  IDENTIFY_NAMESPACE_INDEPENDENT,
  IDENTIFY_NAMESPACE_NVM,
  IDENTIFY_NAMESPACE_ZONED,
  NAMESPACE_DESCRIPTORS,
} from "./identify_namespace.ts";
import {
  ANA_LOG,
  CHANGED_ZONES_LOG,
  ENDURANCE_GROUP_AGGREGATE_LOG,
  LBA_STATUS_LOG,
  PERSISTENT_EVENT_LOG,
  PREDICTABLE_LATENCY_AGGREGATE_LOG,
  RESERVATION_LOG,
  TELEMETRY_HEADER,
} from "./log_events.ts";
import { FDP_CONFIGURATIONS_LOG, FDP_EVENTS_LOG, FDP_STATISTICS_LOG, FDP_USAGE_LOG } from "./log_placement.ts";
import {
  ENDURANCE_GROUP_LOG,
  ERROR_ENTRY_BYTES,
  ERROR_LOG,
  PREDICTABLE_LATENCY_LOG,
  ROTATIONAL_MEDIA_LOG,
  SANITIZE_LOG,
  SELF_TEST_LOG,
  SMART_LOG,
} from "./log_health.ts";
import {
  EFFECTS_LOG,
  FEATURE_EFFECTS_LOG,
  FIRMWARE_LOG,
  MANAGEMENT_EFFECTS_LOG,
  SUPPORTED_LOGS,
} from "./log_support.ts";

/** What Identify returns for a CNS, and for an I/O command set where the CNS has one. */
export interface IdentifySource {
  /** Tells the kinds apart. */
  readonly kind: "identify";
  /** Controller or Namespace Structure. */
  readonly cns: number;
  /** Command Set Identifier, where the structure belongs to one command set. */
  readonly csi?: number;
}

/** What Get Log Page returns for a log identifier. */
export interface LogSource {
  /** Tells the kinds apart. */
  readonly kind: "log";
  /** Log Page Identifier. */
  readonly lid: number;
}

/** What a page is asked for: it is read once for each. */
export type PageScope = "controller" | "namespace" | "zoned namespace" | "NVM set" | "endurance group";

/** A data page. */
export interface NvmePage {
  /** Its name: `id-ctrl`. */
  readonly name: string;
  /** The table that decodes it. */
  readonly layout: Layout;
  /** Which command brings it. */
  readonly source: IdentifySource | LogSource;
  /** How many bytes a controller returns; the fewest, where that depends. */
  readonly sizeBytes: number;
  /** The number of bytes by which a page may be longer: the length of its entries. 0 where it may not. */
  readonly stepBytes: number;
  /** What it is asked for. */
  readonly scope: PageScope;
  /** True when a controller with this Identify page (`id-ctrl`) says that it has the page. */
  readonly offered: (controller: DecodedTable) => boolean;
  /** How many bytes a controller with this Identify page returns. */
  readonly readBytes: (controller: DecodedTable) => number;
}

type Offered = NvmePage["offered"];

const always: Offered = () => true;
const never: Offered = () => false;
/** From that version of the specification on, as the register VS writes it. */
const since = (version: bigint): Offered => (controller) => (controller.uint("VER") ?? 0n) >= version;
const has = (row: string, field: string): Offered => (controller) => controller.has(row, field);
const notZero = (row: string): Offered => (controller) => (controller.uint(row) ?? 0n) !== 0n;
const either = (...ways: readonly Offered[]): Offered => (controller) => ways.some((way) => way(controller));

const V1_3 = 0x1_0300n;
const V2_0 = 0x2_0000n;
/** The pages of single command sets came with 2.0; controllers with extended LBA formats have them before. */
const commandSets = either(since(V2_0), has("CTRATT", "ELBAS"));

function identify(
  name: string,
  layout: Layout,
  cns: number,
  scope: PageScope,
  offered: Offered,
  csi?: number,
): NvmePage {
  const source: IdentifySource = { kind: "identify", cns, ...(csi === undefined ? {} : { csi }) };
  return {
    name,
    layout,
    source,
    sizeBytes: IDENTIFY_BYTES,
    stepBytes: 0,
    scope,
    offered,
    readBytes: () => IDENTIFY_BYTES,
  };
}

function log(
  name: string,
  layout: Layout,
  lid: number,
  sizeBytes: number,
  offered: Offered,
  more: Partial<NvmePage> = {},
): NvmePage {
  const readBytes = (): number => sizeBytes;
  return {
    name,
    layout,
    source: { kind: "log", lid },
    sizeBytes,
    stepBytes: 0,
    scope: "controller",
    offered,
    readBytes,
    ...more,
  };
}

/** Without offsets a log can only be read in one piece, and 4 KiB is the least that every controller transfers. */
function errorLogBytes(controller: DecodedTable): number {
  const entries = Number(controller.uint("ELPE") ?? 0n) + 1;
  return ERROR_ENTRY_BYTES * (controller.has("LPA", "LPEDS") ? entries : Math.min(entries, 64));
}

/** No controller says how long its ANA log is: this is the longest, by the numbers of groups and namespaces. */
function anaLogBytes(controller: DecodedTable): number {
  const groups = Number(controller.uint("NANAGRPID") ?? 0n);
  const namespaces = Number(controller.uint("MNAN") || controller.uint("NN") || 0n);
  // A page of nonsense must not cost gigabytes; a log that is longer is shown as cut.
  return Math.min(16 + 32 * groups + 4 * namespaces, 1 << 20);
}

/** A log whose length only its contents tell: as much is read as one transfer brings. */
const ANY_LENGTH: Partial<NvmePage> = { stepBytes: 1, readBytes: () => 4096 };
const PLACEMENT: Partial<NvmePage> = { ...ANY_LENGTH, scope: "endurance group" };

/** Every data page that busbar decodes. */
export const NVME_PAGES: readonly NvmePage[] = [
  identify("id-ctrl", IDENTIFY_CONTROLLER, 0x01, "controller", always),
  identify("nvm-id-ctrl", IDENTIFY_CONTROLLER_NVM, 0x06, "controller", commandSets, 0),
  // A zoned namespace shows that there is one of these.
  identify("zns-id-ctrl", IDENTIFY_CONTROLLER_ZONED, 0x06, "zoned namespace", always, 2),
  identify("id-ns", IDENTIFY_NAMESPACE, 0x00, "namespace", always),
  identify("ns-descs", NAMESPACE_DESCRIPTORS, 0x03, "namespace", since(V1_3)),
  identify("nvm-id-ns", IDENTIFY_NAMESPACE_NVM, 0x05, "namespace", commandSets, 0),
  identify("zns-id-ns", IDENTIFY_NAMESPACE_ZONED, 0x05, "zoned namespace", always, 2),
  identify("cmdset-ind-id-ns", IDENTIFY_NAMESPACE_INDEPENDENT, 0x08, "namespace", since(V2_0)),
  identify("list-ns", NAMESPACE_LIST, 0x02, "controller", always),
  identify("list-ns-allocated", NAMESPACE_LIST, 0x10, "controller", has("OACS", "NMS")),
  identify("list-ctrl", CONTROLLER_LIST, 0x13, "controller", has("OACS", "NMS")),
  identify("primary-ctrl-caps", PRIMARY_CONTROLLER, 0x14, "controller", has("OACS", "VMS")),
  identify("list-secondary", SECONDARY_CONTROLLERS, 0x15, "controller", has("OACS", "VMS")),
  identify("id-nvmset", NVM_SET_LIST, 0x04, "controller", has("CTRATT", "NSETS")),
  identify("id-ns-granularity", GRANULARITY_LIST, 0x16, "controller", has("CTRATT", "NG")),
  identify("id-uuid", UUID_LIST, 0x17, "controller", has("CTRATT", "ULIST")),
  identify("id-domain", DOMAIN_LIST, 0x18, "controller", has("CTRATT", "MDS")),
  identify("list-endgrp", ENDURANCE_GROUP_LIST, 0x19, "controller", has("CTRATT", "EGS")),
  identify("id-iocs", COMMAND_SET_COMBINATIONS, 0x1c, "controller", since(V2_0)),
  log("supported-logs", SUPPORTED_LOGS, 0x00, 1024, has("LPA", "MLPS")),
  log("error", ERROR_LOG, 0x01, ERROR_ENTRY_BYTES, always, {
    stepBytes: ERROR_ENTRY_BYTES,
    readBytes: errorLogBytes,
  }),
  log("smart", SMART_LOG, 0x02, 512, always),
  log("fw", FIRMWARE_LOG, 0x03, 512, always),
  log("changed-ns", NAMESPACE_LIST, 0x04, 4096, has("OAES", "NSAN")),
  log("effects", EFFECTS_LOG, 0x05, 4096, has("LPA", "CSES")),
  log("self-test", SELF_TEST_LOG, 0x06, 564, has("OACS", "DSTS")),
  log("telemetry-host", TELEMETRY_HEADER, 0x07, 512, has("LPA", "TS"), { stepBytes: 512 }),
  log("telemetry-ctrl", TELEMETRY_HEADER, 0x08, 512, has("LPA", "TS"), { stepBytes: 512 }),
  log("endurance", ENDURANCE_GROUP_LOG, 0x09, 512, has("CTRATT", "EGS"), { scope: "endurance group" }),
  log("predictable-latency", PREDICTABLE_LATENCY_LOG, 0x0a, 512, has("CTRATT", "PLM"), { scope: "NVM set" }),
  log("predictable-latency-aggregate", PREDICTABLE_LATENCY_AGGREGATE_LOG, 0x0b, 8, has("CTRATT", "PLM"), ANY_LENGTH),
  log("ana", ANA_LOG, 0x0c, 16, has("CMIC", "ANARS"), { stepBytes: 4, readBytes: anaLogBytes }),
  log("persistent-event", PERSISTENT_EVENT_LOG, 0x0d, 512, has("LPA", "PES"), { stepBytes: 1 }),
  log("lba-status", LBA_STATUS_LOG, 0x0e, 16, has("OACS", "GLSS"), ANY_LENGTH),
  log("endurance-aggregate", ENDURANCE_GROUP_AGGREGATE_LOG, 0x0f, 8, has("OAES", "EGEALPCN"), ANY_LENGTH),
  log("feature-effects", FEATURE_EFFECTS_LOG, 0x12, 1024, has("LPA", "MLPS")),
  log("mi-effects", MANAGEMENT_EFFECTS_LOG, 0x13, 4096, has("OACS", "NSRS")),
  // The endurance group says in its own log whether its media turn, so this one is read when it is asked for by name.
  log("rotational-media", ROTATIONAL_MEDIA_LOG, 0x16, 512, never, { scope: "endurance group" }),
  log("fdp-configs", FDP_CONFIGURATIONS_LOG, 0x20, 16, has("CTRATT", "FDPS"), PLACEMENT),
  log("fdp-usage", FDP_USAGE_LOG, 0x21, 8, has("CTRATT", "FDPS"), PLACEMENT),
  log("fdp-stats", FDP_STATISTICS_LOG, 0x22, 64, has("CTRATT", "FDPS"), { scope: "endurance group" }),
  log("fdp-events", FDP_EVENTS_LOG, 0x23, 64, has("CTRATT", "FDPS"), PLACEMENT),
  log("reservation", RESERVATION_LOG, 0x80, 64, has("ONCS", "RESERVS")),
  log("sanitize", SANITIZE_LOG, 0x81, 512, notZero("SANICAP")),
  log("changed-zones", CHANGED_ZONES_LOG, 0xbf, 4096, has("OAES", "ZDCN"), { scope: "zoned namespace" }),
];

/** The name of a data page. */
export type NvmePageName = string;

/**
 * The page of that name, also with `-log` behind it as nvme-cli has it; null for a name that no page has.
 *
 * @example
 * ```ts
 * import { decodePage, pageNamed } from "@busbar/busbar";
 * const page = pageNamed("smart-log");
 * if (page !== null) console.assert(decodePage(page, new Uint8Array(512)).rows.length > 0);
 * ```
 */
export function pageNamed(name: NvmePageName): NvmePage | null {
  const short = name.replace(/-log$/, "");
  return NVME_PAGES.find((page) => page.name === short) ?? null;
}

/**
 * Decodes a page. Never throws, whatever the bytes are; what they do not hold is unknown.
 *
 * @param missing runs of `bytes` that are not known
 *
 * @example
 * ```ts
 * import { decodePage, NVME_PAGES } from "./pages.ts";
 * const smart = NVME_PAGES.find((page) => page.name === "smart");
 * const bytes = new Uint8Array(512);
 * bytes.set([0x3b, 0x01], 1);
 * console.assert(smart !== undefined && decodePage(smart, bytes).row("CTEMP").meaning === "42 °C");
 * ```
 */
export function decodePage(
  page: NvmePage,
  bytes: Uint8Array,
  missing: readonly MissingBytes[] = [],
): DecodedTable {
  if (missing.length === 0) return decodeTable(page.layout, bytes);
  const source: RowSource = (_row, offset, sizeBytes) => {
    const end = offset + sizeBytes;
    if (end > bytes.length) return `the data ends at byte ${bytes.length}`;
    const hole = missing.find((run) => run.offset < end && offset < run.end);
    return hole === undefined ? bytes.subarray(offset, end) : `bytes ${hole.offset} to ${hole.end - 1} are missing`;
  };
  return new DecodedTable(page.layout.name, decodeRows(page.layout.rows, source, 0, bytes.length));
}

/** Bytes of a page that are not known. */
export interface MissingBytes {
  /** The first one. */
  readonly offset: number;
  /** The first one behind them that is known. */
  readonly end: number;
}

/** True when a controller may return a page of so many bytes. */
export function fitsPage(page: NvmePage, sizeBytes: number): boolean {
  const more = sizeBytes - page.sizeBytes;
  return more === 0 || page.stepBytes > 0 && more > 0 && more % page.stepBytes === 0;
}

/** What a page was taken for, and why. */
export interface PageGuess {
  /** The page. */
  readonly page: NvmePage;
  /** What speaks for it, in words. */
  readonly why: string;
}

/** What speaks for a page, or null when nothing does. */
type Evidence = (bytes: Uint8Array) => string | null;

/** Evidence for the pages that tools write to files most, tried in this order; each is enough by itself. */
const EVIDENCE: readonly (readonly [name: NvmePageName, evidence: Evidence])[] = [
  ["id-ctrl", controllerEvidence],
  ["id-ns", namespaceEvidence],
  ["smart", smartEvidence],
  ["fw", firmwareEvidence],
];

/**
 * Guesses which page bytes are, for files that do not say. Null when nothing speaks for one of the four pages that can
 * be told: id-ctrl, id-ns, smart, fw.
 */
export function guessPage(bytes: Uint8Array): PageGuess | null {
  return guessAmong(bytes, (page) => fitsPage(page, bytes.length)) ??
    // What was cut short may still show what it is. Of a namespace too little is in its first bytes.
    guessAmong(bytes, (page) => bytes.length < page.sizeBytes && page.name !== "id-ns");
}

function guessAmong(bytes: Uint8Array, isPossible: (page: NvmePage) => boolean): PageGuess | null {
  for (const [name, evidence] of EVIDENCE) {
    const page = pageNamed(name);
    if (page === null || !isPossible(page)) continue;
    const why = evidence(bytes);
    if (why !== null) return { page, why };
  }
  return null;
}

/** Every controller over PCIe says that queue entries of 64 and 16 bytes are required, and has a serial number. */
function controllerEvidence(bytes: Uint8Array): string | null {
  const table = decodeTable(IDENTIFY_CONTROLLER, bytes);
  if (table.field("SQES", "MINSQES") !== 6n || table.field("CQES", "MINCQES") !== 4n) return null;
  const printable = /^[\x20-\x7e]*$/;
  const texts = [bytes.subarray(4, 24), bytes.subarray(24, 64), bytes.subarray(64, 72)].map(asText);
  return texts.every((text) => printable.test(text)) ? "queue entries of 64 and 16 bytes, and readable names" : null;
}

function asText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes).replace(/[\0 ]+$/, "");
}

/** A namespace uses no more than its capacity and has no more capacity than its size, in blocks that drives have. */
function namespaceEvidence(bytes: Uint8Array): string | null {
  const table = decodeTable(IDENTIFY_NAMESPACE, bytes);
  const [size, capacity, used] = [table.uint("NSZE") ?? 0n, table.uint("NCAP") ?? 0n, table.uint("NUSE") ?? 0n];
  if (size === 0n || capacity > size || used > capacity) return null;
  const formats = table.elements("LBAF");
  if (formats.length !== Number((table.uint("NLBAF") ?? 0n) + 1n + (table.uint("NULBAF") ?? 0n))) return null;
  const usable = formats.every((format) => {
    const lbads = format.uint("LBADS") ?? 0n;
    return lbads === 0n || lbads >= 9n && lbads <= 16n;
  });
  return usable ? "sizes and LBA formats of a namespace" : null;
}

/** A drive that answers is between −40 °C and 150 °C, and no reserved bit of the warning is set. */
function smartEvidence(bytes: Uint8Array): string | null {
  const table = decodeTable(SMART_LOG, bytes);
  const kelvin = table.uint("CTEMP") ?? 0n;
  const spare = table.uint("AVSP") ?? 255n;
  const plausible = kelvin >= 233n && kelvin <= 423n && spare <= 100n && table.row("CW").reservedBits === 0n &&
    bytes.subarray(7, 32).every((byte) => byte === 0);
  return plausible ? "a plausible temperature and spare" : null;
}

/** The slot that runs holds a revision that can be read. */
function firmwareEvidence(bytes: Uint8Array): string | null {
  const table = decodeTable(FIRMWARE_LOG, bytes);
  const slot = table.field("AFI", "CAFSL") ?? 0n;
  if (slot === 0n || table.row("AFI").reservedBits !== 0n) return null;
  const revision = table.text(`FRS${slot}`) ?? "";
  return revision !== "" && !revision.includes("\\x") ? "a readable firmware revision in the active slot" : null;
}
