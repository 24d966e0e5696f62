/**
 * Logs of what happened: persistent events, telemetry, asymmetric access, reservations, changed zones.
 *
 * Source: NVM Express Base 2.0 §5.16.1 (2.1 where a row says so), Zoned Namespace Command Set 1.1 §4.1.4.
 * @module
 */

import type { Layout, Row } from "../../core/layout.ts";
import { littleEndian } from "../../core/mmio.ts";
import { bytes, code, flag, number, quantity, register, text } from "../../core/rows.ts";
import { formatBytes } from "../../core/units.ts";
import { counted, oui, reported } from "./value_text.ts";

/** A time as controllers keep it: milliseconds since 1970 in 48 bits, its origin and state above them. */
export function timestampText(value: bigint): string {
  const time = value & 0xffff_ffff_ffffn;
  // Without a host that sets it the clock runs from power-on, so small values are durations.
  if (time < 31_536_000_000n) return `${time} ms since the clock was cleared`;
  const latest = 253_402_300_799_999n; // the last millisecond of the year 9999
  return time > latest ? "beyond the year 9999" : new Date(Number(time)).toISOString();
}

/** Names of persistent events by type. */
export const PERSISTENT_EVENTS: Readonly<Record<number, string>> = {
  0x01: "SMART / Health Log Snapshot",
  0x02: "Firmware Commit",
  0x03: "Timestamp Change",
  0x04: "Power-on or Reset",
  0x05: "NVM Subsystem Hardware Error",
  0x06: "Change Namespace",
  0x07: "Format NVM Start",
  0x08: "Format NVM Completion",
  0x09: "Sanitize Start",
  0x0a: "Sanitize Completion",
  0x0b: "Set Feature",
  0x0c: "Telemetry Log Created",
  0x0d: "Thermal Excursion",
  0x0e: "Sanitize Media Verification",
  0xde: "Vendor Specific",
  0xdf: "TCG Defined",
};

/** Bytes of the header of the Persistent Event log. */
export const PERSISTENT_EVENT_HEADER_BYTES = 512;

/** Rows of the head of a persistent event; what follows depends on the type. */
const EVENT_ROWS: readonly Row[] = [
  quantity("ET", 0, 1, "Event Type", undefined, { values: PERSISTENT_EVENTS }),
  quantity("ETREV", 1, 1, "Event Type Revision"),
  quantity("EHL", 2, 1, "Event Header Length: the bytes behind this one"),
  register("EHAI", 3, 1, "Event Header Additional Information", [
    code("PIT", 1, 0, "Port Identifier Type", {
      0: "not reported",
      1: "subsystem port",
      2: "management port",
      3: "none",
    }),
  ]),
  quantity("CNTLID", 4, 2, "Controller Identifier"),
  register("ETSTAMP", 6, 8, "Event Timestamp", undefined, { meaning: timestampText }),
  quantity("PELPID", 14, 2, "Port Identifier"),
  quantity("VSIL", 20, 2, "Vendor Specific Information Length", (value) => formatBytes(value)),
  quantity("EL", 22, 2, "Event Length, with the vendor's part", (value) => formatBytes(value)),
];

/** Persistent Event (log page 0Dh): its header, and the head of each event that was read with it. */
export const PERSISTENT_EVENT_LOG: Layout = {
  name: "Persistent Event",
  source: "NVM Express Base 2.0 §5.16.1, log page 0Dh",
  rows: [
    register("LID", 0, 1, "Log Identifier"),
    quantity("TNEV", 4, 4, "Total Number of Events"),
    quantity("TLL", 8, 8, "Total Log Length", formatBytes),
    quantity("LREV", 16, 1, "Log Revision"),
    quantity("LHL", 18, 2, "Log Header Length: the bytes behind this row", formatBytes),
    register("TSTMP", 20, 8, "Timestamp", undefined, { meaning: timestampText }),
    quantity("POH", 28, 16, "Power On Hours"),
    quantity("PWRCC", 44, 8, "Power Cycle Count"),
    register("VID", 52, 2, "PCI Vendor ID"),
    register("SSVID", 54, 2, "PCI Subsystem Vendor ID"),
    text("SN", 56, 20, "Serial Number"),
    text("MN", 76, 40, "Model Number"),
    { ...text("SUBNQN", 116, 256, "NVM Subsystem NVMe Qualified Name"), ends: "nul" },
    quantity("GNUM", 372, 2, "Generation Number"),
    register("RCI", 374, 4, "Reporting Context Information", [
      number("RCPID", 15, 0, "Reporting Context Port Identifier"),
      code("RCPIT", 17, 16, "its type", { 0: "there is no context", 1: "subsystem port", 2: "management port" }),
      flag("RCE", 18, "Reporting Context Exists"),
    ]),
    bytes("SEB", 480, 32, "Supported Events Bitmap", supportedEvents),
    {
      type: "list",
      name: "EVENT",
      offset: PERSISTENT_EVENT_HEADER_BYTES,
      // As much as one reading of the log brings; the whole may have gigabytes.
      sizeBytes: 1 << 20,
      title: "Persistent Event",
      kinds: { event: EVENT_ROWS },
      next: (rest) => {
        if (rest.length < 24) return null;
        const headerBytes = 3 + (rest[2] ?? 0);
        const length = Number(littleEndian(rest.subarray(22, 24)));
        return headerBytes < 24 ? null : { kind: "event", sizeBytes: headerBytes + length };
      },
    },
  ],
};

