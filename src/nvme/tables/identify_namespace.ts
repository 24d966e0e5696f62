/**
 * What a controller says of a namespace: Identify Namespace (CNS 00h), what is the same for every I/O command set (CNS
 * 08h), what belongs to one of them (CNS 05h), and the list of its identifiers (CNS 03h).
 *
 * Source: NVM Command Set 1.0 §4.1.5 (1.1 where a row says so), NVM Express Base 2.0 §5.17, Zoned Namespace Command Set 1.1
 * §4.1.5.
 * @module
 */

import type { BitField, Layout, ListRow, Row } from "../../core/layout.ts";
import { bytes, code, flag, number, quantity, register } from "../../core/rows.ts";
import { formatBytes, formatDurationMs } from "../../core/units.ts";
import { capacity, COMMAND_SETS, counted, eui64, nguid, percent, reported, uuid, zeroBased } from "./value_text.ts";

/** How many LBA formats the structure has room for; before 2.0, and without CTRATT.ELBAS, 16. */
export const LBA_FORMATS_MAX = 64;

const blocks = (value: bigint): string => counted(value, "block");
const zeroBasedBlocks: (value: bigint) => string = zeroBased("block");
const reportedBlocks: (value: bigint) => string = reported(blocks);

/** What protection information holds, by its type. */
export const PROTECTION_TYPES: Readonly<Record<number, string>> = {
  0: "none",
  1: "type 1",
  2: "type 2",
  3: "type 3",
};

/** What a namespace can share; the same in CNS 00h and 08h. */
const NMIC: readonly BitField[] = [
  flag("SHRNS", 0, "May be attached to several controllers"),
  flag("DISNS", 1, "Dispersed over subsystems"),
];

/** Reservation types a namespace takes. */
const RESCAP: readonly BitField[] = [
  flag("PTPLS", 0, "Persist Through Power Loss"),
  flag("WERS", 1, "Write Exclusive"),
  flag("EARS", 2, "Exclusive Access"),
  flag("WEROS", 3, "Write Exclusive, Registrants Only"),
  flag("EAROS", 4, "Exclusive Access, Registrants Only"),
  flag("WEARS", 5, "Write Exclusive, All Registrants"),
  flag("EAARS", 6, "Exclusive Access, All Registrants"),
  flag("IEKEY13", 7, "Ignore Existing Key as in 1.3 and later"),
];

const FPI: readonly BitField[] = [
  number("PR", 6, 0, "Percentage Remaining", percent),
  flag("FPIS", 7, "Format Progress Indicator Supported"),
];

const NSATTR: readonly BitField[] = [flag("CWP", 0, "Currently Write Protected")];

const KPIOS: readonly BitField[] = [
  flag("KPIOENS", 0, "Key Per I/O is enabled"),
  flag("KPIOSNS", 1, "Key Per I/O is supported"),
];

/** Rows of an LBA format (4 bytes). */
export const LBA_FORMAT_ROWS: readonly Row[] = [
  quantity("MS", 0, 2, "Metadata Size", (value) => value === 0n ? "none" : formatBytes(value)),
  quantity("LBADS", 2, 1, "LBA Data Size, as a power of two", lbaDataSize),
  register("RP", 3, 1, "Relative Performance", [
    code("RP", 1, 0, "Relative Performance", { 0: "best", 1: "better", 2: "good", 3: "degraded" }),
  ]),
];

function lbaDataSize(value: bigint): string {
  return value === 0n ? "not in use" : value > 40n ? "beyond any drive" : formatBytes(1n << value);
}

