/**
 * What lspci prints for people, read line by line, also as it comes out of a mail or a web form: spaces for tabs, marks of
 * quotation, wrapped lines.
 *
 * Source: pciutils ls-vpd.c, lspci.c and ls-kernel.c (show_bases, show_verbose, show_kernel).
 * @module
 */

import { formatPciAddress, parsePciAddress } from "../core/pci_address.ts";
import { isBusbarError } from "../core/error.ts";
import { type BarRegister, type Resource, resourceFlags } from "./resources.ts";

/** The address at the start of the line that lspci begins a function with, as sysfs writes it; null for other lines. */
export function headerAddress(line: string): string | null {
  const text = /^\s*((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:\s|$)/i.exec(line)?.[1];
  if (text === undefined) return null;
  try {
    return formatPciAddress(parsePciAddress(text));
  } catch (error) {
    // A time of day may look like one.
    if (isBusbarError(error)) return null;
    throw error;
  }
}

/** A line of bytes: `40: 01 50 03`. */
export interface ByteLine {
  /** Where they stand in configuration space. */
  readonly offset: number;
  /** The bytes, 16 at most. */
  readonly bytes: readonly number[];
  /** What follows the bytes, and should not. */
  readonly rest: string;
}

/** Reads a line of bytes; null for other lines. */
export function byteLine(line: string): ByteLine | null {
  const match = /^\s*([0-9a-f]{2,3}):((?:\s+[0-9a-f]{2}(?![^\s])){0,16})(.*)$/i.exec(line);
  if (match === null) return null;
  const [, offset = "", bytes = "", rest = ""] = match;
  return { offset: parseInt(offset, 16), bytes: bytesOf(bytes), rest: rest.trim() };
}

/** The bytes of a line that has nothing else: the end of a wrapped one. Null for other lines. */
export function wrappedBytes(line: string): readonly number[] | null {
  return /^\s*[0-9a-f]{2}(?:\s+[0-9a-f]{2}){0,14}\s*$/i.test(line) ? bytesOf(line) : null;
}

function bytesOf(text: string): number[] {
  return text.trim().split(/\s+/).filter((digits) => digits !== "").map((digits) => parseInt(digits, 16));
}

/** A region as lspci prints it. */
export interface PrintedRegion {
  /** Its number, with -vv; null with -v, where the order tells. */
  readonly index: number | null;
  /** What it decodes. */
  readonly space: Resource["space"];
  /** Null where lspci prints `<unassigned>` or another word. */
  readonly address: bigint | null;
  /** Its address has 64 bits. */
  readonly is64Bit: boolean;
  /** Reads have no side effects. */
  readonly prefetchable: boolean;
  /** Null where lspci had no sysfs to ask. */
  readonly sizeBytes: bigint | null;
}

/** What lspci says of a function besides its bytes, where that is a fact that sysfs would have. */
export interface PrintedAttributes {
  /** Files of the function's folder. */
  readonly files: Map<string, string>;
  /** Links of it. */
  readonly links: Map<string, string>;
  /** Its regions, in the order they are printed. */
  readonly regions: PrintedRegion[];
  /** Printed with -v or more, which shows every BAR that there is. */
  hasRegions: boolean;
}

/** Nothing was printed yet. */
export function noAttributes(): PrintedAttributes {
  return { files: new Map(), links: new Map(), regions: [], hasRegions: false };
}

/** True for a line that lspci indents and that lost its indentation. */
export function startsAttribute(line: string): boolean {
  return /^(?:Control|Flags|Status|Subsystem|Latency|Interrupt|Capabilities|Region \d|NUMA node|IOMMU group|Kernel driver in use|Kernel modules): /
    .test(line);
}

/** Takes over what one line says; what stands there already is kept. */
export function readAttribute(printed: PrintedAttributes, line: string): void {
  const set = (map: Map<string, string>, name: string, text: string | undefined): void => {
    if (text !== undefined && !map.has(name)) map.set(name, text);
  };
  const group = /^(?:Flags:.*, )?IOMMU group:? (\d+)$/.exec(line)?.[1];
  const node = /^(?:Flags:.*, )?NUMA node:? (\d+)(?:$|,)/.exec(line)?.[1];
  const driver = /^Kernel driver in use: (\S+)$/.exec(line)?.[1];
  set(printed.links, "iommu_group", group === undefined ? undefined : `../../../kernel/iommu_groups/${group}`);
  set(printed.files, "numa_node", node);
  set(printed.links, "driver", driver === undefined ? undefined : `../../../bus/pci/drivers/${driver}`);
  if (/^(?:Control|Flags): /.test(line)) printed.hasRegions = true;
  const region = printedRegion(line);
  if (region !== null) printed.regions.push(region);
}

/** `Region 0: Memory at fe000000 (64-bit, non-prefetchable) [size=16K]`; with -v the first two words are missing. */
function printedRegion(line: string): PrintedRegion | null {
  const match =
    /^(?:Region (\d): )?(?:\[virtual\] )?(?:Memory at (\S+) \(([^,)]*), (non-)?prefetchable\)|I\/O ports at (\S+))(.*)$/
      .exec(line);
  if (match === null) return null;
  const [, index, memory, width, non, ports, rest = ""] = match;
  const address = memory ?? ports ?? "";
  const [, size, unit = ""] = /\[size=(\d+)([KMGT]?)\]/.exec(rest) ?? [];
  return {
    index: index === undefined ? null : Number(index),
    space: memory === undefined ? "I/O" : "memory",
    address: /^[0-9a-f]{1,16}$/.test(address) ? BigInt(`0x${address}`) : null,
    is64Bit: width === "64-bit",
    prefetchable: memory !== undefined && non === undefined,
    sizeBytes: size === undefined ? null : BigInt(size) << BigInt(10 * " KMGT".indexOf(unit === "" ? " " : unit)),
  };
}

/** True where lspci could ask sysfs for sizes: then a function without regions has none. */
export function hasSizes(printed: PrintedAttributes): boolean {
  return printed.regions.some((region) => region.sizeBytes !== null);
}

/**
 * All BARs of a function, as lspci printed them.
 *
 * @param registers its BAR registers, which tell which region is which where lspci does not
 * @param sizesAreKnown lspci could ask sysfs
 * @returns null where not all that `resource` would show is known
 */
export function printedResources(
  printed: PrintedAttributes,
  registers: readonly BarRegister[],
  sizesAreKnown: boolean,
): Resource[] | null {
  if (!printed.hasRegions || !sizesAreKnown) return null;
  const resources: Resource[] = [];
  for (const region of printed.regions) {
    const index = region.index ??
      registers.find(({ space, address }) => space === region.space && address === region.address)?.index;
    if (index === undefined || index > 5 || region.sizeBytes === null) return null;
    if (resources.some((other) => other.index === index)) return null;
    const { space, is64Bit, prefetchable, sizeBytes } = region;
    const register: BarRegister = { index, space, address: region.address ?? 0n, is64Bit, prefetchable };
    resources.push({
      ...register,
      role: "BAR",
      start: register.address,
      sizeBytes,
      assigned: register.address !== 0n,
      flags: resourceFlags(register),
    });
  }
  return resources;
}
