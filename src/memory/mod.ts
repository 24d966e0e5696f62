/**
 * Direct-access memory: dax devices, files and BARs that are mapped, how they are measured, memory tiers, DAMON and the kernel's counters.
 * @module
 */

// Opening.
export { MemoryBackend, type MemoryRequest, openMemory, type OpenMemoryOptions, parseMemory } from "./backend.ts";
export { inspectResource, type MemoryResource, type ResourceFinding, type ResourceRequest } from "./resource.ts";

// Dax devices.
export {
  type DaxDevice,
  type DaxMode,
  type DaxRegion,
  type DaxUse,
  daxUses,
  listDaxDevices,
  listNamespaces,
  type PmemNamespace,
  readDaxDevice,
} from "./devdax.ts";
export { type DaxModeOptions, daxToDevdax, daxToSystemRam } from "./dax_mode.ts";

// Measuring.
export {
  type Benchmark,
  BENCHMARKS,
  benchMemory,
  type BenchOptions,
  type BenchResult,
  type LatencyPoint,
  type LoadedPoint,
  type Rate,
  type UpdatesResult,
} from "./membench.ts";

export {
  type MatrixCell,
  type MatrixNodes,
  matrixNodes,
  type MatrixOptions,
  measureMatrix,
  type MemoryNode,
  type NodeMemory,
  type OpenNodeMemory,
  type ProcessorNode,
  type Spread,
} from "./matrix.ts";

// Whether a program maps it.
export { examineProcess, type LogVerdict, type MappingVerdict, type ProcessVerdict, readLog } from "./evidence.ts";
export { type BackendSettings, readSettingsFile, resolveSettings } from "./settings.ts";

// Memory blocks.
export { blocksOfNode, type MemoryBlock } from "./blocks.ts";
export { offlineDax, onlineDax } from "./dax_mode.ts";

// Tiers and counters.
export {
  applyProfile,
  type MemoryTier,
  type NumaNode,
  readNodes,
  readTiers,
  readTierState,
  TIER_SETTINGS,
  type TierProfile,
  type TierState,
} from "./tiers.ts";
export {
  applyWeights,
  type InterleaveState,
  type NodeBandwidth,
  nodeBandwidths,
  type NodeWeight,
  readInterleave,
  weightsOf,
} from "./interleave_weights.ts";
export { countedBetween, type CounterValues, readCounters } from "./counters.ts";

// DAMON.
export { type DamonStatus, readDamon, startDamon } from "./damon.ts";
export { type DamonRequest, planDamon } from "./damon_plan.ts";
export { toDamo } from "./damo_file.ts";
export { fromDamo } from "./damo_reader.ts";
