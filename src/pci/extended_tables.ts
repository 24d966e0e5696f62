/**
 * The registers of the extended capabilities that few tools look into: virtual channels, link equalization, containment,
 * timing, address translation, mailboxes, encryption.
 *
 * Sources: PCI Express Base 6.0 §7 and §10; field names as in Linux include/uapi/linux/pci_regs.h where it has them.
 * @module
 */

import type { BitField, Row } from "../core/layout.ts";
import { code, flag, mask, number, register } from "../core/rows.ts";
import { formatBytes } from "../core/units.ts";
import { configUint } from "./config_space.ts";

/** Registers of a capability; a function where they depend on its own bytes and on the port type. */
export type Rows = readonly Row[] | ((bytes: Uint8Array, portType: number | null) => readonly Row[]);

const LTR_SCALES: Readonly<Record<number, string>> = {
  0: "1 ns",
  1: "32 ns",
  2: "1024 ns",
  3: "32,768 ns",
  4: "1,048,576 ns",
  5: "33,554,432 ns",
};

const latency = (name: string, at: number, title: string): Row =>
  register(name, at, 2, title, [
    number("VALUE", 9, 0, "value, in units of SCALE"),
    code("SCALE", 12, 10, "unit", LTR_SCALES),
  ]);

const LTR_ROWS: readonly Row[] = [
  latency("MAX_SNOOP", 4, "Longest snoop latency that software allows"),
  latency("MAX_NOSNOOP", 6, "Longest no-snoop latency that software allows"),
];

const POWER_ON_SCALES: Readonly<Record<number, string>> = { 0: "2 µs", 1: "10 µs", 2: "100 µs" };

const L1SS_STATES: readonly BitField[] = [
  flag("PCIPM_L1_2", 0, "PCI-PM L1.2"),
  flag("PCIPM_L1_1", 1, "PCI-PM L1.1"),
  flag("ASPM_L1_2", 2, "ASPM L1.2"),
  flag("ASPM_L1_1", 3, "ASPM L1.1"),
];

const L1SS_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "L1 PM substates capabilities", [
    ...L1SS_STATES,
    flag("L1_PM_SS", 4, "L1 PM substates"),
    flag("LINK_ACTIVATION", 5, "link activation"),
    number("CM_RESTORE_TIME", 15, 8, "time to restore common mode", (value) => `${value} µs`),
    code("P_PWR_ON_SCALE", 17, 16, "unit of the power-on time", POWER_ON_SCALES),
    number("P_PWR_ON_VALUE", 23, 19, "power-on time, in its unit"),
  ]),
  register("CTL1", 8, 4, "L1 PM substates control 1", [
    ...L1SS_STATES,
    flag("LINK_ACTIVATION_INT", 4, "link activation interrupt"),
    flag("LINK_ACTIVATION_CTL", 5, "link activation"),
    number("CM_RESTORE_TIME", 15, 8, "time to restore common mode", (value) => `${value} µs`),
    number("LTR_L12_TH_VALUE", 25, 16, "L1.2 threshold, in its unit"),
    code("LTR_L12_TH_SCALE", 31, 29, "unit of the L1.2 threshold", LTR_SCALES),
  ]),
  register("CTL2", 0x0c, 4, "L1 PM substates control 2", [
    code("T_PWR_ON_SCALE", 1, 0, "unit of the power-on time", POWER_ON_SCALES),
    number("T_PWR_ON_VALUE", 7, 3, "power-on time, in its unit"),
  ]),
];

const granularity = (value: bigint): string =>
  value === 0n ? "not told" : value === 255n ? "more than 254 ns" : `${value} ns`;

const PTM_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "PTM capability", [
    flag("REQ", 0, "can request time"),
    flag("RES", 1, "can answer with time"),
    flag("ROOT", 2, "can be the root of time"),
    flag("EPTM", 3, "enhanced PTM"),
    number("GRANULARITY", 15, 8, "granularity of the local clock", granularity),
  ]),
  register("CTRL", 8, 4, "PTM control", [
    flag("ENABLE", 0, "PTM enabled"),
    flag("ROOT", 1, "is the root of time"),
    number("GRANULARITY", 15, 8, "effective granularity", granularity),
  ]),
];

