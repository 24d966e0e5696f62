/**
 * What a command must keep to, checked before it is submitted. Each rule has a name, so that an error can say which.
 * @module
 */

import { hex } from "../core/units.ts";
import { LENGTH_UNITS, OUTPUT_FORMATS, PRIMARY_FORMATS } from "./codes.ts";
import { type Ccb, type CcbData, neededVersion, operandBytes } from "./ccb_command.ts";

/** What is known about the device and memory that a CCB is for. */
export interface CcbSurroundings {
  /** 1 for DAX1 (M7), 2 for DAX2 (M8). */
  readonly dax?: 1 | 2;
  /** Size of the page that an address lies in, in bytes; null where the address is no memory of the device. */
  readonly pageBytesAt?: (address: bigint) => number | null;
}

/** A rule that a command breaks. */
export interface BrokenRule {
  /** Its name. */
  readonly rule: RuleName;
  /** What is wrong, in words. */
  readonly problem: string;
  /** What the rule says. */
  readonly hint: string;
}

/** The rules by name: what each says. */
export const CCB_RULES = {
  "version": "DAX1 takes CCB version 0 only; compressed data needs version 1 (Huffman is not public)",
  "element-size": "1 to 16 bytes, or 1 to 15 bits, with CCB version 1 to 23 bits; translate at most 3 bytes",
  "start-bit": "0 to 7; 0 for formats of whole bytes",
  "length": "1 to 16777216 elements, bytes or bits; translate counts bytes or bits",
  "format": "translate takes bytes, bits and their run-length forms; select takes bytes and bits, compressed or not",
  "secondary": "run-length and variable-width formats and select need a secondary input, others have none",
  "selection-vector": "the secondary input of select has 1-bit elements that mean themselves",
  "output-format": "extract and select make elements; scan and translate make a bit vector or indexes",
  "output-alignment": "the output begins at a multiple of 64",
  "output-limit": "a multiple of 64, from 64 bytes to 64 MiB",
  "table": "translate and compressed formats need a table, others have none; OZIP tables have version 1",
  "table-alignment": "a table begins at a multiple of 64, with CCB version 1 of 16",
  "operands": "a scan has at least one operand of 1 to 15 bytes, and its value fits them",
  "test-value": "0 to 511",
  "memory": "every address lies in memory of the device",
  "one-page": "every stream lies in one page",
  "pipeline": "DAX2 only",
} as const;

/** The name of a rule. */
export type RuleName = keyof typeof CCB_RULES;

const FORMAT_BITS = 1;
const FORMAT_VARIABLE = 2;
const FORMAT_RUNS = 4;
const FORMAT_COMPRESSED = 8;
const MOST_LENGTH = 1 << 24;
const MOST_OPERAND_BYTES = 15;

/** The rules that a command breaks, in the order of the table; none when it may be submitted. */
export function brokenRules(ccb: Ccb, where: CcbSurroundings = {}): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const rule = (name: RuleName, holds: boolean, problem: string): void => {
    if (!holds) broken.push({ rule: name, problem, hint: CCB_RULES[name] });
  };
  const version = neededVersion(ccb);
  rule("version", version <= (where.dax ?? 2) - 1, `CCB version ${version} on a DAX${where.dax}`);
  rule("pipeline", !ccb.pipeline || where.dax !== 1, "the pipeline flag on a DAX1");
  if (!("primary" in ccb)) return broken;
  checkInput(ccb, version, rule);
  checkOutput(ccb, version, rule);
  checkCommand(ccb, rule);
  if (broken.length === 0 && where.pageBytesAt !== undefined) {
    checkPages(ccb, (address) => where.pageBytesAt?.(address) ?? null, rule);
  }
  return broken;
}

type Check = (name: RuleName, holds: boolean, problem: string) => void;
type DataCcb = Extract<Ccb, CcbData>;

