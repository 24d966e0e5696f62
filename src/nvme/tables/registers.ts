/**
 * The registers of an NVMe controller over PCIe, as a table.
 *
 * Source: NVM Express Base 2.0 §3.1.3, NVMe over PCIe Transport 1.0 §3.1.2 (doorbells).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { type BitField, bitField, type Layout, type UintRow } from "../../core/layout.ts";
import { addressBits, code, flag, listed, number, register } from "../../core/rows.ts";
import { formatBytes, formatDurationMs } from "../../core/units.ts";

/** Everything below holds registers; doorbells begin here. */
export const DOORBELLS_OFFSET = 0x1000;

/** A register with its access and the version that brought it. */
function reg(
  name: string,
  offset: number,
  sizeBytes: 4 | 8,
  access: string,
  since: string,
  title: string,
  fields?: readonly BitField[],
  more: Partial<UintRow> = {},
): UintRow {
  return register(name, offset, sizeBytes, title, fields, { access, since, ...more });
}

const halfSeconds = (value: bigint): string => formatDurationMs(Number(value) * 500);
const entries = (value: bigint): string => value === 0n ? "1 entry" : `${value + 1n} entries`;
const pageSize = (value: bigint): string => formatBytes(1n << (12n + value));
const cmbUnit = (value: bigint): string => value > 6n ? "reserved" : formatBytes(4096n << (4n * value));
const boot128K = (value: bigint): string => formatBytes(value << 17n);
const boot4K = (value: bigint): string => formatBytes(value << 12n);

/** Units of the elasticity buffer sizes, and per second of the sustained throughputs. */
const BUFFER_UNITS: Readonly<Record<number, string>> = { 0: "bytes", 1: "KiB", 2: "MiB", 3: "GiB" };
const THROUGHPUT_UNITS: Readonly<Record<number, string>> = { 0: "bytes/s", 1: "KiB/s", 2: "MiB/s", 3: "GiB/s" };

const CAP: readonly BitField[] = [
  number("MQES", 15, 0, "Maximum Queue Entries Supported", entries),
  flag("CQR", 16, "Contiguous Queues Required"),
  number(
    "AMS",
    18,
    17,
    "Arbitration Mechanisms besides round robin",
    listed({ 0: "weighted round robin with urgent", 1: "vendor" }),
  ),
  number("TO", 31, 24, "Timeout: longest wait for ready", halfSeconds),
  number("DSTRD", 35, 32, "Doorbell Stride", (value) => formatBytes(4n << value)),
  flag("NSSRS", 36, "NVM Subsystem Reset Supported"),
  number(
    "CSS",
    44,
    37,
    "Command Sets Supported",
    listed({ 0: "NVM", 6: "I/O command sets (CC.CSS 110b)", 7: "admin only" }),
  ),
  flag("BPS", 45, "Boot Partition Support"),
  code("CPS", 47, 46, "Controller Power Scope", { 0: "not reported", 1: "controller", 2: "domain", 3: "subsystem" }),
  number("MPSMIN", 51, 48, "Memory Page Size Minimum", pageSize),
  number("MPSMAX", 55, 52, "Memory Page Size Maximum", pageSize),
  flag("PMRS", 56, "Persistent Memory Region Supported"),
  flag("CMBS", 57, "Controller Memory Buffer Supported"),
  flag("NSSS", 58, "NVM Subsystem Shutdown Supported"),
  number("CRMS", 60, 59, "Controller Ready Modes", listed({ 0: "with media", 1: "independent of media" })),
];

const CC: readonly BitField[] = [
  flag("EN", 0, "Enable"),
  code("CSS", 6, 4, "I/O Command Set Selected", { 0: "NVM", 6: "all supported", 7: "admin only" }),
  number("MPS", 10, 7, "Memory Page Size", pageSize),
  code("AMS", 13, 11, "Arbitration Mechanism", {
    0: "round robin",
    1: "weighted round robin with urgent",
    7: "vendor",
  }),
  code("SHN", 15, 14, "Shutdown Notification", { 0: "none", 1: "normal", 2: "abrupt" }),
  number("IOSQES", 19, 16, "I/O Submission Queue Entry Size", (value) => formatBytes(1n << value)),
  number("IOCQES", 23, 20, "I/O Completion Queue Entry Size", (value) => formatBytes(1n << value)),
  flag("CRIME", 24, "Controller Ready Independent of Media Enable"),
];

const CSTS: readonly BitField[] = [
  flag("RDY", 0, "Ready"),
  flag("CFS", 1, "Controller Fatal Status"),
  code("SHST", 3, 2, "Shutdown Status", { 0: "normal operation", 1: "shutting down", 2: "shutdown complete" }),
  flag("NSSRO", 4, "NVM Subsystem Reset Occurred"),
  flag("PP", 5, "Processing Paused"),
  code("ST", 6, 6, "Shutdown Type", { 0: "controller", 1: "subsystem" }),
];