/** Identify Namespace (CNS 00h; 11h for one that is only allocated). */
export const IDENTIFY_NAMESPACE: Layout = {
  name: "Identify Namespace",
  source: "NVM Command Set 1.0 §4.1.5, CNS 00h",
  rows: [
    quantity("NSZE", 0, 8, "Namespace Size", blocks),
    quantity("NCAP", 8, 8, "Namespace Capacity", blocks),
    quantity("NUSE", 16, 8, "Namespace Utilization", blocks),
    register("NSFEAT", 24, 1, "Namespace Features", [
      flag("THINP", 0, "Thin Provisioning"),
      flag("NSABP", 1, "Atomic write limits of its own"),
      flag("DAE", 2, "Deallocated or Unwritten Logical Block error"),
      flag("UIDREUSE", 3, "NGUID and EUI64 are never used again"),
      code("OPTPERF", 5, 4, "Preferred write sizes", {
        0: "not reported",
        1: "NPWG, NPWA, NPDG, NPDA, NOWS",
        2: "NPWG, NPWA, NPDGL, NPDAL, NOWS",
        3: "NPWG, NPWA, NPDG, NPDA, NPDGL, NPDAL, NOWS",
      }),
      code("MAM", 6, 6, "Multiple Atomicity Mode", { 0: "single", 1: "multiple" }),
      flag("OPTRPERF", 7, "Preferred read sizes: NPRG, NPRA, NORS"),
    ]),
    quantity("NLBAF", 25, 1, "Number of LBA Formats", zeroBased("format")),
    register("FLBAS", 26, 1, "Formatted LBA Size", [
      number("FIDXL", 3, 0, "Format index, low bits"),
      code("MDST", 4, 4, "Metadata is", { 0: "in a separate buffer", 1: "at the end of each block" }),
      number("FIDXU", 6, 5, "Format index, high bits"),
    ], { meaning: (value) => `format ${formatIndex(value)}` }),
    register("MC", 27, 1, "Metadata Capabilities", [
      flag("MTDELBA", 0, "at the end of each block"),
      flag("MTDSB", 1, "in a separate buffer"),
    ]),
    register("DPC", 28, 1, "End-to-end Data Protection Capabilities", [
      flag("PIT1S", 0, "type 1"),
      flag("PIT2S", 1, "type 2"),
      flag("PIT3S", 2, "type 3"),
      flag("PIIFB", 3, "in the first bytes of metadata"),
      flag("PIILB", 4, "in the last bytes of metadata"),
    ]),
    register("DPS", 29, 1, "End-to-end Data Protection Type Settings", [
      code("PIT", 2, 0, "Protection Information Type", PROTECTION_TYPES),
      code("PIP", 3, 3, "Position in the metadata", { 0: "last bytes", 1: "first bytes" }),
    ]),
    register("NMIC", 30, 1, "Namespace Multi-path I/O and Namespace Sharing Capabilities", NMIC),
    register("RESCAP", 31, 1, "Reservation Capabilities", RESCAP),
    register("FPI", 32, 1, "Format Progress Indicator", FPI),
    register("DLFEAT", 33, 1, "Deallocate Logical Block Features", [
      code("DRB", 2, 0, "Deallocated blocks read as", { 0: "not reported", 1: "00h", 2: "FFh" }),
      flag("WZDS", 3, "Write Zeroes may deallocate"),
      code("GDS", 4, 4, "Guard of deallocated blocks", { 0: "FFFFh", 1: "CRC of the value read" }),
    ]),
    quantity("NAWUN", 34, 2, "Namespace Atomic Write Unit Normal", reported(zeroBasedBlocks)),
    quantity("NAWUPF", 36, 2, "Namespace Atomic Write Unit Power Fail", reported(zeroBasedBlocks)),
    quantity("NACWU", 38, 2, "Namespace Atomic Compare and Write Unit", reported(zeroBasedBlocks)),
    quantity("NABSN", 40, 2, "Namespace Atomic Boundary Size Normal", reported(zeroBasedBlocks)),
    quantity("NABO", 42, 2, "Namespace Atomic Boundary Offset", blocks),
    quantity("NABSPF", 44, 2, "Namespace Atomic Boundary Size Power Fail", reported(zeroBasedBlocks)),
    quantity("NOIOB", 46, 2, "Namespace Optimal I/O Boundary", reportedBlocks),
    quantity("NVMCAP", 48, 16, "NVM Capacity", reported(capacity)),
    quantity("NPWG", 64, 2, "Namespace Preferred Write Granularity", zeroBasedBlocks),
    quantity("NPWA", 66, 2, "Namespace Preferred Write Alignment", zeroBasedBlocks),
    quantity("NPDG", 68, 2, "Namespace Preferred Deallocate Granularity", zeroBasedBlocks),
    quantity("NPDA", 70, 2, "Namespace Preferred Deallocate Alignment", zeroBasedBlocks),
    quantity("NOWS", 72, 2, "Namespace Optimal Write Size", zeroBasedBlocks),
    quantity("MSSRL", 74, 2, "Maximum Single Source Range Length", reportedBlocks),
    quantity("MCL", 76, 4, "Maximum Copy Length", reportedBlocks),
    quantity("MSRC", 80, 1, "Maximum Source Range Count", zeroBased("range")),
    register("KPIOS", 81, 1, "Key Per I/O Status", KPIOS, { since: "2.1" }),
    quantity("NULBAF", 82, 1, "Number of Unique Capability LBA Formats"),
    quantity("KPIODAAG", 84, 4, "Key Per I/O Data Access Alignment and Granularity", reportedBlocks, { since: "2.1" }),
    quantity("ANAGRPID", 92, 4, "ANA Group Identifier", reported(String)),
    register("NSATTR", 99, 1, "Namespace Attributes", NSATTR),
    quantity("NVMSETID", 100, 2, "NVM Set Identifier", reported(String)),
    quantity("ENDGID", 102, 2, "Endurance Group Identifier", reported(String)),
    bytes("NGUID", 104, 16, "Namespace Globally Unique Identifier", nguid),
    bytes("EUI64", 120, 8, "IEEE Extended Unique Identifier", eui64),
    {
      type: "array",
      name: "LBAF",
      offset: 128,
      count: LBA_FORMATS_MAX,
      countOf: (above) => Number((above("NLBAF") ?? 0n) + 1n + (above("NULBAF") ?? 0n)),
      strideBytes: 4,
      title: "LBA Format",
      rows: LBA_FORMAT_ROWS,
    },
    bytes("VS", 384, 3712, "Vendor Specific"),
  ],
};