function supportedEvents(bitmap: Uint8Array): string {
  const found: string[] = [];
  for (let type = 0; type < 8 * bitmap.length; type++) {
    if (((bitmap[type >> 3] ?? 0) >> (type & 7) & 1) === 0) continue;
    found.push(PERSISTENT_EVENTS[type] ?? `type ${type.toString(16).toUpperCase().padStart(2, "0")}h`);
  }
  return found.length === 0 ? "none" : found.join(", ");
}

/** Bytes of a telemetry block. */
export const TELEMETRY_BLOCK_BYTES = 512;

const lastBlock = reported((value) => `${counted(value, "block")}: ${formatBytes(value * 512n)}`);

/** The header of Telemetry (log pages 07h and 08h, 512 bytes). The data behind it is the vendor's. */
export const TELEMETRY_HEADER: Layout = {
  name: "Telemetry header",
  source: "NVM Express Base 2.0 §5.16.1, log pages 07h and 08h",
  rows: [
    register("LID", 0, 1, "Log Identifier", undefined, { values: { 7: "Host-Initiated", 8: "Controller-Initiated" } }),
    register("IEEE", 5, 3, "IEEE OUI Identifier", undefined, { meaning: oui }),
    quantity("DA1LB", 8, 2, "Data Area 1 Last Block", lastBlock),
    quantity("DA2LB", 10, 2, "Data Area 2 Last Block", lastBlock),
    quantity("DA3LB", 12, 2, "Data Area 3 Last Block", lastBlock),
    quantity("DA4LB", 16, 4, "Data Area 4 Last Block", lastBlock, { since: "2.0" }),
    quantity("THS", 380, 1, "Telemetry Host-Initiated Scope", undefined, {
      values: { 0: "not reported", 1: "controller", 2: "subsystem" },
      since: "2.0",
    }),
    quantity("THDGN", 381, 1, "Host-Initiated Data Generation Number; of log page 08h the scope", undefined, {
      since: "2.0",
    }),
    quantity("TCDA", 382, 1, "Controller-Initiated Data Available", undefined, { values: { 0: "no", 1: "yes" } }),
    quantity("TCDGN", 383, 1, "Controller-Initiated Data Generation Number"),
    bytes("RID", 384, 128, "Reason Identifier"),
  ],
};

/** Asymmetric Namespace Access states by number. */
export const ANA_STATES: Readonly<Record<number, string>> = {
  1: "optimized",
  2: "non-optimized",
  3: "inaccessible",
  4: "persistent loss",
  15: "change",
};

/** Asymmetric Namespace Access (log page 0Ch): the groups of namespaces and how they can be reached from here. */
export const ANA_LOG: Layout = {
  name: "Asymmetric Namespace Access",
  source: "NVM Express Base 2.0 §5.16.1, log page 0Ch",
  rows: [
    quantity("CHGCNT", 0, 8, "Change Count"),
    quantity("NAGD", 8, 2, "Number of ANA Group Descriptors"),
    {
      type: "list",
      name: "GROUP",
      offset: 16,
      sizeBytes: 1 << 20,
      countOf: (above) => Number(above("NAGD") ?? 0n),
      title: "ANA Group Descriptor",
      kinds: {
        group: [
          quantity("AGID", 0, 4, "ANA Group Identifier"),
          quantity("NNSID", 4, 4, "Number of NSIDs"),
          quantity("CHGCNT", 8, 8, "Change Count"),
          register("AS", 16, 1, "Asymmetric Namespace Access State", [code("STATE", 3, 0, "State", ANA_STATES)]),
          {
            type: "array",
            name: "NSID",
            offset: 32,
            count: 1 << 18,
            countOf: (above) => Number(above("NNSID") ?? 0n),
            strideBytes: 4,
            title: "Namespace Identifier",
            rows: [quantity("NSID", 0, 4, "Namespace Identifier")],
          },
        ],
      },
      next: (rest) => {
        if (rest.length < 32) return null;
        return { kind: "group", sizeBytes: 32 + 4 * Number(littleEndian(rest.subarray(4, 8))) };
      },
    },
  ],
};

