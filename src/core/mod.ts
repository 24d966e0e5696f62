/**
 * What all domains share: names of devices, errors, machines, tables of registers and structures, limits of time, the undo journal.
 *
 * What opens a device is in its domain.
 * @module
 */

// Names of devices.
export {
  type CudaLocator,
  type FileLocator,
  type Locator,
  type MachineLocator,
  nearest,
  type NodeLocator,
  type OptionSpec,
  type OptionTable,
  parseLocator,
  type PciLocator,
  readOptions,
  type SoftLocator,
  type Type2Locator,
} from "./locator.ts";
export { type HostPart } from "./host_part.ts";

// Errors.
export { BusbarError, type ErrorCode, type ErrorDetails, EXIT_STATUS, isBusbarError } from "./error.ts";

// Machines and their text interfaces.
export { type Machine, type NvmeAdmin, registerMachines, type RegisterRange, TextMachine } from "./machine.ts";
export { exists, type Host, ifPresent, ifReadable, thisMachine } from "./host.ts";
export { type HostAnswer, type HostRequest } from "./host_requests.ts";
export { BatchedReads } from "./batched_reads.ts";
export { type Files } from "./files.ts";

// Registers and memory that a device reaches.
export { type AccessBytes, type Mmio, type PollOptions, pollRegister, type WritableMmio } from "./mmio.ts";
export { type DmaBuffer, type DmaMapping } from "./dma.ts";

// Tables of registers and structures.
export {
  type ArrayRow,
  type BitField,
  bitField,
  type BytesRow,
  type DecodedField,
  type DecodedRow,
  decodeRows,
  fieldOf,
  type Layout,
  type ListRow,
  type Row,
  type TextRow,
  type UintRow,
  uintRow,
  withField,
} from "./layout.ts";
export { DecodedElement, DecodedTable, decodeTable } from "./decoded.ts";
export { type Json, type JsonObject, rowsSchema, rowsToJson } from "./layout_json.ts";
export { explainRegister, findRegister, type NamedRegister } from "./named_register.ts";

// What is known, and what is not.
export { type Fact, Unknown, valueOf } from "./fact.ts";

// Limits of time.
export { Deadline, pause, waitFor, type WaitOptions, yieldToEventLoop } from "./deadline.ts";

// What is changed is put back.
export { type JournalOptions, UndoJournal } from "./undo/journal.ts";
export { type Change, type UndoProbe, type UndoWrite } from "./undo/change.ts";
export { type Restored } from "./undo/roll_back.ts";
export { findJournals, type FoundJournal } from "./undo/found_journals.ts";

// Numbers as people write them.
export {
  formatBytes,
  formatDecimalBytes,
  formatDurationMs,
  hex,
  parseBytes,
  parseDurationMs,
  parseUnsigned,
} from "./units.ts";
export { formatPciAddress, parsePciAddress, type PciAddress } from "./pci_address.ts";

// Latencies.
export { Histogram } from "./histogram.ts";
