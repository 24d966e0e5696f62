/**
 * Features: what Get Features returns, in completion dword 0 and in the data buffer of those that have one.
 *
 * Source: NVM Express Base 2.0 §5.27.1 (2.1 where a row says so), NVM Command Set 1.0 §4.1.3, Zoned Namespace Command Set
 * 1.1 §4.1.3.
 * @module
 */

import { DecodedTable } from "../../core/decoded.ts";
import { type BitField, decodeBytes, type Layout, type Row } from "../../core/layout.ts";
import { bytes, code, flag, mask, number, quantity, register } from "../../core/rows.ts";

import { CRITICAL_WARNING } from "./log_health.ts";
import { timestampText } from "./log_events.ts";
import { featureName } from "./log_support.ts";
import { celsius, counted, milliseconds, reported, tenths, uuid, zeroBased } from "./value_text.ts";

/** What a feature belongs to: it is read once for each. */
export type FeatureScope = "controller" | "namespace" | "NVM set" | "endurance group";

/** One of the values of a feature that has several under one identifier. */
export interface FeatureInstance {
  /** What tells it from the others; null where the feature has one value. */
  readonly name: string | null;
  /** Command dword 11 that asks for it. */
  readonly cdw11: number;
}

/** A feature. */
export interface NvmeFeature {
  /** Feature Identifier. */
  readonly id: number;
  /** The specification's name. */
  readonly name: string;
  /** What it belongs to. */
  readonly scope: FeatureScope;
  /** The values that it has under its one identifier; most have one. */
  readonly instances: readonly FeatureInstance[];
  /** True when a controller with this Identify page (`id-ctrl`) says that it has the feature. */
  readonly offered: (controller: DecodedTable) => boolean;
  /** The one row of completion dword 0. */
  readonly result: Layout;
  /** The data buffer, where the feature has one. */
  readonly data: Layout | null;
  /** Length of the data buffer; 0 where there is none. */
  readonly dataBytes: number;
}

const table = (name: string, rows: readonly Row[]): Layout => ({
  name,
  source: "NVM Express Base 2.0 §5.27.1",
  rows,
});

type Offered = NvmeFeature["offered"];

const always: Offered = () => true;
const has = (row: string, field: string): Offered => (controller) => controller.has(row, field);
const notZero = (row: string): Offered => (controller) => (controller.uint(row) ?? 0n) !== 0n;
/** From that version of the specification on, as the register VS writes it. */
const since = (version: bigint): Offered => (controller) => (controller.uint("VER") ?? 0n) >= version;

const ONE: readonly FeatureInstance[] = [{ name: null, cdw11: 0 }];

/** A feature whose value is in dword 0 alone, or in the data buffer too. */
function feature(
  id: number,
  scope: FeatureScope,
  offered: Offered,
  fields: readonly BitField[] | null,
  data: { readonly sizeBytes: number; readonly rows: readonly Row[] } | null = null,
  instances: readonly FeatureInstance[] = ONE,
): NvmeFeature {
  const name = featureName(id);
  const title = `${name}: completion dword 0`;
  // A feature that has nothing in dword 0 has no row with fields either, so that nothing counts as reserved.
  const row = fields === null ? register("DW0", 0, 4, title) : register("DW0", 0, 4, title, fields);
  return {
    id,
    name,
    scope,
    instances,
    offered,
    result: table(name, [row]),
    data: data === null ? null : table(`${name}: data`, data.rows),
    dataBytes: data?.sizeBytes ?? 0,
  };
}

const LBA_RANGES = {
  sizeBytes: 4096,
  rows: [{
    type: "array",
    name: "RANGE",
    offset: 0,
    count: 64,
    sparse: true,
    strideBytes: 64,
    title: "LBA Range",
    rows: [
      quantity("TYPE", 0, 1, "Type", undefined, {
        values: { 0: "general purpose", 1: "file system", 2: "RAID", 3: "cache", 4: "page or swap file" },
      }),
      register("ATTRB", 1, 1, "Attributes", [
        code("LBARO", 0, 0, "may be", { 0: "read only", 1: "overwritten" }),
        flag("HLBAR", 1, "hidden from the operating system"),
      ]),
      quantity("SLBA", 16, 8, "Starting LBA"),
      quantity("NLB", 24, 8, "Number of Logical Blocks", zeroBased("block")),
      bytes("GUID", 32, 16, "Unique Identifier", uuid),
    ],
  }],
} as const satisfies { sizeBytes: number; rows: readonly Row[] };

