/**
 * VFIO: devices from user space. One function for each call of the kernel; what they mean together is said in
 * `src/pci/vfio.ts`.
 * @module
 */

import { BusbarError, errnoError, type ErrorDetails } from "../src/core/error.ts";
import { Descriptor } from "./fd.ts";
import { check, cString, lazyLibrary } from "./library.ts";

const SYMBOLS = {
  bb_vfio_api_version: { parameters: [/* container */ "i32"], result: "i32" },
  bb_vfio_has_extension: { parameters: [/* container */ "i32", /* extension */ "u32"], result: "i32" },
  bb_vfio_group_flags: { parameters: [/* group */ "i32", /* uint32_t *flags */ "buffer"], result: "i32" },
  bb_vfio_group_attach: { parameters: [/* group */ "i32", /* container */ "i32"], result: "i32" },
  bb_vfio_set_iommu: { parameters: [/* container */ "i32", /* type */ "u32"], result: "i32" },
  bb_vfio_device: { parameters: [/* group */ "i32", /* const char *name */ "buffer"], result: "i32" },
  bb_vfio_device_info: { parameters: [/* device */ "i32", /* uint32_t *out */ "buffer"], result: "i32" },
  bb_vfio_region_info: {
    parameters: [/* device */ "i32", /* index */ "u32", /* uint64_t *out */ "buffer"],
    result: "i32",
  },
  bb_vfio_iova_ranges: {
    parameters: [
      /* container */ "i32",
      /* uint64_t *page_sizes */ "buffer",
      /* uint64_t *out */ "buffer",
      /* room */ "u32",
    ],
    result: "i32",
  },
  bb_vfio_map: {
    parameters: [/* container */ "i32", /* address */ "pointer", /* iova */ "u64", /* size */ "u64"],
    result: "i32",
  },
  bb_vfio_unmap: { parameters: [/* container */ "i32", /* iova */ "u64", /* size */ "u64"], result: "i32" },
  bb_vfio_irq_count: { parameters: [/* device */ "i32", /* index */ "u32"], result: "i32" },
  bb_vfio_set_irqs: {
    parameters: [/* device */ "i32", /* index */ "u32", /* const int32_t *eventfds */ "buffer", /* count */ "u32"],
    result: "i32",
  },
  bb_vfio_reset: { parameters: [/* device */ "i32"], result: "i32" },
  bb_iommufd_bind: {
    parameters: [/* device */ "i32", /* iommufd */ "i32", /* uint32_t *id */ "buffer"],
    result: "i32",
  },
  bb_iommufd_allocate: { parameters: [/* iommufd */ "i32", /* uint32_t *ioas */ "buffer"], result: "i32" },
  bb_iommufd_attach: { parameters: [/* device */ "i32", /* ioas */ "u32"], result: "i32" },
  bb_iommufd_destroy: { parameters: [/* iommufd */ "i32", /* id */ "u32"], result: "i32" },
  bb_iommufd_iova_ranges: {
    parameters: [/* iommufd */ "i32", /* ioas */ "u32", /* uint64_t *out */ "buffer", /* room */ "u32"],
    result: "i32",
  },
  bb_iommufd_map: {
    parameters: [/* iommufd */ "i32", /* ioas */ "u32", /* address */ "pointer", /* iova */ "u64", /* size */ "u64"],
    result: "i32",
  },
  bb_iommufd_unmap: {
    parameters: [/* iommufd */ "i32", /* ioas */ "u32", /* iova */ "u64", /* size */ "u64"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/** Room for the usable ranges of an IOMMU; real ones have two or three. */
const MOST_RANGES = 64;

/** A range of addresses, first and last included. */
export interface AddressRange {
  /** First address. */
  readonly first: bigint;
  /** Last address. */
  readonly last: bigint;
}

/** What a VFIO device has. */
export interface VfioDeviceInfo {
  /** Bit 0: it can be reset. Bit 1: it is a PCI device. */
  readonly flags: number;
  /** Number of regions. */
  readonly regions: number;
  /** Number of interrupt indexes. */
  readonly irqs: number;
}

/** A region of a VFIO device: a BAR, the ROM, configuration space. */
export interface VfioRegion {
  /** Length in bytes; 0 when the device has no such region. */
  readonly sizeBytes: bigint;
  /** Where it lies in the device's descriptor. */
  readonly offset: bigint;
  /** Bit 0 readable, bit 1 writable, bit 2 mappable. */
  readonly flags: number;
}

/** VFIO_GET_API_VERSION: 0 is the only one there is. */
export function vfioApiVersion(container: Descriptor): number {
  return check(library().bb_vfio_api_version(container.number), "ask for the version", { path: container.name });
}

/** VFIO_CHECK_EXTENSION. */
export function vfioHasExtension(container: Descriptor, extension: number): boolean {
  const result = library().bb_vfio_has_extension(container.number, extension);
  return check(result, `ask for extension ${extension}`, { path: container.name }) > 0;
}

/** VFIO_GROUP_GET_STATUS: bit 0 viable, bit 1 in a container. */
export function vfioGroupFlags(group: Descriptor): number {
  const out = new Uint32Array(1);
  check(library().bb_vfio_group_flags(group.number, out), "ask for the group's status", { path: group.name });
  return out[0] ?? 0;
}

/** VFIO_GROUP_SET_CONTAINER. */
export function vfioAttachGroup(group: Descriptor, container: Descriptor, details: ErrorDetails): void {
  check(library().bb_vfio_group_attach(group.number, container.number), "attach the group", details);
}

/** VFIO_SET_IOMMU. */
export function vfioSetIommu(container: Descriptor, type: number, details: ErrorDetails): void {
  check(library().bb_vfio_set_iommu(container.number, type), "set the IOMMU", details);
}

/** VFIO_GROUP_GET_DEVICE_FD. */
export function vfioDevice(group: Descriptor, name: string, details: ErrorDetails): Descriptor {
  return Descriptor.adopt(
    name,
    check(library().bb_vfio_device(group.number, cString(name)), "open the device", details),
  );
}

/** VFIO_DEVICE_GET_INFO. */
export function vfioDeviceInfo(device: Descriptor): VfioDeviceInfo {
  const out = new Uint32Array(3);
  check(library().bb_vfio_device_info(device.number, out), "ask what the device has", { path: device.name });
  return { flags: out[0] ?? 0, regions: out[1] ?? 0, irqs: out[2] ?? 0 };
}

/** VFIO_DEVICE_GET_REGION_INFO. */
export function vfioRegion(device: Descriptor, index: number): VfioRegion {
  const out = new BigUint64Array(3);
  const result = library().bb_vfio_region_info(device.number, index, out);
  check(result, `ask for region ${index}`, { path: device.name });
  return { sizeBytes: out[0] ?? 0n, offset: out[1] ?? 0n, flags: Number(out[2] ?? 0n) };
}

/** VFIO_IOMMU_GET_INFO: the addresses that may be used; empty where the kernel does not tell. */
export function vfioIovaRanges(container: Descriptor): AddressRange[] {
  const pageSizes = new BigUint64Array(1);
  const out = new BigUint64Array(2 * MOST_RANGES);
  const result = library().bb_vfio_iova_ranges(container.number, pageSizes, out, MOST_RANGES);
  return rangesFrom(out, check(result, "ask for usable addresses", { path: container.name }));
}

function rangesFrom(out: BigUint64Array, count: number): AddressRange[] {
  return Array.from({ length: count }, (_, i) => ({ first: out[2 * i] ?? 0n, last: out[2 * i + 1] ?? 0n }));
}

/** Something that gives a device access to memory: a container, or an address space of iommufd. */
export interface DmaMapper {
  /** Lets the device reach `sizeBytes` of memory at `iova`. All are multiples of the page size. */
  map(pointer: Deno.PointerObject, iova: bigint, sizeBytes: bigint): void;
  /** Takes it away again; exactly what was mapped in one call. */
  unmap(iova: bigint, sizeBytes: bigint): void;
  /** The addresses that may be used; empty where the kernel does not tell. */
  ranges(): AddressRange[];
}

const ENOMEM = 12;
const EINVAL = 22;

/** Why a device cannot be given memory, in words. */
function mapError(errno: number, iova: bigint, sizeBytes: bigint): BusbarError {
  const where = `${sizeBytes} bytes at 0x${iova.toString(16)}`;
  const operation = "map memory for the device";
  if (errno === ENOMEM) {
    return new BusbarError("permission", `${where}: more than this user may lock in memory`, {
      operation,
      hint: "raise the limit (ulimit -l), or run as root",
    });
  }
  if (errno === EINVAL) {
    return new BusbarError("out-of-range", `${where}: not page-aligned, or outside what the IOMMU can map`, {
      operation,
    });
  }
  return errnoError(errno, `${operation} (${where})`);
}

function checkMap(result: number, iova: bigint, sizeBytes: bigint): void {
  if (result < 0) throw mapError(-result, iova, sizeBytes);
}

/** Mappings of a legacy container. */
export function containerMapper(container: Descriptor): DmaMapper {
  return {
    map: (pointer, iova, sizeBytes) =>
      checkMap(library().bb_vfio_map(container.number, pointer, iova, sizeBytes), iova, sizeBytes),
    unmap: (iova, sizeBytes) => {
      check(library().bb_vfio_unmap(container.number, iova, sizeBytes), "unmap", { path: container.name });
    },
    ranges: () => vfioIovaRanges(container),
  };
}

/** Mappings of an address space of iommufd. */
export function ioasMapper(iommufd: Descriptor, ioas: number): DmaMapper {
  return {
    map: (pointer, iova, sizeBytes) =>
      checkMap(library().bb_iommufd_map(iommufd.number, ioas, pointer, iova, sizeBytes), iova, sizeBytes),
    unmap: (iova, sizeBytes) => {
      check(library().bb_iommufd_unmap(iommufd.number, ioas, iova, sizeBytes), "unmap", { path: iommufd.name });
    },
    ranges: () => {
      const out = new BigUint64Array(2 * MOST_RANGES);
      const result = library().bb_iommufd_iova_ranges(iommufd.number, ioas, out, MOST_RANGES);
      return rangesFrom(out, check(result, "ask for usable addresses", { path: iommufd.name }));
    },
  };
}

/** VFIO_DEVICE_BIND_IOMMUFD, IOMMU_IOAS_ALLOC and VFIO_DEVICE_ATTACH_IOMMUFD_PT. Returns the address space's id. */
export function iommufdAttach(device: Descriptor, iommufd: Descriptor, details: ErrorDetails): number {
  const out = new Uint32Array(1);
  check(library().bb_iommufd_bind(device.number, iommufd.number, out), "bind the device to iommufd", details);
  check(library().bb_iommufd_allocate(iommufd.number, out), "make an address space", details);
  const ioas = out[0] ?? 0;
  check(library().bb_iommufd_attach(device.number, ioas), "attach the device to its address space", details);
  return ioas;
}

/** IOMMU_DESTROY. */
export function iommufdDestroy(iommufd: Descriptor, id: number): void {
  check(library().bb_iommufd_destroy(iommufd.number, id), "destroy the address space", { path: iommufd.name });
}

/** Vectors of an interrupt index: 0 INTx, 1 MSI, 2 MSI-X. 0 where the device has none. */
export function vfioIrqCount(device: Descriptor, index: number): number {
  return check(library().bb_vfio_irq_count(device.number, index), `ask for interrupt ${index}`, { path: device.name });
}

/** Connects the first vectors of an interrupt index to event counters, at most 64; none turns the interrupt off. */
export function vfioSetIrqs(device: Descriptor, index: number, counters: readonly Descriptor[]): void {
  const fds = Int32Array.from(counters, (counter) => counter.number);
  const result = library().bb_vfio_set_irqs(device.number, index, fds, fds.length);
  check(result, counters.length === 0 ? "turn the interrupt off" : `connect ${counters.length} interrupt vectors`, {
    path: device.name,
  });
}

/** VFIO_DEVICE_RESET. */
export function vfioReset(device: Descriptor, details: ErrorDetails): void {
  check(library().bb_vfio_reset(device.number), "reset the device", details);
}
