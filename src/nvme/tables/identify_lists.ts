/**
 * The lists that Identify returns: namespaces, controllers, NVM sets, endurance groups, domains, UUIDs, granularities.
 *
 * Source: NVM Express Base 2.0 §5.17 Identify.
 * @module
 */

import { littleEndian } from "../../core/mmio.ts";
import type { ArrayRow, Layout, ListRow, Row } from "../../core/layout.ts";
import { bytes, code, flag, quantity, register } from "../../core/rows.ts";
import { formatBytes, formatDurationUs } from "../../core/units.ts";
import { capacity, reported, uuid } from "./value_text.ts";

/** Identifiers one after the other, ended by a 0 or by the end of the list. */
function identifiers(name: string, title: string, sizeBytes: 2 | 4, offset: number, most: number): ListRow {
  return {
    type: "list",
    name,
    offset,
    sizeBytes: most * sizeBytes,
    title,
    kinds: { [name]: [quantity(name, 0, sizeBytes, title)] },
    next: (rest) =>
      rest.length < sizeBytes || littleEndian(rest.subarray(0, sizeBytes)) === 0n ? null : { kind: name, sizeBytes },
  };
}

/** Namespaces by NSID, ascending (CNS 02h, 07h, 10h, 1Ah; the changed namespaces of log page 04h are written so too). */
export const NAMESPACE_LIST: Layout = {
  name: "Namespace List",
  source: "NVM Express Base 2.0 §4.4.2",
  rows: [identifiers("NSID", "Namespace Identifier", 4, 0, 1024)],
};

/** How many namespaces one list holds. A full list goes on in another one, from its last entry. */
export const NAMESPACE_LIST_ENTRIES = 1024;

/** As many identifiers as the number before them says. */
function numbered(count: string, name: string, title: string): ArrayRow {
  return {
    type: "array",
    name,
    offset: 2,
    count: 2047,
    countOf: (above) => Number(above(count) ?? 0n),
    strideBytes: 2,
    title,
    rows: [quantity(name, 0, 2, title)],
  };
}

/** Controllers by identifier, ascending (CNS 12h, 13h). */
export const CONTROLLER_LIST: Layout = {
  name: "Controller List",
  source: "NVM Express Base 2.0 §4.4.1",
  rows: [
    quantity("NUMIDS", 0, 2, "Number of Identifiers"),
    numbered("NUMIDS", "CNTLID", "Controller Identifier"),
  ],
};

/** Endurance groups by identifier, ascending (CNS 19h). */
export const ENDURANCE_GROUP_LIST: Layout = {
  name: "Endurance Group List",
  source: "NVM Express Base 2.0 §5.17, CNS 19h",
  rows: [
    quantity("NUMIDS", 0, 2, "Number of Identifiers"),
    numbered("NUMIDS", "ENDGID", "Endurance Group Identifier"),
  ],
};

function entries(
  name: string,
  title: string,
  count: string,
  most: number,
  stride: number,
  rows: readonly Row[],
): ArrayRow {
  return {
    type: "array",
    name,
    offset: stride,
    count: most,
    countOf: (above) => Number(above(count) ?? 0n),
    strideBytes: stride,
    title,
    rows,
  };
}

/** NVM sets (CNS 04h). */
export const NVM_SET_LIST: Layout = {
  name: "NVM Set List",
  source: "NVM Express Base 2.0 §5.17, CNS 04h",
  rows: [
    quantity("NUMIDS", 0, 1, "Number of Identifiers"),
    entries("SET", "NVM Set Attributes", "NUMIDS", 31, 128, [
      quantity("NVMSETID", 0, 2, "NVM Set Identifier"),
      quantity("ENDGID", 2, 2, "Endurance Group Identifier"),
      quantity(
        "R4KRTYP",
        8,
        4,
        "Random 4 KiB Read Typical, in 100 ns",
        reported((value) => formatDurationUs(Number(value) / 10)),
      ),
      quantity("OWS", 12, 4, "Optimal Write Size", reported(formatBytes)),
      quantity("TNVMSETCAP", 16, 16, "Total NVM Set Capacity", capacity),
      quantity("UNVMSETCAP", 32, 16, "Unallocated NVM Set Capacity", capacity),
    ]),
  ],
};

/** Domains (CNS 18h). */
export const DOMAIN_LIST: Layout = {
  name: "Domain List",
  source: "NVM Express Base 2.0 §5.17, CNS 18h",
  rows: [
    quantity("NUMDE", 0, 1, "Number of Domain Entries"),
    entries("DOMAIN", "Domain Attributes", "NUMDE", 31, 128, [
      quantity("DID", 0, 2, "Domain Identifier"),
      quantity("DCAP", 16, 16, "Total Domain Capacity", capacity),
      quantity("UDCAP", 32, 16, "Unallocated Domain Capacity", capacity),
      quantity("MEGDCAP", 48, 16, "Max Endurance Group Domain Capacity", capacity),
    ]),
  ],
};

/** In which steps namespaces are made (CNS 16h). */
export const GRANULARITY_LIST: Layout = {
  name: "Namespace Granularity List",
  source: "NVM Command Set 1.0 §4.1.5, CNS 16h",
  rows: [
    register("ATTR", 0, 4, "Namespace Granularity Attributes", [
      flag("GDV", 0, "Each descriptor belongs to the LBA format of its number"),
    ]),
    quantity("NUMD", 4, 1, "Number of Descriptors, less one"),
    {
      ...entries("NGD", "Namespace Granularity Descriptor", "NUMD", 16, 16, [
        quantity("NSZEGRAN", 0, 8, "Namespace Size Granularity", reported(formatBytes)),
        quantity("NCAPGRAN", 8, 8, "Namespace Capacity Granularity", reported(formatBytes)),
      ]),
      offset: 32,
      countOf: (above) => Number(above("NUMD") ?? 0n) + 1,
    },
  ],
};

/** UUIDs that commands refer to by their place in this list (CNS 17h). */
export const UUID_LIST: Layout = {
  name: "UUID List",
  source: "NVM Express Base 2.0 §5.17, CNS 17h",
  rows: [{
    type: "list",
    name: "UUID",
    offset: 32,
    sizeBytes: 127 * 32,
    title: "UUID List Entry",
    kinds: {
      UUID: [
        register("HDR", 0, 1, "UUID Lists Entry Header", [
          code("IDA", 1, 0, "Identifier Association", {
            0: "none",
            1: "the vendor of the PCI function",
            2: "the vendor of the PCI subsystem",
          }),
        ]),
        bytes("UUID", 16, 16, "UUID", uuid),
      ],
    },
    next: (rest) =>
      rest.length < 32 || rest.subarray(16, 32).every((byte) => byte === 0) ? null : { kind: "UUID", sizeBytes: 32 },
  }],
};