/** Reservation Notification (log page 80h, 64 bytes). */
export const RESERVATION_LOG: Layout = {
  name: "Reservation Notification",
  source: "NVM Express Base 2.0 §5.16.1, log page 80h",
  rows: [
    quantity("LPC", 0, 8, "Log Page Count"),
    quantity("RNLPT", 8, 1, "Reservation Notification Log Page Type", undefined, {
      values: { 0: "empty", 1: "registration preempted", 2: "reservation released", 3: "reservation preempted" },
    }),
    quantity("NALP", 9, 1, "Number of Available Log Pages"),
    quantity("NSID", 12, 4, "Namespace Identifier"),
  ],
};

/** Changed Zone List (log page BFh, 4096 bytes). */
export const CHANGED_ZONES_LOG: Layout = {
  name: "Changed Zone List",
  source: "Zoned Namespace Command Set 1.1 §4.1.4, log page BFh",
  rows: [
    quantity(
      "NRZID",
      0,
      2,
      "Number of Zone Identifiers",
      (value) => value === 0xffffn ? "more than fit" : counted(value, "zone"),
    ),
    {
      type: "array",
      name: "ZID",
      offset: 8,
      count: 511,
      countOf: (above) => above("NRZID") === 0xffffn ? 0 : Number(above("NRZID") ?? 0n),
      strideBytes: 8,
      title: "Zone Identifier",
      rows: [quantity("ZSLBA", 0, 8, "First block of the zone")],
    },
  ],
};

/** An aggregate of events: the numbers of the NVM sets or endurance groups in which there is one. */
function aggregate(name: string, logId: string, of: string, title: string): Layout {
  return {
    name,
    source: `NVM Express Base 2.0 §5.16.1, log page ${logId}`,
    rows: [
      quantity("NE", 0, 8, "Number of Entries"),
      {
        type: "array",
        name: of,
        offset: 8,
        count: 65535,
        countOf: (above) => Number(above("NE") ?? 0n),
        strideBytes: 2,
        title,
        rows: [quantity(of, 0, 2, title)],
      },
    ],
  };
}

/** Predictable Latency Event Aggregate (log page 0Bh). */
export const PREDICTABLE_LATENCY_AGGREGATE_LOG: Layout = aggregate(
  "Predictable Latency Event Aggregate",
  "0Bh",
  "NVMSETID",
  "NVM Set Identifier",
);

/** Endurance Group Event Aggregate (log page 0Fh). */
export const ENDURANCE_GROUP_AGGREGATE_LOG: Layout = aggregate(
  "Endurance Group Event Aggregate",
  "0Fh",
  "ENDGID",
  "Endurance Group Identifier",
);

const LBA_STATUS_ELEMENT_BYTES = 16;

/** LBA Status Information (log page 0Eh): blocks that may be lost, by namespace. */
export const LBA_STATUS_LOG: Layout = {
  name: "LBA Status Information",
  source: "NVM Command Set 1.0 §4.1.4, log page 0Eh",
  rows: [
    quantity("LSLPLEN", 0, 4, "LBA Status Log Page Length", formatBytes),
    quantity("NLSLNE", 4, 4, "Number of LBA Status Log Namespace Elements"),
    quantity(
      "ESTULB",
      8,
      4,
      "Estimate of Unrecoverable Logical Blocks",
      (value) => value === 0xffff_ffffn ? "not known" : counted(value, "block"),
    ),
    quantity("LSGC", 14, 2, "LBA Status Generation Counter"),
    {
      type: "list",
      name: "NAMESPACE",
      offset: 16,
      sizeBytes: 1 << 20,
      countOf: (above) => Number(above("NLSLNE") ?? 0n),
      title: "LBA Status Log Namespace Element",
      kinds: {
        namespace: [
          quantity("NEID", 0, 4, "Namespace Element Identifier: the namespace"),
          quantity("NLRD", 4, 4, "Number of LBA Range Descriptors"),
          quantity("RATYPE", 8, 1, "Recommended Action Type", undefined, {
            values: { 0x10: "scan, tracked blocks too", 0x11: "scan, tracked blocks only" },
          }),
          {
            type: "array",
            name: "RANGE",
            offset: 16,
            count: 1 << 16,
            countOf: (above) => above("NLRD") === 0xffff_ffffn ? 0 : Number(above("NLRD") ?? 0n),
            strideBytes: LBA_STATUS_ELEMENT_BYTES,
            title: "LBA Range Descriptor",
            rows: [
              quantity("RSLBA", 0, 8, "Range Starting LBA"),
              quantity("RNLB", 8, 4, "Range Number of Logical Blocks", (value) => counted(value, "block")),
            ],
          },
        ],
      },
      next: (rest) => {
        if (rest.length < LBA_STATUS_ELEMENT_BYTES) return null;
        const ranges = Number(littleEndian(rest.subarray(4, 8)));
        // All ones: the whole namespace is to be looked at, and no ranges follow.
        const described = ranges === 0xffff_ffff ? 0 : ranges;
        return { kind: "namespace", sizeBytes: LBA_STATUS_ELEMENT_BYTES * (1 + described) };
      },
    },
  ],
};
