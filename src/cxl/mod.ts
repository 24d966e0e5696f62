/**
 * CXL memory: the hierarchy of windows, ports, decoders and devices, and regions that are planned, created and destroyed.
 * @module
 */

// The hierarchy.
export {
  type CxlDecoder,
  type CxlMemdev,
  type CxlMemoryType,
  type CxlPort,
  type CxlRegion,
  type CxlTopology,
  type CxlWindow,
  readCxl,
} from "./topology.ts";
export { type CxlOverview, findRegion, readCxlOverview } from "./overview.ts";
export { findMemdev, largestExtent } from "./plan.ts";

// Regions.
export { planRegion, type RegionPlan, type RegionRequest } from "./plan.ts";
export {
  type CreateOptions,
  createRegion,
  type DestroyOptions,
  destroyRegion,
  type RegionStep,
  regionSteps,
} from "./region.ts";
export { checkInvalidationGate, type InvalidationGate } from "./gate.ts";

// The same with cxl and daxctl.
export { createEquivalents, daxEquivalents, destroyEquivalents } from "./equivalents.ts";