const DPC_TRIGGERS: Readonly<Record<number, string>> = {
  0: "unmasked uncorrectable error",
  1: "ERR_NONFATAL received",
  2: "ERR_FATAL received",
  3: "see TRIGGER_RSN_EXT",
};
const PIO_BITS: readonly BitField[] = [
  flag("CFG_UR", 0, "configuration request: unsupported request"),
  flag("CFG_CA", 1, "configuration request: completer abort"),
  flag("CFG_CTO", 2, "configuration request: completion timeout"),
  flag("IO_UR", 8, "I/O request: unsupported request"),
  flag("IO_CA", 9, "I/O request: completer abort"),
  flag("IO_CTO", 10, "I/O request: completion timeout"),
  flag("MEM_UR", 16, "memory request: unsupported request"),
  flag("MEM_CA", 17, "memory request: completer abort"),
  flag("MEM_CTO", 18, "memory request: completion timeout"),
];

function dpcRows(bytes: Uint8Array): readonly Row[] {
  const hasPio = configUint(bytes, 0, 4) !== 0xffff_ffff && (configUint(bytes, 4, 2) & 0x20) !== 0;
  return [
    register("CAP", 4, 2, "Downstream port containment capability", [
      number("IRQ", 4, 0, "interrupt message number"),
      flag("RP_EXT", 5, "extensions of a root port"),
      flag("POISONED_TLP", 6, "can block poisoned TLPs"),
      flag("SW_TRIGGER", 7, "software can trigger it"),
      number("RP_PIO_LOG_SIZE", 11, 8, "RP PIO log, dwords"),
      flag("DL_ACTIVE", 12, "ERR_COR when the data link becomes active"),
    ]),
    register("CTL", 6, 2, "Downstream port containment control", [
      code("TRIGGER", 1, 0, "triggered by", { 0: "nothing", 1: "fatal errors", 2: "fatal and non-fatal errors" }),
      flag("CPL_CTL", 2, "completions: 0 completer abort, 1 unsupported request"),
      flag("INT_EN", 3, "interrupt"),
      flag("ERR_COR_EN", 4, "ERR_COR message"),
      flag("POISONED_TLP_EN", 5, "blocks poisoned TLPs"),
      flag("SW_TRIGGER", 6, "triggered by software"),
      flag("DL_ACTIVE_EN", 7, "ERR_COR when the data link becomes active, on"),
    ]),
    register("STATUS", 8, 2, "Downstream port containment status", [
      flag("TRIGGER", 0, "triggered: the link is down until this is cleared"),
      code("TRIGGER_RSN", 2, 1, "why", DPC_TRIGGERS),
      flag("INTERRUPT", 3, "interrupt raised"),
      flag("RP_BUSY", 4, "root port is busy"),
      code("TRIGGER_RSN_EXT", 6, 5, "why, further", { 0: "RP PIO error", 1: "software", 2: "in-band PIO" }),
      number("RP_PIO_FEP", 12, 8, "first RP PIO error, bit"),
    ]),
    register("SOURCE_ID", 0x0a, 2, "Who sent the error message: bus, device, function"),
    ...(hasPio
      ? [
        register("RP_PIO_STATUS", 0x0c, 4, "RP PIO errors seen", PIO_BITS),
        register("RP_PIO_MASK", 0x10, 4, "RP PIO errors masked", PIO_BITS),
        register("RP_PIO_SEVERITY", 0x14, 4, "RP PIO errors that are uncorrectable", PIO_BITS),
        register("RP_PIO_SYSERROR", 0x18, 4, "RP PIO errors that are system errors", PIO_BITS),
        register("RP_PIO_EXCEPTION", 0x1c, 4, "RP PIO errors that are exceptions", PIO_BITS),
      ]
      : []),
  ];
}

/** Most lanes that a link has, by the width that LNKCAP of the same function tells; the bytes here do not say. */
const LANES = 16;

/** Presets that each lane is told for equalization at 8 GT/s: two bytes a lane. */
const SECONDARY_ROWS: readonly Row[] = [
  register("LNKCTL3", 4, 4, "Link control 3", [
    flag("PERFORM_EQU", 0, "equalize when the speed becomes 8 GT/s"),
    flag("LINK_EQU_REQ_INTR_EN", 1, "interrupt on equalization requests"),
    mask("LOWER_SKP_OS_GEN", 15, 9, "generates SKP ordered sets less often, by speed"),
  ]),
  register("LANE_ERROR_STATUS", 8, 4, "Lanes with errors, bit n is lane n"),
  ...lanePresets("LANE", 0x0c, 2),
];

