/**
 * Coprocessor Control Blocks: built from what is wanted, and explained.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { bitField, decodeBytes, type DecodedRow, fieldOf, type Layout, uintRow, withField } from "../core/layout.ts";
import { CCB_BYTES, CCB_LAYOUTS, ccbKind, COMPLETION_LAYOUT } from "./ccb_tables.ts";
import {
  LENGTH_UNITS,
  OPCODE_INVERT,
  OPCODE_NAMES,
  OPCODES,
  OPERAND_UNUSED,
  OUTPUT_FORMATS,
  PRIMARY_FORMATS,
} from "./codes.ts";
import { type Ccb, type CcbData, isLongCcb, neededVersion, operandBytes, type ScanOperand } from "./ccb_command.ts";
import { brokenRules, type CcbSurroundings } from "./rules.ts";

/** Words of a CCB being built: fields are set by the names of the table. */
class Words {
  readonly #layout: Layout;
  readonly #values = new Map<string, bigint>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  set(row: string, field: string, value: number | bigint | boolean | undefined): void {
    if (value === undefined) return;
    const place = bitField(this.#layout, row, field);
    this.#values.set(row, withField(this.#values.get(row) ?? 0n, place, BigInt(value)));
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(8 * this.#layout.rows.length > CCB_BYTES ? 2 * CCB_BYTES : CCB_BYTES);
    const view = new DataView(bytes.buffer);
    for (const [row, value] of this.#values) view.setBigUint64(uintRow(this.#layout, row).offset, value);
    return bytes;
  }
}

const VIRTUAL = 3;

/**
 * Builds a CCB of 64 or 128 bytes.
 *
 * @param where what is known of the device and of the pages that the addresses lie in; rules that need more are left out
 * @throws {BusbarError} `usage`, naming the rule that the command breaks. To provoke the device's own errors, change the
 * bytes afterwards.
 */
export function buildCcb(ccb: Ccb, where: CcbSurroundings = {}): Uint8Array<ArrayBuffer> {
  const [broken] = brokenRules(ccb, where);
  if (broken !== undefined) {
    throw new BusbarError("usage", `${ccb.command}: ${broken.problem} (rule ${broken.rule})`, {
      operation: "build a CCB",
      hint: broken.hint,
    });
  }
  const opcode = opcodeOf(ccb);
  const isLong = isLongCcb(ccb);
  const words = new Words(CCB_LAYOUTS[ccbKind(opcode)][isLong ? "long" : "short"]);
  words.set("control", "version", neededVersion(ccb));
  words.set("control", "opcode", opcode);
  words.set("control", "long", isLong);
  for (const name of ["pipeline", "conditional", "serial"] as const) words.set("control", name, ccb[name]);
  if (ccb.pipelineTarget !== undefined) {
    words.set("access", "pipeline_target", ccb.pipelineTarget === "secondary");
  }
  if (!("primary" in ccb)) words.set("control", "sync", ccb.command === "sync");
  else setData(words, ccb);
  if (ccb.command === "translate") words.set("control", "test", ccb.test);
  if (ccb.command === "extract" || ccb.command === "select") words.set("control", "pad", ccb.output.padLeft);
  if (ccb.command === "scanValue" || ccb.command === "scanRange") {
    setOperand(words, "first", ccb.first);
    setOperand(words, "second", ccb.second);
  }
  return words.bytes();
}

function opcodeOf(ccb: Ccb): number {
  if (ccb.command === "sync") return OPCODES.noop;
  const inverted = "invert" in ccb && ccb.invert ? OPCODE_INVERT : 0;
  return OPCODES[ccb.command] | inverted;
}

function setData(words: Words, { primary, secondary, output, table }: CcbData): void {
  words.set("control", "primary_type", VIRTUAL);
  words.set("control", "primary_format", PRIMARY_FORMATS[primary.format]);
  words.set("control", "element_size", primary.elementSize - 1);
  words.set("control", "primary_start", primary.startBit);
  words.set("input0", "address", primary.address);
  words.set("access", "length_format", LENGTH_UNITS[primary.unit ?? "elements"]);
  words.set("access", "length", primary.length - 1);
  words.set("control", "output_type", VIRTUAL);
  words.set("control", "output_format", OUTPUT_FORMATS[output.format]);
  words.set("output", "address", output.address);
  if (output.limitBytes !== undefined) {
    words.set("access", "flow_control", 1);
    words.set("access", "output_size", output.limitBytes / 64 - 1);
  }
  if (secondary !== undefined) {
    words.set("control", "secondary_type", VIRTUAL);
    words.set("control", "secondary_encoding", secondary.exact);
    words.set("control", "secondary_start", secondary.startBit);
    words.set("control", "secondary_size", Math.log2(secondary.elementBits ?? 1));
    words.set("input1", "address", secondary.address);
  }
  if (table !== undefined) {
    words.set("control", "table_type", VIRTUAL);
    words.set("table", "address", table.address >> 4n);
    words.set("table", "version", table.version);
  }
}

function setOperand(words: Words, name: "first" | "second", operand: ScanOperand | undefined): void {
  words.set("control", `${name}_size`, operand === undefined ? OPERAND_UNUSED : operandBytes(operand) - 1);
  if (operand === undefined) return;
  const size = operandBytes(operand);
  // Left-aligned in pieces of 4 bytes: word 5, then words 8 to 10.
  const padded = operand.value << BigInt(8 * (16 - size));
  for (let piece = 0; 4 * piece < size; piece++) {
    const value = padded >> BigInt(32 * (3 - piece)) & 0xffff_ffffn;
    words.set(piece === 0 ? "op_data" : `op_data${piece}`, name, value);
  }
}

/** A CCB taken apart. */
export interface DecodedCcb {
  /** The command in words. */
  readonly command: string;
  /** The table that explains it. */
  readonly layout: Layout;
  /** Its words and fields. */
  readonly rows: readonly DecodedRow[];
}

/** Explains a CCB of 64 or 128 bytes. Never throws: words that are missing are unknown. */
export function decodeCcb(ccb: Uint8Array): DecodedCcb {
  const opcode = ccb[1] ?? 0;
  const isLong = ((ccb[0] ?? 0) & 0x04) !== 0;
  const layout = CCB_LAYOUTS[ccbKind(opcode)][isLong ? "long" : "short"];
  const sync = opcode === OPCODES.noop ? ((ccb[4] ?? 0) & 0x80 ? "sync" : "no-op") : null;
  const command = sync ?? OPCODE_NAMES[opcode] ??
    `opcode ${opcode.toString(16).padStart(2, "0")}, which is not defined`;
  return { command, layout, rows: decodeBytes(layout.rows, ccb) };
}

/** Explains a completion area, row by row. Never throws. */
export function decodeCompletion(area: Uint8Array): readonly DecodedRow[] {
  return decodeBytes(COMPLETION_LAYOUT.rows, area);
}

/** A field of a CCB, for programs. */
export function ccbField(ccb: Uint8Array, row: string, field: string): bigint | null {
  const decoded = decodeCcb(ccb);
  const value = decoded.rows.find((one) => one.row.name === row)?.value;
  return typeof value === "bigint" ? fieldOf(value, bitField(decoded.layout, row, field)) : null;
}