const APST_TABLE = {
  sizeBytes: 256,
  rows: [{
    type: "array",
    name: "APST",
    offset: 0,
    count: 32,
    sparse: true,
    strideBytes: 8,
    title: "Transition from power state",
    elementName: (state) => `${state}`,
    rows: [
      register("ENTRY", 0, 8, "Autonomous Power State Transition", [
        number("ITPS", 7, 3, "Idle Transition Power State", (value) => `to power state ${value}`),
        number(
          "ITPT",
          31,
          8,
          "Idle Time Prior to Transition",
          (value) => value === 0n ? "never" : `after ${milliseconds(value)} of idling`,
        ),
      ]),
    ],
  }],
} as const satisfies { sizeBytes: number; rows: readonly Row[] };

const HOST_MEMORY = {
  sizeBytes: 4096,
  rows: [
    quantity("HSIZE", 0, 4, "Host Memory Buffer Size, in memory pages"),
    register("HMDLAL", 4, 4, "Host Memory Descriptor List Address, low"),
    register("HMDLAU", 8, 4, "Host Memory Descriptor List Address, high"),
    quantity("HMDLEC", 12, 4, "Host Memory Descriptor List Entry Count"),
  ],
};

const TIMESTAMP = {
  sizeBytes: 8,
  rows: [
    register("TSTMP", 0, 8, "Timestamp", [
      mask("TIME", 47, 0, "milliseconds"),
      code("SYNCH", 48, 48, "Counting", { 0: "never stopped", 1: "may have stopped" }),
      code("TO", 51, 49, "Origin", { 0: "cleared by a reset", 1: "set by the host" }),
    ], { meaning: timestampText }),
  ],
};

const LATENCY_CONFIG = {
  sizeBytes: 512,
  rows: [
    register("EE", 0, 2, "Enable Event", [
      flag("DTWINRW", 0, "DTWIN reads warning"),
      flag("DTWINWW", 1, "DTWIN writes warning"),
      flag("DTWINTW", 2, "DTWIN time warning"),
      flag("ATTVE", 14, "left the window because a value was exceeded"),
      flag("ATDE", 15, "left the window because of an excursion"),
    ]),
    quantity("DTWINRT", 32, 8, "DTWIN Reads Threshold, in 4 KiB"),
    quantity("DTWINWT", 40, 8, "DTWIN Writes Threshold, in optimal write sizes"),
    quantity("DTWINTT", 48, 8, "DTWIN Time Threshold", milliseconds),
  ],
};

const HOST_BEHAVIOR = {
  sizeBytes: 512,
  rows: [
    quantity("ACRE", 0, 1, "Advanced Command Retry Enable", undefined, { values: { 0: "no", 1: "yes" } }),
    quantity("ETDAS", 1, 1, "Extended Telemetry Data Area 4 Supported", undefined, { values: { 0: "no", 1: "yes" } }),
    quantity("LBAFEE", 2, 1, "LBA Format Extension Enable", undefined, { values: { 0: "no", 1: "yes" } }),
    quantity("HDISNS", 3, 1, "Host Dispersed Namespace Support", undefined, {
      values: { 0: "no", 1: "yes" },
      since: "2.1",
    }),
    register("CDFE", 4, 2, "Copy Descriptor Formats Enable", [
      flag("CDF2E", 2, "format 2"),
      flag("CDF3E", 3, "format 3"),
      flag("CDF4E", 4, "format 4"),
    ], { since: "2.1" }),
  ],
};

const HOST_IDENTIFIER = {
  sizeBytes: 16,
  rows: [bytes("HOSTID", 0, 16, "Host Identifier, in the order in which it stands in memory")],
};

