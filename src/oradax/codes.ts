/**
 * The codes of the Data Analytics Accelerator by name: opcodes, formats, statuses, errors. Sources: the coprocessor chapter
 * of the hypervisor API specification (dax-hv-api.txt), the mainline driver (drivers/sbus/char/oradax.c).
 * @module
 */

/** Opcodes, without the bit that inverts. */
export const OPCODES = {
  noop: 0x00,
  extract: 0x01,
  scanValue: 0x02,
  scanRange: 0x03,
  translate: 0x04,
  select: 0x05,
} as const;

/** This bit of an opcode inverts a scan or translation. */
export const OPCODE_INVERT = 0x10;

/** What every opcode does. */
export const OPCODE_NAMES: Readonly<Record<number, string>> = {
  0x00: "no-op or sync",
  0x01: "extract",
  0x02: "scan value",
  0x03: "scan range",
  0x04: "translate",
  0x05: "select",
  0x12: "inverted scan value",
  0x13: "inverted scan range",
  0x14: "inverted translate",
};

/** Primary input formats. Bit 0: bit-packed; 1: variable width; 2: run lengths; 3: compressed. */
export const PRIMARY_FORMATS = {
  bytes: 0x0,
  bits: 0x1,
  variable: 0x2,
  bytesRuns: 0x4,
  bitsRuns: 0x5,
  bytesCompressed: 0x8,
  bitsCompressed: 0x9,
  variableCompressed: 0xa,
  bytesRunsCompressed: 0xc,
  bitsRunsCompressed: 0xd,
} as const;

/** The name of a primary input format. */
export type PrimaryFormat = keyof typeof PRIMARY_FORMATS;

/** Primary input formats in words. */
export const PRIMARY_FORMAT_NAMES: Readonly<Record<number, string>> = {
  0x0: "fixed width, bytes",
  0x1: "fixed width, bits",
  0x2: "variable width, bytes",
  0x4: "fixed bytes with run lengths",
  0x5: "fixed bits with run lengths",
  0x8: "fixed bytes, compressed",
  0x9: "fixed bits, compressed",
  0xa: "variable bytes, compressed",
  0xc: "fixed bytes with run lengths, compressed",
  0xd: "fixed bits with run lengths, compressed",
};

/** Output formats. */
export const OUTPUT_FORMATS = {
  bytes1: 0x0,
  bytes2: 0x1,
  bytes4: 0x2,
  bytes8: 0x3,
  bytes16: 0x4,
  bits: 0x8,
  index2: 0xd,
  index4: 0xe,
} as const;

/** The name of an output format. */
export type OutputFormat = keyof typeof OUTPUT_FORMATS;

/** Output formats in words. */
export const OUTPUT_FORMAT_NAMES: Readonly<Record<number, string>> = {
  0x0: "elements of 1 byte",
  0x1: "elements of 2 bytes",
  0x2: "elements of 4 bytes",
  0x3: "elements of 8 bytes",
  0x4: "elements of 16 bytes",
  0x8: "bit vector",
  0xd: "2-byte indexes of the ones",
  0xe: "4-byte indexes of the ones",
};

/** What a primary length counts. */
export const LENGTH_UNITS = { elements: 0, bytes: 1, bits: 2 } as const;

/** The name of a unit of length. */
export type LengthUnit = keyof typeof LENGTH_UNITS;

/** Address types. */
export const ADDRESS_TYPES: Readonly<Record<number, string>> = {
  0: "none",
  1: "alternate-context virtual",
  2: "real",
  3: "primary-context virtual",
};

/** An operand that is not used has this in its size field. */
export const OPERAND_UNUSED = 0x1f;

/** Why the driver did not take a CCB, by `exec.status`. */
export const SUBMIT_STATUS: Readonly<Record<number, string>> = {
  0: "no room now: submit the rest again",
  1: "retry",
  2: "would block: submit the rest again unchanged",
  3: "busy",
  4: "submitted by a thread that did not open the device",
  5: "invalid argument",
  6: "invalid CCB",
  7: "no completion area: the index is out of range, or an area is still in flight",
  8: "the CCBs themselves cannot be read from memory",
  9: "an address is not mapped",
  10: "no access to an address: its page cannot be pinned for writing",
  11: "too many CCBs",
  12: "the coprocessor cannot do it now",
  13: "internal error of the driver or hypervisor",
};

/** Submit statuses after which the rest is to be submitted again. */
export const SUBMIT_RETRY: readonly number[] = [0, 2];

/** Scope of submit status 12, in its status data. */
export const UNAVAILABLE_SCOPE: Readonly<Record<number, string>> = {
  0: "this exact CCB: emulate it",
  1: "this opcode",
  2: "this CCB version",
  3: "this virtual CPU",
  4: "everything",
};

/** States that CCB_INFO tells. */
export const CCB_STATES = ["completed", "enqueued", "in progress", "not found"] as const;

/** State of a CCB. */
export type CcbState = typeof CCB_STATES[number];

/** What CCB_KILL did. */
export const KILL_ACTIONS = ["completed", "dequeued", "killed", "not found"] as const;

/** What a kill did. */
export type KillAction = typeof KILL_ACTIONS[number];

/** Completion status. */
export const COMPLETION_STATUS: Readonly<Record<number, string>> = {
  0: "not completed",
  1: "succeeded",
  2: "failed, partial results possible",
  3: "killed, partial results possible",
  4: "not run: its condition failed",
};

/** Completion error codes. */
export const COMPLETION_ERRORS: Readonly<Record<number, string>> = {
  0x00: "none",
  0x01: "output buffer overflow",
  0x02: "CCB decode error: a field has an invalid value",
  0x03: "page overflow: access past the page of an address",
  0x07: "killed",
  0x08: "execution timeout",
  0x09: "ADI miscompare",
  0x0a: "data format error: the input does not follow the format",
  0x0e: "unexpected hardware error, do not retry",
  0x0f: "unexpected hardware error, retry",
  0x80: "partial symbol: bits were left that make no element",
};
