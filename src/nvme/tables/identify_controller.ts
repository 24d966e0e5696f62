/**
 * What a controller says of itself: Identify Controller (CNS 01h), its power states, and what it says for one I/O command
 * set (CNS 06h).
 *
 * Source: NVM Express Base 2.0 §5.17 Identify (2.1 where a row says so), NVM Command Set 1.0 §4.1.5, Zoned Namespace
 * Command Set 1.1 §4.1.5.
 * @module
 */

import type { BitField, Layout, Row, UintRow } from "../../core/layout.ts";
import { bytes, code, flag, listed, number, quantity, register, text } from "../../core/rows.ts";
import { formatBytes, formatDurationMs } from "../../core/units.ts";
import {
  capacity,
  counted,
  microseconds,
  minutes,
  nguid,
  noLimit,
  oui,
  pagesPowerOf2,
  power,
  reported,
  temperature,
  tenths,
  units4K,
  units64K,
  version,
  zeroBased,
} from "./value_text.ts";

/** A row of the 1.x or 2.0 specification that shows flags or codes. */
function flags(
  name: string,
  offset: number,
  sizeBytes: number,
  title: string,
  fields: readonly BitField[],
  more: Partial<UintRow> = {},
): UintRow {
  return register(name, offset, sizeBytes, title, fields, more);
}

const SINCE_2_1: Partial<UintRow> = { since: "2.1" };

/** Log2 sizes of queue entries. */
function entrySizes(name: string, offset: number, title: string): UintRow {
  const size = (value: bigint): string => formatBytes(1n << value);
  return flags(name, offset, 1, title, [
    number(`MIN${name}`, 3, 0, "required", size),
    number(`MAX${name}`, 7, 4, "largest", size),
  ]);
}

/** Names of the Power Scale values. */
const POWER_SCALE: Readonly<Record<number, string>> = { 0: "not reported", 1: "0.1 mW", 2: "10 mW" };

/** Units of the times that 2.1 gives for power loss. */
const TIME_SCALE: Readonly<Record<number, string>> = {
  0: "1 µs",
  1: "10 µs",
  2: "100 µs",
  3: "1 ms",
  4: "10 ms",
  5: "100 ms",
  6: "1 s",
  7: "10 s",
  8: "100 s",
  9: "1000 s",
  10: "10,000 s",
  11: "100,000 s",
  12: "1,000,000 s",
};

function rank(name: string, offset: number, title: string): UintRow {
  return flags(name, offset, 1, title, [number(name, 4, 0, "rank among the power states, 0 is best")]);
}

/** Rows of a power state descriptor (32 bytes). */
export const POWER_STATE_ROWS: readonly Row[] = [
  flags("POWER", 0, 4, "Maximum Power", [
    number("MP", 15, 0, "Maximum Power, in its scale"),
    code("MXPS", 24, 24, "Max Power Scale", { 0: "10 mW", 1: "0.1 mW" }),
    code("NOPS", 25, 25, "Non-Operational State", { 0: "processes I/O", 1: "does not process I/O" }),
  ], { meaning: (value) => power(value & 0xffffn, (value >> 24n & 1n) === 1n ? 1n : 2n) }),
  quantity("ENLAT", 4, 4, "Entry Latency", microseconds),
  quantity("EXLAT", 8, 4, "Exit Latency", microseconds),
  rank("RRT", 12, "Relative Read Throughput"),
  rank("RRL", 13, "Relative Read Latency"),
  rank("RWT", 14, "Relative Write Throughput"),
  rank("RWL", 15, "Relative Write Latency"),
  flags("IDLE", 16, 3, "Idle Power", [
    number("IDLP", 15, 0, "Idle Power, in its scale"),
    code("IPS", 23, 22, "Idle Power Scale", POWER_SCALE),
  ], { meaning: (value) => power(value & 0xffffn, value >> 22n & 3n) }),
  flags("ACTIVE", 20, 3, "Active Power", [
    number("ACTP", 15, 0, "Active Power, in its scale"),
    code("APW", 18, 16, "Active Power Workload", { 0: "none", 1: "workload 1", 2: "workload 2" }),
    code("APS", 23, 22, "Active Power Scale", POWER_SCALE),
  ], { meaning: (value) => power(value & 0xffffn, value >> 22n & 3n) }),
  quantity("EPFRT", 23, 1, "Emergency Power Fail Recovery Time, in its scale", undefined, SINCE_2_1),
  quantity("FQVT", 24, 1, "Forced Quiescence Vault Time, in its scale", undefined, SINCE_2_1),
  quantity("EPFVT", 25, 1, "Emergency Power Fail Vault Time, in its scale", undefined, SINCE_2_1),
  flags("TIMESCALES", 26, 2, "Scales of the three times", [
    code("EPFRTS", 3, 0, "Emergency Power Fail Recovery Time Scale", TIME_SCALE),
    code("FQVTS", 7, 4, "Forced Quiescence Vault Time Scale", TIME_SCALE),
    code("EPFVTS", 11, 8, "Emergency Power Fail Vault Time Scale", TIME_SCALE),
  ], SINCE_2_1),
];