/** The index of the format that FLBAS names. */
export function formatIndex(flbas: bigint): number {
  return Number(flbas & 0xfn | (flbas >> 1n & 0x30n));
}

/** What is the same of a namespace for every I/O command set (CNS 08h). */
export const IDENTIFY_NAMESPACE_INDEPENDENT: Layout = {
  name: "Identify Namespace, independent of the I/O command set",
  source: "NVM Express Base 2.0 §5.17, CNS 08h",
  rows: [
    register("NSFEAT", 0, 1, "Common Namespace Features", [
      flag("UIDREUSE", 3, "NGUID and EUI64 are never used again"),
      flag("RMEDIA", 4, "Rotational media"),
      flag("VWCNP", 5, "No volatile write cache"),
    ]),
    register("NMIC", 1, 1, "Namespace Multi-path I/O and Namespace Sharing Capabilities", NMIC),
    register("RESCAP", 2, 1, "Reservation Capabilities", RESCAP),
    register("FPI", 3, 1, "Format Progress Indicator", FPI),
    quantity("ANAGRPID", 4, 4, "ANA Group Identifier", reported(String)),
    register("NSATTR", 8, 1, "Namespace Attributes", NSATTR),
    quantity("NVMSETID", 10, 2, "NVM Set Identifier", reported(String)),
    quantity("ENDGID", 12, 2, "Endurance Group Identifier", reported(String)),
    register("NSTAT", 14, 1, "Namespace Status", [
      flag("NRDY", 0, "Ready"),
      code("IOI", 2, 1, "I/O performance", { 0: "not reported", 1: "not degraded", 2: "degraded" }),
    ]),
    register("KPIOS", 15, 1, "Key Per I/O Status", KPIOS, { since: "2.1" }),
    quantity("MAXKT", 16, 2, "Maximum Key Tag", undefined, { since: "2.1" }),
    quantity("RGRPID", 20, 4, "Reachability Group Identifier", reported(String), { since: "2.1" }),
  ],
};

