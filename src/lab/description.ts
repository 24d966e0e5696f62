/**
 * What a lab machine consists of: the form of its YAML description. Keys are those of the file. Where QEMU has a
 * property of the same meaning, its name is used (`max_ioqpairs`, `use-intel-id`).
 *
 * Bridges and ports are listed under `buses`, what sits on them under `devices`; each has an `id` and names the `bus` it
 * is on. Sizes are written with a unit (`256MiB`) and are bytes here.
 * @module
 */

/** A lab machine. */
export interface Machine {
  /** What it is for, in one line. */
  readonly purpose: string;
  /** Number of processors, 1 to 64. */
  readonly cpus: number;
  /** Ordinary memory in bytes, without NVDIMMs and CXL memory. */
  readonly memory: bigint;
  /** Use the host's KVM. Emulation is the default, and what the machines are tested with. */
  readonly kvm: boolean;
  /** Show the processor's hypervisor bit, as ordinary guests do. Hidden by default: else Linux commits no CXL region. */
  readonly hypervisor: boolean;
  /** An Intel IOMMU with interrupt remapping, on. */
  readonly iommu: boolean;
  /** NUMA nodes in order of their numbers; none means a single unnamed one. */
  readonly nodes: readonly NumaNode[];
  /** Distances between nodes that differ from 20. */
  readonly distances: readonly NodeDistance[];
  /** Words for the kernel's command line. */
  readonly "kernel-arguments": readonly string[];
  /** Another kernel instead of the image's: `current` for the lab's second one, or the user's own file. */
  readonly kernel?: string | undefined;
  /** The user's own first root: then nothing of the lab runs inside, and only a console is to be had. */
  readonly initrd?: string | undefined;
  /** The user's own disk image, which the machine boots from unless `kernel` is given. It is not changed. */
  readonly disk?: string | undefined;
  /** What the system writes to `disk` stays there, without a snapshot. */
  readonly "keep-disk"?: boolean | undefined;
  /** Firmware in place of SeaBIOS, as a file of code: OVMF_CODE.fd. */
  readonly firmware?: string | undefined;
  /** A network card on QEMU's user network. */
  readonly network?: UserNetwork | undefined;
  /** Bridges, ports and extra root complexes. */
  readonly buses: readonly Bus[];
  /** What sits on them. */
  readonly devices: readonly Device[];
  /** CXL fixed memory windows. */
  readonly windows: readonly CxlWindow[];
  /** A CXL Type 2 GPU that `cxl_gpu serve` gives the guest. */
  readonly gpu?: Type2Gpu | undefined;
  /** Further arguments for QEMU, as they are. */
  readonly "qemu-arguments": readonly string[];
}

/** A network behind the host's addresses: out is possible, in is not but for what is forwarded. */
export interface UserNetwork {
  /** The port of 127.0.0.1 that leads to the guest's port 22. */
  readonly ssh?: number | undefined;
}

/** How a machine gets the Type 2 GPU of `cxl_gpu serve`, which must serve it before the machine starts. */
export interface Type2Gpu {
  /** A shared file, a shared file with a doorbell, or vfio-user, which needs QEMU 10.1: the lab fetches one. */
  readonly by: "file" | "doorbell" | "vfio-user";
  /** The shared file, or the socket. */
  readonly path: string;
  /** Bytes of the shared file; only `by: file` needs them. */
  readonly size?: bigint | undefined;
}

/** A NUMA node. Without processors and memory it is a place for an NVDIMM. */
export interface NumaNode {
  /** Processor numbers. */
  readonly cpus: readonly number[];
  /** Its part of the machine's memory in bytes, 0 for none. */
  readonly memory: bigint;
}

/** The distance between two NUMA nodes, as the ACPI SLIT says it: 10 is local. */
export interface NodeDistance {
  /** Node number. */
  readonly from: number;
  /** Node number. */
  readonly to: number;
  /** 10 to 255. */
  readonly distance: number;
}

/** Further QEMU properties of a bus or device, by QEMU's names. */
export type Properties = Readonly<Record<string, string | number | boolean>>;

/** What every bus and device has. */
export interface Part {
  /** Its name, unique in the machine: QEMU's id. */
  readonly id: string;
  /** The bus it is on; `pcie.0`, the root complex, by default. */
  readonly bus?: string | undefined;
  /** Slot and function on that bus: `3`, `3.1`; the next free one by default. */
  readonly addr?: string | undefined;
  /** Further properties. */
  readonly properties?: Properties | undefined;
}

