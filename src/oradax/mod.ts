/**
 * The Oracle Data Analytics Accelerator, and the software one: scanning, extracting, selecting and translating packed data, and its control blocks.
 * @module
 */

// Opening.
export { openOradaxSession, OradaxSession, type SessionOptions } from "./session.ts";
export { openDefaultOradax, openOradax, type OpenOradaxOptions, ORADAX_NODES, SOFT_ORADAX_OPTIONS } from "./open.ts";
export { type OradaxTransport } from "./transport.ts";

// Data that goes in, and what comes out.
export { type ElementSource, type NumberArray, numbers, packed, type PackedOptions } from "./vector.ts";
export {
  type ElementOptions,
  type ElementVector,
  type ResultOptions,
  type ResultVector,
  type RunOptions,
  type Vector,
} from "./session.ts";
export { ElementFile, ResultFile } from "./element_file.ts";

// Control blocks.
export { buildCcb, ccbField, decodeCcb, decodeCompletion, type DecodedCcb } from "./ccb.ts";
export {
  type Ccb,
  type CcbData,
  type CcbInput,
  type CcbOrder,
  type CcbOutput,
  type ScanOperand,
} from "./ccb_command.ts";
export { CCB_BYTES, CCB_LAYOUTS } from "./ccb_tables.ts";
export { type BrokenRule, brokenRules, CCB_RULES } from "./rules.ts";
export {
  completionError,
  type OradaxCompletion,
  type OradaxSubmission,
  readCompletion,
  submitError,
} from "./transport.ts";
export { type CcbState, type KillAction } from "./codes.ts";

// Measuring.
export { type MeasuredCommand, type Measurement, type MeasureOptions, OradaxMeasure } from "./measure.ts";