/** What the NVM Command Set adds to a namespace (CNS 05h, CSI 0). */
export const IDENTIFY_NAMESPACE_NVM: Layout = {
  name: "Identify Namespace, NVM Command Set",
  source: "NVM Command Set 1.0 §4.1.5, CNS 05h",
  rows: [
    register("LBSTM", 0, 8, "Logical Block Storage Tag Mask"),
    register("PIC", 8, 1, "Protection Information Capabilities", [
      flag("PITPS16B", 0, "Storage Tag with the 16-bit guard"),
      flag("PISTM16B", 1, "a mask for it is needed"),
      flag("STCRS", 2, "Storage Tag Check Read"),
      flag("QPIFS", 3, "Qualified Protection Information Format"),
    ]),
    register("PIFA", 9, 1, "Protection Information Format Attribute", [
      code("STMLA", 2, 0, "Storage Tag Masking", { 0: "by bit", 1: "by byte", 2: "not supported" }),
    ], { since: "2.1" }),
    {
      type: "array",
      name: "ELBAF",
      offset: 12,
      count: LBA_FORMATS_MAX,
      strideBytes: 4,
      title: "Extended LBA Format",
      rows: [
        register("ELBAF", 0, 4, "Protection information of the format", [
          number("STS", 6, 0, "Storage Tag Size", (value) => counted(value, "bit")),
          code("PIF", 8, 7, "Protection Information Format", {
            0: "16-bit guard",
            1: "32-bit guard",
            2: "64-bit guard",
            3: "see QPIF",
          }),
          code("QPIF", 12, 9, "Qualified Protection Information Format", {
            0: "16-bit guard",
            1: "32-bit guard",
            2: "64-bit guard",
          }),
        ]),
      ],
    },
    quantity("NPDGL", 268, 4, "Namespace Preferred Deallocate Granularity Large", reportedBlocks, { since: "2.1" }),
    quantity("NPRG", 272, 4, "Namespace Preferred Read Granularity", reportedBlocks, { since: "2.1" }),
    quantity("NPRA", 276, 4, "Namespace Preferred Read Alignment", reportedBlocks, { since: "2.1" }),
    quantity("NORS", 280, 4, "Namespace Optimal Read Size", reportedBlocks, { since: "2.1" }),
    quantity("NPDAL", 284, 4, "Namespace Preferred Deallocate Alignment Large", reportedBlocks, { since: "2.1" }),
    quantity("LBAPSS", 288, 4, "LBA Format Placement Shard Size", undefined, { since: "2.1" }),
    quantity("TLBAAG", 292, 4, "Tracked LBA Allocation Granularity", undefined, { since: "2.1" }),
  ],
};

const limitOf = (what: string) => (value: bigint): string =>
  value === 0xffff_ffffn ? "no limit" : counted(value + 1n, what);
const limitSeconds = (value: bigint): string => value === 0n ? "not reported" : formatDurationMs(Number(value) * 1000);

