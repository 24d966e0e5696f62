/**
 * Persistent memory in full: the regions that NVDIMMs and CXL devices form, and the namespaces that lie in them. Only reads.
 *
 * Source: Linux drivers/nvdimm (region_devs.c, namespace_devs.c, pfn_devs.c, claim.c).
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifPresent, ifReadable } from "../core/host.ts";
import { linkAt, namesIn, realPathOf, textOf } from "../core/host_requests.ts";

/** Where the kernel shows persistent memory. */
export const ND_DEVICES = "/sys/bus/nd/devices";

/** A run of persistent memory that namespaces are made in. */
export interface PmemRegion {
  /** Its name: `region0`. */
  readonly name: string;
  /** What it stands on. */
  readonly provider: "nvdimm" | "cxl" | "firmware";
  /** True when its devices hold labels, so that it can have several namespaces; else it is one namespace as a whole. */
  readonly hasLabels: boolean;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** Bytes that no namespace has; null where the kernel does not tell. */
  readonly availableBytes: bigint | null;
  /** Bytes of the longest free run, which is what one namespace can take; null where the kernel does not tell. */
  readonly largestFreeBytes: bigint | null;
  /** Bytes that start and size of a namespace are multiples of. */
  readonly alignBytes: bigint;
  /** Its devices: `nmem0`. */
  readonly dimms: readonly string[];
  /** True when the devices allow no writes. */
  readonly isReadOnly: boolean;
}

/** How the memory of a namespace is used, in ndctl's words. */
export type NamespaceMode = "devdax" | "fsdax" | "sector" | "raw";

/** Where the page map lies, 64 bytes for each 4 KiB: in the namespace itself (`dev`), or in ordinary memory (`mem`). */
export type PageMap = "dev" | "mem";

/** A namespace with all that the kernel tells of it. */
export interface Namespace {
  /** Its name: `namespace0.0`. */
  readonly name: string;
  /** The region that it lies in. */
  readonly region: string;
  /** How its memory is used. */
  readonly mode: NamespaceMode;
  /** Bytes that it takes of its region. */
  readonly rawSizeBytes: bigint;
  /** Bytes that are left for use; null while nothing drives it. */
  readonly sizeBytes: bigint | null;
  /** Bytes that mappings are aligned to; null in modes that have none. */
  readonly alignBytes: bigint | null;
  /** Where its page map lies; null in modes that have none. */
  readonly map: PageMap | null;
  /** Of the device that holds it, which is the one that ndctl shows, or its own; null where it has none. */
  readonly uuid: string | null;
  /** The device that holds it: `dax0.0`, `pfn0.0`; null in mode raw. */
  readonly holder: string | null;
  /** True while a driver has it or its holder. */
  readonly isEnabled: boolean;
  /** `/dev/dax0.0`, `/dev/pmem0`; null while there is none. */
  readonly device: string | null;
  /** The node that is nearest; null where unknown. */
  readonly numaNode: number | null;
}

/** Persistent memory of a machine. */
export interface PersistentMemory {
  /** By number. */
  readonly regions: readonly PmemRegion[];
  /** By number; seeds left out. */
  readonly namespaces: readonly Namespace[];
}

const MODES: Readonly<Record<string, NamespaceMode>> = {
  dax: "devdax",
  memory: "fsdax",
  safe: "sector",
};

const REGION_FILES = ["nstype", "size", "available_size", "max_available_extent", "align", "read_only"] as const;
const NAMESPACE_FILES = ["size", "mode", "holder", "uuid", "numa_node"] as const;
const HOLDER_FILES = ["size", "align", "mode", "uuid"] as const;

/** Linux include/uapi/linux/ndctl.h: ND_DEVICE_NAMESPACE_IO, memory without labels. */
const NAMESPACE_WITHOUT_LABELS = "4";
/** ND_DEVICE_NAMESPACE_PMEM. */
const NAMESPACE_WITH_LABELS = "5";

/**
 * Reads the persistent memory of a machine. None where the kernel has no nd bus.
 *
 * @throws {BusbarError} `malformed` for a number that sysfs does not write that way
 */
export function readPersistentMemory(host: Host): PersistentMemory {
  const names = ifPresent(() => host.list(ND_DEVICES)) ?? [];
  const reads = new BatchedReads(host);
  const regions = names.filter((name) => /^region\d+$/.test(name)).sort(byNumber);
  const namespaces = names.filter(isNamespaceName).sort(byNumber);
  reads.fetch([
    ...regions.flatMap((name) => [
      realPathOf(`${ND_DEVICES}/${name}`),
      namesIn(`${ND_DEVICES}/${name}`),
      ...REGION_FILES.map((file) => textOf(`${ND_DEVICES}/${name}/${file}`)),
    ]),
    ...namespaces.flatMap((name) => [
      realPathOf(`${ND_DEVICES}/${name}`),
      linkAt(`${ND_DEVICES}/${name}/driver`),
      ...NAMESPACE_FILES.map((file) => textOf(`${ND_DEVICES}/${name}/${file}`)),
    ]),
  ]);
  reads.fetchNew(namespaces.flatMap((name) => {
    const holder = ifReadable(() => reads.readText(`${ND_DEVICES}/${name}/holder`).trim()) || null;
    const at = `${ND_DEVICES}/${holder ?? name}`;
    return [
      linkAt(`${at}/driver`),
      namesIn(`${at}/block`),
      ...holder === null ? [] : [...HOLDER_FILES.map((file) => textOf(`${at}/${file}`)), namesIn(`${at}/`)],
    ];
  }));
  return {
    regions: regions.flatMap((name) => ifPresent(() => readRegion(reads, name)) ?? []),
    namespaces: namespaces.flatMap((name) => ifPresent(() => readNamespace(reads, name)) ?? []),
  };
}