/**
 * The registers at 0x00 to 0x6b and 0xe00 to 0xe1b of BAR0.
 *
 * @example
 * ```ts
 * import { NVME_REGISTERS } from "@busbar/busbar";
 * console.assert(NVME_REGISTERS.rows.find((row) => row.name === "CSTS")?.offset === 0x1c);
 * ```
 */
export const NVME_REGISTERS: Layout = {
  name: "NVMe controller registers",
  source: "NVM Express Base 2.0 §3.1.3",
  rows: [
    // Two dword reads: every controller takes those, and not every one a qword read.
    reg("CAP", 0x00, 8, "RO", "1.0", "Controller Capabilities", CAP, { accessBytes: 4 }),
    reg("VS", 0x08, 4, "RO", "1.0", "Version", [
      number("TER", 7, 0, "Tertiary"),
      number("MNR", 15, 8, "Minor"),
      number("MJR", 31, 16, "Major"),
    ], { meaning: versionText }),
    reg("INTMS", 0x0c, 4, "RW1S", "1.0", "Interrupt Mask Set (pin and MSI only)"),
    reg("INTMC", 0x10, 4, "RW1C", "1.0", "Interrupt Mask Clear (pin and MSI only)"),
    reg("CC", 0x14, 4, "RW", "1.0", "Controller Configuration", CC),
    reg("CSTS", 0x1c, 4, "RO", "1.0", "Controller Status", CSTS),
    reg("NSSR", 0x20, 4, "RW", "1.1", "NVM Subsystem Reset"),
    reg("AQA", 0x24, 4, "RW", "1.0", "Admin Queue Attributes", [
      number("ASQS", 11, 0, "Admin Submission Queue Size", entries),
      number("ACQS", 27, 16, "Admin Completion Queue Size", entries),
    ]),
    reg("ASQ", 0x28, 8, "RW", "1.0", "Admin Submission Queue Base Address", [
      addressBits("ASQB", 63, 12, "base address"),
    ], { kind: "address", accessBytes: 4 }),
    reg("ACQ", 0x30, 8, "RW", "1.0", "Admin Completion Queue Base Address", [
      addressBits("ACQB", 63, 12, "base address"),
    ], { kind: "address", accessBytes: 4 }),
    reg("CMBLOC", 0x38, 4, "RO", "1.2", "Controller Memory Buffer Location", [
      number("BIR", 2, 0, "in BAR"),
      flag("CQMMS", 3, "Queues may mix with other memory"),
      flag("CQPDS", 4, "Queues may be physically discontiguous"),
      flag("CDPMLS", 5, "Data pointers may mix locations"),
      flag("CDPCILS", 6, "Data pointer and command may be apart"),
      flag("CDMMMS", 7, "Data and metadata may be apart"),
      flag("CQDA", 8, "Queue dword alignment"),
      number("OFST", 31, 12, "Offset, in CMBSZ.SZU units"),
    ]),
    reg("CMBSZ", 0x3c, 4, "RO", "1.2", "Controller Memory Buffer Size", [
      flag("SQS", 0, "Submission queues may be in it"),
      flag("CQS", 1, "Completion queues may be in it"),
      flag("LISTS", 2, "PRP and SGL lists may be in it"),
      flag("RDS", 3, "Read data may be in it"),
      flag("WDS", 4, "Write data may be in it"),
      number("SZU", 11, 8, "Size unit", cmbUnit),
      number("SZ", 31, 12, "Size, in SZU units"),
    ], { meaning: cmbSizeText }),
    reg("BPINFO", 0x40, 4, "RO", "1.3", "Boot Partition Information", [
      number("BPSZ", 14, 0, "Boot Partition Size", boot128K),
      code("BRS", 25, 24, "Boot Read Status", { 0: "none", 1: "in progress", 2: "done", 3: "error" }),
      number("ABPID", 31, 31, "Active Boot Partition"),
    ]),
    reg("BPRSEL", 0x44, 4, "RW", "1.3", "Boot Partition Read Select", [
      number("BPRSZ", 9, 0, "Read Size", boot4K),
      number("BPROF", 29, 10, "Read Offset", boot4K),
      number("BPID", 31, 31, "Boot Partition"),
    ]),
    reg("BPMBL", 0x48, 8, "RW", "1.3", "Boot Partition Memory Buffer Location", [
      addressBits("BMBBA", 63, 12, "base address"),
    ], { kind: "address", accessBytes: 4 }),
    reg("CMBMSC", 0x50, 8, "RW", "1.4", "Controller Memory Buffer Memory Space Control", [
      flag("CRE", 0, "Capabilities Registers Enabled"),
      flag("CMSE", 1, "Controller Memory Space Enable"),
      addressBits("CBA", 63, 12, "Controller Base Address"),
    ], { accessBytes: 4 }),
    reg("CMBSTS", 0x58, 4, "RO", "1.4", "Controller Memory Buffer Status", [
      flag("CBAI", 0, "Controller Base Address Invalid"),
    ]),
    reg("CMBEBS", 0x5c, 4, "RO", "2.0", "Controller Memory Buffer Elasticity Buffer Size", [
      code("CMBSZU", 3, 0, "Unit", BUFFER_UNITS),
      flag("RBB", 4, "Reads bypass the buffer"),
      number("CMBWBZ", 31, 8, "Size, in units"),
    ]),
    reg("CMBSWTP", 0x60, 4, "RO", "2.0", "Controller Memory Buffer Sustained Write Throughput", [
      code("CMBSWTU", 3, 0, "Unit", THROUGHPUT_UNITS),
      number("CMBSWTV", 31, 8, "Throughput, in units"),
    ]),
    reg("NSSD", 0x64, 4, "RW", "2.0", "NVM Subsystem Shutdown"),
    reg("CRTO", 0x68, 4, "RO", "2.0", "Controller Ready Timeouts", [
      number("CRWMT", 15, 0, "Ready with media", halfSeconds),
      number("CRIMT", 31, 16, "Ready independent of media", halfSeconds),
    ]),
    reg("PMRCAP", 0xe00, 4, "RO", "1.4", "Persistent Memory Region Capabilities", [
      flag("RDS", 3, "Read data may be in it"),
      flag("WDS", 4, "Write data may be in it"),
      number("BIR", 7, 5, "in BAR"),
      code("PMRTU", 9, 8, "Time unit", { 0: "500 ms", 1: "minutes" }),
      number("PMRWBM", 13, 10, "Write barriers", listed({ 0: "read of PMR memory", 1: "read of PMRSTS" })),
      number("PMRTO", 23, 16, "Timeout, in PMRTU units"),
      flag("CMSS", 24, "Controller memory space supported"),
    ]),
    reg("PMRCTL", 0xe04, 4, "RW", "1.4", "Persistent Memory Region Control", [flag("EN", 0, "Enable")]),
    reg("PMRSTS", 0xe08, 4, "RO", "1.4", "Persistent Memory Region Status", [
      number("ERR", 7, 0, "Error code"),
      flag("NRDY", 8, "Not ready"),
      code("HSTS", 11, 9, "Health", { 0: "normal", 1: "restore error", 2: "read only", 3: "unreliable" }),
      flag("CBAI", 12, "Controller Base Address Invalid"),
    ]),
    reg("PMREBS", 0xe0c, 4, "RO", "1.4", "Persistent Memory Region Elasticity Buffer Size", [
      code("PMRSZU", 3, 0, "Unit", BUFFER_UNITS),
      flag("RBB", 4, "Reads bypass the buffer"),
      number("PMRWBZ", 31, 8, "Size, in units"),
    ]),
    reg("PMRSWTP", 0xe10, 4, "RO", "1.4", "Persistent Memory Region Sustained Write Throughput", [
      code("PMRSWTU", 3, 0, "Unit", THROUGHPUT_UNITS),
      number("PMRSWTV", 31, 8, "Throughput, in units"),
    ]),
    reg("PMRMSCL", 0xe14, 4, "RW", "1.4", "Persistent Memory Region Memory Space Control, low", [
      flag("CMSE", 1, "Controller Memory Space Enable"),
      addressBits("CBA", 31, 12, "Controller Base Address, bits 31:12"),
    ]),
    reg("PMRMSCU", 0xe18, 4, "RW", "1.4", "Persistent Memory Region Memory Space Control, high"),
  ],
};

