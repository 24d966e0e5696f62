/**
 * Who a controller is and how a namespace is laid out: what a driver needs of their identify pages.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { type Layout, trimmedText, uintRow } from "../../core/layout.ts";
import { littleEndian } from "../../core/mmio.ts";
import { IDENTIFY_CONTROLLER } from "./identify_controller.ts";
import { formatIndex, IDENTIFY_NAMESPACE } from "./identify_namespace.ts";

/** Bytes of every identify page. */
export const IDENTIFY_BYTES = 4096;

/** Reads one integer row of a page. The row is looked up while the module loads. */
function reader(layout: Layout, name: string): (page: Uint8Array) => bigint {
  const row = uintRow(layout, name);
  return (page) => littleEndian(page.subarray(row.offset, row.offset + row.sizeBytes));
}

const controller = (name: string): (page: Uint8Array) => number => {
  const read = reader(IDENTIFY_CONTROLLER, name);
  return (page) => Number(read(page));
};
const namespace = (name: string): (page: Uint8Array) => bigint => reader(IDENTIFY_NAMESPACE, name);

const CONTROLLER = {
  MDTS: controller("MDTS"),
  CNTLID: controller("CNTLID"),
  OACS: controller("OACS"),
  ACL: controller("ACL"),
  AERL: controller("AERL"),
  ELPE: controller("ELPE"),
  SANICAP: controller("SANICAP"),
  NN: controller("NN"),
  ONCS: controller("ONCS"),
  FNA: controller("FNA"),
  VWC: controller("VWC"),
  SGLS: controller("SGLS"),
};

/** What a driver needs to know of a controller. */
export interface ControllerIdentity {
  /** The page they are from. */
  readonly page: Uint8Array;
  /** SN. */
  readonly serial: string;
  /** MN. */
  readonly model: string;
  /** FR. */
  readonly firmware: string;
  /** CNTLID. */
  readonly controllerId: number;
  /** MDTS: the largest transfer as a power of two of the smallest page; 0 is no limit. */
  readonly mdts: number;
  /** NN: the highest namespace identifier. */
  readonly highestNamespace: number;
  /** OACS: optional admin commands. */
  readonly oacs: number;
  /** ONCS: optional NVM commands. */
  readonly oncs: number;
  /** FNA: what a format reaches. */
  readonly fna: number;
  /** VWC: there is a volatile write cache. */
  readonly hasWriteCache: boolean;
  /** SGLS bits 1:0 are not 0: data may be described by SGLs. */
  readonly takesSgls: boolean;
  /** SANICAP. */
  readonly sanicap: number;
  /** AERL + 1: how many event requests it takes at once. */
  readonly eventRequests: number;
  /** ELPE + 1: entries of the error log. */
  readonly errorEntries: number;
}

/** Reads an Identify Controller page. Takes anything; what makes no sense shows. */
export function controllerIdentity(page: Uint8Array): ControllerIdentity {
  return {
    page,
    serial: trimmedText(page.subarray(4, 24)),
    model: trimmedText(page.subarray(24, 64)),
    firmware: trimmedText(page.subarray(64, 72)),
    controllerId: CONTROLLER.CNTLID(page),
    mdts: CONTROLLER.MDTS(page),
    highestNamespace: CONTROLLER.NN(page),
    oacs: CONTROLLER.OACS(page),
    oncs: CONTROLLER.ONCS(page),
    fna: CONTROLLER.FNA(page),
    hasWriteCache: (CONTROLLER.VWC(page) & 1) === 1,
    takesSgls: (CONTROLLER.SGLS(page) & 3) !== 0,
    sanicap: CONTROLLER.SANICAP(page),
    eventRequests: CONTROLLER.AERL(page) + 1,
    errorEntries: CONTROLLER.ELPE(page) + 1,
  };
}

const NAMESPACE = {
  NSZE: namespace("NSZE"),
  NCAP: namespace("NCAP"),
  NUSE: namespace("NUSE"),
  NLBAF: namespace("NLBAF"),
  FLBAS: namespace("FLBAS"),
  DPS: namespace("DPS"),
  NMIC: namespace("NMIC"),
  DLFEAT: namespace("DLFEAT"),
};

