/**
 * Coprocessor Control Blocks and completion areas as tables. Builders, decoders, JSON and fuzz tests are made from them.
 * @module
 */

import type { BitField, Layout, UintRow } from "../core/layout.ts";
import { addressBits, bytes, code, flag, mask, number, quantity, register } from "../core/rows.ts";
import { hex } from "../core/units.ts";
import {
  ADDRESS_TYPES,
  COMPLETION_ERRORS,
  COMPLETION_STATUS,
  OPCODE_NAMES,
  OPERAND_UNUSED,
  OUTPUT_FORMAT_NAMES,
  PRIMARY_FORMAT_NAMES,
} from "./codes.ts";

/** Size of a short CCB and of half a long one, in bytes. */
export const CCB_BYTES = 64;
/** Size of a completion area in bytes. */
export const COMPLETION_BYTES = 128;

const SOURCE = "hypervisor API specification, Coprocessor services (dax-hv-api.txt)";
const BIG: Partial<UintRow> = { byteOrder: "big" };

const HEADER: readonly BitField[] = [
  number("version", 63, 60, "CCB version"),
  flag("pipeline", 59, "Pipeline (DAX2)"),
  flag("long", 58, "Long CCB: 128 bytes"),
  flag("conditional", 57, "Runs only if the serial CCB before it succeeded"),
  flag("serial", 56, "Runs after the serial CCB before it"),
  code("opcode", 55, 48, "Command", OPCODE_NAMES),
  code("table_type", 44, 43, "Table address type", ADDRESS_TYPES),
  code("output_type", 42, 40, "Output address type", ADDRESS_TYPES),
  code("secondary_type", 39, 37, "Secondary input address type", ADDRESS_TYPES),
  code("primary_type", 36, 34, "Primary input address type", ADDRESS_TYPES),
  code("completion_type", 33, 32, "Completion address type", ADDRESS_TYPES),
];

const plusOne = (value: bigint): string => String(value + 1n);

const PRIMARY: readonly BitField[] = [
  code("primary_format", 31, 28, "Primary input format", PRIMARY_FORMAT_NAMES),
  number("element_size", 27, 23, "Primary element size, bytes or bits by format", plusOne),
  number("primary_start", 22, 20, "First bit of the primary input"),
];

const SECONDARY: readonly BitField[] = [
  code("secondary_encoding", 19, 19, "Secondary encoding", { 0: "stored value + 1", 1: "stored value" }),
  number("secondary_start", 18, 16, "First bit of the secondary input"),
  number("secondary_size", 15, 14, "Secondary element size", (value) => `${1n << value} bits`),
];

const OUTPUT: readonly BitField[] = [code("output_format", 13, 10, "Output format", OUTPUT_FORMAT_NAMES)];
const PAD: readonly BitField[] = [code("pad", 9, 9, "Padding", { 0: "right", 1: "left" })];

const operandSize = (value: bigint): string =>
  value === BigInt(OPERAND_UNUSED) ? "not used" : value > 0x0en ? "reserved" : `${value + 1n} bytes`;

const OPERANDS: readonly BitField[] = [
  number("first_size", 9, 5, "First operand: a value, or the upper bound", operandSize),
  number("second_size", 4, 0, "Second operand: a value, or the lower bound", operandSize),
];

const CONTROL: Readonly<Record<string, readonly BitField[]>> = {
  noop: [flag("sync", 31, "Sync: wait for all earlier CCBs of the submission")],
  extract: [...PRIMARY, ...SECONDARY, ...OUTPUT, ...PAD],
  select: [...PRIMARY, ...SECONDARY, ...OUTPUT, ...PAD],
  scan: [...PRIMARY, ...SECONDARY, ...OUTPUT, ...OPERANDS],
  translate: [...PRIMARY, ...SECONDARY, ...OUTPUT, mask("test", 8, 0, "Test value for the upper bits")],
};

const ACCESS: readonly BitField[] = [
  code("flow_control", 63, 62, "Output flow control", { 0: "off", 1: "on", 2: "on (older driver)" }),
  code("pipeline_target", 61, 60, "Pipeline target", { 0: "next CCB's primary input", 1: "its secondary input" }),
  number("output_size", 59, 40, "Output buffer size", (value) => `${(value + 1n) * 64n} bytes`),
  code("output_cache", 31, 30, "Output cache allocation", {
    0: "none",
    1: "force local",
    2: "keep where owned, else local",
  }),
  code("length_format", 25, 24, "Primary length counts", { 0: "elements", 1: "bytes", 2: "bits" }),
  number("length", 23, 0, "Primary length", plusOne),
];