/** How many power state descriptors the structure has room for. */
export const POWER_STATES_MAX = 32;

const OAES: readonly BitField[] = [
  flag("NSAN", 8, "Attached Namespace Attribute Notices"),
  flag("FAN", 9, "Firmware Activation Notices"),
  flag("ANACN", 11, "Asymmetric Namespace Access Change Notices"),
  flag("PLEALCN", 12, "Predictable Latency Event Aggregate Log Change Notices"),
  flag("LBASIN", 13, "LBA Status Information Notices"),
  flag("EGEALPCN", 14, "Endurance Group Event Aggregate Log Page Change Notices"),
  flag("NNSS", 15, "Normal NVM Subsystem Shutdown event"),
  flag("TTHR", 16, "Temperature Threshold Hysteresis Recovery event"),
  flag("RGCNS", 17, "Reachability Groups Change Notices"),
  flag("ANSAN", 19, "Allocated Namespace Attribute Notices"),
  flag("ZDCN", 27, "Zone Descriptor Changed Notices"),
  flag("DLPCN", 31, "Discovery Log Page Change Notices"),
];

const CTRATT: readonly BitField[] = [
  flag("HIDS", 0, "128-bit Host Identifier"),
  flag("NOPSPM", 1, "Non-Operational Power State Permissive Mode"),
  flag("NSETS", 2, "NVM Sets"),
  flag("RRLVLS", 3, "Read Recovery Levels"),
  flag("EGS", 4, "Endurance Groups"),
  flag("PLM", 5, "Predictable Latency Mode"),
  flag("TBKAS", 6, "Traffic Based Keep Alive"),
  flag("NG", 7, "Namespace Granularity"),
  flag("SQA", 8, "SQ Associations"),
  flag("ULIST", 9, "UUID List"),
  flag("MDS", 10, "Multi-Domain Subsystem"),
  flag("FCM", 11, "Fixed Capacity Management"),
  flag("VCM", 12, "Variable Capacity Management"),
  flag("DEG", 13, "Delete Endurance Group"),
  flag("DNVMS", 14, "Delete NVM Set"),
  flag("ELBAS", 15, "Extended LBA Formats"),
  flag("MEM", 16, "MDTS and size limits exclude metadata"),
  flag("HMBR", 17, "Host Memory Buffer restricted in non-operational power states"),
  flag("RHII", 18, "Reservations and Host Identifier Interaction"),
  flag("FDPS", 19, "Flexible Data Placement"),
];

const OACS: readonly BitField[] = [
  flag("SSRS", 0, "Security Send and Receive"),
  flag("FNVMS", 1, "Format NVM"),
  flag("FWDS", 2, "Firmware Download and Commit"),
  flag("NMS", 3, "Namespace Management"),
  flag("DSTS", 4, "Device Self-test"),
  flag("DIRS", 5, "Directives"),
  flag("NSRS", 6, "NVMe-MI Send and Receive"),
  flag("VMS", 7, "Virtualization Management"),
  flag("DBCS", 8, "Doorbell Buffer Config"),
  flag("GLSS", 9, "Get LBA Status"),
  flag("CFLS", 10, "Command and Feature Lockdown"),
  flag("HMLMS", 11, "Host Managed Live Migration"),
];

