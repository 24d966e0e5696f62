/**
 * What people ask first about a controller and its namespaces, computed from the decoded pages.
 * @module
 */

import type { DecodedTable } from "../../core/decoded.ts";
import { type DecodedRow, yesNo } from "../../core/layout.ts";
import { formatIndex, PROTECTION_TYPES } from "./identify_namespace.ts";

/** What a controller is. */
export interface ControllerSummary {
  /** Serial number. */
  readonly serial: string;
  /** Model. */
  readonly model: string;
  /** Firmware revision. */
  readonly firmware: string;
  /** NVM Subsystem NVMe Qualified Name; empty where there is none. */
  readonly subsystem: string;
  /** Version of the specification, as the register VS holds it; 0 before 1.2. */
  readonly version: bigint;
  /** Controller identifier within the subsystem. */
  readonly controllerId: number;
  /** The highest namespace identifier. */
  readonly namespaceLimit: number;
  /** Bytes of all media; null where it is not reported. */
  readonly capacityBytes: bigint | null;
}

/**
 * What a controller is, from Identify Controller.
 *
 * @param controller the decoded page `id-ctrl`; what is missing of it reads as empty or 0
 */
export function summarizeController(controller: DecodedTable): ControllerSummary {
  const capacity = controller.uint("TNVMCAP") ?? 0n;
  return {
    serial: controller.text("SN") ?? "",
    model: controller.text("MN") ?? "",
    firmware: controller.text("FR") ?? "",
    subsystem: controller.text("SUBNQN") ?? "",
    version: controller.uint("VER") ?? 0n,
    controllerId: Number(controller.uint("CNTLID") ?? 0n),
    namespaceLimit: Number(controller.uint("NN") ?? 0n),
    capacityBytes: capacity === 0n ? null : capacity,
  };
}

/**
 * The largest transfer of one command in bytes; null where there is no limit, or where the page does not say.
 *
 * @param pageBytes the smallest memory page: CAP.MPSMIN
 */
export function maxTransferBytes(controller: DecodedTable, pageBytes: number): number | null {
  const mdts = Number(controller.uint("MDTS") ?? 0n);
  const sizeBytes = pageBytes * 2 ** mdts;
  return mdts === 0 || !Number.isSafeInteger(sizeBytes) ? null : sizeBytes;
}

/** An LBA format of a namespace. */
export interface LbaFormat {
  /** Its number. */
  readonly index: number;
  /** Bytes of data in a block. */
  readonly dataBytes: number;
  /** Bytes of metadata that belong to a block. */
  readonly metadataBytes: number;
  /** Relative Performance: 0 is best. */
  readonly performance: number;
  /** True for the format that the namespace has now. */
  readonly inUse: boolean;
}

/** What a namespace is. */
export interface NamespaceSummary {
  /** False for an identifier that is valid and has no namespace attached. */
  readonly isActive: boolean;
  /** Size in blocks. */
  readonly sizeBlocks: bigint;
  /** Blocks that can hold data at the same time. */
  readonly capacityBlocks: bigint;
  /** Blocks that hold data now. */
  readonly usedBlocks: bigint;
  /** The formats that can be used. */
  readonly formats: readonly LbaFormat[];
  /** The format that it has; null where the page names one that it does not describe. */
  readonly format: LbaFormat | null;
  /** Size in bytes of data; null without a format. */
  readonly sizeBytes: bigint | null;
  /** How metadata is transferred. */
  readonly metadata: "none" | "at the end of each block" | "separate";
  /** Protection information: `none`, `type 1`, … */
  readonly protection: string;
}

/** Blocks of more than 2^31 bytes are no drive's: such a format is left out. */
const LBADS_MAX = 31;

/**
 * What a namespace is, from Identify Namespace.
 *
 * @param namespace the decoded page `id-ns`; what is missing of it reads as 0
 */
export function summarizeNamespace(namespace: DecodedTable): NamespaceSummary {
  const flbas = namespace.uint("FLBAS") ?? 0n;
  const current = formatIndex(flbas);
  const formats = namespace.elements("LBAF").flatMap((element): LbaFormat[] => {
    const lbads = Number(element.uint("LBADS") ?? 0n);
    if (lbads === 0 || lbads > LBADS_MAX) return [];
    return [{
      index: element.index,
      dataBytes: 2 ** lbads,
      metadataBytes: Number(element.uint("MS") ?? 0n),
      performance: Number(element.field("RP", "RP") ?? 0n),
      inUse: element.index === current,
    }];
  });
  const format = formats.find((one) => one.inUse) ?? null;
  const sizeBlocks = namespace.uint("NSZE") ?? 0n;
  const atEnd = namespace.field("FLBAS", "MDST") === 1n;
  return {
    // An inactive one's page is all zeros; an active one has formats, even when it has no blocks.
    isActive: sizeBlocks !== 0n || formats.length > 0,
    sizeBlocks,
    capacityBlocks: namespace.uint("NCAP") ?? 0n,
    usedBlocks: namespace.uint("NUSE") ?? 0n,
    formats,
    format,
    sizeBytes: format === null ? null : sizeBlocks * BigInt(format.dataBytes),
    metadata: format === null || format.metadataBytes === 0 ? "none" : atEnd ? "at the end of each block" : "separate",
    protection: PROTECTION_TYPES[Number(namespace.field("DPS", "PIT") ?? 0n)] ?? "not defined",
  };
}

/** What a controller can do, under one heading. */
export interface AbilityGroup {
  /** The heading. */
  readonly title: string;
  /** What it can do: the titles of the bits that are set. */
  readonly names: readonly string[];
}

/** Rows whose bits say what a controller can do, with the heading for each. */
const ABILITY_ROWS: readonly (readonly [row: string, title: string])[] = [
  ["OACS", "admin commands"],
  ["ONCS", "I/O commands"],
  ["FUSES", "fused commands"],
  ["CTRATT", "attributes"],
  ["LPA", "logs"],
  ["OAES", "events"],
  ["CMIC", "sharing"],
  ["FRMW", "firmware"],
  ["SGLS", "SGLs"],
  ["SANICAP", "sanitize"],
  ["FNA", "format"],
  ["APSTA", "power"],
  ["HCTMA", "thermal"],
  ["NWPC", "write protection"],
  ["ANACAP", "ANA states"],
];

/** The titles of a row's bits that are set, of the bits that mean yes or no. */
export function abilities(decoded: DecodedRow): string[] {
  return decoded.fields.flatMap(({ field, value, meaning }) =>
    value === 1n && meaning === yesNo(1n) ? [field.title] : []
  );
}

/** What a controller can do, from Identify Controller; groups without anything are left out. */
export function controllerAbilities(controller: DecodedTable): AbilityGroup[] {
  return ABILITY_ROWS.map(([row, title]) => ({ title, names: abilities(controller.row(row)) }))
    .filter(({ names }) => names.length > 0);
}
