/**
 * Logs of how a drive is: SMART, errors, self-tests, endurance groups, sanitize operations.
 *
 * Source: NVM Express Base 2.0 §5.16.1 (2.1 where a row says so).
 * @module
 */

import type { BitField, Layout, Row, UintRow } from "../../core/layout.ts";
import { code, counter, flag, number, quantity, register } from "../../core/rows.ts";
import {
  capacity,
  COMMAND_SETS,
  counted,
  dataUnits,
  milliseconds,
  minutes,
  percent,
  reported,
  secondsOrUnknown,
  temperature,
  TRANSPORT_TYPES,
} from "./value_text.ts";
import { NvmeStatus } from "./status.ts";

const hours = (value: bigint): string => value < 48n ? counted(value, "hour") : `${counted(value / 24n, "day")}`;
const seconds = (value: bigint): string => milliseconds(value * 1000n);
const sensor = (value: bigint): string => value === 0n ? "no sensor" : temperature(value);

/** What a drive warns of; the first byte of SMART. */
export const CRITICAL_WARNING: readonly BitField[] = [
  flag("ASCBT", 0, "Available spare is below its threshold"),
  flag("TTC", 1, "A temperature is beyond its threshold"),
  flag("NDR", 2, "Reliability is degraded"),
  flag("AMRO", 3, "All media are read only"),
  flag("VMBF", 4, "The backup of the volatile memory failed"),
  flag("PMRRO", 5, "The Persistent Memory Region is read only or unreliable"),
];

/** What an endurance group warns of. */
const GROUP_WARNING: readonly BitField[] = [
  flag("EGASCBT", 0, "Available spare is below its threshold"),
  flag("EGNDR", 2, "Reliability is degraded"),
  flag("EGRO", 3, "All namespaces are read only"),
];

/** SMART / Health Information (log page 02h, 512 bytes). */
export const SMART_LOG: Layout = {
  name: "SMART / Health Information",
  source: "NVM Express Base 2.0 §5.16.1, log page 02h",
  rows: [
    register("CW", 0, 1, "Critical Warning", CRITICAL_WARNING),
    counter("CTEMP", 1, 2, "Composite Temperature", temperature),
    counter("AVSP", 3, 1, "Available Spare", percent),
    quantity("AVSPT", 4, 1, "Available Spare Threshold", percent),
    counter("PUSED", 5, 1, "Percentage Used", percent),
    register("EGCWS", 6, 1, "Endurance Group Critical Warning Summary", GROUP_WARNING, { since: "1.4" }),
    counter("DUR", 32, 16, "Data Units Read", dataUnits),
    counter("DUW", 48, 16, "Data Units Written", dataUnits),
    counter("HRC", 64, 16, "Host Read Commands"),
    counter("HWC", 80, 16, "Host Write Commands"),
    counter("CBT", 96, 16, "Controller Busy Time", minutes),
    counter("PWRC", 112, 16, "Power Cycles"),
    counter("POH", 128, 16, "Power On Hours", hours),
    counter("UPL", 144, 16, "Unsafe Shutdowns"),
    counter("MDIE", 160, 16, "Media and Data Integrity Errors"),
    counter("NEILE", 176, 16, "Number of Error Information Log Entries"),
    counter("WCTT", 192, 4, "Warning Composite Temperature Time", minutes),
    counter("CCTT", 196, 4, "Critical Composite Temperature Time", minutes),
    ...Array.from(
      { length: 8 },
      (_, i) => counter(`TSEN${i + 1}`, 200 + 2 * i, 2, `Temperature Sensor ${i + 1}`, sensor, { since: "1.2" }),
    ),
    counter("TMT1TC", 216, 4, "Thermal Management Temperature 1 Transition Count", undefined, { since: "1.3" }),
    counter("TMT2TC", 220, 4, "Thermal Management Temperature 2 Transition Count", undefined, { since: "1.3" }),
    counter("TTTMT1", 224, 4, "Total Time For Thermal Management Temperature 1", seconds, { since: "1.3" }),
    counter("TTTMT2", 228, 4, "Total Time For Thermal Management Temperature 2", seconds, { since: "1.3" }),
  ],
};

