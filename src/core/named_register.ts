/**
 * Registers as people name them on a command line: by a table's name, or by offset.
 * @module
 */

import { BusbarError } from "./error.ts";
import { decodeBytes, type DecodedRow, type Layout, type UintRow } from "./layout.ts";
import { nearest } from "./locator.ts";
import type { AccessBytes } from "./mmio.ts";
import { hex, parseUnsigned } from "./units.ts";

/** A table and where it begins. */
export interface PlacedTable {
  /** Stands before a row's name, with a dot: `PM` in `PM.PMCSR`. Empty for the main table. */
  readonly prefix: string;
  /** Offset of the table's first byte in the region. */
  readonly base: number;
  /** The table. */
  readonly layout: Layout;
}

/** One register of a region. */
export interface NamedRegister {
  /** Its name with the table's prefix; null where no table has it. */
  readonly name: string | null;
  /** Bytes from the start of the region. */
  readonly offset: number;
  /** How wide it is accessed. */
  readonly accessBytes: AccessBytes;
  /** Its row; null where no table has it, or it is accessed in part. */
  readonly row: UintRow | null;
}

/**
 * The register that a text names.
 *
 * @param text a row's name (`AQA`, `PM.PMCSR`, any case), or an offset (`0x24`)
 * @param widthBytes the access width; by default the row's own, and 4 where there is none
 * @throws {BusbarError} `usage` for a name that no table has, with the nearest that one has
 */
export function findRegister(tables: readonly PlacedTable[], text: string, widthBytes?: AccessBytes): NamedRegister {
  const known = tables.flatMap(({ prefix, base, layout }) =>
    layout.rows.flatMap((row) =>
      row.type === "uint" && isAccess(row.sizeBytes)
        ? [{ name: prefix === "" ? row.name : `${prefix}.${row.name}`, offset: base + row.offset, row }]
        : []
    )
  );
  const isNumber = /^(0x[0-9a-f]+|\d+)$/i.test(text);
  const offset = isNumber ? Number(parseUnsigned(text, "offset")) : null;
  const found = known.find((one) => isNumber ? one.offset === offset : one.name.toLowerCase() === text.toLowerCase());
  if (found === undefined && offset === null) {
    const near = nearest(text, known.map(({ name }) => name));
    throw new BusbarError("usage", `there is no register '${text}' here`, {
      operation: "find register",
      hint: near === null ? "give its offset, as in 0x24" : `did you mean '${near}'?`,
    });
  }
  const own = found?.row.sizeBytes;
  const accessBytes = widthBytes ?? (own !== undefined && isAccess(own) ? own : 4);
  return {
    name: found?.name ?? null,
    offset: found?.offset ?? offset ?? 0,
    accessBytes,
    row: found?.row.sizeBytes === accessBytes ? found.row : null,
  };
}

function isAccess(sizeBytes: number): sizeBytes is AccessBytes {
  return sizeBytes === 1 || sizeBytes === 2 || sizeBytes === 4 || sizeBytes === 8;
}

/** A register's value as its row explains it; nothing where no table has it. */
export function explainRegister(register: NamedRegister, value: bigint): DecodedRow[] {
  if (register.row === null) return [];
  const bytes = Uint8Array.from({ length: 8 }, (_, i) => Number(value >> BigInt(8 * i) & 0xffn));
  return decodeBytes([{ ...register.row, offset: 0 }], bytes.subarray(0, register.row.sizeBytes));
}

/**
 * The value to write, where only the bits under a mask are to change.
 *
 * @throws {BusbarError} `out-of-range` when the value does not fit the register, or has bits outside of the mask
 */
export function maskedValue(register: NamedRegister, old: bigint, value: bigint, mask: bigint | null): bigint {
  const whole = (1n << BigInt(8 * register.accessBytes)) - 1n;
  const allowed = mask ?? whole;
  if (allowed > whole || value > allowed || (value & ~allowed) !== 0n) {
    throw new BusbarError("out-of-range", `${hex(value)} does not fit ${hex(allowed)}`, {
      operation: "write register",
    });
  }
  return old & ~allowed & whole | value;
}