const ONCS: readonly BitField[] = [
  flag("NVMCMPS", 0, "Compare"),
  flag("NVMWUSV", 1, "Write Uncorrectable"),
  flag("NVMDSMSV", 2, "Dataset Management"),
  flag("NVMWZSV", 3, "Write Zeroes"),
  flag("SSFS", 4, "Save and Select fields of features"),
  flag("RESERVS", 5, "Reservations"),
  flag("TSS", 6, "Timestamp"),
  flag("NVMVFYS", 7, "Verify"),
  flag("NVMCPYS", 8, "Copy"),
  flag("NVMCSA", 9, "Copy is atomic as one write"),
  flag("NVMAFC", 10, "all copies are fast"),
  flag("MAXWZD", 11, "Write Zeroes of more with deallocation"),
  flag("NSZS", 12, "Write Zeroes of a whole namespace"),
];

const SGLS: readonly BitField[] = [
  code("SGLSP", 1, 0, "SGLs", { 0: "not supported", 1: "any alignment", 2: "dword alignment" }),
  flag("KSDBDS", 2, "Keyed SGL Data Block descriptor"),
  number("SDT", 15, 8, "SGL Descriptor Threshold", reported((value) => counted(value, "descriptor"))),
  flag("SBB", 16, "Bit Bucket descriptor"),
  flag("BACMDB", 17, "Byte aligned contiguous metadata"),
  flag("SGLLTB", 18, "SGLs may be longer than the data"),
  flag("MPTRSGL", 19, "MPTR may hold an SGL descriptor"),
  flag("AOFDSL", 20, "Addresses may be offsets"),
  flag("TRSDBD", 21, "Transport SGL Data Block descriptor"),
];

const SANICAP: readonly BitField[] = [
  flag("CES", 0, "Crypto Erase"),
  flag("BES", 1, "Block Erase"),
  flag("OWS", 2, "Overwrite"),
  flag("VERS", 3, "Media Verification"),
  flag("NDI", 29, "No-Deallocate is inhibited"),
  code("NODMMAS", 31, 30, "Media modified after No-Deallocate sanitize", {
    0: "not defined",
    1: "no",
    2: "yes",
  }),
];

