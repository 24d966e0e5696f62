/**
 * The registers of a CXL Type 2 GPU: BAR2 of the public device, with the extension block of busbar's own.
 *
 * Source: the public protocol of the QEMU device `cxl-type2`, versions 0x00010000 and 0x00011300; the block at 0xF00 is
 * busbar's, for devices whose registers lie in memory that nobody traps.
 * @module
 */

import type { BitField, Layout, UintRow } from "../core/layout.ts";

/** What MAGIC holds: `2LXC`. */
export const MAGIC = 0x43584c32;
/** What VERSION holds for the generations known here, which cannot be told apart by it. */
export const VERSION = 0x0001_0000;
/** What EXT_MAGIC holds: `BBXT`. */
export const EXT_MAGIC = 0x54584242;
/** What the register at {@linkcode J_MAGIC_OFFSET} holds in the vendor fork. */
export const J_MAGIC = 0x4a474c53;
/** Where the vendor fork has a magic number of its own. */
export const J_MAGIC_OFFSET = 0x400;

/** PCI identity of the device: vendor, device. */
export const TYPE2_PCI_ID = { vendor: 0x8086, device: 0x0d92, classCode: 0x050210 } as const;
/** PCI identity of QEMU's shared memory device, which may hold one. */
export const IVSHMEM_PCI_ID = { vendor: 0x1af4, device: 0x1110 } as const;

/** Where DATA begins. */
export const DATA_OFFSET = 0x1000;
/** Where BAR4 begins in a shared file. */
export const FILE_BAR4_OFFSET = 0x200000;
/** The least size of a shared file in bytes. */
export const FILE_LEAST_BYTES: number = 16 << 20;
/** The most that one bulk copy to or from BAR4 moves, and the most bytes of PTX in one load, in bytes. */
export const BULK_MOST_BYTES: number = 64 << 20;
/** The most argument slots of 8 bytes that a device of busbar takes. */
export const MOST_SLOTS = 512;
/** The most argument slots that every device takes. */
export const COMMON_SLOTS = 64;
/** A line of the coherency engine in bytes. */
export const LINE_BYTES = 64;

const STATUS_FIELDS: readonly BitField[] = [
  { name: "READY", bits: 0, title: "backend initialised" },
  { name: "BUSY", bits: 1, title: "a command is running" },
  { name: "ERROR", bits: 2, title: "device fault, until reset" },
  { name: "CTX_ACTIVE", bits: 3, title: "a context exists" },
];

/** The features that CAPS names, by bit, in all generations but the vendor fork. */
export const CAPS_FIELDS: readonly BitField[] = [
  { name: "BULK", bits: 0, title: "bulk transfer through BAR4" },
  { name: "CACHE_COHERENT", bits: 1, title: "cache coherent" },
  { name: "DMA_ENGINE", bits: 2, title: "DMA engine" },
  { name: "COHERENT_POOL", bits: 3, title: "coherent pool in BAR4" },
  { name: "DEVICE_BIAS", bits: 4, title: "bias for each line" },
  { name: "DCD", bits: 5, title: "dynamic capacity" },
  { name: "GFAM", bits: 6, title: "global fabric-attached memory" },
  { name: "MHSLD", bits: 7, title: "multi-headed single logical device" },
];

/** What CMD_STATUS holds. */
export const COMMAND_STATES: Readonly<Record<number, string>> = {
  0: "idle",
  1: "pending",
  2: "running",
  3: "complete",
  4: "error",
};

const EXT_FLAGS_FIELDS: readonly BitField[] = [
  { name: "SHARED_MEMORY", bits: 0, title: "registers are memory: commands are handed over by SUBMIT" },
  { name: "DOORBELL", bits: 1, title: "the device waits for its doorbell" },
];

type Kind = UintRow["kind"];

function reg(
  offset: number,
  name: string,
  sizeBytes: 4 | 8,
  kind: Kind,
  title: string,
  more: Partial<UintRow> = {},
): UintRow {
  return { type: "uint", name, title, offset, sizeBytes, kind, access: "RO", ...more };
}

const numbered = (count: number, offset: number, prefix: string, title: string, access: string): UintRow[] =>
  Array.from(
    { length: count },
    (_, i) => reg(offset + 8 * i, `${prefix}${i}`, 8, "register", `${title} ${i}`, { access }),
  );

