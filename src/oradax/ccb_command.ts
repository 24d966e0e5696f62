/**
 * Commands for the coprocessor, as a program writes them down.
 * @module
 */

import { type LengthUnit, type OutputFormat, PRIMARY_FORMATS, type PrimaryFormat } from "./codes.ts";

/** The primary input of a command. */
export interface CcbInput {
  /** Virtual address of its first byte. */
  readonly address: bigint;
  /** How elements lie in it. */
  readonly format: PrimaryFormat;
  /** Bytes of an element, or bits of a bit-packed one; 1 for variable width, where it means nothing. */
  readonly elementSize: number;
  /** First bit of the first byte, 0 the most significant; 0 for byte formats. */
  readonly startBit?: number;
  /** How long it is, in `unit`. */
  readonly length: number;
  /** What the length counts; elements by default. */
  readonly unit?: LengthUnit;
}

/** Run lengths, widths, or the selection vector: packed, most significant bit first. */
export interface CcbSecondary {
  /** Virtual address of its first byte. */
  readonly address: bigint;
  /** First bit of the first byte. */
  readonly startBit?: number;
  /** Width of one element; 1 for a selection vector. */
  readonly elementBits?: 1 | 2 | 4 | 8;
  /** True where the stored value itself is meant, not the value plus 1. */
  readonly exact?: boolean;
}

/** Where results go. */
export interface CcbOutput {
  /** Virtual address, a multiple of 64. */
  readonly address: bigint;
  /** What they look like. */
  readonly format: OutputFormat;
  /** Zero bytes go in front of short elements, not behind. */
  readonly padLeft?: boolean;
  /** Turns flow control on: no more than these bytes, a multiple of 64. */
  readonly limitBytes?: number;
}

/** A symbol table or bit table. */
export interface CcbTable {
  /** Virtual address. */
  readonly address: bigint;
  /** 0 a bit table of 4 KiB; 1 one of 8 KiB, or an OZIP symbol table. */
  readonly version: 0 | 1;
}

/** One operand of a scan. */
export interface ScanOperand {
  /** Its value. */
  readonly value: bigint;
  /** Its width in bytes, 1 to 15; as many as the value needs by default. */
  readonly sizeBytes?: number;
}

/** When a CCB runs. */
export interface CcbOrder {
  /** After the serial CCB before it in the same submission. */
  readonly serial?: boolean;
  /** Only if the serial CCB before it succeeded. */
  readonly conditional?: boolean;
  /** Its output feeds the next CCB; a hint (DAX2). */
  readonly pipeline?: boolean;
  /** With `pipeline`: which input of the next CCB. */
  readonly pipelineTarget?: "primary" | "secondary";
  /** CCB version; 1 where the input is compressed or an element needs it, else 0. */
  readonly version?: 0 | 1;
}

/** What all commands with data have. */
export interface CcbData extends CcbOrder {
  /** The input. */
  readonly primary: CcbInput;
  /** Run lengths, widths or the selection vector, where there are any. */
  readonly secondary?: CcbSecondary;
  /** Where the result goes. */
  readonly output: CcbOutput;
  /** The table, where there is one. */
  readonly table?: CcbTable;
}

/** A command of the coprocessor. */
export type Ccb =
  | CcbOrder & { readonly command: "noop" | "sync" }
  | CcbData & { readonly command: "extract" | "select" }
  | CcbData & {
    readonly command: "scanValue" | "scanRange";
    /** Results are flipped. */
    readonly invert?: boolean;
    /** One of two values, or the upper bound. */
    readonly first?: ScanOperand;
    /** The other value, or the lower bound. */
    readonly second?: ScanOperand;
  }
  | CcbData & {
    readonly command: "translate";
    /** Bits of the table are flipped. */
    readonly invert?: boolean;
    /** What the bits above the index must be, 0 to 511. */
    readonly test?: number;
  };

/** Bytes that an operand takes: as told, or as few as its value needs. */
export function operandBytes(operand: ScanOperand): number {
  return operand.sizeBytes ?? Math.max(1, Math.ceil(operand.value.toString(2).length / 8));
}

/** True for a scan whose operands do not fit the 64 bytes of a short CCB. */
export function isLongCcb(ccb: Ccb): boolean {
  if (ccb.command !== "scanValue" && ccb.command !== "scanRange") return false;
  return [ccb.first, ccb.second].some((operand) => operand !== undefined && operandBytes(operand) > 4);
}

/** The CCB version that a command needs at least. */
export function neededVersion(ccb: Ccb): 0 | 1 {
  if (!("primary" in ccb)) return ccb.version ?? 0;
  const format = PRIMARY_FORMATS[ccb.primary.format];
  const isWide = (format & 1) !== 0 && ccb.primary.elementSize > 15;
  return ccb.version ?? ((format & 8) !== 0 || isWide ? 1 : 0);
}