/** True for text that is the name of a namespace: `namespace0.0`. */
export function isNamespaceName(text: string): boolean {
  return /^namespace\d+\.\d+$/.test(text);
}

function readRegion(host: Host, name: string): PmemRegion | null {
  const folder = `${ND_DEVICES}/${name}`;
  const nstype = host.readText(`${folder}/nstype`).trim();
  // Regions of block windows (before 6.0) hold other ones.
  if (nstype !== NAMESPACE_WITHOUT_LABELS && nstype !== NAMESPACE_WITH_LABELS) return null;
  const real = host.realPath(folder);
  return {
    name,
    provider: real.includes("/nvdimm-bridge") || real.includes("/pmem_region")
      ? "cxl"
      : real.includes("/ACPI0012:")
      ? "nvdimm"
      : "firmware",
    hasLabels: nstype === NAMESPACE_WITH_LABELS,
    sizeBytes: readNumber(host, `${folder}/size`),
    availableBytes: ifReadable(() => readNumber(host, `${folder}/available_size`)),
    largestFreeBytes: ifReadable(() => readNumber(host, `${folder}/max_available_extent`)),
    // Kernels before 5.7 have none, and take multiples of a page.
    alignBytes: ifPresent(() => readNumber(host, `${folder}/align`)) ?? 4096n,
    dimms: host.list(folder).filter((one) => /^mapping\d+$/.test(one)).flatMap((one) =>
      ifReadable(() => host.readText(`${folder}/${one}`))?.split(",")[0] ?? []
    ),
    isReadOnly: ifReadable(() => host.readText(`${folder}/read_only`).trim()) === "1",
  };
}

function readNamespace(host: Host, name: string): Namespace | null {
  const folder = `${ND_DEVICES}/${name}`;
  const rawSizeBytes = readNumber(host, `${folder}/size`);
  if (rawSizeBytes === 0n) return null;
  const textAt = (path: string): string | null => ifReadable(() => host.readText(path).trim()) || null;
  const holder = textAt(`${folder}/holder`);
  const at = holder === null ? folder : `${ND_DEVICES}/${holder}`;
  const driver = ifReadable(() => host.readLink(`${at}/driver`));
  const map = holder === null ? null : textAt(`${at}/mode`);
  const node = textAt(`${folder}/numa_node`);
  return {
    name,
    region: `region${/\d+/.exec(name)?.[0]}`,
    // Memory of firmware that the kernel has pages for is `memory` without a holder: no file of it says more.
    mode: MODES[textAt(`${folder}/mode`) ?? ""] ?? "raw",
    rawSizeBytes,
    sizeBytes: driver === null
      ? null
      : holder === null
      ? rawSizeBytes
      : ifReadable(() => readNumber(host, `${at}/size`)),
    alignBytes: holder === null ? null : ifReadable(() => readNumber(host, `${at}/align`)),
    map: map === "pmem" ? "dev" : map === "ram" ? "mem" : null,
    uuid: textAt(`${at}/uuid`) ?? textAt(`${folder}/uuid`),
    holder,
    isEnabled: driver !== null,
    device: deviceOf(host, at, holder),
    numaNode: node !== null && /^\d+$/.test(node) ? Number(node) : null,
  };
}

/** The node in /dev of a namespace or of what holds it. */
function deviceOf(host: Host, folder: string, holder: string | null): string | null {
  const [block] = ifReadable(() => host.list(`${folder}/block`)) ?? [];
  if (block !== undefined) return `/dev/${block}`;
  if (holder === null || !holder.startsWith("dax")) return null;
  // Kernels before 5.1 have a folder `dax` between.
  const [dax] = [`${folder}/`, `${folder}/dax`].flatMap((one) => ifReadable(() => host.list(one)) ?? [])
    .filter((one) => /^dax\d+\.\d+$/.test(one));
  return dax === undefined ? null : `/dev/${dax}`;
}

function readNumber(host: Host, path: string): bigint {
  const text = host.readText(path).trim();
  if (/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) return BigInt(text);
  throw new BusbarError("malformed", `${path}: '${text.slice(0, 40)}' is no number`, { operation: "read", path });
}

/** Orders names by the numbers in them. */
function byNumber(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => (name.match(/\d+/g) ?? []).map(Number));
  return (left?.[0] ?? 0) - (right?.[0] ?? 0) || (left?.[1] ?? 0) - (right?.[1] ?? 0);
}

/**
 * A namespace by its name.
 *
 * @throws {BusbarError} `absent`, with those that there are
 */
export function findNamespace({ namespaces }: PersistentMemory, name: string): Namespace {
  const found = namespaces.find((one) => one.name === name);
  if (found !== undefined) return found;
  const names = namespaces.map((one) => one.name).join(", ");
  throw new BusbarError(
    "absent",
    `${name}: no such namespace; ${names === "" ? "there is none" : `there is ${names}`}`,
    {
      operation: "find a namespace",
      path: name,
      hint: "dax_config namespace list shows regions and namespaces",
    },
  );
}
