/**
 * The configuration header of a PCI function, types 0, 1 and 2.
 *
 * Source: PCI Local Bus 3.0 §6.1–6.2, PCI-to-PCI Bridge 1.2 §3.2, PCI Express Base 6.0 §7.5.1; names as in Linux
 * include/uapi/linux/pci_regs.h.
 * @module
 */

import type { BitField, Layout, Row } from "../core/layout.ts";
import { littleEndian } from "../core/mmio.ts";
import { code, flag, register } from "../core/rows.ts";
import { hex } from "../core/units.ts";

/** Bytes of the header that every function has. */
export const HEADER_BYTES = 64;
/** Bytes of conventional configuration space. */
export const CONFIG_BYTES = 256;
/** Bytes of PCI Express configuration space. */
export const EXTENDED_CONFIG_BYTES = 4096;

/** Byte offsets that code uses by name. */
export const PCI_COMMAND = 0x04;
/** COMMAND: the function answers I/O cycles. */
export const PCI_COMMAND_IO = 0x1;
/** COMMAND: the function answers memory cycles. */
export const PCI_COMMAND_MEMORY = 0x2;
/** COMMAND: the function may start cycles of its own (DMA, MSI). */
export const PCI_COMMAND_MASTER = 0x4;

const COMMAND_FIELDS: readonly BitField[] = [
  flag("IO", 0, "answers I/O cycles"),
  flag("MEMORY", 1, "answers memory cycles"),
  flag("MASTER", 2, "may start DMA and MSI (bus master)"),
  flag("SPECIAL", 3, "special cycles"),
  flag("INVALIDATE", 4, "memory write and invalidate"),
  flag("VGA_PALETTE", 5, "VGA palette snoop"),
  flag("PARITY", 6, "parity error response"),
  flag("WAIT", 7, "address/data stepping"),
  flag("SERR", 8, "SERR# reporting"),
  flag("FAST_BACK", 9, "fast back-to-back"),
  flag("INTX_DISABLE", 10, "INTx interrupts off"),
];

const STATUS_FIELDS: readonly BitField[] = [
  flag("IMM_READY", 0, "ready right after reset"),
  flag("INTERRUPT", 3, "INTx pending"),
  flag("CAP_LIST", 4, "has a capability list"),
  flag("66MHZ", 5, "66 MHz capable"),
  flag("FAST_BACK", 7, "fast back-to-back capable"),
  flag("PARITY", 8, "master data parity error"),
  code("DEVSEL", 10, 9, "DEVSEL# timing", { 0: "fast", 1: "medium", 2: "slow" }),
  flag("SIG_TARGET_ABORT", 11, "signalled target abort"),
  flag("REC_TARGET_ABORT", 12, "received target abort"),
  flag("REC_MASTER_ABORT", 13, "received master abort"),
  flag("SIG_SYSTEM_ERROR", 14, "signalled system error"),
  flag("DETECTED_PARITY", 15, "detected parity error"),
];

/** Secondary status of a bridge: the primary one without interrupt and capability list. */
const SECONDARY_STATUS_FIELDS: readonly BitField[] = STATUS_FIELDS.filter((field) =>
  !["IMM_READY", "INTERRUPT", "CAP_LIST"].includes(field.name)
);

const COMMON: readonly Row[] = [
  register("VENDOR_ID", 0x00, 2, "Vendor ID"),
  register("DEVICE_ID", 0x02, 2, "Device ID"),
  register("COMMAND", 0x04, 2, "Command", COMMAND_FIELDS),
  register("STATUS", 0x06, 2, "Status", STATUS_FIELDS),
  register("REVISION_ID", 0x08, 1, "Revision ID"),
  register("CLASS_CODE", 0x09, 3, "Class code: base class, subclass, programming interface"),
  register("CACHE_LINE_SIZE", 0x0c, 1, "Cache line size", undefined, {
    kind: "quantity",
    meaning: (v) => `${4n * v} bytes`,
  }),
  register("LATENCY_TIMER", 0x0d, 1, "Latency timer", undefined, { kind: "quantity" }),
  register("HEADER_TYPE", 0x0e, 1, "Header type", [
    code("LAYOUT", 6, 0, "layout", { 0: "device", 1: "bridge", 2: "CardBus bridge" }),
    flag("MULTIFUNCTION", 7, "more than one function"),
  ]),
  register("BIST", 0x0f, 1, "Built-in self test"),
];

function bars(count: number): Row[] {
  return Array.from({ length: count }, (_, i) => register(`BAR${i}`, 0x10 + 4 * i, 4, `Base address ${i}`));
}