/** Identify Controller (CNS 01h). */
export const IDENTIFY_CONTROLLER: Layout = {
  name: "Identify Controller",
  source: "NVM Express Base 2.0 §5.17, CNS 01h",
  rows: [
    register("VID", 0, 2, "PCI Vendor ID"),
    register("SSVID", 2, 2, "PCI Subsystem Vendor ID"),
    text("SN", 4, 20, "Serial Number"),
    text("MN", 24, 40, "Model Number"),
    text("FR", 64, 8, "Firmware Revision"),
    quantity(
      "RAB",
      72,
      1,
      "Recommended Arbitration Burst",
      (value) => value > 31n ? "not defined" : counted(1n << value, "command"),
    ),
    register("IEEE", 73, 3, "IEEE OUI Identifier", undefined, { meaning: oui }),
    flags("CMIC", 76, 1, "Controller Multi-Path I/O and Namespace Sharing", [
      flag("MPORTS", 0, "Several ports in the subsystem"),
      flag("MCTRS", 1, "Several controllers in the subsystem"),
      code("FUNCT", 2, 2, "Function", { 0: "PCI function or fabric", 1: "SR-IOV virtual function" }),
      flag("ANARS", 3, "Asymmetric Namespace Access Reporting"),
    ]),
    quantity("MDTS", 77, 1, "Maximum Data Transfer Size", pagesPowerOf2),
    quantity("CNTLID", 78, 2, "Controller ID"),
    register("VER", 80, 4, "Version", undefined, { meaning: version, since: "1.2" }),
    quantity("RTD3R", 84, 4, "RTD3 Resume Latency", microseconds, { since: "1.2" }),
    quantity("RTD3E", 88, 4, "RTD3 Entry Latency", microseconds, { since: "1.2" }),
    flags("OAES", 92, 4, "Optional Asynchronous Events Supported", OAES, { since: "1.2" }),
    flags("CTRATT", 96, 4, "Controller Attributes", CTRATT, { since: "1.2.1" }),
    register("RRLS", 100, 2, "Read Recovery Levels Supported", undefined, {
      meaning: listed(Object.fromEntries(Array.from({ length: 16 }, (_, level) => [level, levelName(level)]))),
      since: "1.4",
    }),
    flags("BPCAP", 102, 1, "Boot Partition Capabilities", [
      code("RPMBBPWPS", 1, 0, "Write protection by RPMB", { 0: "not specified", 1: "no", 2: "yes" }),
      flag("SFBPWPS", 2, "Write protection by Set Features"),
    ], SINCE_2_1),
    quantity("NSSL", 104, 4, "NVM Subsystem Shutdown Latency", microseconds, SINCE_2_1),
    flags("PLSI", 110, 1, "Power Loss Signaling Information", [
      flag("PLSEPF", 0, "Emergency Power Fail"),
      flag("PLSFQ", 1, "Forced Quiescence"),
    ], SINCE_2_1),
    quantity("CNTRLTYPE", 111, 1, "Controller Type", undefined, {
      values: { 0: "not reported", 1: "I/O", 2: "Discovery", 3: "Administrative" },
      since: "1.4",
    }),
    bytes("FGUID", 112, 16, "FRU Globally Unique Identifier", nguid),
    quantity("CRDT1", 128, 2, "Command Retry Delay Time 1", tenths, { since: "1.4" }),
    quantity("CRDT2", 130, 2, "Command Retry Delay Time 2", tenths, { since: "1.4" }),
    quantity("CRDT3", 132, 2, "Command Retry Delay Time 3", tenths, { since: "1.4" }),
    flags("CRCAP", 134, 1, "Controller Reachability Capabilities", [
      flag("RRSUP", 0, "Reachability Reporting"),
      flag("RGIDC", 1, "Reachability Group Identifiers stay the same"),
    ], SINCE_2_1),
    flags("NVMSR", 253, 1, "NVM Subsystem Report", [
      flag("NVMESD", 0, "Part of an NVMe Storage Device"),
      flag("NVMEE", 1, "Part of an NVMe Enclosure"),
    ]),
    flags("VWCI", 254, 1, "VPD Write Cycle Information", [
      number("VWCR", 6, 0, "VPD Write Cycles Remaining"),
      flag("VWCRV", 7, "that number is valid"),
    ]),
    flags("MEC", 255, 1, "Management Endpoint Capabilities", [
      flag("TWPME", 0, "on the two-wire (SMBus) port"),
      flag("PCIEME", 1, "on the PCIe port"),
    ]),
    flags("OACS", 256, 2, "Optional Admin Command Support", OACS),
    quantity("ACL", 258, 1, "Abort Command Limit", zeroBased("command")),
    quantity("AERL", 259, 1, "Asynchronous Event Request Limit", zeroBased("request")),
    flags("FRMW", 260, 1, "Firmware Updates", [
      code("FFSRO", 0, 0, "First slot", { 0: "writable", 1: "read only" }),
      number("NOFS", 3, 1, "Number of slots"),
      flag("FAWR", 4, "Activation without reset"),
      flag("SMUD", 5, "Overlapping updates are noticed"),
    ]),
    flags("LPA", 261, 1, "Log Page Attributes", [
      flag("SMARTS", 0, "SMART per namespace"),
      flag("CSES", 1, "Commands Supported and Effects"),
      flag("LPEDS", 2, "Long offsets and lengths"),
      flag("TS", 3, "Telemetry"),
      flag("PES", 4, "Persistent Event"),
      flag("MLPS", 5, "Supported Log Pages, and the scope of commands and features"),
      flag("DA4S", 6, "Telemetry Data Area 4"),
    ]),
    quantity("ELPE", 262, 1, "Error Log Page Entries", zeroBased("entry", "entries")),
    quantity("NPSS", 263, 1, "Number of Power States Supported", zeroBased("power state")),
    flags("AVSCC", 264, 1, "Admin Vendor Specific Command Configuration", [
      flag("VSACF", 0, "Vendor commands use the format of the specification"),
    ]),
    flags("APSTA", 265, 1, "Autonomous Power State Transition Attributes", [
      flag("APSTA", 0, "Autonomous power state transitions"),
    ], { since: "1.1" }),
    quantity("WCTEMP", 266, 2, "Warning Composite Temperature Threshold", temperature, { since: "1.2" }),
    quantity("CCTEMP", 268, 2, "Critical Composite Temperature Threshold", temperature, { since: "1.2" }),
    quantity("MTFA", 270, 2, "Maximum Time for Firmware Activation", reported(tenths), { since: "1.2" }),
    quantity("HMPRE", 272, 4, "Host Memory Buffer Preferred Size", units4K, { since: "1.2" }),
    quantity("HMMIN", 276, 4, "Host Memory Buffer Minimum Size", units4K, { since: "1.2" }),
    quantity("TNVMCAP", 280, 16, "Total NVM Capacity", reported(capacity), { since: "1.2" }),
    quantity("UNVMCAP", 296, 16, "Unallocated NVM Capacity", capacity, { since: "1.2" }),
    flags("RPMBS", 312, 4, "Replay Protected Memory Block Support", [
      number("NRPMBU", 2, 0, "Number of RPMB units"),
      code("AUTHM", 5, 3, "Authentication Method", { 0: "HMAC SHA-256" }),
      number("TOTSZ", 23, 16, "Total Size of a unit", (value) => formatBytes((value + 1n) << 17n)),
      number("ACCSZ", 31, 24, "Access Size", (value) => formatBytes((value + 1n) << 9n)),
    ], { since: "1.2" }),
    quantity("EDSTT", 316, 2, "Extended Device Self-test Time", reported(minutes), { since: "1.3" }),
    flags("DSTO", 318, 1, "Device Self-test Options", [
      code("SDSO", 0, 0, "Self-tests at a time", { 0: "one per controller", 1: "one in the subsystem" }),
      flag("HIRS", 1, "Host-Initiated Refresh"),
    ], { since: "1.3" }),
    quantity("FWUG", 319, 1, "Firmware Update Granularity", firmwareGranularity, { since: "1.3" }),
    quantity("KAS", 320, 2, "Keep Alive Support", (value) => value === 0n ? "no keep alive" : tenths(value), {
      since: "1.2.1",
    }),
    flags("HCTMA", 322, 2, "Host Controlled Thermal Management Attributes", [
      flag("HCTMS", 0, "Host Controlled Thermal Management"),
    ], { since: "1.3" }),
    quantity("MNTMT", 324, 2, "Minimum Thermal Management Temperature", temperature, { since: "1.3" }),
    quantity("MXTMT", 326, 2, "Maximum Thermal Management Temperature", temperature, { since: "1.3" }),
    flags("SANICAP", 328, 4, "Sanitize Capabilities", SANICAP, { since: "1.3" }),
    quantity("HMMINDS", 332, 4, "Host Memory Buffer Minimum Descriptor Entry Size", units4K, { since: "1.4" }),
    quantity(
      "HMMAXD",
      336,
      2,
      "Host Memory Maximum Descriptors Entries",
      noLimit((value) => counted(value, "descriptor")),
      { since: "1.4" },
    ),
    quantity("NSETIDMAX", 338, 2, "NVM Set Identifier Maximum", undefined, { since: "1.4" }),
    quantity("ENDGIDMAX", 340, 2, "Endurance Group Identifier Maximum", undefined, { since: "1.4" }),
    quantity("ANATT", 342, 1, "ANA Transition Time", (value) => `${value} s`, { since: "1.4" }),
    flags("ANACAP", 343, 1, "Asymmetric Namespace Access Capabilities", [
      flag("RAOS", 0, "reports ANA Optimized"),
      flag("RANOS", 1, "reports ANA Non-Optimized"),
      flag("RAIS", 2, "reports ANA Inaccessible"),
      flag("RAPLS", 3, "reports ANA Persistent Loss"),
      flag("RACS", 4, "reports ANA Change"),
      flag("AGIDNC", 6, "ANA group of a namespace does not change while it is attached"),
      flag("NZAGIDS", 7, "ANA group may be chosen when a namespace is made"),
    ], { since: "1.4" }),
    quantity("ANAGRPMAX", 344, 4, "ANA Group Identifier Maximum", undefined, { since: "1.4" }),
    quantity("NANAGRPID", 348, 4, "Number of ANA Group Identifiers", undefined, { since: "1.4" }),
    quantity("PELS", 352, 4, "Persistent Event Log Size", units64K, { since: "1.4" }),
    quantity("DOMAINID", 356, 2, "Domain Identifier", undefined, { since: "2.0" }),
    flags("KPIOC", 358, 1, "Key Per I/O Capabilities", [
      flag("KPIOS", 0, "Key Per I/O"),
      code("KPIOSC", 1, 1, "its scope", { 0: "single namespaces", 1: "all namespaces" }),
    ], SINCE_2_1),
    quantity(
      "MPTFAWR",
      360,
      2,
      "Maximum Processing Time for Firmware Activation Without Reset",
      reported(tenths),
      SINCE_2_1,
    ),
    quantity("MEGCAP", 368, 16, "Max Endurance Group Capacity", reported(capacity), { since: "2.0" }),
    flags("TMPTHHA", 384, 1, "Temperature Threshold Hysteresis Attributes", [
      number("TMPTHMH", 2, 0, "Maximum Hysteresis", (value) => `${value} K`),
    ], SINCE_2_1),
    quantity("CQT", 386, 2, "Command Quiesce Time", reported((value) => formatDurationMs(Number(value))), SINCE_2_1),
    entrySizes("SQES", 512, "Submission Queue Entry Size"),
    entrySizes("CQES", 513, "Completion Queue Entry Size"),
    quantity("MAXCMD", 514, 2, "Maximum Outstanding Commands", reported((value) => counted(value, "command")), {
      since: "1.2.1",
    }),
    quantity("NN", 516, 4, "Number of Namespaces: the highest NSID"),
    flags("ONCS", 520, 2, "Optional NVM Command Support", ONCS),
    flags("FUSES", 522, 2, "Fused Operation Support", [flag("FCWS", 0, "Compare and Write")]),
    flags("FNA", 524, 1, "Format NVM Attributes", [
      code("FNS", 0, 0, "Format applies to", { 0: "one namespace", 1: "all namespaces" }),
      code("SENS", 1, 1, "Secure erase applies to", { 0: "one namespace", 1: "all namespaces" }),
      flag("CRYES", 2, "Cryptographic erase"),
      code("FNVMBS", 3, 3, "NSID FFFFFFFFh", { 0: "accepted", 1: "not accepted" }),
    ]),
    flags("VWC", 525, 1, "Volatile Write Cache", [
      flag("VWCP", 0, "Present"),
      code("FB", 2, 1, "Flush with NSID FFFFFFFFh", { 0: "not indicated", 2: "not accepted", 3: "accepted" }),
    ]),
    quantity("AWUN", 526, 2, "Atomic Write Unit Normal", zeroBased("block")),
    quantity("AWUPF", 528, 2, "Atomic Write Unit Power Fail", zeroBased("block")),
    flags("ICSVSCC", 530, 1, "I/O Command Set Vendor Specific Command Configuration", [
      flag("SFVSIOC", 0, "Vendor commands use the format of the specification"),
    ]),
    flags("NWPC", 531, 1, "Namespace Write Protection Capabilities", [
      flag("NWPWPS", 0, "Write Protect"),
      flag("WPUPCS", 1, "Write Protect Until Power Cycle"),
      flag("PWPS", 2, "Permanent Write Protect"),
    ], { since: "1.4" }),
    quantity("ACWU", 532, 2, "Atomic Compare and Write Unit", zeroBased("block")),
    register("OCFS", 534, 2, "Copy Descriptor Formats Supported", undefined, {
      meaning: listed(Object.fromEntries(Array.from({ length: 16 }, (_, format) => [format, `format ${format}`]))),
      since: "1.4",
    }),
    flags("SGLS", 536, 4, "SGL Support", SGLS, { since: "1.1" }),
    quantity("MNAN", 540, 4, "Maximum Number of Allowed Namespaces", undefined, { since: "1.4" }),
    quantity("MAXDNA", 544, 16, "Maximum Domain Namespace Attachments", reported(String), { since: "2.0" }),
    quantity("MAXCNA", 560, 4, "Maximum I/O Controller Namespace Attachments", reported(String), { since: "2.0" }),
    quantity(
      "OAQD",
      564,
      4,
      "Optimal Aggregated Queue Depth",
      reported((value) => counted(value, "command")),
      SINCE_2_1,
    ),
    quantity(
      "RHIRI",
      568,
      1,
      "Recommended Host-Initiated Refresh Interval",
      reported((value) => counted(value, "day")),
      SINCE_2_1,
    ),
    quantity("HIRT", 569, 1, "Host-Initiated Refresh Time", reported(minutes), SINCE_2_1),
    quantity("CMMRTD", 570, 2, "Controller Maximum Memory Range Tracking Descriptors", undefined, SINCE_2_1),
    quantity("NMMRTD", 572, 2, "NVM Subsystem Maximum Memory Range Tracking Descriptors", undefined, SINCE_2_1),
    quantity("MINMRTG", 574, 1, "Minimum Memory Range Tracking Granularity", undefined, SINCE_2_1),
    quantity("MAXMRTG", 575, 1, "Maximum Memory Range Tracking Granularity", undefined, SINCE_2_1),
    flags("TRATTR", 576, 1, "Tracking Attributes", [
      flag("THMCS", 0, "Track Host Memory Changes"),
      flag("TUDCS", 1, "Track User Data Changes"),
      flag("MRTLL", 2, "Memory Range Tracking Length Limit"),
    ], SINCE_2_1),
    quantity("MCUDMQ", 578, 2, "Maximum Controller User Data Migration Queues", undefined, SINCE_2_1),
    quantity("MNSUDMQ", 580, 2, "Maximum NVM Subsystem User Data Migration Queues", undefined, SINCE_2_1),
    quantity("MCMR", 582, 2, "Maximum CDQ Memory Ranges", undefined, SINCE_2_1),
    quantity("NMCMR", 584, 2, "NVM Subsystem Maximum CDQ Memory Ranges", undefined, SINCE_2_1),
    quantity("MCDQPC", 586, 2, "Maximum Controller Data Queue PRP Count", undefined, SINCE_2_1),
    { ...text("SUBNQN", 768, 256, "NVM Subsystem NVMe Qualified Name"), ends: "nul" },
    quantity("IOCCSZ", 1792, 4, "I/O Queue Command Capsule Supported Size, in 16 bytes"),
    quantity("IORCSZ", 1796, 4, "I/O Queue Response Capsule Supported Size, in 16 bytes"),
    quantity("ICDOFF", 1800, 2, "In Capsule Data Offset, in 16 bytes"),
    flags("FCATT", 1802, 1, "Fabrics Controller Attributes", [
      code("CNTRLM", 0, 0, "Controller Model", { 0: "dynamic", 1: "static" }),
    ]),
    quantity("MSDBD", 1803, 1, "Maximum SGL Data Block Descriptors", noLimit(String)),
    flags("OFCS", 1804, 2, "Optional Fabrics Commands Support", [flag("DCS", 0, "Disconnect")]),
    quantity("DCTYPE", 1806, 1, "Discovery Controller Type", undefined, {
      values: { 0: "not reported", 1: "Direct Discovery Controller", 2: "Central Discovery Controller" },
      since: "2.0",
    }),
    {
      type: "array",
      name: "PSD",
      offset: 2048,
      count: POWER_STATES_MAX,
      countOf: (above) => Number(above("NPSS") ?? 0n) + 1,
      strideBytes: 32,
      title: "Power State Descriptor",
      rows: POWER_STATE_ROWS,
    },
    bytes("VS", 3072, 1024, "Vendor Specific"),
  ],
};