const LBA_FORMATS = 128;

/** What a driver needs to know of a namespace. */
export interface NamespaceGeometry {
  /** The page they are from. */
  readonly page: Uint8Array;
  /** NSID. */
  readonly id: number;
  /** NSZE: its size in logical blocks. */
  readonly blocks: bigint;
  /** Data bytes of a logical block. */
  readonly blockBytes: number;
  /** Metadata bytes of a logical block; 0 for none. */
  readonly metadataBytes: number;
  /** Metadata follows each block's data in the same buffer; else it has a buffer of its own. */
  readonly metadataInline: boolean;
  /** Type of protection information, 0 for none. */
  readonly protectionType: number;
  /** Protection information stands in the first bytes of the metadata; else in the last. */
  readonly protectionFirst: boolean;
  /** Other controllers may use it at the same time. */
  readonly isShared: boolean;
  /** Bytes that one block takes in the data buffer: with inline metadata more than `blockBytes`. */
  readonly transferBytes: number;
}

/** Bytes that one logical block takes in the memory of a transfer. */
export interface BlockMemory {
  /** In the data buffer. */
  readonly dataBytes: number;
  /** In the metadata buffer; 0 when the transfer has none. */
  readonly metadataBytes: number;
}

/** Bytes of protection information with a 16-bit guard (NVM Command Set 1.0 §5.2.1). */
const PROTECTION_BYTES = 8;

/**
 * The memory that transfers of a namespace need.
 *
 * @param protectionAction the command sets PRACT; by default where the format has protection information. Then metadata that is nothing but protection information is not
 * transferred: the controller makes it and takes it away (NVM Command Set 1.0 §5.2.2).
 */
export function blockMemory(
  geometry: NamespaceGeometry,
  protectionAction: boolean = geometry.protectionType !== 0,
): BlockMemory {
  const { blockBytes, metadataBytes, metadataInline, protectionType, transferBytes } = geometry;
  if (protectionAction && protectionType !== 0 && metadataBytes === PROTECTION_BYTES) {
    return { dataBytes: blockBytes, metadataBytes: 0 };
  }
  return { dataBytes: transferBytes, metadataBytes: metadataInline ? 0 : metadataBytes };
}

/**
 * Reads an Identify Namespace page (CNS 00h).
 *
 * @throws {BusbarError} `absent` for an inactive namespace (a page of zeros), `device-failed` for a format that cannot be
 */
export function namespaceGeometry(id: number, page: Uint8Array, device: string): NamespaceGeometry {
  if (page.every((byte) => byte === 0)) {
    throw new BusbarError("absent", `${device}: namespace ${id} is not active`, {
      operation: "open namespace",
      path: device,
      hint: "nvme_identify lists the active ones",
    });
  }
  const blocks = NAMESPACE.NSZE(page);
  const flbas = Number(NAMESPACE.FLBAS(page));
  const format = formatIndex(BigInt(flbas));
  const lbaf = Number(littleEndian(page.subarray(LBA_FORMATS + 4 * format, LBA_FORMATS + 4 * format + 4)));
  const [metadataBytes, shift] = [lbaf & 0xffff, lbaf >> 16 & 0xff];
  if (shift < 9 || shift > 24) {
    throw new BusbarError("device-failed", `${device}: namespace ${id} says that its blocks have 2^${shift} bytes`, {
      operation: "open namespace",
      path: device,
      hint: "the identify page is not to be trusted: nvme_identify --page id-ns --raw FILE keeps it",
    });
  }
  const blockBytes = 2 ** shift;
  const metadataInline = metadataBytes > 0 && (flbas & 0x10) !== 0;
  const dps = Number(NAMESPACE.DPS(page));
  return {
    page,
    id,
    blocks,
    blockBytes,
    metadataBytes,
    metadataInline,
    protectionType: dps & 7,
    protectionFirst: (dps & 8) !== 0,
    isShared: (NAMESPACE.NMIC(page) & 1n) === 1n,
    transferBytes: blockBytes + (metadataInline ? metadataBytes : 0),
  };
}