/** The registers below DATA. */
export const TYPE2_REGISTERS: Layout = {
  name: "CXL Type 2 GPU registers",
  source: "public device cxl-type2, BAR2; 0xF00 and above: busbar's extension block",
  rows: [
    reg(0x000, "MAGIC", 4, "register", "identification"),
    reg(0x004, "VERSION", 4, "register", "protocol version"),
    reg(0x008, "STATUS", 4, "register", "device status", { fields: STATUS_FIELDS }),
    reg(0x00c, "CAPS", 4, "register", "features", { fields: CAPS_FIELDS }),
    reg(0x010, "CMD", 4, "register", "writing a code runs it; reads 0", { access: "WO" }),
    reg(0x014, "CMD_STATUS", 4, "quantity", "state of the command", { values: COMMAND_STATES }),
    reg(0x018, "CMD_RESULT", 4, "quantity", "result of the command"),
    reg(0x01c, "CMD_DATA_LO", 4, "register", "reserved"),
    reg(0x020, "CMD_DATA_HI", 4, "register", "reserved"),
    ...numbered(8, 0x040, "PARAM", "argument", "RW"),
    ...numbered(4, 0x080, "RESULT", "result", "RO"),
    reg(0x140, "TOTAL_MEM", 8, "quantity", "device memory in bytes"),
    reg(0x148, "FREE_MEM", 8, "quantity", "free device memory in bytes"),
    reg(0x150, "CC_MAJOR", 4, "quantity", "compute capability, major"),
    reg(0x154, "CC_MINOR", 4, "quantity", "compute capability, minor"),
    reg(0x158, "MP_COUNT", 4, "quantity", "multiprocessors"),
    reg(0x15c, "MAX_THREADS", 4, "quantity", "threads of a block, at most"),
    reg(0x160, "WARP_SIZE", 4, "quantity", "threads of a warp"),
    reg(0x164, "BACKEND", 4, "register", "kind of backend; 0 is none"),
    reg(0x200, "P2P_NUM_PEERS", 4, "quantity", "peers"),
    reg(0x204, "P2P_PEER_ID", 4, "quantity", "a peer"),
    reg(0x208, "P2P_PEER_TYPE", 4, "quantity", "its type: 2 or 3"),
    reg(0x210, "P2P_PEER_MEM_SIZE", 8, "quantity", "its memory in bytes"),
    reg(0x218, "P2P_STATUS", 4, "register", "state of peer copies"),
    reg(0x220, "P2P_XFER_COUNT", 8, "quantity", "peer copies so far"),
    reg(0x300, "COH_POOL_BASE", 8, "address", "coherent pool, offset in BAR4"),
    reg(0x308, "COH_POOL_SIZE", 8, "quantity", "coherent pool in bytes"),
    reg(0x310, "COH_POOL_FREE", 8, "quantity", "of that free, in bytes"),
    reg(0x318, "DIR_SIZE", 8, "quantity", "lines of the snoop filter"),
    reg(0x320, "DIR_USED", 8, "quantity", "of them tracked"),
    reg(0x330, "DCD_TOTAL", 8, "quantity", "dynamic capacity in bytes"),
    reg(0x338, "DCD_ALLOCATED", 8, "quantity", "of that allocated, in bytes"),
    reg(0x340, "DCD_FREE", 8, "quantity", "of that free, in bytes"),
    reg(0x348, "DCD_EXTENTS", 8, "quantity", "extents"),
    reg(0x350, "GFAM_HOSTS", 8, "quantity", "hosts of fabric memory"),
    reg(0x358, "GFAM_MAPPINGS", 8, "quantity", "mappings"),
    reg(0x360, "GFAM_DENIED", 8, "quantity", "accesses denied"),
    reg(0x370, "MHSLD_HEADS", 8, "quantity", "heads"),
    reg(0x378, "MHSLD_HEAD_ID", 8, "quantity", "the head in use"),
    reg(0x380, "MHSLD_CONFLICTS", 8, "quantity", "conflicts between heads"),
    reg(0x388, "MHSLD_INVALIDATIONS", 8, "quantity", "invalidations"),
    reg(J_MAGIC_OFFSET, "J_MAGIC", 4, "register", "identification of the vendor fork"),
    reg(0xf00, "EXT_MAGIC", 4, "register", "identification of the extension block"),
    reg(0xf04, "EXT_VERSION", 4, "quantity", "its version"),
    reg(0xf08, "EXT_FLAGS", 4, "register", "how commands are handed over", { fields: EXT_FLAGS_FIELDS }),
    reg(0xf0c, "DOORBELL", 4, "register", "value for the doorbell of ivshmem"),
    reg(0xf10, "BAR4_OFFSET", 8, "address", "where BAR4 begins in the shared file"),
    reg(0xf18, "BAR4_SIZE", 8, "quantity", "BAR4 in bytes"),
    reg(0xf20, "EPOCH", 4, "quantity", "one more at each start or reset"),
    reg(0xf24, "HEARTBEAT", 4, "quantity", "one more at least every 100 ms"),
    reg(0xf28, "SUBMIT", 4, "quantity", "number of the last command handed over", { access: "RW" }),
    reg(0xf2c, "DONE", 4, "quantity", "number of the last command finished"),
    reg(0xf34, "SESSION", 4, "quantity", "session of the next command; 0 is the guest's own", { access: "RW" }),
    reg(0xf38, "BAR4_POINTER", 8, "address", "device pointer of BAR4's first byte; 0 where kernels cannot reach it"),
  ],
};

/** DEV_NAME: text of 64 bytes, the one register that is no integer. */
export const DEV_NAME = { name: "DEV_NAME", offset: 0x100, sizeBytes: 64 } as const;

const BY_NAME = new Map(TYPE2_REGISTERS.rows.map((row) => [row.name, row]));

/** Offset of a register, by its name in {@linkcode TYPE2_REGISTERS}. Throws for a name that is none: a mistake here. */
export function registerOffset(name: string): number {
  const row = BY_NAME.get(name);
  if (row === undefined) throw new Error(`no register '${name}'`);
  return row.offset;
}

/** What a generation of the device is like. */
export interface Profile {
  /** Its name in options. */
  readonly name: "v1" | "v2" | "v2-J" | "newer";
  /** Bytes of DATA. */
  readonly dataBytes: number;
  /** Bytes of registers and DATA together. */
  readonly windowBytes: number;
  /** Said of it. */
  readonly title: string;
}

/** The generations, by name. */
export const PROFILES: Readonly<Record<Profile["name"], Profile>> = {
  "v1": { name: "v1", dataBytes: 0xf000, windowBytes: 0x10000, title: "first generation, 60 KiB of DATA, no features" },
  "v2": { name: "v2", dataBytes: 0x100000, windowBytes: 0x101000, title: "second generation, 1 MiB of DATA" },
  "v2-J": { name: "v2-J", dataBytes: 0x100000, windowBytes: 0x101000, title: "second generation, a vendor's fork" },
  "newer": { name: "newer", dataBytes: 0x100000, windowBytes: 0x101000, title: "newer than known: v1's commands only" },
};