function within(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

function checkInput(ccb: DataCcb, version: 0 | 1, rule: Check): void {
  const { primary, secondary, command } = ccb;
  const format = PRIMARY_FORMATS[primary.format];
  const isPacked = (format & FORMAT_BITS) !== 0;
  const isCompressed = (format & FORMAT_COMPRESSED) !== 0;
  rule("version", !isCompressed || version === 1, "compressed data in a CCB of version 0");
  const most = command === "translate" && !isPacked ? 3 : isPacked ? (version === 0 ? 15 : 23) : 16;
  const size = primary.elementSize;
  rule(
    "element-size",
    (format & FORMAT_VARIABLE) !== 0 || within(size, 1, most),
    `${size} ${isPacked ? "bits" : "bytes"}`,
  );
  const start = primary.startBit ?? 0;
  rule("start-bit", within(start, 0, isPacked ? 7 : 0), `first bit ${start}`);
  rule("length", within(primary.length, 1, MOST_LENGTH), `a length of ${primary.length}`);
  const counts = LENGTH_UNITS[primary.unit ?? "elements"];
  rule("length", command !== "translate" || counts !== LENGTH_UNITS.elements, "translate counts elements");
  const allowed = command === "translate"
    ? [0, 1, 4, 5]
    : command === "select"
    ? [0, 1, 8, 9]
    : Object.values(PRIMARY_FORMATS);
  rule("format", allowed.some((one) => one === format), `${command} of ${primary.format}`);
  const needsSecondary = command === "select" || (format & (FORMAT_RUNS | FORMAT_VARIABLE)) !== 0;
  rule("secondary", needsSecondary === (secondary !== undefined), needsSecondary ? "there is none" : "there is one");
  rule("start-bit", within(secondary?.startBit ?? 0, 0, 7), `first bit ${secondary?.startBit} of the secondary input`);
  const isPlain = (secondary?.elementBits ?? 1) === 1 && !secondary?.exact;
  rule("selection-vector", command !== "select" || isPlain, "it has a width or encoding");
}

function checkOutput(ccb: DataCcb, version: 0 | 1, rule: Check): void {
  const { output, table, primary, command } = ccb;
  const makesElements = command === "extract" || command === "select";
  rule(
    "output-format",
    makesElements === OUTPUT_FORMATS[output.format] <= OUTPUT_FORMATS.bytes16,
    `${command} to ${output.format}`,
  );
  rule("output-alignment", output.address % 64n === 0n, `output at ${hex(output.address)}`);
  const limit = output.limitBytes ?? 64;
  rule("output-limit", limit % 64 === 0 && within(limit, 64, 64 << 20), `a limit of ${limit} bytes`);
  const isCompressed = (PRIMARY_FORMATS[primary.format] & FORMAT_COMPRESSED) !== 0;
  const needsTable = command === "translate" || isCompressed;
  rule("table", needsTable === (table !== undefined), needsTable ? "there is none" : "there is one");
  if (table === undefined) return;
  rule("table", !isCompressed || table.version === 1, "a symbol table of version 0");
  rule("table-alignment", table.address % (version === 0 ? 64n : 16n) === 0n, `table at ${hex(table.address)}`);
}

function checkCommand(ccb: DataCcb, rule: Check): void {
  if (ccb.command === "translate") rule("test-value", within(ccb.test ?? 0, 0, 511), `test value ${ccb.test}`);
  if (ccb.command !== "scanValue" && ccb.command !== "scanRange") return;
  rule("operands", ccb.first !== undefined || ccb.second !== undefined, "there is none");
  for (const operand of [ccb.first, ccb.second]) {
    if (operand === undefined) continue;
    const size = operandBytes(operand);
    const fits = operand.value >= 0n && operand.value >> BigInt(8 * size) === 0n;
    rule("operands", within(size, 1, MOST_OPERAND_BYTES) && fits, `${hex(operand.value)} in ${size} bytes`);
  }
}

/** The least that each stream takes, as far as it is known before it runs. */
function checkPages(ccb: DataCcb, pageBytesAt: (address: bigint) => number | null, rule: Check): void {
  const check = (what: string, address: bigint, sizeBytes: number): void => {
    const page = pageBytesAt(address);
    rule("memory", page !== null, `${what} at ${hex(address)}`);
    if (page === null) return;
    const left = page - Number(address % BigInt(page));
    rule("one-page", sizeBytes <= left, `${what} needs ${sizeBytes} bytes, and ${left} are left in its page`);
  };
  const { primary, secondary, output, table } = ccb;
  const format = PRIMARY_FORMATS[primary.format];
  const isPlain = (format & (FORMAT_VARIABLE | FORMAT_COMPRESSED)) === 0;
  const elementBits = primary.elementSize * ((format & FORMAT_BITS) !== 0 ? 1 : 8);
  const start = primary.startBit ?? 0;
  const inputBits = {
    elements: isPlain ? start + primary.length * elementBits : 1,
    bytes: 8 * primary.length,
    bits: start + primary.length,
  }[
    primary.unit ?? "elements"
  ];
  check("the primary input", primary.address, Math.ceil(inputBits / 8));
  const available = primary.unit === undefined || primary.unit === "elements" ? Infinity : inputBits - start;
  const elements = isPlain
    ? Math.min(
      primary.unit === undefined || primary.unit === "elements" ? primary.length : Infinity,
      Math.floor(available / elementBits),
    )
    : 0;
  if (secondary !== undefined) {
    const bits = (secondary.startBit ?? 0) + elements * (secondary.elementBits ?? 1);
    check("the secondary input", secondary.address, Math.max(1, Math.ceil(bits / 8)));
  }
  const perElement =
    { bytes1: 8, bytes2: 16, bytes4: 32, bytes8: 64, bytes16: 128, bits: 1, index2: 0, index4: 0 }[output.format];
  const outputBytes = ccb.command === "select" || output.limitBytes !== undefined
    ? 1
    : Math.ceil(elements * perElement / 8);
  check("the output", output.address, Math.max(1, outputBytes));
  if (table !== undefined) {
    check("the table", table.address, ccb.command === "translate" ? 4096 << table.version : 3);
  }
}
