/**
 * All that a function says in configuration space: header and every capability, field by field, with what differs from
 * the values after reset.
 * @module
 */

import { decodeBytes, type DecodedRow } from "../core/layout.ts";
import { type Capability, capabilityLayout, dvsecIdentity, listCapabilities } from "./capabilities.ts";
import { headerLayout } from "./config_space.ts";
import { type ResetDifference, resetDifferences } from "./reset_values.ts";

/** A register, decoded, and compared with its value after reset. */
export interface ReportedRegister {
  /** The register; offsets count from the start of its part. */
  readonly decoded: DecodedRow;
  /** Fields that differ from reset; null where the specification fixes no value, or it is not known. */
  readonly changed: readonly ResetDifference[] | null;
}

/** The header or a capability. */
export interface ReportedPart {
  /** `header`, or the capability's short name; a DVSEC with its own. */
  readonly name: string;
  /** The capability; null for the header. */
  readonly capability: Capability | null;
  /** Where it begins. */
  readonly offset: number;
  /** Specification and section; null where no table decodes it. */
  readonly source: string | null;
  /** Its registers; empty where no table decodes it. */
  readonly registers: readonly ReportedRegister[];
  /** Its bytes up to the next part, at most 64, where no table decodes it. */
  readonly bytes: Uint8Array | null;
}

/** Everything in configuration space. */
export interface ConfigReport {
  /** Header first, then the capabilities in the order of the lists. */
  readonly parts: readonly ReportedPart[];
  /** Why lists end early, a sentence each. */
  readonly problems: readonly string[];
  /** Which lists were read to their end. */
  readonly isWhole: Readonly<Record<Capability["list"], boolean>>;
}

/** Most bytes that are shown of what no table decodes. */
const SHOWN_BYTES = 64;

/** Decodes configuration space as far as it could be read. Never throws. */
export function reportConfig(config: Uint8Array): ConfigReport {
  const { capabilities, problems, isWhole } = listCapabilities(config);
  const header = headerLayout(config);
  const starts = capabilities.map(({ offset }) => offset).sort((a, b) => a - b);
  const parts = capabilities.map((capability): ReportedPart => {
    const { offset } = capability;
    const layout = capabilityLayout(capability, config);
    const own = capability.list === "extended" && capability.id === 0x23
      ? dvsecIdentity(capability, config).name
      : null;
    const end = Math.min(starts.find((start) => start > offset) ?? config.length, offset + SHOWN_BYTES, config.length);
    return {
      name: own === null ? capability.name : `${capability.name} ${own}`,
      capability,
      offset,
      source: layout?.source ?? null,
      registers: layout === null
        ? []
        : compared(`${capability.list} ${capability.id}`, decodeBytes(layout.rows, config.subarray(offset))),
      bytes: layout === null ? config.subarray(offset, end) : null,
    };
  });
  return {
    parts: [{
      name: "header",
      capability: null,
      offset: 0,
      source: header?.source ?? null,
      registers: header === null ? [] : compared("header", decodeBytes(header.rows, config)),
      bytes: header === null ? config.subarray(0, SHOWN_BYTES) : null,
    }, ...parts],
    problems,
    isWhole,
  };
}

function compared(part: string, rows: readonly DecodedRow[]): ReportedRegister[] {
  return rows.map((decoded) => {
    const { row, value } = decoded;
    const isKnown = row.type === "uint" && typeof value === "bigint";
    return { decoded, changed: isKnown ? resetDifferences(part, row.name, value, row.fields) : null };
  });
}
