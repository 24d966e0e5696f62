/**
 * busbar: reach real hardware from TypeScript. Map it, drive it, simulate it.
 *
 * ```ts
 * import { openPciDevice, parseLocator } from "./mod.ts";
 *
 * using device = openPciDevice(parseLocator("soft:nvme"), "example");
 * const bar0 = device.bar(0);
 * console.log(bar0.read32(0x08).toString(16)); // VS, the version of the specification
 * ```
 *
 * @module
 */

export * from "./src/core/block_users.ts";
export * from "./src/core/deadline.ts";
export * from "./src/core/decoded.ts";
export * from "./src/core/dma.ts";
export * from "./src/core/error.ts";
export * from "./src/core/histogram.ts";
export * from "./src/core/host.ts";
export * from "./src/core/layout.ts";
export * from "./src/core/layout_json.ts";
export * from "./src/core/layout_text.ts";
export * from "./src/core/locator.ts";
export * from "./src/core/mmio.ts";
export * from "./src/core/named_register.ts";
export * from "./src/core/pci_address.ts";
export * from "./src/core/process_uses.ts";
export * from "./src/core/recorded_host.ts";
export * from "./src/core/undo.ts";
export * from "./src/core/units.ts";

export { CudaLibrary } from "./ffi/cuda.ts";
export * from "./ffi/cuda_driver.ts";
export { findLibrary, type LibrarySpec, type Surroundings } from "./ffi/build.ts";
export * from "./ffi/fd.ts";
export * from "./ffi/memory.ts";
export { type Slice, type StreamKind } from "./ffi/membench.ts";
export * from "./ffi/mmio.ts";
export { NvmeQueue, type NvmeQueuePlace } from "./ffi/nvme_queue.ts";
export { OradaxHandle, type OradaxTaken } from "./ffi/oradax.ts";
export { SoftDevice } from "./ffi/soft.ts";
export { SoftOradax, SoftOradaxMemory } from "./ffi/soft_oradax.ts";
export type { AddressRange } from "./ffi/vfio.ts";

export * from "./src/pci/acs.ts";
export * from "./src/pci/bar_bytes.ts";
export * from "./src/pci/bind.ts";
export * from "./src/pci/capabilities.ts";
export * from "./src/pci/config_space.ts";
export * from "./src/pci/device.ts";
export * from "./src/pci/doctor.ts";
export * from "./src/pci/enable.ts";
export * from "./src/pci/function.ts";
export * from "./src/pci/held.ts";
export * from "./src/pci/hold.ts";
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
export * from "./src/pci/state.ts";
export * from "./src/pci/topology.ts";
export * from "./src/pci/vfio.ts";

export * from "./src/cxl/equivalents.ts";
export * from "./src/cxl/gate.ts";
export * from "./src/cxl/plan.ts";
export * from "./src/cxl/region.ts";
export * from "./src/cxl/state.ts";
export * from "./src/cxl/topology.ts";

export * from "./src/memory/blocks.ts";
export * from "./src/memory/cgroup.ts";
export * from "./src/memory/command.ts";
export * from "./src/memory/counters.ts";
export * from "./src/memory/damo_file.ts";
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
export * from "./src/memory/files.ts";
export * from "./src/memory/membench.ts";
export * from "./src/memory/mounts.ts";
export * from "./src/memory/random_stream.ts";
export * from "./src/memory/resource.ts";
export * from "./src/memory/settings.ts";

export * from "./src/nvme/command.ts";
export * from "./src/nvme/controller.ts";
export * from "./src/nvme/driver.ts";
export * from "./src/nvme/facts.ts";
export * from "./src/nvme/features.ts";
export * from "./src/nvme/fetch.ts";
export * from "./src/nvme/identity.ts";
export * from "./src/nvme/io_job.ts";
export * from "./src/nvme/kernel.ts";
export * from "./src/nvme/namespace.ts";
export * from "./src/nvme/open.ts";
export * from "./src/nvme/page_file.ts";
export * from "./src/nvme/pages.ts";
export * from "./src/nvme/pattern.ts";
export * from "./src/nvme/prp.ts";
export * from "./src/nvme/queue_pair.ts";
export * from "./src/nvme/register_dump.ts";
export * from "./src/nvme/registers.ts";
export * from "./src/nvme/sgl.ts";
export * from "./src/nvme/signature.ts";
export * from "./src/nvme/status.ts";
export * from "./src/nvme/transfer_plan.ts";
export * from "./src/nvme/watch.ts";
export * from "./src/nvme/write_guard.ts";

export * from "./src/gpu/attributes.ts";
export * from "./src/gpu/driver.ts";
export * from "./src/gpu/gpu.ts";
export * from "./src/gpu/p2p.ts";
export * from "./src/gpu/p2p_access.ts";
export * from "./src/gpu/p2p_check.ts";
export * from "./src/gpu/p2p_machine.ts";
export * from "./src/gpu/ptx.ts";
export * from "./src/gpu/results.ts";
export * from "./src/oradax/ccb.ts";
export * from "./src/oradax/ccb_tables.ts";
export * from "./src/oradax/codes.ts";
export * from "./src/oradax/command.ts";
export * from "./src/oradax/measure.ts";
export * from "./src/oradax/open.ts";
export * from "./src/oradax/rules.ts";
export * from "./src/oradax/session.ts";
export * from "./src/oradax/transport.ts";
export * from "./src/oradax/vector.ts";
