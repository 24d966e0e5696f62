/**
 * busbar: reach real hardware from TypeScript. Map it, drive it, simulate it.
 *
 * ```ts
 * import { openPciDevice } from "./mod.ts";
 *
 * using device = openPciDevice("soft:nvme");
 * const bar0 = device.bar(0);
 * console.log(bar0.read32(0x08).toString(16)); // VS, the version of the specification
 * ```
 *
 * @module
 */

export * from "./src/core/batched_reads.ts";
export * from "./src/core/block_users.ts";
export * from "./src/core/deadline.ts";
export * from "./src/core/decoded.ts";
export * from "./src/core/dma.ts";
export * from "./src/core/error.ts";
export * from "./src/core/fact.ts";
export * from "./src/core/files.ts";
export * from "./src/core/histogram.ts";
export * from "./src/core/host.ts";
export * from "./src/core/host_part.ts";
export type {
  BytesRequest,
  HostAnswer,
  HostRequest,
  HostTree,
  PathRequest,
  TreeRequest,
} from "./src/core/host_requests.ts";
export * from "./src/core/layout.ts";
export * from "./src/core/layout_json.ts";
export * from "./src/core/layout_text.ts";
export * from "./src/core/locator.ts";
export * from "./src/core/machine.ts";
export * from "./src/core/memory_loops.ts";
export * from "./src/core/mmio.ts";
export * from "./src/core/named_register.ts";
export * from "./src/core/oradax_driver.ts";
export * from "./src/core/pci_address.ts";
export * from "./src/core/process_uses.ts";
export * from "./src/core/recorded_host.ts";
export { processStartTime } from "./src/core/process.ts";
export type { Change, UndoProbe, UndoWrite } from "./src/core/undo/change.ts";
export { findJournals, type FoundJournal, keptName } from "./src/core/undo/found_journals.ts";
export * from "./src/core/undo/journal.ts";
export { journalFolder } from "./src/core/undo/journal_file.ts";
export type { Restored } from "./src/core/undo/roll_back.ts";
export * from "./src/core/units.ts";

export { CudaLibrary } from "./ffi/cuda.ts";
export * from "./ffi/cuda_driver.ts";
export { findLibrary, type LibrarySpec, type Surroundings } from "./ffi/build.ts";
export * from "./ffi/fd.ts";
export * from "./ffi/files.ts";
export * from "./ffi/machine.ts";
export * from "./ffi/memory.ts";
export * from "./ffi/mmio.ts";
export { NvmeQueue, type NvmeQueuePlace } from "./ffi/nvme_queue.ts";
export { OradaxHandle } from "./ffi/oradax.ts";
export * from "./ffi/oradax_driver.ts";
export { SoftDevice } from "./ffi/soft.ts";
export { SoftOradax, SoftOradaxMemory } from "./ffi/soft_oradax.ts";
export type { AddressRange } from "./ffi/vfio.ts";

export * from "./src/pci/acs.ts";
export * from "./src/pci/bar_bytes.ts";
export * from "./src/pci/bind.ts";
export * from "./src/pci/capabilities.ts";
export * from "./src/pci/config_space.ts";
export * from "./src/pci/device.ts";
export * from "./src/pci/open_device.ts";
export * from "./src/pci/sysfs_device.ts";
export * from "./src/pci/doctor.ts";
export * from "./src/pci/enable.ts";
export * from "./src/pci/function.ts";
export * from "./src/pci/claimed_device.ts";
export * from "./src/pci/claim.ts";
export * from "./src/pci/ids.ts";
export * from "./src/pci/iova.ts";
export * from "./src/pci/link.ts";
export * from "./src/pci/locators.ts";
export * from "./src/pci/lock.ts";
export * from "./src/pci/machine_file.ts";
export * from "./src/pci/p2p.ts";
export * from "./src/pci/recorded_device.ts";
export * from "./src/pci/register_access.ts";
export * from "./src/pci/resources.ts";
export * from "./src/pci/root_complexes.ts";
export * from "./src/pci/soft_device.ts";
export * from "./src/pci/accessibility.ts";
export * from "./src/pci/topology.ts";
export * from "./src/pci/vfio.ts";