/** An extra root complex: `pxb-pcie`, or `pxb-cxl` for CXL. */
export interface RootComplex extends Part {
  /** Tells the kinds apart. */
  readonly type: "pxb-pcie" | "pxb-cxl";
  /** Its bus number, 1 to 255; the buses below it follow. */
  readonly bus_nr: number;
  /** The NUMA node it belongs to. */
  readonly node?: number | undefined;
}

/** A port that one device can be plugged into: `pcie-root-port`, or `cxl-rp` for CXL. */
export interface RootPort extends Part {
  /** Tells the kinds apart. */
  readonly type: "pcie-root-port" | "cxl-rp";
}

/** A switch: one upstream port, and a downstream port for each name in `ports`. */
export interface Switch extends Part {
  /** Tells the kinds apart. */
  readonly type: "switch" | "cxl-switch";
  /** Ids of the downstream ports. */
  readonly ports: readonly string[];
}

/** A bridge to a conventional PCI bus. */
export interface PciBridge extends Part {
  /** Tells the kinds apart. */
  readonly type: "pcie-pci-bridge" | "pci-bridge";
}

/** A bridge, port or root complex. */
export type Bus = RootComplex | RootPort | Switch | PciBridge;

/** What every device on a PCI bus has. */
export interface PciPart extends Part {
  /** Sits behind a port of its own, so that it can be pulled out. Root complex slots cannot. */
  readonly hotplug: boolean;
}

/** An NVMe controller. */
export interface NvmeController extends PciPart {
  /** Tells the kinds apart. */
  readonly type: "nvme";
  /** Serial number, 1 to 20 characters; the id by default. */
  readonly serial?: string | undefined;
  /** Controllers that name the same subsystem share it. */
  readonly subsystem?: string | undefined;
  /** Largest number of I/O queue pairs, 1 to 65535. */
  readonly max_ioqpairs?: number | undefined;
  /** Largest transfer as a power of two of the page size, 0 (none) to 255. */
  readonly mdts?: number | undefined;
  /** Controller memory buffer in bytes, whole MiB. */
  readonly cmb?: bigint | undefined;
  /** Persistent memory region in bytes, a power of two. */
  readonly pmr?: bigint | undefined;
  /** Intel's PCI ids in place of Red Hat's. */
  readonly "use-intel-id"?: boolean | undefined;
  /** The MSI-X table in a BAR of its own. */
  readonly "msix-exclusive-bar"?: boolean | undefined;
  /** Its namespaces. */
  readonly namespaces: readonly NvmeNamespace[];
}

/** An NVMe namespace with the file behind it. */
export interface NvmeNamespace {
  /** Namespace id; 1, 2, … in order by default. */
  readonly nsid: number;
  /** Capacity in bytes. */
  readonly size: bigint;
  /** The file that holds it, made when it does not exist; one in the run's folder by default. */
  readonly file?: string | undefined;
  /** Bytes in a logical block: 512 to 32768. */
  readonly logical_block_size?: number | undefined;
  /** Bytes in a physical block. */
  readonly physical_block_size?: number | undefined;
  /** Metadata bytes of each block. */
  readonly ms?: number | undefined;
  /** Metadata is part of the extended block (1) or apart (0). */
  readonly mset?: 0 | 1 | undefined;
  /** Protection information type, 0 to 3. */
  readonly pi?: number | undefined;
  /** Protection information in the first (1) or last (0) bytes of the metadata. */
  readonly pil?: 0 | 1 | undefined;
  /** Attached to every controller of the subsystem. */
  readonly shared?: boolean | undefined;
  /** Attached to no controller at first. */
  readonly detached?: boolean | undefined;
  /** Zones, for a zoned namespace. */
  readonly zoned?: Zones | undefined;
  /** Errors that reads and writes meet from the start. */
  readonly errors: readonly BlockError[];
}

/** The zones of a zoned namespace. */
export interface Zones {
  /** Bytes from one zone's start to the next. */
  readonly zone_size: bigint;
  /** Usable bytes of a zone; all by default. */
  readonly zone_capacity?: bigint | undefined;
  /** Most open zones; 0 means no limit. */
  readonly max_open?: number | undefined;
  /** Most active zones; 0 means no limit. */
  readonly max_active?: number | undefined;
}