/** A status field as completions hold it: with the phase bit below it. */
function statusRow(name: string, offset: number, title: string): UintRow {
  return register(name, offset, 2, title, [
    number("P", 0, 0, "Phase Tag"),
    number("SC", 8, 1, "Status Code"),
    number("SCT", 11, 9, "Status Code Type"),
    number("CRD", 13, 12, "Command Retry Delay"),
    flag("M", 14, "More"),
    flag("DNR", 15, "Do Not Retry"),
  ], { meaning: (value) => new NvmeStatus(Number(value) >> 1).toString() });
}

/** Rows of an error log entry (64 bytes). */
export const ERROR_ENTRY_ROWS: readonly Row[] = [
  quantity("EC", 0, 8, "Error Count", (value) => value === 0n ? "no entry" : `error number ${value}`),
  quantity("SQID", 8, 2, "Submission Queue ID", (value) => value === 0n ? "admin" : `I/O queue ${value}`),
  register("CID", 10, 2, "Command ID"),
  statusRow("STATUS", 12, "Status Field"),
  register("PEL", 14, 2, "Parameter Error Location", [
    number("BYTE", 7, 0, "byte of the command"),
    number("BIT", 10, 8, "bit in that byte"),
  ], { meaning: parameterPlace }),
  quantity("LBA", 16, 8, "LBA"),
  quantity("NSID", 24, 4, "Namespace"),
  register("VSIA", 28, 1, "Vendor Specific Information Available", undefined, {
    meaning: (value) => value === 0n ? "none" : `log page ${value.toString(16).toUpperCase().padStart(2, "0")}h`,
  }),
  quantity("TRTYPE", 29, 1, "Transport Type", undefined, { values: TRANSPORT_TYPES, since: "1.4" }),
  quantity("CSI", 30, 1, "Command Set Indicator", undefined, { values: COMMAND_SETS, since: "2.0" }),
  register("OPC", 31, 1, "Opcode", undefined, { since: "2.0" }),
  register("CSINFO", 32, 8, "Command Specific Information"),
  register("TTSI", 40, 2, "Transport Type Specific Information", undefined, { since: "1.4" }),
  quantity("LPVER", 63, 1, "Log Page Version", undefined, { since: "2.0" }),
];

function parameterPlace(value: bigint): string {
  if (value === 0xffffn) return "not a parameter";
  const [byte, bit] = [value & 0xffn, value >> 8n & 7n];
  return byte > 63n ? "not in the command" : `byte ${byte}, bit ${bit}: command dword ${byte >> 2n}`;
}

/** How many bytes an error log entry has. */
export const ERROR_ENTRY_BYTES = 64;

/** Error Information (log page 01h): ELPE entries, newest first. The page that is decoded may hold fewer. */
export const ERROR_LOG: Layout = {
  name: "Error Information",
  source: "NVM Express Base 2.0 §5.16.1, log page 01h",
  rows: [{
    type: "array",
    name: "ENTRY",
    offset: 0,
    count: 256,
    sparse: true,
    toEnd: true,
    strideBytes: ERROR_ENTRY_BYTES,
    title: "Error Information Log Entry",
    rows: ERROR_ENTRY_ROWS,
  }],
};

/** What a self-test can come to. */
const SELF_TEST_RESULTS: Readonly<Record<number, string>> = {
  0: "passed",
  1: "aborted by a Device Self-test command",
  2: "aborted by a controller reset",
  3: "aborted because a namespace was removed",
  4: "aborted by a Format NVM command",
  5: "not finished: fatal or unknown error",
  6: "failed in a segment that is not known",
  7: "failed in one or more segments",
  8: "aborted for an unknown reason",
  9: "aborted by a sanitize operation",
  15: "no result",
};

/** Self-tests by Self-test Code. */
const SELF_TESTS: Readonly<Record<number, string>> = {
  0: "none",
  1: "short",
  2: "extended",
  3: "Host-Initiated Refresh",
  14: "vendor specific",
};

/** Rows of a self-test result (28 bytes). */
export const SELF_TEST_RESULT_ROWS: readonly Row[] = [
  register("DSTS", 0, 1, "Device Self-test Status", [
    code("DSTR", 3, 0, "Result", SELF_TEST_RESULTS),
    code("DSTC", 7, 4, "Self-test", SELF_TESTS),
  ]),
  quantity("SEGN", 1, 1, "Segment Number that failed first", (value) => value === 0n ? "none" : `${value}`),
  register("VDINFO", 2, 1, "Valid Diagnostic Information", [
    flag("NSIDV", 0, "NSID is valid"),
    flag("FLBAV", 1, "FLBA is valid"),
    flag("SCTV", 2, "SCT is valid"),
    flag("SCV", 3, "SC is valid"),
  ]),
  quantity("POH", 4, 8, "Power On Hours", hours),
  quantity("NSID", 12, 4, "Namespace Identifier"),
  quantity("FLBA", 16, 8, "Failing LBA"),
  register("SCT", 24, 1, "Status Code Type", [number("SCT", 2, 0, "Status Code Type")]),
  register("SC", 25, 1, "Status Code"),
  register("VS", 26, 2, "Vendor Specific"),
];

