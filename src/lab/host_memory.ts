/**
 * A machine whose guest has memory of this host as CXL devices: each behind a port of its own, and a window for all.
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
  /** The guest sees the memory as volatile. */
  readonly volatile?: true | undefined;
  /** A port of this host that leads to the guest's port 22. */
  readonly ssh?: number | undefined;
  /** What the guest writes to the disk stays. */
  readonly keepDisk?: true | undefined;
  /** A file of firmware. */
  readonly firmware?: string | undefined;
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
export async function hostMemoryMachine(
  memory: readonly HostMemory[],
  guest: HostMemoryGuest,
  path: string,
): Promise<Machine> {
  return (await parseMachine(JSON.stringify(describe(memory, guest)), path)).machine;
}

/** What has to be known of the command line. */
export function hostMemoryNotes(memory: readonly HostMemory[], guest: HostMemoryGuest): string[] {
  const { kvm, disk, volatile, ssh, keepDisk } = guest;
  const network = ssh === undefined
    ? "-nodefaults: the guest has no network; --ssh PORT gives it one, with its port 22 forwarded"
    : `ssh -p ${ssh} 127.0.0.1 leads to the guest's port 22`;
  const window = memory.length === 1
    ? "as large as the device, or its region does not fit"
    : "as large as the devices together, or their regions do not fit";
  return [
    ...(disk === undefined ? [] : [
      keepDisk
        ? `what the guest writes to ${disk} stays there`
        : `snapshot=on: what the guest writes to ${disk} is gone when QEMU ends`,
    ]),
    network,
    ...(volatile ? [] : [`lsa=: QEMU refuses persistent CXL memory without a label area`]),
    `window of ${formatBytes(totalBytes(memory))}: ${window}`,
    "hypervisor=off: Linux commits no CXL region where it sees that it runs in a virtual machine",
    ...(kvm ? ["KVM: use the CXL memory for plain data only; code and atomics in it fail in the guest"] : []),
  ];
}

function totalBytes(memory: readonly HostMemory[]): bigint {
  return memory.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
}

/** The port of the first device; the guide counts from it. */
const FIRST_PORT = 13;

function describe(memory: readonly HostMemory[], guest: HostMemoryGuest): Record<string, unknown> {
  const port = (i: number): string => `root_port${FIRST_PORT + i}`;
  const devices = memory.map(({ path, sizeBytes, alignBytes }, i) => ({
    type: "cxl-type3",
    id: `cxl-${guest.volatile ? "vmem" : "pmem"}${i}`,
    bus: port(i),
    [guest.volatile ? "volatile" : "persistent"]: `${sizeBytes}B`,
    file: path,
    ...(guest.volatile ? {} : { lsa: "1MiB" }),
    sn: i + 1,
    ...(alignBytes === null ? {} : { align: `${alignBytes}B` }),
  }));
  return {
    purpose: "memory of the host as CXL memory",
    cpus: guest.cpus,
    memory: `${guest.memory}B`,
    kvm: guest.kvm ?? false,
    "kernel-arguments": guest.append.split(/\s+/).filter((word) => word !== ""),
    ...(guest.disk === undefined ? {} : { disk: guest.disk }),
    ...(guest.keepDisk === undefined ? {} : { "keep-disk": true }),
    ...(guest.kernel === undefined ? {} : { kernel: guest.kernel }),
    ...(guest.firmware === undefined ? {} : { firmware: guest.firmware }),
    ...(guest.ssh === undefined ? {} : { network: { ssh: guest.ssh } }),
    buses: [
      { type: "pxb-cxl", id: "cxl.1", bus_nr: 12 },
      ...memory.map((_, i) => ({ type: "cxl-rp", id: port(i), bus: "cxl.1" })),
    ],
    devices,
    windows: [{ targets: ["cxl.1"], size: `${totalBytes(memory)}B` }],
  };
}
