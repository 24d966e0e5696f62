/**
 * Capabilities of a PCI function: the two linked lists in configuration space, and what each entry says.
 *
 * Sources: PCI Express Base 6.0 §7 (capability structures), PCI Power Management 1.2 §3, CXL 3.1 §8.1 (DVSECs);
 * field names as in Linux include/uapi/linux/pci_regs.h.
 * @module
 */

import { decodeBytes, type DecodedRow, type Layout } from "../core/layout.ts";
import { hex } from "../core/units.ts";
import { CXL_VENDOR_ID, EXTENDED_TABLES, STANDARD_TABLES } from "./capability_tables.ts";
import { CONFIG_BYTES, configUint, headerType } from "./config_space.ts";

/** One entry of a capability list. */
export interface Capability {
  /** `standard` in the first 256 bytes, `extended` from 0x100. */
  readonly list: "standard" | "extended";
  /** Capability ID: 8 bits in the standard list, 16 in the extended one. */
  readonly id: number;
  /** Version of an extended capability; 0 in the standard list. */
  readonly version: number;
  /** Offset of its first byte in configuration space. */
  readonly offset: number;
  /** Its usual short name: `MSI-X`, `ACS`; `unknown` where this module has none. */
  readonly name: string;
}

/** What a walk of the lists gave. */
export interface CapabilityList {
  /** The entries in the order of the lists. */
  readonly capabilities: readonly Capability[];
  /** Why the walk ended early, each in one sentence: not read that far, a loop, a pointer into nowhere. */
  readonly problems: readonly string[];
  /**
   * Which lists were read to their end. What is not in a list that was not may be there all the same. The extended list is
   * also not known where 256 bytes of a PCI Express function were read.
   */
  readonly isWhole: Readonly<Record<Capability["list"], boolean>>;
}

const STANDARD_NAMES: Readonly<Record<number, string>> = {
  0x01: "PM",
  0x02: "AGP",
  0x03: "VPD",
  0x04: "Slot ID",
  0x05: "MSI",
  0x06: "CompactPCI hot swap",
  0x07: "PCI-X",
  0x08: "HyperTransport",
  0x09: "vendor specific",
  0x0a: "debug port",
  0x0b: "CompactPCI resource control",
  0x0c: "hot-plug",
  0x0d: "bridge subsystem ID",
  0x0e: "AGP 8x",
  0x0f: "secure device",
  0x10: "PCIe",
  0x11: "MSI-X",
  0x12: "SATA",
  0x13: "AF",
  0x14: "EA",
};

const EXTENDED_NAMES: Readonly<Record<number, string>> = {
  0x01: "AER",
  0x02: "VC",
  0x03: "serial number",
  0x04: "power budget",
  0x05: "RC link declaration",
  0x06: "RC internal link",
  0x07: "RC event collector",
  0x08: "MFVC",
  0x09: "VC (with MFVC)",
  0x0a: "RCRB",
  0x0b: "vendor specific",
  0x0d: "ACS",
  0x0e: "ARI",
  0x0f: "ATS",
  0x10: "SR-IOV",
  0x11: "MR-IOV",
  0x12: "multicast",
  0x13: "PRI",
  0x15: "resizable BAR",
  0x16: "dynamic power allocation",
  0x17: "TPH",
  0x18: "LTR",
  0x19: "secondary PCIe",
  0x1a: "PMUX",
  0x1b: "PASID",
  0x1c: "LN requester",
  0x1d: "DPC",
  0x1e: "L1 PM substates",
  0x1f: "PTM",
  0x21: "FRS queueing",
  0x22: "readiness time",
  0x23: "DVSEC",
  0x24: "VF resizable BAR",
  0x25: "data link feature",
  0x26: "16 GT/s",
  0x27: "lane margining",
  0x28: "hierarchy ID",
  0x29: "native PCIe enclosure management",
  0x2a: "32 GT/s",
  0x2b: "alternate protocol",
  0x2c: "system firmware intermediary",
  0x2d: "shadow functions",
  0x2e: "DOE",
  0x2f: "device 3",
  0x30: "IDE",
  0x31: "64 GT/s",
};