const TAIL: readonly Row[] = [
  register("INTERRUPT_LINE", 0x3c, 1, "Interrupt line", undefined, { kind: "quantity" }),
  register("INTERRUPT_PIN", 0x3d, 1, "Interrupt pin", undefined, {
    kind: "quantity",
    values: { 0: "none", 1: "INTA", 2: "INTB", 3: "INTC", 4: "INTD" },
  }),
];

/** The header of a device. */
export const TYPE0_HEADER: Layout = {
  name: "PCI type 0 header",
  source: "PCI Local Bus 3.0 §6.1",
  rows: [
    ...COMMON,
    ...bars(6),
    register("CARDBUS_CIS", 0x28, 4, "CardBus CIS pointer"),
    register("SUBSYSTEM_VENDOR_ID", 0x2c, 2, "Subsystem vendor ID"),
    register("SUBSYSTEM_ID", 0x2e, 2, "Subsystem ID"),
    register("ROM_ADDRESS", 0x30, 4, "Expansion ROM base address"),
    register("CAPABILITY_LIST", 0x34, 1, "First capability"),
    ...TAIL,
    register("MIN_GNT", 0x3e, 1, "Minimum grant", undefined, { kind: "quantity" }),
    register("MAX_LAT", 0x3f, 1, "Maximum latency", undefined, { kind: "quantity" }),
  ],
};

/** The header of a PCI-to-PCI bridge: root ports and switch ports are such. */
export const TYPE1_HEADER: Layout = {
  name: "PCI type 1 header",
  source: "PCI-to-PCI Bridge 1.2 §3.2",
  rows: [
    ...COMMON,
    ...bars(2),
    register("PRIMARY_BUS", 0x18, 1, "Primary bus"),
    register("SECONDARY_BUS", 0x19, 1, "Secondary bus"),
    register("SUBORDINATE_BUS", 0x1a, 1, "Subordinate bus"),
    register("SEC_LATENCY_TIMER", 0x1b, 1, "Secondary latency timer", undefined, { kind: "quantity" }),
    register("IO_BASE", 0x1c, 1, "I/O window base, bits 15:12"),
    register("IO_LIMIT", 0x1d, 1, "I/O window limit, bits 15:12"),
    register("SEC_STATUS", 0x1e, 2, "Secondary status", SECONDARY_STATUS_FIELDS),
    register("MEMORY_BASE", 0x20, 2, "Memory window base, bits 31:20"),
    register("MEMORY_LIMIT", 0x22, 2, "Memory window limit, bits 31:20"),
    register("PREF_MEMORY_BASE", 0x24, 2, "Prefetchable window base, bits 31:20"),
    register("PREF_MEMORY_LIMIT", 0x26, 2, "Prefetchable window limit, bits 31:20"),
    register("PREF_BASE_UPPER32", 0x28, 4, "Prefetchable window base, bits 63:32"),
    register("PREF_LIMIT_UPPER32", 0x2c, 4, "Prefetchable window limit, bits 63:32"),
    register("IO_BASE_UPPER16", 0x30, 2, "I/O window base, bits 31:16"),
    register("IO_LIMIT_UPPER16", 0x32, 2, "I/O window limit, bits 31:16"),
    register("CAPABILITY_LIST", 0x34, 1, "First capability"),
    register("ROM_ADDRESS", 0x38, 4, "Expansion ROM base address"),
    ...TAIL,
    register("BRIDGE_CONTROL", 0x3e, 2, "Bridge control", [
      flag("PARITY", 0, "parity error response"),
      flag("SERR", 1, "forwards SERR#"),
      flag("ISA", 2, "ISA mode"),
      flag("VGA", 3, "forwards VGA"),
      flag("VGA_16BIT", 4, "VGA 16-bit decode"),
      flag("MASTER_ABORT", 5, "reports master aborts"),
      flag("BUS_RESET", 6, "secondary bus held in reset"),
      flag("FAST_BACK", 7, "fast back-to-back"),
      flag("PRI_DISCARD_TIMER", 8, "short primary discard timer"),
      flag("SEC_DISCARD_TIMER", 9, "short secondary discard timer"),
      flag("DISCARD_STATUS", 10, "discard timer ran out"),
      flag("DISCARD_SERR", 11, "discard timer reports SERR#"),
    ]),
  ],
};