const FDP_EVENTS = {
  sizeBytes: 512,
  rows: [{
    type: "array",
    name: "EVENT",
    offset: 0,
    count: 255,
    sparse: true,
    strideBytes: 2,
    title: "FDP Event",
    rows: [
      register("FDPET", 0, 1, "FDP Event Type"),
      register("FDPEA", 1, 1, "FDP Event Attributes", [flag("FDPEE", 0, "Enabled")]),
    ],
  }],
} as const satisfies { sizeBytes: number; rows: readonly Row[] };

const weight = (value: bigint): string => `${value + 1n}`;
const enabled = (name: string, title: string): BitField => flag(name, 0, title);
const protection: Readonly<Record<number, string>> = {
  0: "not requested",
  1: "unlocked",
  2: "locked",
  3: "locked until power cycle",
  4: "controlled by RPMB",
};

/** Every feature that this module decodes, by ascending identifier. */
export const FEATURES: readonly NvmeFeature[] = [
  feature(0x01, "controller", always, [
    number("AB", 2, 0, "Arbitration Burst", (value) => value === 7n ? "no limit" : counted(1n << value, "command")),
    number("LPW", 15, 8, "Low Priority Weight", weight),
    number("MPW", 23, 16, "Medium Priority Weight", weight),
    number("HPW", 31, 24, "High Priority Weight", weight),
  ]),
  feature(0x02, "controller", always, [
    number("PS", 4, 0, "Power State"),
    code("WH", 7, 5, "Workload Hint", { 0: "none", 1: "workload 1", 2: "workload 2" }),
  ]),
  feature(0x03, "namespace", always, [
    number("NUM", 5, 0, "Number of LBA Ranges", zeroBased("range")),
  ], LBA_RANGES),
  feature(
    0x04,
    "controller",
    always,
    [
      number("TMPTH", 15, 0, "Temperature Threshold", celsius),
      number(
        "TMPSEL",
        19,
        16,
        "Threshold Temperature Select",
        (value) =>
          value === 0n ? "composite" : value === 15n ? "all sensors" : value <= 8n ? `sensor ${value}` : "not defined",
      ),
      code("THSEL", 21, 20, "Threshold Type Select", { 0: "over", 1: "under" }),
      number("TMPTHH", 24, 22, "Temperature Threshold Hysteresis", (value) => `${value} K`),
    ],
    null,
    [{ name: "over", cdw11: 0 }, { name: "under", cdw11: 1 << 20 }],
  ),
  feature(0x05, "namespace", always, [
    number("TLER", 15, 0, "Time Limited Error Recovery", (value) => value === 0n ? "no limit" : tenths(value)),
    flag("DULBE", 16, "Deallocated or Unwritten Logical Block Error Enable"),
  ]),
  feature(0x06, "controller", has("VWC", "VWCP"), [enabled("WCE", "Volatile Write Cache Enable")]),
  feature(0x07, "controller", always, [
    number("NSQA", 15, 0, "I/O Submission Queues Allocated", zeroBased("queue")),
    number("NCQA", 31, 16, "I/O Completion Queues Allocated", zeroBased("queue")),
  ]),
  feature(0x08, "controller", always, [
    number("THR", 7, 0, "Aggregation Threshold", zeroBased("entry", "entries")),
    number("TIME", 15, 8, "Aggregation Time", (value) => value === 0n ? "no delay" : `${value * 100n} µs`),
  ]),
  feature(0x09, "controller", always, [
    number("IV", 15, 0, "Interrupt Vector"),
    flag("CD", 16, "Coalescing Disable"),
  ]),
  feature(0x0a, "controller", always, [enabled("DN", "Disable Normal: only AWUPF and NAWUPF count")]),
  feature(0x0b, "controller", always, [
    ...CRITICAL_WARNING,
    flag("NAN", 8, "Attached Namespace Attribute Notices"),
    flag("FAN", 9, "Firmware Activation Notices"),
    flag("TLN", 10, "Telemetry Log Notices"),
    flag("ANACN", 11, "Asymmetric Namespace Access Change Notices"),
    flag("PLEALCN", 12, "Predictable Latency Event Aggregate Log Change Notices"),
    flag("LBASIN", 13, "LBA Status Information Notices"),
    flag("EGEALCN", 14, "Endurance Group Event Aggregate Log Change Notices"),
    flag("NNSSHDN", 15, "Normal NVM Subsystem Shutdown"),
    flag("TTHR", 16, "Temperature Threshold Hysteresis Recovery"),
    flag("RASSN", 17, "Reachability Association Change Notices"),
    flag("RGRPN", 18, "Reachability Group Change Notices"),
    flag("ANSAN", 19, "Allocated Namespace Attribute Notices"),
    flag("ZDCN", 27, "Zone Descriptor Changed Notices"),
    flag("PMDRLPCN", 28, "Pull Model DDC Request Log Page Change Notices"),
    flag("ADLPCN", 29, "AVE Discovery Log Page Change Notices"),
    flag("HDLPCN", 30, "Host Discovery Log Page Change Notices"),
    flag("DLPCN", 31, "Discovery Log Page Change Notices"),
  ]),
  feature(
    0x0c,
    "controller",
    has("APSTA", "APSTA"),
    [enabled("APSTE", "Autonomous Power State Transition Enable")],
    APST_TABLE,
  ),
  feature(0x0d, "controller", notZero("HMPRE"), [
    flag("EHM", 0, "Enable Host Memory"),
    flag("MR", 1, "Memory Return"),
    flag("HMNARE", 2, "Host Memory Non-operational Access Restriction Enable"),
    flag("HMNAR", 3, "Host Memory Non-operational Access Restricted"),
  ], HOST_MEMORY),
  feature(0x0e, "controller", has("ONCS", "TSS"), null, TIMESTAMP),
  feature(0x0f, "controller", notZero("KAS"), [
    number("KATO", 31, 0, "Keep Alive Timeout", (value) => value === 0n ? "off" : milliseconds(value)),
  ]),
  feature(0x10, "controller", has("HCTMA", "HCTMS"), [
    number("TMT2", 15, 0, "Thermal Management Temperature 2", reported(celsius)),
    number("TMT1", 31, 16, "Thermal Management Temperature 1", reported(celsius)),
  ]),
  feature(0x11, "controller", has("CTRATT", "NOPSPM"), [
    enabled("NOPPME", "Non-Operational Power State Permissive Mode Enable"),
  ]),
  feature(0x12, "NVM set", has("CTRATT", "RRLVLS"), [number("RRL", 3, 0, "Read Recovery Level")]),
  feature(0x13, "NVM set", has("CTRATT", "PLM"), [enabled("LPE", "Predictable Latency Enable")], LATENCY_CONFIG),
  feature(0x14, "NVM set", has("CTRATT", "PLM"), [
    code("WS", 2, 0, "Window Select", { 1: "deterministic", 2: "non-deterministic" }),
  ]),
  feature(0x15, "controller", has("OACS", "GLSS"), [
    number("LSIRI", 15, 0, "LBA Status Information Report Interval", tenths),
    number("LSIPI", 31, 16, "LBA Status Information Poll Interval", tenths),
  ]),
  feature(0x16, "controller", since(0x1_0400n), null, HOST_BEHAVIOR),
  feature(0x17, "controller", notZero("SANICAP"), [
    code("NODRM", 0, 0, "No-Deallocate Response Mode", { 0: "error", 1: "warning" }),
  ]),
  feature(0x18, "endurance group", has("CTRATT", "EGS"), [
    number("ENDGID", 15, 0, "Endurance Group Identifier"),
    flag("EGASCBT", 16, "event: available spare is below its threshold"),
    flag("EGNDR", 18, "event: reliability is degraded"),
    flag("EGRO", 19, "event: all namespaces are read only"),
  ]),
  feature(0x19, "controller", since(0x2_0000n), [number("IOCSCI", 8, 0, "I/O Command Set Combination Index")]),
  feature(0x1a, "controller", since(0x2_0000n), [enabled("SUC", "Spinup Control Enable")]),
  feature(0x1b, "controller", notZero("PLSI"), [
    code("PLSM", 1, 0, "Power Loss Signaling Mode", { 0: "off", 1: "Emergency Power Fail", 2: "Forced Quiescence" }),
  ]),
  feature(0x1d, "endurance group", has("CTRATT", "FDPS"), [
    enabled("FDPE", "Flexible Data Placement Enable"),
    number("FDPCIDX", 15, 8, "Flexible Data Placement Configuration Index"),
  ]),
  feature(0x1e, "namespace", has("CTRATT", "FDPS"), [number("NUM", 31, 0, "Number of FDP events")], FDP_EVENTS, [
    // As many events as there may be, of placement handle 0.
    { name: null, cdw11: 0xff << 16 },
  ]),
  feature(0x80, "controller", always, [number("PBSLC", 7, 0, "Pre-boot Software Load Count")]),
  feature(0x81, "controller", has("ONCS", "RESERVS"), null, HOST_IDENTIFIER, [
    // EXHID: with 128 bits, the only length that controllers over PCIe have to take.
    { name: null, cdw11: 1 },
  ]),
  feature(0x82, "namespace", has("ONCS", "RESERVS"), [
    flag("REGPRE", 1, "Registration Preempted is masked"),
    flag("RESREL", 2, "Reservation Released is masked"),
    flag("RESPRE", 3, "Reservation Preempted is masked"),
  ]),
  feature(0x83, "namespace", has("ONCS", "RESERVS"), [enabled("PTPL", "Persist Through Power Loss")]),
  feature(0x84, "namespace", notZero("NWPC"), [
    code("WPS", 2, 0, "Write Protection State", {
      0: "none",
      1: "protected",
      2: "protected until power cycle",
      3: "protected for good",
    }),
  ]),
  feature(0x85, "controller", notZero("BPCAP"), [
    code("BP0WPS", 2, 0, "Boot Partition 0", protection),
    code("BP1WPS", 5, 3, "Boot Partition 1", protection),
  ]),
];

