/**
 * What registers of configuration space hold after a conventional reset, by field, as far as the specification fixes it.
 *
 * Only what software or the hardware's life changes is here: control registers and status bits. What a function is built
 * to be (capabilities) has no other value to compare with.
 *
 * Sources: PCI Local Bus 3.0 §6.2, PCI Express Base 6.0 §7 (tables of each register, column of default values).
 * @module
 */

import type { BitField } from "../core/layout.ts";
import { fieldPlace } from "../core/layout.ts";

/** A register: fields are 0 after reset, except those named. */
interface ResetRow {
  /** Fields with another value. */
  readonly values?: Readonly<Record<string, bigint>>;
  /** Fields whose value after reset is up to the implementation, the slot or the other end. */
  readonly open?: readonly string[];
}

const ZERO: ResetRow = {};

/** By list and ID of the capability (`header` for the header), then by register. */
const RESET_ROWS: Readonly<Record<string, Readonly<Record<string, ResetRow>>>> = {
  "header": { COMMAND: ZERO, BRIDGE_CONTROL: ZERO },
  "standard 1": { PMCSR: { open: ["NO_SOFT_RESET", "DATA_SCALE", "PME_STATUS", "PME_ENABLE"] } },
  "standard 5": {
    CONTROL: { open: ["CAPABLE", "64BIT", "MASKABLE", "EXTENDED_DATA_CAPABLE"] },
  },
  "standard 16": {
    DEVCTL: { values: { RELAX_EN: 1n, NOSNOOP_EN: 1n, READRQ: 2n }, open: ["EXT_TAG", "AUX_PME", "BCR_FLR"] },
    DEVSTA: { open: ["AUXPD"] },
    LNKCTL: { open: ["RCB"] },
    SLTCTL: { open: ["AIC", "PIC", "PCC"] },
    SLTSTA: { open: ["MRLSS", "PDS", "EIS", "DLLSC", "PDC", "MRLSC"] },
    RTCTL: ZERO,
    DEVCTL2: ZERO,
    LNKCTL2: { open: ["TLS", "DEEMPHASIS", "HASD"] },
  },
  "standard 17": { CONTROL: { open: ["TABLE_SIZE"] } },
  "extended 1": {
    UNCOR_STATUS: ZERO,
    UNCOR_MASK: {
      open: ["INTN", "TLPPRE", "POISON_BLK", "DMWR_BLK", "IDE_CHECK", "MISR_IDE", "PCRC_CHECK", "XLAT_BLK"],
    },
    UNCOR_SEVER: {
      values: { DLP: 1n, FCP: 1n, RX_OVER: 1n, MALF_TLP: 1n },
      open: ["INTN", "IDE_CHECK", "MISR_IDE", "PCRC_CHECK", "DMWR_BLK", "POISON_BLK", "SURPDN"],
    },
    COR_STATUS: ZERO,
    COR_MASK: { values: { ADV_NFAT: 1n }, open: ["INTERNAL", "LOG_OVER"] },
    ROOT_COMMAND: ZERO,
    ROOT_STATUS: { open: ["IRQ", "ERR_COR_SUBCLASS"] },
  },
  "extended 13": { CTRL: ZERO },
  "extended 14": { CTRL: ZERO },
  "extended 15": { CTRL: ZERO },
  "extended 16": { CTRL: ZERO, STATUS: ZERO, SYS_PGSIZE: { values: { "": 1n } }, NUM_VF: ZERO },
  "extended 19": { CTRL: ZERO, STATUS: { open: ["STOPPED", "PASID_REQUIRED"] }, ALLOC_REQ: ZERO },
  "extended 23": { CTRL: ZERO },
  "extended 24": { MAX_SNOOP: ZERO, MAX_NOSNOOP: ZERO },
  "extended 25": { LNKCTL3: ZERO, LANE_ERROR_STATUS: ZERO },
  "extended 27": { CTRL: ZERO },
  "extended 29": { CTL: ZERO, STATUS: { open: ["RP_PIO_FEP", "TRIGGER_RSN", "TRIGGER_RSN_EXT"] }, RP_PIO_STATUS: ZERO },
  "extended 30": { CTL1: { open: ["CM_RESTORE_TIME"] } },
  "extended 31": { CTRL: ZERO },
  "extended 46": { CTRL: ZERO, STATUS: { open: ["DATA_OBJECT_READY", "BUSY"] } },
  "extended 48": { CTL: ZERO },
};

/** A value after reset that is not the one that stands there now. */
export interface ResetDifference {
  /** Name of the field; empty for a register without fields. */
  readonly field: string;
  /** What the field holds now. */
  readonly value: bigint;
  /** What it holds after reset. */
  readonly reset: bigint;
}

/**
 * The fields of a register that differ from their value after reset.
 *
 * @param capability `header`, or list and ID as in `standard 16`
 * @param value the register as it is
 * @returns null where the specification fixes no value for this register
 */
export function resetDifferences(
  capability: string,
  register: string,
  value: bigint,
  fields: readonly BitField[] | undefined,
): ResetDifference[] | null {
  const row = RESET_ROWS[capability]?.[register];
  if (row === undefined) return null;
  if (fields === undefined) {
    const reset = row.values?.[""] ?? 0n;
    return value === reset ? [] : [{ field: "", value, reset }];
  }
  return fields.filter(({ name }) => row.open?.includes(name) !== true).flatMap((field) => {
    const { low, width } = fieldPlace(field);
    const now = value >> BigInt(low) & (1n << BigInt(width)) - 1n;
    const reset = row.values?.[field.name] ?? 0n;
    return now === reset ? [] : [{ field: field.name, value: now, reset }];
  });
}

/** Registers that the table names, for a test that each exists: capability and register. */
export function resetRegisters(): (readonly [capability: string, register: string, fields: readonly string[]])[] {
  return Object.entries(RESET_ROWS).flatMap(([capability, rows]) =>
    Object.entries(rows).map(([register, { values = {}, open = [] }]) =>
      [capability, register, [...Object.keys(values), ...open].filter((name) => name !== "")] as const
    )
  );
}