/** The header of a PCI-to-CardBus bridge; it goes on behind the 64 bytes that the other types have. */
export const TYPE2_HEADER: Layout = {
  name: "CardBus bridge header",
  source: "PC Card Standard 8.1, PCI-to-PCMCIA CardBus Bridge Register Description §2; Linux pci_regs.h (PCI_CB_*)",
  rows: [
    ...COMMON,
    register("BASE_0", 0x10, 4, "Socket registers' base address"),
    register("CAPABILITY_LIST", 0x14, 1, "First capability"),
    register("SEC_STATUS", 0x16, 2, "Secondary status", SECONDARY_STATUS_FIELDS),
    register("PRIMARY_BUS", 0x18, 1, "Primary bus"),
    register("CARD_BUS", 0x19, 1, "CardBus bus"),
    register("SUBORDINATE_BUS", 0x1a, 1, "Subordinate bus"),
    register("CARDBUS_LATENCY_TIMER", 0x1b, 1, "CardBus latency timer", undefined, { kind: "quantity" }),
    ...[0, 1].flatMap((n): Row[] => [
      register(`MEMORY_BASE_${n}`, 0x1c + 8 * n, 4, `Memory window ${n} base`),
      register(`MEMORY_LIMIT_${n}`, 0x20 + 8 * n, 4, `Memory window ${n} limit`),
    ]),
    ...[0, 1].flatMap((n): Row[] => [
      register(`IO_BASE_${n}`, 0x2c + 8 * n, 4, `I/O window ${n} base`),
      register(`IO_LIMIT_${n}`, 0x30 + 8 * n, 4, `I/O window ${n} limit`),
    ]),
    ...TAIL,
    register("BRIDGE_CONTROL", 0x3e, 2, "Bridge control"),
    register("SUBSYSTEM_VENDOR_ID", 0x40, 2, "Subsystem vendor ID"),
    register("SUBSYSTEM_ID", 0x42, 2, "Subsystem ID"),
    register("LEGACY_MODE_BASE", 0x44, 4, "16-bit legacy mode base address"),
  ],
};

/** The header type: 0 a device, 1 a bridge, 2 a CardBus bridge. */
export function headerType(config: Uint8Array): number {
  return (config[0x0e] ?? 0xff) & 0x7f;
}

/** The header's layout by its type, or null for types that this module does not know. */
export function headerLayout(config: Uint8Array): Layout | null {
  return [TYPE0_HEADER, TYPE1_HEADER, TYPE2_HEADER][headerType(config)] ?? null;
}

/** An unsigned little-endian integer of configuration space; all ones where it lies beyond what was read. */
export function configUint(config: Uint8Array, offset: number, sizeBytes: 1 | 2 | 3 | 4): number {
  if (offset < 0 || offset + sizeBytes > config.length) return 2 ** (8 * sizeBytes) - 1;
  return Number(littleEndian(config.subarray(offset, offset + sizeBytes)));
}

/** A window of addresses that a bridge forwards downstream. */
export interface BridgeWindow {
  /** Which of the three. */
  readonly kind: "I/O" | "memory" | "prefetchable";
  /** First address. */
  readonly base: bigint;
  /** Last address. */
  readonly limit: bigint;
}

/** The open windows of a type 1 header; a closed one (base above limit) is left out. */
export function bridgeWindows(config: Uint8Array): BridgeWindow[] {
  const at = (offset: number, sizeBytes: 1 | 2 | 4): bigint => BigInt(configUint(config, offset, sizeBytes));
  const ioWide = (at(0x1c, 1) & 0xfn) === 1n;
  const prefWide = (at(0x24, 2) & 0xfn) === 1n;
  const windows: BridgeWindow[] = [
    {
      kind: "I/O",
      base: (at(0x1c, 1) & 0xf0n) << 8n | (ioWide ? at(0x30, 2) << 16n : 0n),
      limit: (at(0x1d, 1) & 0xf0n) << 8n | 0xfffn | (ioWide ? at(0x32, 2) << 16n : 0n),
    },
    {
      kind: "memory",
      base: (at(0x20, 2) & 0xfff0n) << 16n,
      limit: (at(0x22, 2) & 0xfff0n) << 16n | 0xfffffn,
    },
    {
      kind: "prefetchable",
      base: (at(0x24, 2) & 0xfff0n) << 16n | (prefWide ? at(0x28, 4) << 32n : 0n),
      limit: (at(0x26, 2) & 0xfff0n) << 16n | 0xfffffn | (prefWide ? at(0x2c, 4) << 32n : 0n),
    },
  ];
  return windows.filter((window) => window.base <= window.limit);
}

/** Vendor and device as lspci writes them: `8086:0a54`. */
export function formatId(vendorId: number, deviceId: number): string {
  return `${hex(vendorId, 4).slice(2)}:${hex(deviceId, 4).slice(2)}`;
}
