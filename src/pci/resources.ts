/**
 * The address ranges of a PCI function, from sysfs `resource`: BARs, ROM, SR-IOV BARs, bridge windows.
 *
 * Source: Linux drivers/pci/pci-sysfs.c (resource_show), include/linux/ioport.h (flags).
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { hex } from "../core/units.ts";
import { configUint, headerType } from "./config_space.ts";

/** What a range is, by its line in the file. */
export type ResourceRole = "BAR" | "ROM" | "VF BAR" | "window";

/** One address range. */
export interface Resource {
  /** Its line in the file: 0 to 5 BARs, 6 the ROM, then SR-IOV BARs and bridge windows. */
  readonly index: number;
  /** What it is. */
  readonly role: ResourceRole;
  /** Ports or memory. */
  readonly space: "memory" | "I/O";
  /** First address; meaningless when `assigned` is false. */
  readonly start: bigint;
  /** Length in bytes. */
  readonly sizeBytes: bigint;
  /** A memory range that may lie above 4 GiB. */
  readonly is64Bit: boolean;
  /** Reads have no side effects, and writes may be merged. */
  readonly prefetchable: boolean;
  /** False when firmware and kernel found no room for it. */
  readonly assigned: boolean;
  /** The kernel's flags, include/linux/ioport.h. */
  readonly flags: bigint;
}

const IORESOURCE_IO = 0x100n;
const IORESOURCE_MEM = 0x200n;
const IORESOURCE_PREFETCH = 0x2000n;
const IORESOURCE_SIZEALIGN = 0x40000n;
const IORESOURCE_MEM_64 = 0x100000n;
const IORESOURCE_DISABLED = 0x1000_0000n;
const IORESOURCE_UNSET = 0x2000_0000n;

/** Lines 7 to 12 are SR-IOV BARs where the kernel has SR-IOV built in, which every distribution's has. */
const FIRST_VF_LINE = 7;
const FIRST_WINDOW_LINE = 13;

/**
 * Reads the text of a sysfs `resource` file. Unimplemented ranges are left out.
 *
 * @throws {BusbarError} `malformed` when a line is not three hexadecimal numbers
 */
export function parseResources(text: string): Resource[] {
  const resources: Resource[] = [];
  for (const [index, line] of text.trim().split("\n").entries()) {
    const match = /^0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16})$/i.exec(line.trim());
    if (match === null) {
      throw new BusbarError("malformed", `line ${index + 1} of a resource file is '${line.slice(0, 80)}'`, {
        operation: "parse resource",
      });
    }
    const [start, end, flags] = match.slice(1).map((digits) => BigInt(`0x${digits}`));
    if (
      start === undefined || end === undefined || flags === undefined ||
      (flags & (IORESOURCE_IO | IORESOURCE_MEM)) === 0n
    ) {
      continue;
    }
    resources.push({
      index,
      role: roleOf(index),
      space: (flags & IORESOURCE_IO) !== 0n ? "I/O" : "memory",
      start,
      sizeBytes: end >= start ? end - start + 1n : 0n,
      is64Bit: (flags & IORESOURCE_MEM_64) !== 0n,
      prefetchable: (flags & IORESOURCE_PREFETCH) !== 0n,
      assigned: start !== 0n && (flags & (IORESOURCE_UNSET | IORESOURCE_DISABLED)) === 0n,
      flags,
    });
  }
  return resources;
}

/** The text of a `resource` file that {@linkcode parseResources} reads as these ranges. */
export function formatResources(resources: readonly Resource[]): string {
  const line = (start: bigint, end: bigint, flags: bigint): string =>
    [start, end, flags].map((value) => hex(value, 16)).join(" ");
  const lines = Array.from({ length: FIRST_VF_LINE }, () => line(0n, 0n, 0n));
  for (const { index, start, sizeBytes, flags } of resources) lines[index] = line(start, start + sizeBytes - 1n, flags);
  return Array.from(lines, (text) => text ?? line(0n, 0n, 0n)).join("\n");
}

/** The kernel's flags for a BAR register: what `resource` would show. */
export function resourceFlags(register: BarRegister): bigint {
  if (register.space === "I/O") return IORESOURCE_IO | IORESOURCE_SIZEALIGN | 1n;
  const low = (register.is64Bit ? 0x4n : 0n) | (register.prefetchable ? 0x8n : 0n);
  return IORESOURCE_MEM | IORESOURCE_SIZEALIGN | low | (register.is64Bit ? IORESOURCE_MEM_64 : 0n) |
    (register.prefetchable ? IORESOURCE_PREFETCH : 0n);
}

function roleOf(line: number): ResourceRole {
  if (line < 6) return "BAR";
  if (line === 6) return "ROM";
  return line >= FIRST_VF_LINE && line < FIRST_WINDOW_LINE ? "VF BAR" : "window";
}

/** What the bits of a BAR register say by themselves; its size cannot be told without writing to it. */
export interface BarRegister {
  /** 0 to 5. */
  readonly index: number;
  /** Ports or memory. */
  readonly space: "memory" | "I/O";
  /** The address it holds. */
  readonly address: bigint;
  /** It takes the next BAR register too. */
  readonly is64Bit: boolean;
  /** Memory without read side effects. */
  readonly prefetchable: boolean;
}

/** The BAR registers of a configuration header; registers of zero, which may be unimplemented, are left out. */
export function barRegisters(config: Uint8Array): BarRegister[] {
  const count = [6, 2, 1][headerType(config)] ?? 0;
  const bars: BarRegister[] = [];
  for (let index = 0; index < count; index++) {
    const low = configUint(config, 0x10 + 4 * index, 4);
    if (low === 0 || low === 0xffff_ffff) continue;
    const isIo = (low & 1) !== 0;
    const is64Bit = !isIo && (low >>> 1 & 3) === 2 && index + 1 < count;
    const high = is64Bit ? configUint(config, 0x14 + 4 * index, 4) : 0;
    bars.push({
      index,
      space: isIo ? "I/O" : "memory",
      address: BigInt(high) << 32n | BigInt((isIo ? low & ~0x3 : low & ~0xf) >>> 0),
      is64Bit,
      prefetchable: !isIo && (low & 8) !== 0,
    });
    if (is64Bit) index++;
  }
  return bars;
}

/** What of a BAR is wanted. */
export interface BarOptions {
  /** First byte that is needed; 0 by default. */
  readonly offset?: number;
  /** How many bytes from there are needed; the whole BAR by default. Only the pages that hold them are mapped. */
  readonly sizeBytes?: number;
}

/**
 * The part of a BAR that is wanted.
 *
 * @param name the function, for the error
 * @throws {BusbarError} `out-of-range` when it lies outside the BAR
 */
export function barRange(
  name: string,
  bar: Resource,
  options: BarOptions,
): { offset: number; sizeBytes: number } {
  const offset = options.offset ?? 0;
  const sizeBytes = options.sizeBytes ?? Number(bar.sizeBytes) - offset;
  if (offset < 0 || sizeBytes <= 0 || BigInt(offset) + BigInt(sizeBytes) > bar.sizeBytes) {
    throw new BusbarError(
      "out-of-range",
      `${name}: ${sizeBytes} bytes at 0x${offset.toString(16)} lie outside BAR${bar.index} (${bar.sizeBytes} bytes)`,
      {
        operation: `open BAR${bar.index}`,
        path: name,
        hint: `the whole BAR is 0+${bar.sizeBytes}`,
      },
    );
  }
  return { offset, sizeBytes };
}