const ADDRESS: readonly BitField[] = [
  number("adi", 63, 60, "ADI version"),
  addressBits("address", 59, 0, "Address"),
];

const TABLE: readonly BitField[] = [
  number("adi", 63, 60, "ADI version"),
  addressBits("address", 59, 4, "Address"),
  number("version", 3, 0, "Table version"),
];

const COMPLETION: readonly BitField[] = [
  number("adi", 63, 60, "ADI version"),
  flag("interrupt", 59, "Interrupt enable"),
  mask("address", 58, 6, "Completion area address bits"),
  number("interrupt_number", 5, 0, "Interrupt number"),
];

const OPERAND_TITLES = ["0 to 3", "4 to 7", "8 to 11", "12 to 15"] as const;

function operandRow(name: string, offset: number, piece: number): UintRow {
  return register(name, offset, 8, `Operand bytes ${OPERAND_TITLES[piece]}`, [
    mask("first", 63, 32, "First operand"),
    mask("second", 31, 0, "Second operand"),
  ], BIG);
}

function layout(control: string, isLong: boolean): Layout {
  const words: UintRow[] = [
    register("control", 0, 8, "Header and command", [...HEADER, ...(CONTROL[control] ?? [])], BIG),
    register("completion", 8, 8, "Completion; the driver replaces it", COMPLETION, BIG),
    register("input0", 16, 8, "Primary input", ADDRESS, BIG),
    register("access", 24, 8, "Data access control", ACCESS, BIG),
    register("input1", 32, 8, "Secondary input", ADDRESS, BIG),
    control === "scan" ? operandRow("op_data", 40, 0) : register("op_data", 40, 8, "Scan operands", undefined, BIG),
    register("output", 48, 8, "Output", ADDRESS, BIG),
    register("table", 56, 8, "Symbol table or bit table", TABLE, BIG),
  ];
  const more = [1, 2, 3].map((piece) => operandRow(`op_data${piece}`, 56 + 8 * piece, piece));
  return { name: `CCB: ${control}`, source: SOURCE, rows: isLong ? [...words, ...more] : words };
}

/** The tables of CCBs, by what their control word holds, short and long. */
export const CCB_LAYOUTS: Readonly<
  Record<"noop" | "extract" | "scan" | "translate" | "select", {
    /** 64 bytes. */
    readonly short: Layout;
    /** 128 bytes. */
    readonly long: Layout;
  }>
> = {
  noop: { short: layout("noop", false), long: layout("noop", true) },
  extract: { short: layout("extract", false), long: layout("extract", true) },
  scan: { short: layout("scan", false), long: layout("scan", true) },
  translate: { short: layout("translate", false), long: layout("translate", true) },
  select: { short: layout("select", false), long: layout("select", true) },
};

/** The table of an opcode; of one that is not defined, the one that shows the header only. */
export function ccbKind(opcode: number): keyof typeof CCB_LAYOUTS {
  switch (opcode & 0x0f) {
    case 1:
      return "extract";
    case 2:
    case 3:
      return "scan";
    case 4:
      return "translate";
    case 5:
      return "select";
    default:
      return "noop";
  }
}

/** The completion area. */
export const COMPLETION_LAYOUT: Layout = {
  name: "completion area",
  source: SOURCE,
  rows: [
    quantity("status", 0, 1, "Completion status", (value) => COMPLETION_STATUS[Number(value)] ?? "not defined"),
    register("error", 1, 1, "Error code", undefined, {
      meaning: (value) => COMPLETION_ERRORS[Number(value)] ?? "not defined",
    }),
    quantity("error_value", 4, 4, "Bits that make no element, with error 0x80", undefined, BIG),
    quantity("output_size", 8, 4, "Output size in bytes", undefined, BIG),
    quantity("run_time", 16, 8, "Run time in a unit of the device", undefined, BIG),
    quantity("elements", 32, 4, "Input elements processed", undefined, BIG),
    quantity("return_value", 56, 8, "Ones of the result", undefined, BIG),
    bytes("extended", 64, 64, "Extended return value (reserved)"),
  ],
};

/** An address in words, for messages. */
export function addressText(address: bigint): string {
  return hex(address, 12);
}