/** Device Self-test (log page 06h, 564 bytes): what is running, and the last 20 results, newest first. */
export const SELF_TEST_LOG: Layout = {
  name: "Device Self-test",
  source: "NVM Express Base 2.0 §5.16.1, log page 06h",
  rows: [
    register("CDSTO", 0, 1, "Current Device Self-test Operation", [
      code("OP", 3, 0, "running", { ...SELF_TESTS, 0: "no self-test" }),
    ]),
    register("CDSTC", 1, 1, "Current Device Self-test Completion", [number("PC", 6, 0, "done", percent)]),
    {
      type: "array",
      name: "RESULT",
      offset: 4,
      count: 20,
      countOf: () => 20,
      strideBytes: 28,
      title: "Self-test Result",
      rows: SELF_TEST_RESULT_ROWS,
    },
  ],
};

/** Endurance Group Information (log page 09h, 512 bytes). */
export const ENDURANCE_GROUP_LOG: Layout = {
  name: "Endurance Group Information",
  source: "NVM Express Base 2.0 §5.16.1, log page 09h",
  rows: [
    register("CW", 0, 1, "Critical Warning", GROUP_WARNING),
    register("EGFEAT", 1, 1, "Endurance Group Features", [flag("EGRMEDIA", 0, "Rotational media")], { since: "2.0" }),
    counter("AVSP", 3, 1, "Available Spare", percent),
    quantity("AVSPT", 4, 1, "Available Spare Threshold", percent),
    counter("PUSED", 5, 1, "Percentage Used", percent),
    quantity("DID", 6, 2, "Domain Identifier", undefined, { since: "2.0" }),
    counter("EE", 32, 16, "Endurance Estimate", billionBytes),
    counter("DUR", 48, 16, "Data Units Read", billionBytes),
    counter("DUW", 64, 16, "Data Units Written", billionBytes),
    counter("MUW", 80, 16, "Media Units Written", billionBytes),
    counter("HRC", 96, 16, "Host Read Commands"),
    counter("HWC", 112, 16, "Host Write Commands"),
    counter("MDIE", 128, 16, "Media and Data Integrity Errors"),
    counter("NEILE", 144, 16, "Number of Error Information Log Entries"),
    quantity("TEGCAP", 160, 16, "Total Endurance Group Capacity", reported(capacity), { since: "2.0" }),
    counter("UEGCAP", 176, 16, "Unallocated Endurance Group Capacity", capacity, { since: "2.0" }),
  ],
};

/** Endurance groups count in billions of bytes. */
function billionBytes(value: bigint): string {
  return value === 0n ? "not reported" : capacity(value * 1_000_000_000n);
}

const sanitizeTime = secondsOrUnknown;

const SANITIZE_STATES: Readonly<Record<number, string>> = {
  0: "idle",
  1: "restricted processing",
  2: "restricted failure",
  3: "unrestricted processing",
  4: "unrestricted failure",
  5: "media verification",
  6: "post-verification deallocation",
};

