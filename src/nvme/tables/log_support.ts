/**
 * Logs of what a controller can do: log pages, commands, features, and what they change; firmware slots.
 *
 * Source: NVM Express Base 2.0 §5.16.1 (2.1 where a row says so).
 * @module
 */

import type { ArrayRow, BitField, Layout } from "../../core/layout.ts";
import { code, flag, listed, number, register, text } from "../../core/rows.ts";
import { opcodeName } from "./opcodes.ts";

/** Log pages by identifier. */
export const LOG_PAGE_NAMES: Readonly<Record<number, string>> = {
  0x00: "Supported Log Pages",
  0x01: "Error Information",
  0x02: "SMART / Health Information",
  0x03: "Firmware Slot Information",
  0x04: "Changed Attached Namespace List",
  0x05: "Commands Supported and Effects",
  0x06: "Device Self-test",
  0x07: "Telemetry Host-Initiated",
  0x08: "Telemetry Controller-Initiated",
  0x09: "Endurance Group Information",
  0x0a: "Predictable Latency Per NVM Set",
  0x0b: "Predictable Latency Event Aggregate",
  0x0c: "Asymmetric Namespace Access",
  0x0d: "Persistent Event",
  0x0e: "LBA Status Information",
  0x0f: "Endurance Group Event Aggregate",
  0x10: "Media Unit Status",
  0x11: "Supported Capacity Configuration List",
  0x12: "Feature Identifiers Supported and Effects",
  0x13: "NVMe-MI Commands Supported and Effects",
  0x14: "Command and Feature Lockdown",
  0x15: "Boot Partition",
  0x16: "Rotational Media Information",
  0x17: "Dispersed Namespace Participating NVM Subsystems",
  0x18: "Management Address List",
  0x19: "Physical Interface Receiver Eye Opening Measurement",
  0x1a: "Reachability Groups",
  0x1b: "Reachability Associations",
  0x1c: "Changed Allocated Namespace List",
  0x20: "FDP Configurations",
  0x21: "Reclaim Unit Handle Usage",
  0x22: "FDP Statistics",
  0x23: "FDP Events",
  0x70: "Discovery",
  0x71: "Host Discovery",
  0x72: "AVE Discovery",
  0x73: "Pull Model DDC Request",
  0x80: "Reservation Notification",
  0x81: "Sanitize Status",
  0xbf: "Changed Zone List",
};

/** The name of a log page; `Vendor Specific` or `Reserved` where the specification has none. */
export function logPageName(logId: number): string {
  return LOG_PAGE_NAMES[logId] ?? (logId >= 0xc0 ? "Vendor Specific" : "Reserved");
}

/** Features by identifier. */
export const FEATURE_NAMES: Readonly<Record<number, string>> = {
  0x01: "Arbitration",
  0x02: "Power Management",
  0x03: "LBA Range Type",
  0x04: "Temperature Threshold",
  0x05: "Error Recovery",
  0x06: "Volatile Write Cache",
  0x07: "Number of Queues",
  0x08: "Interrupt Coalescing",
  0x09: "Interrupt Vector Configuration",
  0x0a: "Write Atomicity Normal",
  0x0b: "Asynchronous Event Configuration",
  0x0c: "Autonomous Power State Transition",
  0x0d: "Host Memory Buffer",
  0x0e: "Timestamp",
  0x0f: "Keep Alive Timer",
  0x10: "Host Controlled Thermal Management",
  0x11: "Non-Operational Power State Config",
  0x12: "Read Recovery Level Config",
  0x13: "Predictable Latency Mode Config",
  0x14: "Predictable Latency Mode Window",
  0x15: "LBA Status Information Report Interval",
  0x16: "Host Behavior Support",
  0x17: "Sanitize Config",
  0x18: "Endurance Group Event Configuration",
  0x19: "I/O Command Set Profile",
  0x1a: "Spinup Control",
  0x1b: "Power Loss Signaling Config",
  0x1c: "Performance Characteristics",
  0x1d: "Flexible Data Placement",
  0x1e: "Flexible Data Placement Events",
  0x1f: "Namespace Admin Label",
  0x20: "Key Value Configuration",
  0x21: "Controller Data Queue",
  0x78: "Embedded Management Controller Address",
  0x79: "Host Management Agent Address",
  0x7d: "Enhanced Controller Metadata",
  0x7e: "Controller Metadata",
  0x7f: "Namespace Metadata",
  0x80: "Software Progress Marker",
  0x81: "Host Identifier",
  0x82: "Reservation Notification Mask",
  0x83: "Reservation Persistence",
  0x84: "Namespace Write Protection Config",
  0x85: "Boot Partition Write Protection Config",
};

/** The name of a feature; `Vendor Specific` or `Reserved` where the specification has none. */
export function featureName(featureId: number): string {
  return FEATURE_NAMES[featureId] ?? (featureId >= 0xc0 ? "Vendor Specific" : "Reserved");
}

/** What a command or feature concerns. */
const scope = listed({
  0: "namespace",
  1: "controller",
  2: "NVM set",
  3: "endurance group",
  4: "domain",
  5: "NVM subsystem",
  6: "controller data queue",
});

const EFFECTS: readonly BitField[] = [
  flag("CSUPP", 0, "Command Supported"),
  flag("LBCC", 1, "Logical Block Content Change"),
  flag("NCC", 2, "Namespace Capability Change"),
  flag("NIC", 3, "Namespace Inventory Change"),
  flag("CCC", 4, "Controller Capability Change"),
  code("CSER", 15, 14, "Submission and Execution Relaxations", { 0: "none", 1: "as said with CSE" }),
  code("CSE", 18, 16, "Submission and Execution", {
    0: "no restriction",
    1: "one at a time for a namespace",
    2: "one at a time for all namespaces",
  }),
  flag("USS", 19, "UUID Selection Supported"),
  number("CSP", 31, 20, "Command Scope", scope),
];

