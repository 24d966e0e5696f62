/**
 * PCI functions: their registers and configuration space, the tree they hang in, which can reach each other, and holding one to drive it.
 * @module
 */

// Opening.
export { openPciDevice, type OpenPciOptions } from "./open_device.ts";
export { type PciDevice } from "./device.ts";
export { type BarOptions } from "./resources.ts";
export { PCI_LOCATORS } from "./locators.ts";
export { openMachine } from "./open_machine.ts";
export {
  type OpenBarOptions,
  type OpenConfig,
  openConfig,
  openWritableBar,
  type WritableBar,
} from "./register_access.ts";

// A function and what it says of itself.
export { CLASS_NVME, className, type PciFunction, readPciFunction, readPciFunctions, summarize } from "./function.ts";
export { functionName, type PciNames, readPciNames } from "./ids.ts";
export {
  type Capability,
  type CapabilityList,
  decodeCapability,
  type DecodedCapability,
  listCapabilities,
} from "./capabilities.ts";
export { type Resource } from "./resources.ts";

// Single registers.
export { configValue, findConfigRegister, readRegister, writeConfig, writeRegister } from "./register_access.ts";
export { enableMemory } from "./enable.ts";
export { readBarBytes } from "./bar_bytes.ts";

// The tree.
export {
  findNode,
  isBridge,
  isPeer,
  nodesAbove,
  nodesBelow,
  readTopology,
  type RootComplex,
  type Topology,
  type TopologyNode,
} from "./topology.ts";
export { groupMembers } from "./vfio.ts";
export { formatLink, type Link, type LinkRate } from "./link.ts";

// Which functions can reach each other.
export {
  describeAnswers,
  findPath,
  judgePair,
  P2P_RULES,
  type P2pAnswer,
  type P2pFinding,
  type P2pPath,
  type PairVerdict,
} from "./p2p.ts";

// Holding a function.
export { type BindOptions, bindVfio, vfioObstacles } from "./bind.ts";
export { type ClaimOptions, claimPciDevice } from "./claim.ts";
export { type ClaimedPciDevice, type PciInterrupts } from "./claimed_device.ts";
export { lockFunction } from "./lock.ts";
export { IovaSpace } from "./iova.ts";

// Recorded machines.
export { formatDevice, formatMachine, readMachineFile } from "./machine_file.ts";
export { parseMachine, type RecordedMachine } from "./recorded_machine.ts";

// What a machine lacks.
export { examineMachine, type Finding } from "./doctor.ts";
