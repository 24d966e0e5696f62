/**
 * NVMe controllers: opening one, its namespaces, pages and logs, commands of one's own, and jobs that read, write, verify and measure.
 * @module
 */

// Opening.
export { NvmeController, openNvme } from "./driver/controller.ts";
export { NVME_LOCATORS, type OpenNvmeOptions, openNvmeTransport } from "./driver/open.ts";
export { NvmeNamespace } from "./driver/namespace.ts";

// What a controller says of itself.
export { type AsyncEvent, type FeatureValue, type IdentifyRequest, type LogRequest } from "./driver/controller.ts";
export { type ControllerIdentity, type NamespaceGeometry } from "./tables/identity.ts";
export {
  type ControllerSummary,
  type LbaFormat,
  type NamespaceSummary,
  summarizeController,
  summarizeNamespace,
} from "./tables/summary.ts";
export { type Zone } from "./driver/namespace.ts";
export { type FetchedPage, fetchPage, fetchReport, type NvmeReport } from "./jobs/fetch.ts";
export { decodePage, NVME_PAGES, type NvmePage, pageNamed } from "./tables/pages.ts";
export { decodeFeature, FEATURES } from "./tables/features.ts";

// Registers.
export { type WatchEvent, watchRegisters } from "./driver/watch.ts";
export { NVME_REGISTERS } from "./tables/registers.ts";
export {
  compareDumps,
  decodeRegisters,
  readRegisters,
  type RegisterChange,
  type RegisterDump,
} from "./tables/register_dump.ts";

// Commands.
export { type ExecuteOptions, type NvmeCommand, type NvmeCompletion, type NvmeTransport } from "./queue/command.ts";
export { type DriverOptions, NvmeDriver } from "./driver/driver.ts";
export { DmaPool } from "./queue/dma_pool.ts";
export { ADMIN_OPCODES, IO_OPCODES } from "./tables/opcodes.ts";
export { NvmeStatus, nvmeStatusOf, STATUS_CODES, type StatusCode, statusError } from "./tables/status.ts";

// Queues in memory that another owner can drive.
export { type PreparedCommand, QueuedCommand, QueuePair, type QueuePairOptions } from "./queue/queue_pair.ts";
export { makeRings, type QueueRings } from "./queue/rings.ts";
export { type PrpPointers, writePrps } from "./queue/prp.ts";
export { type LendOptions, LentQueue } from "./driver/lent_queue.ts";

// Jobs.
export { type IoJobOptions, type IoJobResult, runIoJob } from "./jobs/io_job.ts";
export { BlockPattern, type Mismatch } from "./jobs/pattern.ts";
export { planTransfers, type TransferPlan } from "./jobs/transfer_plan.ts";
export { type TransferOptions } from "./driver/namespace.ts";
export { checkErase } from "./jobs/write_guard.ts";
export { type BlockMemory, blockMemory } from "./tables/identity.ts";
export { findSignatures, type Signature } from "./jobs/signature.ts";