function effects(name: string, offset: number, title: string, elementName: (opcode: number) => string): ArrayRow {
  return {
    type: "array",
    name,
    offset,
    count: 256,
    sparse: true,
    strideBytes: 4,
    title,
    elementName,
    rows: [register("EFFECTS", 0, 4, "Commands Supported and Effects", EFFECTS)],
  };
}

/** Commands Supported and Effects (log page 05h, 4096 bytes): by opcode; commands that are not supported are left out. */
export const EFFECTS_LOG: Layout = {
  name: "Commands Supported and Effects",
  source: "NVM Express Base 2.0 §5.16.1, log page 05h",
  rows: [
    effects("ACS", 0, "Admin Command", (opcode) => opcodeName("admin", opcode)),
    effects("IOCS", 1024, "I/O Command", (opcode) => opcodeName("io", opcode)),
  ],
};

/** Supported Log Pages (log page 00h, 1024 bytes): by log identifier; those that are not supported are left out. */
export const SUPPORTED_LOGS: Layout = {
  name: "Supported Log Pages",
  source: "NVM Express Base 2.0 §5.16.1, log page 00h",
  rows: [{
    type: "array",
    name: "LID",
    offset: 0,
    count: 256,
    sparse: true,
    strideBytes: 4,
    title: "Log Page",
    elementName: logPageName,
    rows: [
      register("SUPPORT", 0, 4, "LID Supported and Effects", [
        flag("LSUPP", 0, "Log Page Supported"),
        flag("IOS", 1, "Index Offset Supported"),
        number("LIDSP", 31, 16, "Log Page Identifier Specific Parameter"),
      ]),
    ],
  }],
};

/** Feature Identifiers Supported and Effects (log page 12h, 1024 bytes). */
export const FEATURE_EFFECTS_LOG: Layout = {
  name: "Feature Identifiers Supported and Effects",
  source: "NVM Express Base 2.0 §5.16.1, log page 12h",
  rows: [{
    type: "array",
    name: "FID",
    offset: 0,
    count: 256,
    sparse: true,
    strideBytes: 4,
    title: "Feature",
    elementName: featureName,
    rows: [
      register("EFFECTS", 0, 4, "FID Supported and Effects", [
        flag("FSUPP", 0, "FID Supported"),
        flag("UDCC", 1, "User Data Content Change"),
        flag("NCC", 2, "Namespace Capability Change"),
        flag("NIC", 3, "Namespace Inventory Change"),
        flag("CCC", 4, "Controller Capability Change"),
        flag("USS", 19, "UUID Selection Supported"),
        number("FSP", 31, 20, "FID Scope", scope),
      ]),
    ],
  }],
};

/** Commands of the management interface by opcode (NVMe-MI 1.2 §5). */
const MANAGEMENT_COMMANDS: Readonly<Record<number, string>> = {
  0x00: "Read NVMe-MI Data Structure",
  0x01: "NVM Subsystem Health Status Poll",
  0x02: "Controller Health Status Poll",
  0x03: "Configuration Set",
  0x04: "Configuration Get",
  0x05: "VPD Read",
  0x06: "VPD Write",
  0x07: "Reset",
  0x08: "SES Receive",
  0x09: "SES Send",
  0x0a: "Management Endpoint Buffer Read",
  0x0b: "Management Endpoint Buffer Write",
  0x0c: "Shutdown",
};

/** NVMe-MI Commands Supported and Effects (log page 13h, 4096 bytes, of which 1024 are used). */
export const MANAGEMENT_EFFECTS_LOG: Layout = {
  name: "NVMe-MI Commands Supported and Effects",
  source: "NVM Express Base 2.0 §5.16.1, log page 13h",
  rows: [{
    type: "array",
    name: "MI",
    offset: 0,
    count: 256,
    sparse: true,
    strideBytes: 4,
    title: "NVMe-MI Command",
    elementName: (opcode) => MANAGEMENT_COMMANDS[opcode] ?? (opcode >= 0xc0 ? "Vendor Specific" : "Reserved"),
    rows: [
      register("EFFECTS", 0, 4, "NVMe-MI Command Supported and Effects", [
        flag("CSUPP", 0, "Command Supported"),
        flag("UDCC", 1, "User Data Content Change"),
        flag("NCC", 2, "Namespace Capability Change"),
        flag("NIC", 3, "Namespace Inventory Change"),
        flag("CCC", 4, "Controller Capability Change"),
        number("CSP", 31, 20, "Command Scope", scope),
      ]),
    ],
  }],
};

/** Firmware Slot Information (log page 03h, 512 bytes). */
export const FIRMWARE_LOG: Layout = {
  name: "Firmware Slot Information",
  source: "NVM Express Base 2.0 §5.16.1, log page 03h",
  rows: [
    register("AFI", 0, 1, "Active Firmware Info", [
      number("CAFSL", 2, 0, "slot that runs"),
      number("NCAFSL", 6, 4, "slot after the next reset", (value) => value === 0n ? "the same" : `${value}`),
    ]),
    ...Array.from(
      { length: 7 },
      (_, i) => text(`FRS${i + 1}`, 8 + 8 * i, 8, `Firmware Revision for Slot ${i + 1}`),
    ),
  ],
};