/** A lane's presets: both directions in 16 bits up to 8 GT/s, in 8 bits from 16 GT/s on. */
function lanePresets(name: string, at: number, bytesOfLane: 1 | 2): Row[] {
  return Array.from({ length: LANES }, (_, i) =>
    register(
      `${name}${i}`,
      at + bytesOfLane * i,
      bytesOfLane,
      `Lane ${i}: presets for equalization`,
      bytesOfLane === 2
        ? [
          number("DSP_TX", 3, 0, "downstream port transmitter preset"),
          number("DSP_RX", 6, 4, "downstream port receiver hint"),
          number("USP_TX", 11, 8, "upstream port transmitter preset"),
          number("USP_RX", 14, 12, "upstream port receiver hint"),
        ]
        : [
          number("DSP_TX", 3, 0, "downstream port transmitter preset"),
          number("USP_TX", 7, 4, "upstream port transmitter preset"),
        ],
    ));
}

const EQUALIZATION: readonly BitField[] = [
  flag("EQ_COMPLETE", 0, "equalization complete"),
  flag("EQ_PHASE1", 1, "phase 1 successful"),
  flag("EQ_PHASE2", 2, "phase 2 successful"),
  flag("EQ_PHASE3", 3, "phase 3 successful"),
  flag("EQ_REQUEST", 4, "equalization requested"),
];

const SPEED_16_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "16 GT/s capabilities"),
  register("CTL", 8, 4, "16 GT/s control"),
  register("STATUS", 0x0c, 4, "16 GT/s status", EQUALIZATION),
  register("PARITY_MISMATCH", 0x10, 4, "Lanes with local parity mismatches, bit n is lane n"),
  register("RETIMER1_PARITY_MISMATCH", 0x14, 4, "Lanes with parity mismatches at the first retimer"),
  register("RETIMER2_PARITY_MISMATCH", 0x18, 4, "Lanes with parity mismatches at the second retimer"),
  ...lanePresets("LANE", 0x20, 1),
];

const SPEED_32_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "32 GT/s capabilities", [
    flag("EQ_BYPASS", 0, "can skip equalization up to the highest speed"),
    flag("NO_EQ_NEEDED", 1, "can do without equalization"),
    flag("MODIFIED_TS_USAGE0", 8, "modified TS usage mode 0: PCI Express"),
    flag("MODIFIED_TS_USAGE1", 9, "modified TS usage mode 1: training set message"),
    flag("MODIFIED_TS_USAGE2", 10, "modified TS usage mode 2: alternate protocol"),
  ]),
  register("CTL", 8, 4, "32 GT/s control", [
    flag("EQ_BYPASS_DISABLE", 0, "does not skip equalization"),
    flag("NO_EQ_NEEDED_DISABLE", 1, "does not do without equalization"),
    number("MODIFIED_TS_USAGE", 10, 8, "modified TS usage mode selected"),
  ]),
  register("STATUS", 0x0c, 4, "32 GT/s status", [
    ...EQUALIZATION,
    flag("MODIFIED_TS_RECEIVED", 5, "modified TS received"),
    number("EQ_CONTROL_RECEIVED", 7, 6, "enhanced link behaviour control received, code"),
    flag("TX_PRECODING_ON", 8, "transmitter precoding"),
    flag("TX_PRECODING_REQUEST", 9, "transmitter precoding requested"),
    flag("NO_EQ_NEEDED_RECEIVED", 10, "the other end needs no equalization"),
  ]),
  register("RECEIVED_MODIFIED_TS1", 0x10, 4, "Received modified TS data 1"),
  register("RECEIVED_MODIFIED_TS2", 0x14, 4, "Received modified TS data 2"),
  register("TRANSMITTED_MODIFIED_TS1", 0x18, 4, "Transmitted modified TS data 1"),
  register("TRANSMITTED_MODIFIED_TS2", 0x1c, 4, "Transmitted modified TS data 2"),
  ...lanePresets("LANE", 0x20, 1),
];

const DATA_LINK_FEATURE_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "Data link feature capabilities", [
    mask("LOCAL", 22, 0, "features of this end: bit 0 is scaled flow control"),
    flag("EXCHANGE_ENABLE", 31, "features are exchanged"),
  ]),
  register("STATUS", 8, 4, "Data link feature status", [
    mask("REMOTE", 22, 0, "features of the other end"),
    flag("REMOTE_VALID", 31, "those of the other end are known"),
  ]),
];