function levelName(level: number): string {
  return level === 4 ? "4 (default)" : level === 15 ? "15 (fast fail)" : `${level}`;
}

function firmwareGranularity(value: bigint): string {
  return value === 0n ? "not reported" : value === 0xffn ? "no restriction" : units4K(value);
}

/** What a controller says for the NVM Command Set (CNS 06h, CSI 0). */
export const IDENTIFY_CONTROLLER_NVM: Layout = {
  name: "Identify Controller, NVM Command Set",
  source: "NVM Command Set 1.0 §4.1.5, CNS 06h",
  rows: [
    quantity("VSL", 0, 1, "Verify Size Limit", pagesPowerOf2),
    quantity("WZSL", 1, 1, "Write Zeroes Size Limit", pagesPowerOf2),
    quantity("WUSL", 2, 1, "Write Uncorrectable Size Limit", pagesPowerOf2),
    quantity("DMRL", 3, 1, "Dataset Management Ranges Limit", noLimit((value) => counted(value, "range"))),
    quantity("DMRSL", 4, 4, "Dataset Management Range Size Limit", noLimit((value) => counted(value, "block"))),
    quantity("DMSL", 8, 8, "Dataset Management Size Limit", noLimit((value) => counted(value, "block"))),
    flags("KPIOCAP", 16, 1, "Key Per I/O Capabilities", [
      flag("KPIOS", 0, "Key Per I/O"),
      code("KPIOSC", 1, 1, "its scope", { 0: "single namespaces", 1: "all namespaces" }),
    ], SINCE_2_1),
    quantity("WZDSL", 17, 1, "Write Zeroes With Deallocate Size Limit", pagesPowerOf2, SINCE_2_1),
    flags("AOCS", 18, 2, "Admin Optional Command Support", [
      flag("RALBAS", 0, "Reporting Allocated LBA"),
    ], SINCE_2_1),
    register("VER", 20, 4, "Version of the command set", undefined, { meaning: reported(version), ...SINCE_2_1 }),
    quantity("LBAMQF", 24, 1, "LBA Migration Queue Format", undefined, SINCE_2_1),
  ],
};

