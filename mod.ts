/**
 * busbar: reach real hardware from TypeScript. Map it, drive it, simulate it.
 *
 * ```ts
 * import { openPciDevice } from "@busbar/busbar";
 *
 * using device = openPciDevice("soft:nvme");
 * const bar0 = device.bar(0);
 * console.log(bar0.read32(0x08).toString(16)); // VS, the version of the specification
 * ```
 *
 * What most programs need is here. Each domain has more: `@busbar/busbar/pci`, `/nvme`, `/gpu`, `/oradax`, `/memory`,
 * `/cxl`, `/sim`, `/lab`, and `/core` for what they share.
 * @module
 */

// Names of devices, machines, errors.
export { type Locator, parseLocator } from "./src/core/locator.ts";
export { openMachine } from "./src/pci/open_machine.ts";
export type { Machine } from "./src/core/machine.ts";
export type { Host } from "./src/core/host.ts";
export { BusbarError, isBusbarError } from "./src/core/error.ts";

// Registers and structures.
export { type Mmio, pollRegister } from "./src/core/mmio.ts";
export type { Layout } from "./src/core/layout.ts";
export { decodeTable } from "./src/core/decoded.ts";
export { formatBytes, parseBytes } from "./src/core/units.ts";

// What is changed is put back.
export { UndoJournal } from "./src/core/undo/journal.ts";

// PCI.
export { openPciDevice } from "./src/pci/open_device.ts";
export type { PciDevice } from "./src/pci/device.ts";
export { openWritableBar } from "./src/pci/register_access.ts";
export { claimPciDevice } from "./src/pci/claim.ts";
export { findNode, readTopology, type Topology } from "./src/pci/topology.ts";
export { judgePair } from "./src/pci/p2p.ts";

// NVMe.
export { type NvmeController, openNvme } from "./src/nvme/driver/controller.ts";
export type { NvmeNamespace } from "./src/nvme/driver/namespace.ts";
export { NVME_REGISTERS } from "./src/nvme/tables/registers.ts";
export { readRegisters } from "./src/nvme/tables/register_dump.ts";
export { decodePage, pageNamed } from "./src/nvme/tables/pages.ts";

// GPUs.
export { openGpu } from "./src/gpu/cuda.ts";
export type { Gpu } from "./src/gpu/gpu.ts";
export { checkP2p } from "./src/gpu/p2p/chain.ts";

// The data analytics accelerator.
export { openOradax } from "./src/oradax/open.ts";
export { openOradaxSession, type OradaxSession } from "./src/oradax/session.ts";
export { packed } from "./src/oradax/vector.ts";

// Memory with direct access, and CXL.
export { type MemoryBackend, openMemory } from "./src/memory/backend.ts";
export { listDaxDevices } from "./src/memory/devdax.ts";
export { readCxl } from "./src/cxl/topology.ts";
