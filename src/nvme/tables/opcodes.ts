/**
 * NVMe commands by name.
 *
 * Source: NVM Express Base 2.1 §5 and §7, NVM Command Set 1.1 §3, Zoned Namespace Command Set 1.1 §3, Key Value Command
 * Set 1.0 §3.
 * @module
 */

/** Which queue a command belongs to. */
export type NvmeQueueKind = "admin" | "io";

/** Admin commands by opcode. */
export const ADMIN_OPCODES: Readonly<Record<number, string>> = {
  0x00: "Delete I/O Submission Queue",
  0x01: "Create I/O Submission Queue",
  0x02: "Get Log Page",
  0x04: "Delete I/O Completion Queue",
  0x05: "Create I/O Completion Queue",
  0x06: "Identify",
  0x08: "Abort",
  0x09: "Set Features",
  0x0a: "Get Features",
  0x0c: "Asynchronous Event Request",
  0x0d: "Namespace Management",
  0x10: "Firmware Commit",
  0x11: "Firmware Image Download",
  0x14: "Device Self-test",
  0x15: "Namespace Attachment",
  0x18: "Keep Alive",
  0x19: "Directive Send",
  0x1a: "Directive Receive",
  0x1c: "Virtualization Management",
  0x1d: "NVMe-MI Send",
  0x1e: "NVMe-MI Receive",
  0x20: "Capacity Management",
  0x21: "Discovery Information Management",
  0x22: "Fabric Zoning Receive",
  0x24: "Lockdown",
  0x25: "Fabric Zoning Lookup",
  0x28: "Clear Exported NVM Resource Configuration",
  0x29: "Fabric Zoning Send",
  0x2a: "Create Exported NVM Subsystem",
  0x2d: "Manage Exported NVM Subsystem",
  0x31: "Manage Exported Namespace",
  0x35: "Manage Exported Port",
  0x39: "Send Discovery Log Page",
  0x3d: "Track Send",
  0x3e: "Track Receive",
  0x41: "Migration Send",
  0x42: "Migration Receive",
  0x45: "Controller Data Queue",
  0x7c: "Doorbell Buffer Config",
  0x7f: "Fabrics Commands",
  0x80: "Format NVM",
  0x81: "Security Send",
  0x82: "Security Receive",
  0x84: "Sanitize",
  0x85: "Load Program",
  0x86: "Get LBA Status",
  0x88: "Program Activation Management",
  0x89: "Memory Range Set Management",
};

/** I/O commands by opcode: those of the NVM and the Zoned Namespace Command Set. */
export const IO_OPCODES: Readonly<Record<number, string>> = {
  0x00: "Flush",
  0x01: "Write",
  0x02: "Read",
  0x04: "Write Uncorrectable",
  0x05: "Compare",
  0x08: "Write Zeroes",
  0x09: "Dataset Management",
  0x0c: "Verify",
  0x0d: "Reservation Register",
  0x0e: "Reservation Report",
  0x11: "Reservation Acquire",
  0x12: "I/O Management Receive",
  0x15: "Reservation Release",
  0x18: "Cancel",
  0x19: "Copy",
  0x1d: "I/O Management Send",
  0x79: "Zone Management Send",
  0x7a: "Zone Management Receive",
  0x7d: "Zone Append",
  0x7f: "Fabrics Commands",
};

/** Admin opcodes from here on are the vendor's, I/O opcodes from 0x80 on. */
const FIRST_VENDOR_ADMIN = 0xc0;
const FIRST_VENDOR_IO = 0x80;

/**
 * The name of a command; `Vendor Specific` or `Reserved` where the specification has none.
 *
 * @example
 * ```ts
 * import { opcodeName } from "./opcodes.ts";
 * console.assert(opcodeName("admin", 0x06) === "Identify");
 * ```
 */
export function opcodeName(queue: NvmeQueueKind, opcode: number): string {
  const isAdmin = queue === "admin";
  const known = (isAdmin ? ADMIN_OPCODES : IO_OPCODES)[opcode];
  if (known !== undefined) return known;
  return opcode >= (isAdmin ? FIRST_VENDOR_ADMIN : FIRST_VENDOR_IO) ? "Vendor Specific" : "Reserved";
}