/** What a controller says for the Zoned Namespace Command Set (CNS 06h, CSI 2). */
export const IDENTIFY_CONTROLLER_ZONED: Layout = {
  name: "Identify Controller, Zoned Namespace Command Set",
  source: "Zoned Namespace Command Set 1.1 §4.1.5, CNS 06h",
  rows: [
    quantity("ZASL", 0, 1, "Zone Append Size Limit", (value) => value === 0n ? "as MDTS" : pagesPowerOf2(value)),
  ],
};

function resources(letter: "Q" | "I", what: string, at: number): Row[] {
  return [
    quantity(`V${letter}FRT`, at, 4, `${what} Flexible Resources Total`),
    quantity(`V${letter}RFA`, at + 4, 4, `${what} Flexible Resources Assigned`),
    quantity(`V${letter}RFAP`, at + 8, 2, `${what} Flexible Resources Allocated to Primary`),
    quantity(`V${letter}PRT`, at + 10, 2, `${what} Private Resources Total`),
    quantity(`V${letter}FRSM`, at + 12, 2, `${what} Flexible Resources Secondary Maximum`),
    quantity(`V${letter}GRAN`, at + 14, 2, `${what} Flexible Resource Preferred Granularity`),
  ];
}

/** What a primary controller can give to its secondary controllers (CNS 14h). */
export const PRIMARY_CONTROLLER: Layout = {
  name: "Primary Controller Capabilities",
  source: "NVM Express Base 2.0 §5.17, CNS 14h",
  rows: [
    quantity("CNTLID", 0, 2, "Controller Identifier"),
    quantity("PORTID", 2, 2, "Port Identifier"),
    flags("CRT", 4, 1, "Controller Resource Types", [
      flag("VQ", 0, "Virtual Queue resources"),
      flag("VI", 1, "Virtual Interrupt resources"),
    ]),
    ...resources("Q", "VQ", 32),
    ...resources("I", "VI", 64),
  ],
};