/** What Get Features returns when it is asked for capabilities (SEL 3). */
export const FEATURE_CAPABILITIES: Layout = table("Feature capabilities", [
  register("DW0", 0, 4, "Feature capabilities", [
    flag("SAVEABLE", 0, "Saveable"),
    flag("NSSPEC", 1, "Namespace Specific"),
    flag("CHANGEABLE", 2, "Changeable"),
  ]),
]);

/** The feature of that identifier, or null for one that this module does not know. */
export function featureById(id: number): NvmeFeature | null {
  return FEATURES.find((feature) => feature.id === id) ?? null;
}

/** A decoded feature. */
export interface DecodedFeature {
  /** Completion dword 0. */
  readonly result: DecodedTable;
  /** The data buffer; null where the feature has none. */
  readonly data: DecodedTable | null;
}

/**
 * Decodes what Get Features returned.
 *
 * @param dw0 completion dword 0
 * @param data the data buffer, where the feature has one; what is missing of it is unknown
 *
 * @example
 * ```ts
 * import { decodeFeature, featureById } from "./features.ts";
 * const cache = featureById(0x06);
 * console.assert(cache !== null && decodeFeature(cache, 1).result.has("DW0", "WCE"));
 * ```
 */
export function decodeFeature(feature: NvmeFeature, dw0: number, data?: Uint8Array): DecodedFeature {
  return {
    result: decodeDword(feature.result, dw0),
    data: feature.data === null
      ? null
      : new DecodedTable(feature.data.name, decodeBytes(feature.data.rows, data ?? new Uint8Array(0))),
  };
}

/** Decodes a table of one dword. */
export function decodeDword(layout: Layout, value: number): DecodedTable {
  const dword = new Uint8Array(4);
  new DataView(dword.buffer).setUint32(0, value, true);
  return new DecodedTable(layout.name, decodeBytes(layout.rows, dword));
}