/** The header of an entry lies at 0x40 or above and takes four bytes, so no honest list is longer. */
const MAX_STANDARD = 48;
const MAX_EXTENDED = (4096 - 256) / 8;

/**
 * Walks both capability lists. Never throws and always ends, whatever the bytes are.
 *
 * @param config configuration space as far as it could be read: 64 bytes without privilege, else 256 or 4096
 */
export function listCapabilities(config: Uint8Array): CapabilityList {
  const problems: string[] = [];
  const missing: Missing = { standard: false, extended: false };
  const standard = standardList(config, problems, missing);
  const extended = extendedList(config, problems, missing);
  // Only PCI Express functions have an extended list; of one that was read to 256 bytes it is not known.
  const mayHaveExtended = missing.standard || standard.some(({ id }) => id === 0x10);
  if (config.length <= CONFIG_BYTES && mayHaveExtended) missing.extended = true;
  const isWhole = { standard: !missing.standard, extended: !missing.extended };
  return { capabilities: [...standard, ...extended], problems, isWhole };
}

/** Which of the two lists end beyond what was read. */
type Missing = Record<Capability["list"], boolean>;

function standardList(config: Uint8Array, problems: string[], missing: Missing): Capability[] {
  const found: Capability[] = [];
  const hasList = (configUint(config, 0x06, 2) & 0x10) !== 0;
  if (!hasList || config.length < 64 || headerIsMissing(config)) return found;
  const seen = new Set<number>();
  let offset = configUint(config, headerType(config) === 2 ? 0x14 : 0x34, 1) & 0xfc;
  while (offset !== 0) {
    if (offset >= 0x40 && offset + 2 > config.length) {
      missing.standard = true;
      return stop(`capabilities from ${hex(offset)} on are not known: only ${config.length} bytes were read`);
    }
    if (offset < 0x40) return stop(`standard capability list points into the header (${hex(offset)})`);
    if (seen.has(offset) || seen.size >= MAX_STANDARD) return stop(`standard capability list loops at ${hex(offset)}`);
    seen.add(offset);
    const id = configUint(config, offset, 1);
    if (id === 0xff) return stop(`standard capability list reads all ones at ${hex(offset)}`);
    const name = STANDARD_NAMES[id] ?? "unknown";
    // ID 0 is the null capability: it has no registers, only a pointer to the next.
    if (id !== 0) found.push({ list: "standard", id, version: 0, offset, name });
    offset = configUint(config, offset + 1, 1) & 0xfc;
  }
  return found;

  function stop(problem: string): Capability[] {
    problems.push(problem);
    return found;
  }
}

function extendedList(config: Uint8Array, problems: string[], missing: Missing): Capability[] {
  const found: Capability[] = [];
  if (config.length <= CONFIG_BYTES) return found;
  const seen = new Set<number>();
  let offset = 0x100;
  while (offset !== 0) {
    const header = configUint(config, offset, 4);
    if (header === 0xffff_ffff || (header === 0 && offset === 0x100)) break;
    seen.add(offset);
    const id = header & 0xffff;
    if (id !== 0) {
      const name = EXTENDED_NAMES[id] ?? "unknown";
      found.push({ list: "extended", id, version: header >>> 16 & 0xf, offset, name });
    }
    const next = header >>> 20;
    if (next >= 0x100 && next % 4 === 0 && next + 4 > config.length) {
      missing.extended = true;
      problems.push(`extended capabilities from ${hex(next)} on are not known: only ${config.length} bytes were read`);
      break;
    }
    if (next !== 0 && (next < 0x100 || next % 4 !== 0)) {
      problems.push(`extended capability list points to ${hex(next)}`);
      break;
    }
    if (seen.has(next) || seen.size >= MAX_EXTENDED) {
      problems.push(`extended capability list loops at ${hex(next)}`);
      break;
    }
    offset = next;
  }
  return found;
}

/** A virtual function's IDs read all ones too, but its class does not. */
function headerIsMissing(config: Uint8Array): boolean {
  return configUint(config, 0, 4) === 0xffff_ffff && configUint(config, 8, 4) === 0xffff_ffff;
}