const PASID_ROWS: readonly Row[] = [
  register("CAP", 4, 2, "PASID capability", [
    flag("EXEC", 1, "execute permission"),
    flag("PRIV", 2, "privileged mode"),
    number("WIDTH", 12, 8, "bits of a PASID"),
  ]),
  register("CTRL", 6, 2, "PASID control", [
    flag("ENABLE", 0, "PASID enabled"),
    flag("EXEC", 1, "execute permission enabled"),
    flag("PRIV", 2, "privileged mode enabled"),
  ]),
];

const PRI_ROWS: readonly Row[] = [
  register("CTRL", 4, 2, "Page request control", [
    flag("ENABLE", 0, "page requests enabled"),
    flag("RESET", 1, "reset"),
  ]),
  register("STATUS", 6, 2, "Page request status", [
    flag("RESPONSE_FAILURE", 0, "response failure"),
    flag("UNEXPECTED_INDEX", 1, "unexpected page request group index"),
    flag("STOPPED", 8, "stopped"),
    flag("PASID_REQUIRED", 15, "responses need a PASID where the request had one"),
  ]),
  register("MAX_REQ", 8, 4, "Page requests that can be outstanding", undefined, { kind: "quantity" }),
  register("ALLOC_REQ", 0x0c, 4, "Page requests that may be outstanding", undefined, { kind: "quantity" }),
];

const TPH_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "TPH requester capability", [
    flag("NO_ST", 0, "no steering tags"),
    flag("INT_VEC", 1, "steering tags by interrupt vector"),
    flag("DEVICE_SPECIFIC", 2, "device-specific steering tags"),
    flag("EXTENDED", 8, "extended TPH"),
    code("ST_LOCATION", 10, 9, "steering tag table", { 0: "none", 1: "in this capability", 2: "in the MSI-X table" }),
    number("ST_TABLE_SIZE", 26, 16, "entries of the steering tag table", (value) => `${value + 1n}`),
  ]),
  register("CTRL", 8, 4, "TPH requester control", [
    code("ST_MODE", 2, 0, "steering tags", { 0: "none", 1: "by interrupt vector", 2: "device-specific" }),
    code("ENABLE", 9, 8, "requests with hints", { 0: "off", 1: "TPH", 3: "TPH and extended TPH" }),
  ]),
];

/** Port VC registers, then as many virtual channels as the first says, at most eight. */
function vcRows(bytes: Uint8Array): readonly Row[] {
  const count = configUint(bytes, 0, 4) === 0xffff_ffff ? 1 : 1 + (configUint(bytes, 4, 4) & 0x7);
  return [
    register("PORT_CAP1", 4, 4, "Port VC capability 1", [
      number("EXTENDED_COUNT", 2, 0, "virtual channels besides VC0"),
      number("LOW_PRIORITY_COUNT", 6, 4, "of them with low priority"),
      code("REFERENCE_CLOCK", 9, 8, "reference clock", { 0: "100 ns" }),
      number(
        "ARBITRATION_ENTRY_SIZE",
        11,
        10,
        "bits of an entry of the arbitration table",
        (value) => `${1n << value}`,
      ),
    ]),
    register("PORT_CAP2", 8, 4, "Port VC capability 2", [
      flag("FIXED", 0, "hardware-fixed arbitration"),
      flag("WRR32", 1, "weighted round robin, 32 phases"),
      flag("WRR64", 2, "weighted round robin, 64 phases"),
      flag("WRR128", 3, "weighted round robin, 128 phases"),
      number("TABLE_OFFSET", 31, 24, "arbitration table, in units of 16 bytes"),
    ]),
    register("PORT_CTL", 0x0c, 2, "Port VC control", [
      flag("LOAD_TABLE", 0, "load the arbitration table"),
      number("ARBITRATION", 3, 1, "arbitration selected"),
    ]),
    register("PORT_STATUS", 0x0e, 2, "Port VC status", [
      flag("TABLE_CHANGED", 0, "the arbitration table is being loaded"),
    ]),
    ...Array.from({ length: count }, (_, i): Row[] => [
      register(`VC${i}_CAP`, 0x10 + 12 * i, 4, `VC${i} resource capability`, [
        flag("FIXED", 0, "hardware-fixed arbitration"),
        flag("WRR32", 1, "weighted round robin, 32 phases"),
        flag("WRR64", 2, "weighted round robin, 64 phases"),
        flag("WRR128", 3, "weighted round robin, 128 phases"),
        flag("TWRR128", 4, "time-based weighted round robin, 128 phases"),
        flag("WRR256", 5, "weighted round robin, 256 phases"),
        flag("UNDEFINED_14", 14, "undefined since 2.0"),
        flag("REJECT_SNOOP", 15, "rejects snoop transactions"),
        number("MAX_TIME_SLOTS", 22, 16, "most time slots, code"),
        number("TABLE_OFFSET", 31, 24, "arbitration table, in units of 16 bytes"),
      ]),
      register(`VC${i}_CTL`, 0x14 + 12 * i, 4, `VC${i} resource control`, [
        mask("TC_MAP", 7, 0, "traffic classes on it, bit n is TCn"),
        flag("LOAD_TABLE", 16, "load the arbitration table"),
        number("ARBITRATION", 19, 17, "arbitration selected"),
        number("ID", 26, 24, "number of the virtual channel"),
        flag("ENABLE", 31, "enabled"),
      ]),
      register(`VC${i}_STATUS`, 0x1a + 12 * i, 2, `VC${i} resource status`, [
        flag("TABLE_CHANGED", 0, "the arbitration table is being loaded"),
        flag("NEGOTIATION_PENDING", 1, "negotiation is pending"),
      ]),
    ]).flat(),
  ];
}