export * from "./src/cxl/equivalents.ts";
export * from "./src/cxl/gate.ts";
export * from "./src/cxl/plan.ts";
export * from "./src/cxl/region.ts";
export * from "./src/cxl/overview.ts";
export * from "./src/cxl/topology.ts";

export * from "./src/memory/blocks.ts";
export * from "./src/memory/cgroup.ts";
export * from "./src/memory/child_process.ts";
export * from "./src/memory/counters.ts";
export * from "./src/memory/damo_file.ts";
export * from "./src/memory/damo_reader.ts";
export * from "./src/memory/damon.ts";
export * from "./src/memory/damon_plan.ts";
export * from "./src/memory/dax_mode.ts";
export * from "./src/memory/devdax.ts";
export * from "./src/memory/tiers.ts";
export * from "./src/memory/backend.ts";
export * from "./src/memory/bench_environment.ts";
export * from "./src/memory/bench_guard.ts";
export * from "./src/memory/devdax.ts";
export * from "./src/memory/evidence.ts";
export * from "./src/memory/membench.ts";
export * from "./src/memory/mounts.ts";
export * from "./src/memory/random_stream.ts";
export * from "./src/memory/resource.ts";
export * from "./src/memory/settings.ts";

export * from "./src/nvme/queue/command.ts";
export * from "./src/nvme/driver/controller.ts";
export * from "./src/nvme/driver/driver.ts";
export * from "./src/nvme/tables/summary.ts";
export * from "./src/nvme/tables/features.ts";
export * from "./src/nvme/jobs/fetch.ts";
export * from "./src/nvme/tables/identity.ts";
export * from "./src/nvme/jobs/io_job.ts";
export * from "./src/nvme/driver/kernel.ts";
export * from "./src/nvme/driver/lent_queue.ts";
export * from "./src/nvme/driver/namespace.ts";
export * from "./src/nvme/driver/open.ts";
export * from "./src/nvme/jobs/page_file.ts";
export type { NvmeQueueKind } from "./src/nvme/tables/opcodes.ts";
export * from "./src/nvme/tables/pages.ts";
export * from "./src/nvme/jobs/pattern.ts";
export * from "./src/nvme/queue/prp.ts";
export * from "./src/nvme/queue/queue_pair.ts";
export * from "./src/nvme/queue/rings.ts";
export * from "./src/nvme/tables/register_dump.ts";
export * from "./src/nvme/tables/registers.ts";
export * from "./src/nvme/queue/sgl.ts";
export * from "./src/nvme/jobs/signature.ts";
export * from "./src/nvme/tables/status.ts";
export * from "./src/nvme/jobs/transfer_plan.ts";
export * from "./src/nvme/driver/watch.ts";
export * from "./src/nvme/jobs/write_guard.ts";

export * from "./src/gpu/attributes.ts";
export * from "./src/gpu/context.ts";
export * from "./src/gpu/cuda.ts";
export * from "./src/gpu/driver.ts";
export * from "./src/gpu/event.ts";
export * from "./src/gpu/gpu.ts";
export * from "./src/gpu/memory.ts";
export * from "./src/gpu/module.ts";
export * from "./src/gpu/p2p/access.ts";
export * from "./src/gpu/p2p/chain.ts";
export * from "./src/gpu/p2p/check.ts";
export * from "./src/gpu/p2p/device_checks.ts";
export * from "./src/gpu/p2p/driver_checks.ts";
export * from "./src/gpu/p2p/path_checks.ts";
export * from "./src/gpu/p2p/report.ts";
export * from "./src/gpu/ptx.ts";
export * from "./src/gpu/results.ts";
export * from "./src/gpu/stream.ts";
export * from "./src/oradax/ccb.ts";
export * from "./src/oradax/ccb_tables.ts";
export * from "./src/oradax/codes.ts";
export * from "./src/oradax/ccb_command.ts";
export * from "./src/oradax/measure.ts";
export * from "./src/oradax/open.ts";
export * from "./src/oradax/rules.ts";
export * from "./src/oradax/session.ts";
export * from "./src/oradax/transport.ts";
export * from "./src/oradax/vector.ts";
