/**
 * What it takes to make a namespace of persistent memory: checks and choices, before anything is written.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { exists, type Host, ifReadable } from "../core/host.ts";
import { formatBytes } from "../core/units.ts";
import {
  findNamespace,
  isNamespaceName,
  type Namespace,
  ND_DEVICES,
  type PageMap,
  type PersistentMemory,
  type PmemRegion,
} from "./namespaces.ts";

/** Modes that namespaces are made in. */
export const MADE_MODES = ["devdax", "fsdax", "raw"] as const;

/** A mode that a namespace can be made in. */
export type MadeMode = typeof MADE_MODES[number];

/** What is asked for; what is left out is chosen. */
export interface NamespaceRequest {
  /** The region to make it in, or the namespace to make into something else. */
  readonly target?: string | undefined;
  /** How its memory is to be used. */
  readonly mode: MadeMode;
  /** Bytes of the region that it takes; all of the longest free run by default. */
  readonly sizeBytes?: bigint | undefined;
  /** Bytes that mappings are aligned to; 2 MiB by default. */
  readonly alignBytes?: bigint | undefined;
  /** Where the page map lies; in the namespace by default. */
  readonly map?: PageMap | undefined;
}

/** A namespace to be made. */
export interface NamespacePlan {
  /** The name that it will have. */
  readonly name: string;
  /** The region that it lies in. */
  readonly region: PmemRegion;
  /** What it is now, contents included; null for one that is made of free space. */
  readonly replaced: Namespace | null;
  /** How its memory is used. */
  readonly mode: MadeMode;
  /** Bytes of the region that it takes. */
  readonly sizeBytes: bigint;
  /** Bytes that mappings are aligned to; null in mode raw. */
  readonly alignBytes: bigint | null;
  /** Where its page map lies; null in mode raw. */
  readonly map: PageMap | null;
  /** The device that will hold it: `dax0.0`, `pfn0.0`; null in mode raw. */
  readonly holder: string | null;
}

/** Linux drivers/nvdimm/claim.c: what holds a namespace takes no smaller one. */
const SMALLEST_HELD_BYTES = 16n << 20n;

/**
 * Plans a namespace.
 *
 * @throws {BusbarError} `usage` for what does not fit together, `absent` for what is not there, `out-of-range` for a size
 * that does not fit, `unsupported` where the kernel cannot do it
 */
export function planNamespace(host: Host, memory: PersistentMemory, request: NamespaceRequest): NamespacePlan {
  const { target } = request;
  if (target !== undefined && isNamespaceName(target)) {
    return planChange(host, memory, findNamespace(memory, target), request);
  }
  const region = chooseRegion(memory, target);
  if (region.isReadOnly) {
    throw new BusbarError("unsupported", `${region.name} is read-only`, {
      operation: "plan a namespace",
      path: region.name,
      hint: `echo 0 > ${ND_DEVICES}/${region.name}/read_only, unless its NVDIMM is broken`,
    });
  }
  if (!region.hasLabels) {
    // Such a region is one namespace, which is always there.
    const whole = memory.namespaces.find((one) => one.region === region.name);
    if (whole !== undefined) return planChange(host, memory, whole, request);
  }
  const name = readName(host, `${ND_DEVICES}/${region.name}/namespace_seed`, "namespace", region.name);
  const sizeBytes = request.sizeBytes ?? region.largestFreeBytes ?? region.availableBytes ?? 0n;
  checkSize(region, sizeBytes, request.sizeBytes !== undefined);
  return { name, region, replaced: null, sizeBytes, ...plannedUse(host, region, sizeBytes, request) };
}

/** A plan that makes a namespace into something else. */
function planChange(
  host: Host,
  { regions }: PersistentMemory,
  namespace: Namespace,
  request: NamespaceRequest,
): NamespacePlan {
  const region = regions.find(({ name }) => name === namespace.region);
  if (region === undefined) throw noRegion(namespace.region, regions);
  if (request.sizeBytes !== undefined && request.sizeBytes !== namespace.rawSizeBytes) {
    const has = `${namespace.name} has ${formatBytes(namespace.rawSizeBytes)}`;
    throw new BusbarError("usage", `${has}, and keeps its size when it is made into something else`, {
      operation: "plan a namespace",
      path: namespace.name,
      hint: region.hasLabels
        ? `dax_config namespace destroy ${namespace.name}, and make one of another size in ${region.name}`
        : `${region.name} has no labels, and is one namespace as a whole`,
    });
  }
  checkMode(namespace);
  const { name, rawSizeBytes: sizeBytes } = namespace;
  return { name, region, replaced: namespace, sizeBytes, ...plannedUse(host, region, sizeBytes, request) };
}

/**
 * Refuses a namespace that is neither devdax, fsdax nor raw.
 *
 * @throws {BusbarError} `unsupported`
 */
export function checkMode({ name, mode }: Namespace): void {
  if (mode !== "sector") return;
  throw new BusbarError("unsupported", `${name} is in mode sector, which is not taken apart here`, {
    operation: "plan a namespace",
    path: name,
    hint: `ndctl destroy-namespace --force ${name} does`,
  });
}