/** `1.4`, or `1.3.1` with a tertiary number. */
export function versionText(vs: bigint): string {
  const [major, minor, tertiary] = [vs >> 16n, vs >> 8n & 0xffn, vs & 0xffn];
  return tertiary === 0n ? `${major}.${minor}` : `${major}.${minor}.${tertiary}`;
}

function cmbSizeText(cmbsz: bigint): string {
  const unit = cmbsz >> 8n & 0xfn;
  return unit > 6n ? "size unit reserved" : formatBytes((cmbsz >> 12n) * (4096n << (4n * unit)));
}

/** CAP.CMBS: the controller has a memory buffer. */
export const CAP_CMBS: BitField = bitField(NVME_REGISTERS, "CAP", "CMBS");
/** CMBMSC.CRE: the registers of that buffer show their contents. */
export const CMBMSC_CRE: BitField = bitField(NVME_REGISTERS, "CMBMSC", "CRE");

/**
 * Where a register is in BAR0.
 *
 * @throws {BusbarError} `bug` for a name that the table does not have
 */
export function registerOffset(name: string): number {
  const row = NVME_REGISTERS.rows.find((one) => one.name === name);
  if (row === undefined) throw new BusbarError("bug", `there is no NVMe register ${name}`);
  return row.offset;
}