const DOE_ROWS: readonly Row[] = [
  register("CAP", 4, 4, "Data object exchange capabilities", [
    flag("INT", 0, "interrupt"),
    number("IRQ", 11, 1, "interrupt message number"),
    flag("ATTENTION", 12, "attention mechanism"),
    flag("ASYNC_MESSAGE", 13, "asynchronous messages"),
  ]),
  register("CTRL", 8, 4, "Data object exchange control", [
    flag("ABORT", 0, "abort"),
    flag("INT_EN", 1, "interrupt enabled"),
    flag("ATTENTION_NOT_NEEDED", 2, "attention not needed"),
    flag("ASYNC_MESSAGE_EN", 3, "asynchronous messages enabled"),
    flag("GO", 31, "go"),
  ]),
  // The mailboxes behind it are not read: a read takes a word out.
  register("STATUS", 0x0c, 4, "Data object exchange status", [
    flag("BUSY", 0, "busy"),
    flag("INT_STATUS", 1, "interrupt"),
    flag("ERROR", 2, "error"),
    flag("ASYNC_MESSAGE_STATUS", 3, "asynchronous message pending"),
    flag("AT_ATTENTION", 4, "at attention"),
    flag("DATA_OBJECT_READY", 31, "data object ready"),
  ]),
];

const IDE_ALGORITHMS: Readonly<Record<number, string>> = { 0: "AES-GCM 256" };

/** Link streams, then selective streams with their address blocks, as many as the registers before them say. */
function ideRows(bytes: Uint8Array): readonly Row[] {
  const isKnown = configUint(bytes, 0, 4) !== 0xffff_ffff;
  const cap = isKnown ? configUint(bytes, 4, 4) : 0;
  const linkStreams = (cap & 1) === 0 ? 0 : 1 + (cap >>> 13 & 0x7);
  const selective = (cap & 2) === 0 ? 0 : 1 + (cap >>> 16 & 0xff);
  const rows: Row[] = [
    register("CAP", 4, 4, "IDE capability", [
      flag("LINK", 0, "link IDE streams"),
      flag("SELECTIVE", 1, "selective IDE streams"),
      flag("FLOWTHROUGH", 2, "flow-through of streams"),
      flag("PARTIAL_HEADER_ENC", 3, "partial header encryption"),
      flag("AGGREGATION", 4, "aggregation"),
      flag("PCRC", 5, "PCRC"),
      flag("IDE_KM", 6, "key management of IDE"),
      flag("SEL_CFG", 7, "selective IDE for configuration requests"),
      number("ALGORITHM", 12, 8, "algorithm", (value) => IDE_ALGORITHMS[Number(value)] ?? "not defined"),
      number("LINK_TC_NUM", 15, 13, "traffic classes of link IDE", (value) => `${value + 1n}`),
      number("SEL_NUM", 23, 16, "selective streams", (value) => `${value + 1n}`),
      flag("TEE_LIMITED", 24, "TEE-limited stream"),
    ]),
    register("CTL", 8, 4, "IDE control", [flag("FLOWTHROUGH_EN", 2, "flow-through enabled")]),
  ];
  let at = 0x0c;
  const stream: readonly BitField[] = [
    flag("ENABLE", 0, "enabled"),
    number("TX_AGGR_NPR", 3, 2, "aggregation of non-posted requests, code"),
    number("TX_AGGR_PR", 5, 4, "aggregation of posted requests, code"),
    number("TX_AGGR_CPL", 7, 6, "aggregation of completions, code"),
    flag("PCRC_EN", 8, "PCRC enabled"),
    number("ALGORITHM", 18, 14, "algorithm", (value) => IDE_ALGORITHMS[Number(value)] ?? "not defined"),
    number("TC", 21, 19, "traffic class"),
    number("ID", 31, 24, "stream ID"),
  ];
  const status: readonly BitField[] = [
    code("STATE", 3, 0, "state", { 0: "insecure", 2: "secure" }),
    flag("INTEGRITY_FAIL", 31, "integrity check failed"),
  ];
  for (let i = 0; i < linkStreams; i++, at += 8) {
    rows.push(register(`LINK${i}_CTL`, at, 4, `Link stream ${i} control`, stream));
    rows.push(register(`LINK${i}_STATUS`, at + 4, 4, `Link stream ${i} status`, status));
  }
  for (let i = 0; i < selective && at + 0x0c <= bytes.length; i++) {
    const blocks = configUint(bytes, at, 4) & 0xf;
    rows.push(
      register(`SEL${i}_CAP`, at, 4, `Selective stream ${i} capability`, [number("BLOCKS", 3, 0, "address blocks")]),
    );
    rows.push(register(`SEL${i}_CTL`, at + 4, 4, `Selective stream ${i} control`, [
      ...stream.filter(({ name }) => name !== "PCRC_EN"),
      flag("PCRC_EN", 8, "PCRC enabled"),
      flag("CFG_EN", 9, "configuration requests enabled"),
      flag("DEFAULT", 22, "default stream"),
      flag("TEE_LIMITED", 23, "TEE-limited"),
    ]));
    rows.push(register(`SEL${i}_STATUS`, at + 8, 4, `Selective stream ${i} status`, status));
    rows.push(register(`SEL${i}_RID_1`, at + 0x0c, 4, `Selective stream ${i}, last requester ID`));
    rows.push(register(`SEL${i}_RID_2`, at + 0x10, 4, `Selective stream ${i}, first requester ID, and valid`));
    at += 0x14 + 12 * blocks;
  }
  return rows;
}

