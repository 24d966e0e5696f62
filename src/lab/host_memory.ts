/**
 * A machine whose guest has memory of this host as a CXL device: one device behind one port, and a window for it.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { formatBytes } from "../core/units.ts";
import { type Machine } from "./description.ts";
import { parseMachine } from "./machine_file.ts";

/** CXL memory and its windows come in multiples of this many bytes. */
const CXL_UNIT = 256n << 20n;

/** The memory of the host that the guest gets. */
export interface HostMemory {
  /** A dax device, a file or a block device. */
  readonly path: string;
  /** Its length, a multiple of 256 MiB. */
  readonly sizeBytes: bigint;
  /** Multiples of this many bytes at which QEMU has to map it; null where the page size will do. */
  readonly alignBytes: bigint | null;
}

/** The rest of the guest. */
export interface HostMemoryGuest {
  /** Ordinary memory in bytes. */
  readonly memory: bigint;
  /** Processors. */
  readonly cpus: number;
  /** An image that it boots; without one and without a kernel, the lab's own guest. */
  readonly disk?: string | undefined;
  /** A kernel that it boots. */
  readonly kernel?: string | undefined;
  /** Words for the kernel's command line. */
  readonly append: string;
  /** Use KVM instead of emulation. */
  readonly kvm?: true | undefined;
}

/**
 * How much CXL memory a resource gives.
 *
 * @param wantedBytes all of it that fits, where that is undefined
 * @param path the resource, for errors
 * @throws {BusbarError} `usage` for a size that CXL memory does not come in
 */
export function cxlMemoryBytes(resourceBytes: bigint | null, wantedBytes: bigint | undefined, path: string): bigint {
  const sizeBytes = wantedBytes ?? (resourceBytes ?? 0n) / CXL_UNIT * CXL_UNIT;
  if (sizeBytes > 0n && sizeBytes % CXL_UNIT === 0n) return sizeBytes;
  const lower = sizeBytes / CXL_UNIT * CXL_UNIT;
  throw new BusbarError("usage", `${formatBytes(sizeBytes)} of CXL memory: it comes in multiples of 256 MiB`, {
    operation: "plan a machine",
    path,
    hint: lower > 0n ? `--size ${lower >> 20n}MiB` : `${path} is too small: CXL memory has at least 256 MiB`,
  });
}

/**
 * The machine.
 *
 * @param path where its description would be: names of files in it count from there
 */
export async function hostMemoryMachine(memory: HostMemory, guest: HostMemoryGuest, path: string): Promise<Machine> {
  return (await parseMachine(JSON.stringify(describe(memory, guest)), path)).machine;
}

/** What has to be known of the command line. */
export function hostMemoryNotes({ sizeBytes }: HostMemory, { kvm, disk }: HostMemoryGuest): string[] {
  return [
    ...(disk === undefined ? [] : [`snapshot=on: what the guest writes to ${disk} is gone when QEMU ends`]),
    "-nodefaults: the guest has no network; for one add -netdev user,id=net0 -device virtio-net-pci,netdev=net0",
    `lsa=: QEMU refuses persistent CXL memory without a label area`,
    `window of ${formatBytes(sizeBytes)}: as large as the device, or its region does not fit`,
    "hypervisor=off: Linux commits no CXL region where it sees that it runs in a virtual machine",
    ...(kvm ? ["KVM: use the CXL memory for plain data only; code and atomics in it fail in the guest"] : []),
  ];
}

function describe({ path, sizeBytes, alignBytes }: HostMemory, guest: HostMemoryGuest): Record<string, unknown> {
  const size = `${sizeBytes}B`;
  const device = {
    type: "cxl-type3",
    id: "cxl-pmem0",
    bus: "root_port13",
    persistent: size,
    file: path,
    lsa: "1MiB",
    sn: 1,
  };
  return {
    purpose: "memory of the host as CXL memory",
    cpus: guest.cpus,
    memory: `${guest.memory}B`,
    kvm: guest.kvm ?? false,
    "kernel-arguments": guest.append.split(/\s+/).filter((word) => word !== ""),
    ...(guest.disk === undefined ? {} : { disk: guest.disk }),
    ...(guest.kernel === undefined ? {} : { kernel: guest.kernel }),
    buses: [
      { type: "pxb-cxl", id: "cxl.1", bus_nr: 12 },
      { type: "cxl-rp", id: "root_port13", bus: "cxl.1" },
    ],
    devices: [alignBytes === null ? device : { ...device, align: `${alignBytes}B` }],
    windows: [{ targets: ["cxl.1"], size }],
  };
}
