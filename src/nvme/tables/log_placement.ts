/**
 * Logs of Flexible Data Placement: what an endurance group can be configured to, how its reclaim units are used, what was
 * written, and what happened.
 *
 * Source: NVM Express Base 2.1 §5.1.12.1.28 to §5.1.12.1.31 (technical proposal 4146 before), log pages 20h to 23h.
 * @module
 */

import { littleEndian } from "../../core/mmio.ts";
import type { Layout, ListRow, Row } from "../../core/layout.ts";
import { bytes, code, flag, number, quantity, register } from "../../core/rows.ts";
import { formatBytes } from "../../core/units.ts";
import { capacity, counted, reported, secondsOrUnknown, zeroBased } from "./value_text.ts";
import { timestampText } from "./log_events.ts";

const SOURCE = "NVM Express Base 2.1 §5.1.12.1";

const CONFIGURATION_ROWS: readonly Row[] = [
  quantity("DSZE", 0, 2, "Descriptor Size", formatBytes),
  register("FDPA", 2, 1, "FDP Attributes", [
    number("RGIF", 3, 0, "Reclaim Group Identifier Format: bits of the identifier"),
    flag("FDPVWC", 4, "Volatile write cache"),
    flag("FDPCV", 7, "The configuration is valid"),
  ]),
  quantity("VSS", 3, 1, "Vendor Specific Size", formatBytes),
  quantity("NRG", 4, 4, "Number of Reclaim Groups"),
  quantity("NRUH", 8, 2, "Number of Reclaim Unit Handles"),
  quantity("MAXPIDS", 10, 2, "Max Placement Identifiers", zeroBased("identifier")),
  quantity("NNSS", 12, 4, "Number of Namespaces Supported"),
  quantity("RUNS", 16, 8, "Reclaim Unit Nominal Size", formatBytes),
  quantity("ERUTL", 24, 4, "Estimated Reclaim Unit Time Limit", reported(secondsOrUnknown)),
  {
    type: "array",
    name: "RUHD",
    offset: 64,
    count: 65535,
    countOf: (above) => Number(above("NRUH") ?? 0n),
    strideBytes: 4,
    title: "Reclaim Unit Handle Descriptor",
    rows: [
      quantity("RUHT", 0, 1, "Reclaim Unit Handle Type", undefined, {
        values: { 1: "initially isolated", 2: "persistently isolated" },
      }),
    ],
  },
];

const CONFIGURATIONS: ListRow = {
  type: "list",
  name: "CONFIG",
  offset: 16,
  // As much as one reading of the log brings.
  sizeBytes: 1 << 20,
  countOf: (above) => Number((above("NUMFDPC") ?? 0n) + 1n),
  title: "FDP Configuration Descriptor",
  kinds: { configuration: CONFIGURATION_ROWS },
  next: (rest) => {
    const sizeBytes = rest.length < 64 ? 0 : Number(littleEndian(rest.subarray(0, 2)));
    return sizeBytes < 64 ? null : { kind: "configuration", sizeBytes };
  },
};

/** FDP Configurations (log page 20h): what an endurance group can be configured to. */
export const FDP_CONFIGURATIONS_LOG: Layout = {
  name: "FDP Configurations",
  source: `${SOURCE}, log page 20h`,
  rows: [
    quantity("NUMFDPC", 0, 2, "Number of FDP Configurations", zeroBased("configuration")),
    quantity("VERS", 2, 1, "Version of the log page"),
    quantity("SZE", 4, 4, "Size of the log page", formatBytes),
    CONFIGURATIONS,
  ],
};

/** Reclaim Unit Handle Usage (log page 21h). */
export const FDP_USAGE_LOG: Layout = {
  name: "Reclaim Unit Handle Usage",
  source: `${SOURCE}, log page 21h`,
  rows: [
    quantity("NRUH", 0, 2, "Number of Reclaim Unit Handles"),
    {
      type: "array",
      name: "RUHU",
      offset: 8,
      count: 65535,
      countOf: (above) => Number(above("NRUH") ?? 0n),
      strideBytes: 8,
      title: "Reclaim Unit Handle Usage Descriptor",
      rows: [
        register("RUHA", 0, 1, "Reclaim Unit Handle Attributes", [
          code("USE", 2, 0, "used by", { 0: "nobody", 1: "the host", 2: "the controller" }),
        ]),
      ],
    },
  ],
};

/** FDP Statistics (log page 22h, 64 bytes). */
export const FDP_STATISTICS_LOG: Layout = {
  name: "FDP Statistics",
  source: `${SOURCE}, log page 22h`,
  rows: [
    quantity("HBMW", 0, 16, "Host Bytes with Metadata Written", capacity),
    quantity("MBMW", 16, 16, "Media Bytes with Metadata Written", capacity),
    quantity("MBE", 32, 16, "Media Bytes Erased", capacity),
  ],
};

/** Names of the events of Flexible Data Placement by type. */
const FDP_EVENT_TYPES: Readonly<Record<number, string>> = {
  0x00: "Reclaim Unit Not Fully Written To Capacity",
  0x01: "Reclaim Unit Time Limit Exceeded",
  0x02: "Controller Level Reset Modified Reclaim Unit Handles",
  0x03: "Invalid Placement Identifier",
  0x80: "Media Reallocated",
  0x81: "Implicitly Modified Reclaim Unit Handle",
};

/** How many events the log holds at most. */
const FDP_EVENTS_MAX = 63;

/** FDP Events (log page 23h, 64 bytes and as many for each event). */
export const FDP_EVENTS_LOG: Layout = {
  name: "FDP Events",
  source: `${SOURCE}, log page 23h`,
  rows: [
    quantity("NEVT", 0, 4, "Number of FDP Events", (value) => counted(value, "event")),
    {
      type: "array",
      name: "EVENT",
      offset: 64,
      count: FDP_EVENTS_MAX,
      countOf: (above) => Number(above("NEVT") ?? 0n),
      strideBytes: 64,
      title: "FDP Event",
      rows: [
        quantity("TYPE", 0, 1, "Event Type", undefined, { values: FDP_EVENT_TYPES }),
        register("FDPEF", 1, 1, "FDP Event Flags", [
          flag("PIV", 0, "Placement Identifier Valid"),
          flag("NSIDV", 1, "NSID Valid"),
          flag("LV", 2, "Location Valid"),
        ]),
        quantity("PID", 2, 2, "Placement Identifier"),
        register("TIMESTAMP", 4, 8, "Event Timestamp", undefined, { meaning: timestampText }),
        quantity("NSID", 12, 4, "Namespace Identifier"),
        // What follows has a meaning for Media Reallocated (80h) only.
        register("ETSF", 16, 1, "Event Type Specific Flags", [flag("LBAV", 0, "of Media Reallocated: LBA Valid")]),
        quantity("NLBAM", 18, 2, "of Media Reallocated: Number of LBAs Moved"),
        quantity("LBA", 20, 8, "of Media Reallocated: first LBA that was moved"),
        quantity("RGID", 32, 2, "Reclaim Group Identifier"),
        quantity("RUHID", 34, 1, "Reclaim Unit Handle Identifier"),
        bytes("VS", 40, 24, "Vendor Specific"),
      ],
    },
  ],
};