/** What the Zoned Namespace Command Set adds to a namespace (CNS 05h, CSI 2). */
export const IDENTIFY_NAMESPACE_ZONED: Layout = {
  name: "Identify Namespace, Zoned Namespace Command Set",
  source: "Zoned Namespace Command Set 1.1 §4.1.5, CNS 05h",
  rows: [
    register("ZOC", 0, 2, "Zone Operation Characteristics", [
      flag("VZC", 0, "Capacity of a zone may change"),
      flag("ZAE", 1, "The controller may finish active zones by itself"),
    ]),
    register("OZCS", 2, 2, "Optional Zoned Command Support", [
      flag("RAZB", 0, "Reads may cross zone boundaries"),
      flag("ZRWASUP", 1, "Zone Random Write Area"),
    ]),
    quantity("MAR", 4, 4, "Maximum Active Resources", limitOf("zone")),
    quantity("MOR", 8, 4, "Maximum Open Resources", limitOf("zone")),
    quantity("RRL", 12, 4, "Reset Recommended Limit", limitSeconds),
    quantity("FRL", 16, 4, "Finish Recommended Limit", limitSeconds),
    quantity("RRL1", 20, 4, "Reset Recommended Limit 1", limitSeconds),
    quantity("RRL2", 24, 4, "Reset Recommended Limit 2", limitSeconds),
    quantity("RRL3", 28, 4, "Reset Recommended Limit 3", limitSeconds),
    quantity("FRL1", 32, 4, "Finish Recommended Limit 1", limitSeconds),
    quantity("FRL2", 36, 4, "Finish Recommended Limit 2", limitSeconds),
    quantity("FRL3", 40, 4, "Finish Recommended Limit 3", limitSeconds),
    quantity("NUMZRWA", 44, 4, "Number of Zone Random Write Areas", limitOf("area")),
    quantity("ZRWAFG", 48, 2, "ZRWA Flush Granularity", blocks),
    quantity("ZRWASZ", 50, 2, "ZRWA Size", blocks),
    register("ZRWACAP", 52, 1, "ZRWA Capability", [flag("EXPFLUSHSUP", 0, "Explicit flush")]),
    {
      type: "array",
      name: "LBAFE",
      offset: 2816,
      count: LBA_FORMATS_MAX,
      strideBytes: 16,
      title: "LBA Format Extension",
      rows: [
        quantity("ZSZE", 0, 8, "Zone Size", blocks),
        quantity("ZDES", 8, 1, "Zone Descriptor Extension Size", (value) => formatBytes(value * 64n)),
      ],
    },
    bytes("VS", 3840, 256, "Vendor Specific"),
  ],
};

/** The kinds of identifier by NIDT, with the length that belongs to it. */
const IDENTIFIERS: Readonly<Record<number, { readonly kind: string; readonly sizeBytes: number }>> = {
  1: { kind: "EUI64", sizeBytes: 8 },
  2: { kind: "NGUID", sizeBytes: 16 },
  3: { kind: "UUID", sizeBytes: 16 },
  4: { kind: "CSI", sizeBytes: 1 },
};

const DESCRIPTOR_HEAD: readonly Row[] = [
  quantity("NIDT", 0, 1, "Namespace Identifier Type"),
  quantity("NIDL", 1, 1, "Namespace Identifier Length", (value) => formatBytes(value)),
];

const DESCRIPTORS: ListRow = {
  type: "list",
  name: "NID",
  offset: 0,
  sizeBytes: 4096,
  title: "Namespace Identification Descriptor",
  kinds: {
    EUI64: [...DESCRIPTOR_HEAD, bytes("NID", 4, 8, "EUI64", eui64)],
    NGUID: [...DESCRIPTOR_HEAD, bytes("NID", 4, 16, "NGUID", nguid)],
    UUID: [...DESCRIPTOR_HEAD, bytes("NID", 4, 16, "UUID", uuid)],
    CSI: [...DESCRIPTOR_HEAD, quantity("NID", 4, 1, "Command Set Identifier", undefined, { values: COMMAND_SETS })],
    unknown: DESCRIPTOR_HEAD,
  },
  next: (rest) => {
    const [type, length] = rest;
    if (type === undefined || length === undefined || length === 0) return null;
    const known = IDENTIFIERS[type];
    const kind = known?.sizeBytes === length ? known.kind : "unknown";
    return { kind, sizeBytes: 4 + length };
  },
};

/** The identifiers of a namespace (CNS 03h). A descriptor whose length is not the one of its type is `unknown`. */
export const NAMESPACE_DESCRIPTORS: Layout = {
  name: "Namespace Identification Descriptor list",
  source: "NVM Express Base 2.0 §5.17, CNS 03h",
  rows: [DESCRIPTORS],
};
