/**
 * The CXL.mem simulator: what a program, a trace or a generator would see behind CXL switches and expanders.
 * @module
 */

// Settings.
export { completeConfig } from "./complete_config.ts";
export { BANDWIDTH_MODELS, DEFAULTS, type PartialConfig, type SimConfig } from "./config.ts";
export { type Preset, PRESETS, presetSettings } from "./presets.ts";

// Traces.
export { openTrace, type OpenTraceOptions } from "./host/trace_file.ts";
export { AccessBatch } from "./trace/batch.ts";
export { SYNTHETIC_NAMES, SyntheticSource } from "./trace/synthetic.ts";

// A run and its report.
export { Simulator } from "./simulator.ts";
export { reportOf } from "./report.ts";
export type { RunReport } from "./report_document.ts";