/** The secondary controllers of a primary controller (CNS 15h). */
export const SECONDARY_CONTROLLERS: Layout = {
  name: "Secondary Controller List",
  source: "NVM Express Base 2.0 §5.17, CNS 15h",
  rows: [
    quantity("NUMID", 0, 1, "Number of Identifiers"),
    {
      type: "array",
      name: "SCE",
      offset: 32,
      count: 127,
      countOf: (above) => Number(above("NUMID") ?? 0n),
      strideBytes: 32,
      title: "Secondary Controller Entry",
      rows: [
        quantity("SCID", 0, 2, "Secondary Controller Identifier"),
        quantity("PCID", 2, 2, "Primary Controller Identifier"),
        flags("SCS", 4, 1, "Secondary Controller State", [code("OL", 0, 0, "State", { 0: "offline", 1: "online" })]),
        quantity("VFN", 8, 2, "Virtual Function Number", (value) => value === 0n ? "no virtual function" : `${value}`),
        quantity("NVQ", 10, 2, "Number of VQ Flexible Resources Assigned"),
        quantity("NVI", 12, 2, "Number of VI Flexible Resources Assigned"),
      ],
    },
  ],
};

/** The I/O command sets that may be enabled together (CNS 1Ch). */
export const COMMAND_SET_COMBINATIONS: Layout = {
  name: "Identify I/O Command Set",
  source: "NVM Express Base 2.0 §5.17, CNS 1Ch",
  rows: [{
    type: "array",
    name: "IOCSC",
    offset: 0,
    count: 512,
    sparse: true,
    strideBytes: 8,
    title: "I/O Command Set Combination",
    elementName: (index) => `combination ${index}`,
    rows: [
      register("IOCSV", 0, 8, "I/O Command Set Vector", [
        flag("NVMCS", 0, "NVM"),
        flag("KVCS", 1, "Key Value"),
        flag("ZNSCS", 2, "Zoned Namespace"),
        flag("SLMCS", 3, "Subsystem Local Memory"),
        flag("CPNCS", 4, "Computational Programs"),
      ]),
    ],
  }],
};
