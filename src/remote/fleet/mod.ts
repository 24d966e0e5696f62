/**
 * One command on many machines, and what differs between them.
 * @module
 */

export {
  compareHosts,
  type Comparison,
  type Difference,
  type DifferingField,
  type Group,
  valueText,
} from "./compare.ts";
export { type Fields, fieldsOf, fitsSchema, type IsVolatile, THERE, volatileOf } from "./fields.ts";
export { isSavedFleet, loadFleet, type SavedFleet, saveFleet } from "./folder.ts";
export { expandHosts, hostsOfFile, MAX_HOSTS, shortHosts } from "./host_names.ts";
export { askFleet, type FleetOptions, type HostAnswer, type HostFailure } from "./run.ts";
