/**
 * The registers of a controller as they were at one moment, decoded.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { type DecodedRow, decodeRows, fieldOf, uintRow } from "../../core/layout.ts";
import { type Mmio, type RecordedPiece } from "../../core/mmio.ts";
import { CAP_CMBS, CMBMSC_CRE, NVME_REGISTERS } from "./registers.ts";

/** Something to know about a register that its bits do not say. */
export interface RegisterNote {
  /** The register's name. */
  readonly register: string;
  /** One sentence. */
  readonly text: string;
}

/** The registers of a controller at one moment. */
export interface RegisterDump {
  /** Every register of {@linkcode NVME_REGISTERS}, in its order. */
  readonly registers: readonly DecodedRow[];
  /** What their bits do not say. */
  readonly notes: readonly RegisterNote[];
  /** The bytes they were decoded from. */
  readonly pieces: readonly RecordedPiece[];
}

/** The two runs of registers; everything else below the doorbells is reserved. */
export const REGISTER_RUNS: readonly { offset: number; sizeBytes: number }[] = [
  { offset: 0x00, sizeBytes: 0x6c },
  { offset: 0xe00, sizeBytes: 0x1c },
];

/** How much of BAR0 holds registers: its first page. What follows are doorbells, which are not to be read. */
export const REGISTER_BYTES = 0x1000;

/**
 * Reads every register once, in 32-bit accesses, and decodes them. Reading changes nothing in a controller.
 *
 * @param bar0 at least the first {@linkcode REGISTER_BYTES} of BAR0, or as much as the BAR has
 * @throws {BusbarError} `unreachable` when the registers read as if no controller were there
 *
 * @example
 * ```ts
 * import { openPciDevice, readRegisters } from "@busbar/busbar";
 * using device = openPciDevice("soft:nvme");
 * for (const { row, value } of readRegisters(device.bar(0)).registers) console.log(row.name, value);
 * ```
 */
export function readRegisters(bar0: Mmio): RegisterDump {
  const pieces = REGISTER_RUNS.filter((run) => run.offset + run.sizeBytes <= bar0.endOffset)
    .map((run): RecordedPiece => ({ offset: run.offset, bytes: bar0.readBlock(run.offset, run.sizeBytes, 4) }));
  const dump = decodeRegisters(pieces);
  const problem = missingController(dump);
  if (problem !== null) {
    throw new BusbarError("unreachable", `${bar0.name}: no controller answers: ${problem}`, {
      operation: "read NVMe registers",
      path: bar0.name,
      hint: "the function may be unplugged, in D3 or not decoding memory: look at lspci -vv and dmesg",
    });
  }
  return dump;
}

/** Decodes registers from bytes. Never throws; registers that the bytes do not cover are unknown. */
export function decodeRegisters(pieces: readonly RecordedPiece[]): RegisterDump {
  const registers = decodeRows(NVME_REGISTERS.rows, (_row, offset, sizeBytes) => {
    for (const piece of pieces) {
      const from = offset - piece.offset;
      if (from >= 0 && from + sizeBytes <= piece.bytes.length) return piece.bytes.subarray(from, from + sizeBytes);
    }
    return "BAR0 ends before it, or it was not recorded";
  });
  return { registers, notes: notesFor(registers), pieces };
}

/** The value of a register in a dump; null where it is unknown. */
export function registerValue(dump: Pick<RegisterDump, "registers">, name: string): bigint | null {
  const row = uintRow(NVME_REGISTERS, name);
  const value = dump.registers.find((decoded) => decoded.row === row)?.value;
  return typeof value === "bigint" ? value : null;
}

/**
 * Says in words why what was read is no controller, or null when it may be one. A function that vanished reads all
 * ones on most machines and zeros on some; no controller has a capability register of either, or version 0.
 */
export function missingController(dump: Pick<RegisterDump, "registers">): string | null {
  const cap = registerValue(dump, "CAP");
  const vs = registerValue(dump, "VS");
  if (cap === 0xffff_ffff_ffff_ffffn || vs === 0xffff_ffffn) return "CAP and VS read all ones";
  if (cap === 0n) return "CAP reads 0";
  if (vs === 0n) return "VS reads 0";
  return null;
}

/** Version 1.4 of the specification, as VS holds it. */
const VERSION_1_4 = 0x0001_0400n;

function notesFor(registers: readonly DecodedRow[]): RegisterNote[] {
  const value = (name: string): bigint | null => registerValue({ registers }, name);
  const [cap, vs, cmbmsc] = [value("CAP"), value("VS"), value("CMBMSC")];
  const notes: RegisterNote[] = [];
  if (cap === null || vs === null) return notes;
  if (vs >= VERSION_1_4 && fieldOf(cap, CAP_CMBS) === 1n && cmbmsc !== null && fieldOf(cmbmsc, CMBMSC_CRE) === 0n) {
    for (const register of ["CMBLOC", "CMBSZ"]) {
      notes.push({ register, text: "hidden: it reads 0 until CMBMSC.CRE is 1 (CAP.CMBS says there is a buffer)" });
    }
  }
  for (const decoded of registers) {
    const since = sinceVersion(decoded.row.since ?? "1.0");
    if (since > vs && decoded.value !== null && decoded.value !== 0n) {
      notes.push({
        register: decoded.row.name,
        text: `not zero, though it came with ${decoded.row.since} and the controller is older`,
      });
    }
  }
  return notes;
}

function sinceVersion(text: string): bigint {
  const [major = "1", minor = "0"] = text.split(".");
  return BigInt(major) << 16n | BigInt(minor) << 8n;
}

/** A register that differs between two dumps. */
export interface RegisterChange {
  /** The register's name. */
  readonly register: string;
  /** Its value in the first dump; null where it is unknown. */
  readonly before: bigint | null;
  /** Its value in the second. */
  readonly after: bigint | null;
  /** The bit fields that differ, by name. */
  readonly fields: readonly { readonly field: string; readonly before: bigint; readonly after: bigint }[];
}

/** What differs between two dumps, in the order of the table. */
export function compareDumps(before: RegisterDump, after: RegisterDump): RegisterChange[] {
  const changes: RegisterChange[] = [];
  for (const [index, old] of before.registers.entries()) {
    const now = after.registers[index];
    if (now === undefined || now.value === old.value) continue;
    const fields = now.fields.flatMap(({ field, value }, i) => {
      const was = old.fields[i]?.value;
      return was === undefined || was === value ? [] : [{ field: field.name, before: was, after: value }];
    });
    changes.push({
      register: now.row.name,
      before: typeof old.value === "bigint" ? old.value : null,
      after: typeof now.value === "bigint" ? now.value : null,
      fields,
    });
  }
  return changes;
}