function chooseRegion({ regions }: PersistentMemory, target: string | undefined): PmemRegion {
  if (target !== undefined) {
    const found = regions.find(({ name }) => name === target);
    if (found === undefined) throw noRegion(target, regions);
    return found;
  }
  const free = regions.filter((one) => one.hasLabels && (one.largestFreeBytes ?? 0n) > 0n);
  const [only, ...others] = free;
  if (only !== undefined && others.length === 0) return only;
  const names = (free.length > 0 ? free : regions).map(({ name }) => name).join(", ");
  throw new BusbarError(
    regions.length === 0 ? "absent" : "usage",
    regions.length === 0
      ? "this machine has no region of persistent memory"
      : free.length === 0
      ? `no region has free space; say which namespace or region to use: there is ${names}`
      : `which region? ${names} have free space`,
    { operation: "plan a namespace", hint: "dax_config namespace list shows regions and namespaces" },
  );
}

function noRegion(name: string, regions: readonly PmemRegion[]): BusbarError {
  const names = regions.map((one) => one.name).join(", ");
  return new BusbarError("absent", `${name}: no such region; ${names === "" ? "there is none" : `there is ${names}`}`, {
    operation: "plan a namespace",
    path: name,
    hint: "dax_config namespace list shows regions and namespaces",
  });
}

/** Linux drivers/nvdimm/namespace_devs.c, `__size_store`: a multiple of the alignment, within the longest free run. */
function checkSize(region: PmemRegion, sizeBytes: bigint, isAsked: boolean): void {
  const refuse = (text: string, hint: string): never => {
    throw new BusbarError("out-of-range", text, { operation: "plan a namespace", path: region.name, hint });
  };
  const free = region.largestFreeBytes ?? region.availableBytes;
  if (free !== null && (free === 0n || sizeBytes > free)) {
    refuse(
      free === 0n
        ? `${region.name} has no free space`
        : `${formatBytes(sizeBytes)} do not fit: the longest free run of ${region.name} is ${formatBytes(free)}`,
      free === 0n ? "dax_config namespace destroy frees some" : `--size ${formatBytes(free).replace(" ", "")} fits`,
    );
  }
  if (isAsked && (sizeBytes === 0n || sizeBytes % region.alignBytes !== 0n)) {
    refuse(
      `${sizeBytes} bytes are no multiple of ${formatBytes(region.alignBytes)}, as ${region.name} needs`,
      `--size is a multiple of ${formatBytes(region.alignBytes)}`,
    );
  }
}

function plannedUse(
  host: Host,
  region: PmemRegion,
  sizeBytes: bigint,
  { mode, alignBytes, map }: NamespaceRequest,
): Pick<NamespacePlan, "mode" | "alignBytes" | "map" | "holder"> {
  if (mode === "raw") {
    if (alignBytes === undefined && map === undefined) return { mode, alignBytes: null, map: null, holder: null };
    throw new BusbarError("usage", "a raw namespace has neither an alignment nor a page map", {
      operation: "plan a namespace",
      path: region.name,
      hint: "--mode devdax and --mode fsdax have them",
    });
  }
  if (sizeBytes < SMALLEST_HELD_BYTES) {
    throw new BusbarError("out-of-range", `${formatBytes(sizeBytes)} are too small for ${mode}: 16 MiB are the least`, {
      operation: "plan a namespace",
      path: region.name,
      hint: "--mode raw takes less",
    });
  }
  const kind = mode === "devdax" ? "dax" : "pfn";
  const driver = driverOf(mode);
  if (!exists(host, `/sys/bus/nd/drivers/${driver}`)) {
    throw new BusbarError("absent", `the driver ${driver} is not loaded`, {
      operation: "plan a namespace",
      path: region.name,
      hint: `modprobe ${driver}`,
    });
  }
  const holder = readName(host, `${ND_DEVICES}/${region.name}/${kind}_seed`, kind, region.name);
  const align = alignBytes ?? (2n << 20n);
  // Kernels before 5.4 do not say which there are; the write tells then.
  const supported = ifReadable(() => host.readText(`${ND_DEVICES}/${holder}/supported_alignments`).trim().split(/\s+/));
  if (supported !== null && !supported.includes(String(align))) {
    const sizes = supported.map((one) => formatBytes(BigInt(one))).join(", ");
    throw new BusbarError("unsupported", `${region.name} cannot be aligned to ${formatBytes(align)}`, {
      operation: "plan a namespace",
      path: region.name,
      hint: `--align is one of ${sizes}`,
    });
  }
  return { mode, alignBytes: align, map: map ?? "dev", holder };
}

/** The driver of what holds a namespace. */
export function driverOf(mode: MadeMode): "dax_pmem" | "nd_pmem" {
  return mode === "devdax" ? "dax_pmem" : "nd_pmem";
}

/** The device that the next one is made from. */
function readName(host: Host, path: string, kind: string, region: string): string {
  const name = host.readText(path).trim();
  if (new RegExp(`^${kind}\\d+\\.\\d+$`).test(name)) return name;
  throw new BusbarError("unsupported", `${region}: the kernel offers no ${kind} device to make one from`, {
    operation: "plan a namespace",
    path,
    hint: `${path} says '${name.slice(0, 40)}'`,
  });
}