/** The first capability with this ID, or null. */
export function findCapability(list: CapabilityList, kind: Capability["list"], id: number): Capability | null {
  return list.capabilities.find((capability) => capability.list === kind && capability.id === id) ?? null;
}

/** A capability and its decoded registers. */
export interface DecodedCapability extends Capability {
  /** Its registers; empty where this module has no table for it. Offsets count from the capability's start. */
  readonly registers: readonly DecodedRow[];
}

/** Decodes a capability by its table. Registers beyond the end of what was read are unknown. Never throws. */
export function decodeCapability(capability: Capability, config: Uint8Array): DecodedCapability {
  const layout = capabilityLayout(capability, config);
  const bytes = config.subarray(capability.offset);
  return { ...capability, registers: layout === null ? [] : decodeBytes(layout.rows, bytes) };
}

/** The table for a capability, or null. Some depend on what the capability says of itself, hence the bytes. */
export function capabilityLayout(capability: Capability, config: Uint8Array): Layout | null {
  const table = (capability.list === "standard" ? STANDARD_TABLES : EXTENDED_TABLES)[capability.id];
  if (table === undefined) return null;
  const rows = typeof table.rows === "function"
    ? table.rows(config.subarray(capability.offset), portType(config))
    : table.rows;
  return { name: capability.name, source: table.source, rows };
}

/** Every capability that has a table, by list and name, whether the function has it or not. */
export function capabilityTables(
  config: Uint8Array,
): { readonly list: Capability["list"]; readonly title: string; readonly layout: Layout }[] {
  const lists = [["standard", STANDARD_TABLES, STANDARD_NAMES], ["extended", EXTENDED_TABLES, EXTENDED_NAMES]] as const;
  return lists.flatMap(([list, tables, names]) =>
    Object.keys(tables).flatMap((key) => {
      const id = Number(key);
      const name = names[id] ?? "unknown";
      // Beyond what was read, so that tables that depend on the capability's own bytes show what all of them have.
      const layout = capabilityLayout({ list, id, version: 0, offset: config.length, name }, config);
      return layout === null ? [] : [{ list, title: name, layout }];
    })
  );
}

/** Device or port type of the PCIe capability; null without one. */
function portType(config: Uint8Array): number | null {
  const pcie = findCapability(listCapabilities(config), "standard", 0x10);
  return pcie === null ? null : configUint(config, pcie.offset + 2, 2) >>> 4 & 0xf;
}

/** CXL 3.1 §8.1, table 8-2. */
const CXL_DVSEC_NAMES: Readonly<Record<number, string>> = {
  0: "CXL device",
  2: "CXL non-CXL function map",
  3: "CXL extensions for ports",
  4: "CXL GPF for ports",
  5: "CXL GPF for devices",
  7: "CXL flex bus port",
  8: "CXL register locator",
  9: "CXL MLD",
  10: "CXL test",
};

/** Vendor and ID of a designated vendor-specific capability, with its name where it is one of CXL's. */
export interface DvsecIdentity {
  /** Who defined it: 0x1e98 is the CXL consortium. */
  readonly vendorId: number;
  /** The vendor's number for it. */
  readonly dvsecId: number;
  /** Revision of the structure. */
  readonly revision: number;
  /** Its length in bytes, header included, as it says itself. */
  readonly sizeBytes: number;
  /** Its name, or null. */
  readonly name: string | null;
}

/** What a DVSEC capability is. */
export function dvsecIdentity(capability: Capability, config: Uint8Array): DvsecIdentity {
  const header = configUint(config, capability.offset + 4, 4);
  const vendorId = header & 0xffff;
  const dvsecId = configUint(config, capability.offset + 8, 2);
  return {
    vendorId,
    dvsecId,
    revision: header >>> 16 & 0xf,
    sizeBytes: header >>> 20,
    name: vendorId === CXL_VENDOR_ID ? CXL_DVSEC_NAMES[dvsecId] ?? null : null,
  };
}