/** An error that the storage behind a namespace reports (QEMU's blkdebug). */
export interface BlockError {
  /** What fails: `read_aio`, `write_aio`, `flush_to_disk`, … (QAPI BlkdebugEvent). */
  readonly event: string;
  /** Linux error number; 5 is EIO, which the guest sees as a media error. */
  readonly errno: number;
  /** Only requests that touch this 512-byte sector. */
  readonly sector?: number | undefined;
  /** Only the first such request. */
  readonly once: boolean;
}

/** Persistent memory on the memory bus. */
export interface Nvdimm {
  /** Tells the kinds apart. */
  readonly type: "nvdimm";
  /** Its name: QEMU's id. */
  readonly id: string;
  /** Capacity in bytes. */
  readonly size: bigint;
  /** The file that holds it, made when it does not exist; one in the run's folder by default. */
  readonly file?: string | undefined;
  /** Its NUMA node. */
  readonly node?: number | undefined;
  /** Bytes of the label area, at least 128 KiB, after the capacity in the same file; none by default. */
  readonly "label-size"?: bigint | undefined;
  /** Further properties. */
  readonly properties?: Properties | undefined;
}

/** A CXL memory device (type 3). */
export interface CxlType3 extends Part {
  /** Tells the kinds apart. */
  readonly type: "cxl-type3";
  /** Volatile bytes, a multiple of 256 MiB. */
  readonly volatile?: bigint | undefined;
  /** Persistent bytes, a multiple of 256 MiB. */
  readonly persistent?: bigint | undefined;
  /** The file or device that holds the persistent bytes, or the volatile ones where there are no others. */
  readonly file?: string | undefined;
  /** Both machines of `lab run a + b` have what `file` holds. */
  readonly shared?: boolean | undefined;
  /** Bytes that their mapping on the host is aligned to: those of a dax device. */
  readonly align?: bigint | undefined;
  /** Bytes of the label area of a persistent device; 1 MiB by default. */
  readonly lsa?: bigint | undefined;
  /** Serial number; the position among the machine's devices by default. */
  readonly sn?: number | undefined;
}

/** Memory shared with the host or another guest (BAR 2). */
export interface Ivshmem extends PciPart {
  /** Tells the kinds apart. */
  readonly type: "ivshmem-plain";
  /** Bytes, a power of two. */
  readonly size: bigint;
  /** The shared file, made when it does not exist; one in the run's folder by default. */
  readonly file?: string | undefined;
  /** Both machines of `lab run a + b` have it, in one file. */
  readonly shared?: boolean | undefined;
}

/** A device that needs no more than its name and properties. `device: NAME` is any QEMU device. */
export interface PlainDevice extends PciPart {
  /** Which one. */
  readonly type: "edu" | "pci-testdev" | "pci-serial" | "virtio-rng-pci" | "virtio-balloon-pci" | "qemu";
  /** The QEMU device of type `qemu`. */
  readonly device?: string | undefined;
  /** Bytes of the memory BAR of a `pci-testdev`. */
  readonly membar?: bigint | undefined;
}

/** What sits on a bus, or in a memory slot. */
export type Device = NvmeController | Nvdimm | CxlType3 | Ivshmem | PlainDevice;

/** A range of host addresses that the platform routes to CXL host bridges (CFMWS). */
export interface CxlWindow {
  /** Ids of `pxb-cxl` buses; more than one are interleaved. */
  readonly targets: readonly string[];
  /** Bytes, a multiple of 256 MiB. */
  readonly size: bigint;
  /** Bytes that go to one target before the next one's turn. */
  readonly granularity: number;
}

/** What `kernel` says for the lab's second kernel, in place of a file. */
export const CURRENT_KERNEL = "current";

/** The types of a bus on which PCI devices sit as on any slot. */
export const PORT_TYPES: readonly Bus["type"][] = ["pcie-root-port", "cxl-rp"];

/** True for a device on a PCI bus that can ask for a port of its own. */
export function canHotplug(device: Device): device is NvmeController | Ivshmem | PlainDevice {
  return device.type !== "nvdimm" && device.type !== "cxl-type3";
}

/** True when the machine starts the lab's own guest; false when a user's system boots and only its console is there. */
export function runsLabGuest(machine: Machine): boolean {
  return machine.initrd === undefined && machine.disk === undefined;
}