/** Sanitize Status (log page 81h, 512 bytes, of which 40 are used). */
export const SANITIZE_LOG: Layout = {
  name: "Sanitize Status",
  source: "NVM Express Base 2.0 §5.16.1, log page 81h",
  rows: [
    quantity("SPROG", 0, 2, "Sanitize Progress", (value) => `${(Number(value) * 100 / 65536).toFixed(1)} %`),
    register("SSTAT", 2, 2, "Sanitize Status", [
      code("SOS", 2, 0, "Last sanitize operation", {
        0: "never sanitized",
        1: "successful",
        2: "running",
        3: "failed",
        4: "successful, blocks not deallocated",
      }),
      number("OPC", 7, 3, "Overwrite Passes Completed"),
      flag("GDE", 8, "Nothing written since"),
      flag("MVCNCLD", 9, "Media Verification Canceled"),
    ]),
    register("SCDW10", 4, 4, "Command dword 10 of the last Sanitize command", [
      code("SANACT", 2, 0, "Sanitize Action", {
        0: "none",
        1: "exit failure mode",
        2: "block erase",
        3: "overwrite",
        4: "crypto erase",
        5: "exit media verification",
      }),
      flag("AUSE", 3, "Allow Unrestricted Sanitize Exit"),
      number("OWPASS", 7, 4, "Overwrite Pass Count", (value) => counted(value === 0n ? 16n : value, "pass", "passes")),
      flag("OIPBP", 8, "Overwrite Invert Pattern Between Passes"),
      flag("NDAS", 9, "No-Deallocate After Sanitize"),
      flag("EMVS", 10, "Enter Media Verification State"),
    ]),
    quantity("ETO", 8, 4, "Estimated Time For Overwrite", sanitizeTime),
    quantity("ETBE", 12, 4, "Estimated Time For Block Erase", sanitizeTime),
    quantity("ETCE", 16, 4, "Estimated Time For Crypto Erase", sanitizeTime),
    quantity("ETOND", 20, 4, "Estimated Time For Overwrite, No-Deallocate", sanitizeTime, { since: "1.4" }),
    quantity("ETBEND", 24, 4, "Estimated Time For Block Erase, No-Deallocate", sanitizeTime, { since: "1.4" }),
    quantity("ETCEND", 28, 4, "Estimated Time For Crypto Erase, No-Deallocate", sanitizeTime, { since: "1.4" }),
    quantity("ETPVDS", 32, 4, "Estimated Time For Post-Verification Deallocation", sanitizeTime, { since: "2.1" }),
    register("SSI", 36, 1, "Sanitize State Information", [
      code("SANS", 3, 0, "Sanitize State", SANITIZE_STATES),
      code("FAILS", 7, 4, "Failure State", SANITIZE_STATES),
    ], { since: "2.1" }),
  ],
};

/** Predictable Latency Per NVM Set (log page 0Ah, 512 bytes). */
export const PREDICTABLE_LATENCY_LOG: Layout = {
  name: "Predictable Latency Per NVM Set",
  source: "NVM Express Base 2.0 §5.16.1, log page 0Ah",
  rows: [
    register("STATUS", 0, 1, "Status", [
      code("WS", 2, 0, "Window", { 0: "not enabled", 1: "deterministic", 2: "non-deterministic" }),
    ]),
    register("ET", 2, 2, "Event Type", [
      flag("DTWINRW", 0, "DTWIN reads warning"),
      flag("DTWINWW", 1, "DTWIN writes warning"),
      flag("DTWINTW", 2, "DTWIN time warning"),
      flag("ATTVE", 14, "left the window because a typical or maximum value was exceeded"),
      flag("ATDE", 15, "left the window because of a deterministic excursion"),
    ]),
    quantity("DTWINRT", 32, 8, "DTWIN Reads Typical, in 4 KiB"),
    quantity("DTWINWT", 40, 8, "DTWIN Writes Typical, in optimal write sizes"),
    quantity("DTWINTM", 48, 8, "DTWIN Time Maximum", milliseconds),
    quantity("NDWINTMH", 56, 8, "NDWIN Time Minimum High", milliseconds),
    quantity("NDWINTML", 64, 8, "NDWIN Time Minimum Low", milliseconds),
    quantity("DTWINRE", 128, 8, "DTWIN Reads Estimate, in 4 KiB"),
    quantity("DTWINWE", 136, 8, "DTWIN Writes Estimate, in optimal write sizes"),
    quantity("DTWINTE", 144, 8, "DTWIN Time Estimate", milliseconds),
  ],
};

/** Rotational Media Information (log page 16h, 512 bytes). */
export const ROTATIONAL_MEDIA_LOG: Layout = {
  name: "Rotational Media Information",
  source: "NVM Express Base 2.0 §5.16.1, log page 16h",
  rows: [
    quantity("ENDGID", 0, 2, "Endurance Group Identifier"),
    quantity("NUMA", 2, 2, "Number of Actuators"),
    quantity(
      "NRS",
      4,
      2,
      "Nominal Rotational Speed",
      (value) => value === 0n ? "not reported" : value === 1n ? "not rotational" : `${value} per minute`,
    ),
    quantity("SPINC", 8, 4, "Spinup Count"),
    quantity("FSPINC", 12, 4, "Failed Spinup Count"),
    quantity("LDC", 16, 4, "Load Count"),
    quantity("FLDC", 20, 4, "Failed Load Count"),
  ],
};