const VENDOR_ROWS: readonly Row[] = [
  register("HEADER", 4, 4, "Vendor-specific header", [
    mask("ID", 15, 0, "vendor's number for it"),
    number("REVISION", 19, 16, "revision"),
    number("LENGTH", 31, 20, "length", (value) => formatBytes(value)),
  ]),
];

const MARGIN_ROWS: readonly Row[] = [
  register("PORT_CAP", 4, 2, "Margining port capabilities", [flag("USES_SOFTWARE", 0, "needs driver software")]),
  register("PORT_STATUS", 6, 2, "Margining port status", [
    flag("READY", 0, "margining ready"),
    flag("SOFTWARE_READY", 1, "margining software ready"),
  ]),
];

const PCIE = "PCI Express Base 6.0";

/** Tables by ID of the extended capability. */
export const MORE_EXTENDED_TABLES: Readonly<Record<number, { readonly source: string; readonly rows: Rows }>> = {
  0x02: { source: `${PCIE} §7.9.1`, rows: vcRows },
  0x0b: { source: `${PCIE} §7.9.5`, rows: VENDOR_ROWS },
  0x13: { source: `${PCIE} §10.5.2`, rows: PRI_ROWS },
  0x17: { source: `${PCIE} §7.9.13`, rows: TPH_ROWS },
  0x18: { source: `${PCIE} §7.8.2`, rows: LTR_ROWS },
  0x19: { source: `${PCIE} §7.7.3`, rows: SECONDARY_ROWS },
  0x1b: { source: `${PCIE} §7.8.9`, rows: PASID_ROWS },
  0x1d: { source: `${PCIE} §7.9.14`, rows: dpcRows },
  0x1e: { source: `${PCIE} §7.8.3`, rows: L1SS_ROWS },
  0x1f: { source: `${PCIE} §7.9.15`, rows: PTM_ROWS },
  0x25: { source: `${PCIE} §7.7.4`, rows: DATA_LINK_FEATURE_ROWS },
  0x26: { source: `${PCIE} §7.7.5`, rows: SPEED_16_ROWS },
  0x27: { source: `${PCIE} §7.7.7`, rows: MARGIN_ROWS },
  0x2a: { source: `${PCIE} §7.7.6`, rows: SPEED_32_ROWS },
  0x2e: { source: `${PCIE} §7.9.24`, rows: DOE_ROWS },
  0x30: { source: `${PCIE} §7.9.26`, rows: ideRows },
};
