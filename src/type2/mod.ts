/**
 * CXL Type 2 GPUs: the client of the command protocol, software devices for guests, and the coherency engine.
 * @module
 */

// Opening.
export { openType2, serveSharedFile, serveVfioUser, SOFT_TYPE2_OPTIONS } from "./open.ts";
export { type SharedFile, type SoftType2 } from "../../ffi/soft_type2.ts";
export { findCandidates, type ListedType2, listType2, type Type2Candidate } from "./list.ts";

// The client.
export {
  type CommandOptions,
  type Type2Function,
  Type2Gpu,
  type Type2Info,
  type Type2Limits,
  type Type2Module,
} from "./client.ts";
export { type LaunchShape } from "./arguments.ts";
export { Type2Error } from "./type2_error.ts";
export { type Completion, type Submission, type Type2Transport } from "./transport.ts";
export { type Generation, hasFeature } from "./generation.ts";
export { findQuirks, type Quirk, QUIRKS } from "./quirks.ts";

export { type CopySpeed, measureType2, type Type2Speed } from "./measure.ts";

// The protocol's tables.
export { type CommandRow, COMMANDS, type DataUse, type Feature, type ResultRow, RESULTS } from "./commands.ts";
export { type Profile, PROFILES, TYPE2_REGISTERS } from "./registers.ts";

// The coherency engine.
export {
  type CoherencyCounters,
  CoherencyEngine,
  type Domain,
  type LineEntry,
  parseTrace,
  type Request,
  type Response,
  type TraceLine,
} from "./coherency.ts";
