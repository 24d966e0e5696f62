/**
 * The registers of each capability, as tables.
 *
 * Sources: PCI Express Base 6.0 §7 and §9–10, PCI Power Management 1.2 §3, CXL 3.1 §8.1; field names as in Linux
 * include/uapi/linux/pci_regs.h.
 * @module
 */

import type { BitField, Row } from "../core/layout.ts";
import { code, flag, mask, number, register } from "../core/rows.ts";
import { formatBytes, hex } from "../core/units.ts";
import { configUint } from "./config_space.ts";
import { MORE_EXTENDED_TABLES } from "./extended_tables.ts";

/** The registers of one kind of capability; a function where they depend on what the capability says of itself. */
export interface CapabilityTable {
  /** Specification and section. */
  readonly source: string;
  /**
   * The registers; the function gets the bytes from the capability's start, and the port type of the function (null
   * without a PCIe capability). Offsets count from the capability's start.
   */
  readonly rows: readonly Row[] | ((bytes: Uint8Array, portType: number | null) => readonly Row[]);
}

const POWER_STATES: Readonly<Record<number, string>> = { 0: "D0", 1: "D1", 2: "D2", 3: "D3hot" };

/** Link speeds by code, PCI Express Base 6.0 §7.5.3.6. */
export const LINK_SPEEDS: Readonly<Record<number, string>> = {
  1: "2.5 GT/s",
  2: "5 GT/s",
  3: "8 GT/s",
  4: "16 GT/s",
  5: "32 GT/s",
  6: "64 GT/s",
};

/** Device and port types, PCI Express Base 6.0 §7.5.3.2. */
export const PORT_TYPES: Readonly<Record<number, string>> = {
  0: "endpoint",
  1: "legacy endpoint",
  4: "root port",
  5: "switch upstream port",
  6: "switch downstream port",
  7: "PCIe to PCI bridge",
  8: "PCI to PCIe bridge",
  9: "root complex integrated endpoint",
  10: "root complex event collector",
};

const ASPM: Readonly<Record<number, string>> = { 0: "none", 1: "L0s", 2: "L1", 3: "L0s and L1" };
const payload = (value: bigint): string => value > 5n ? "reserved" : `${128n << value} bytes`;
const lanes = (value: bigint): string => value === 0n ? "no link" : `x${value}`;
const slotPower = (value: bigint): string => `${value}`;

const COMPLETION_TIMEOUTS: Readonly<Record<number, string>> = {
  0: "50 µs to 50 ms",
  1: "50 µs to 100 µs",
  2: "1 ms to 10 ms",
  5: "16 ms to 55 ms",
  6: "65 ms to 210 ms",
  9: "260 ms to 900 ms",
  10: "1 s to 3.5 s",
  13: "4 s to 13 s",
  14: "17 s to 64 s",
};

function pmRows(): readonly Row[] {
  return [
    register("PMC", 2, 2, "Power management capabilities", [
      number("VERSION", 2, 0, "version of the specification"),
      flag("PME_CLOCK", 3, "PME# needs the PCI clock"),
      flag("IMMEDIATE_READINESS", 4, "ready right after returning to D0"),
      flag("DSI", 5, "needs device-specific initialisation"),
      code("AUX_CURRENT", 8, 6, "auxiliary current", {
        0: "0 mA",
        1: "55 mA",
        2: "100 mA",
        3: "160 mA",
        4: "220 mA",
        5: "270 mA",
        6: "320 mA",
        7: "375 mA",
      }),
      flag("D1", 9, "D1 supported"),
      flag("D2", 10, "D2 supported"),
      flag("PME_D0", 11, "PME# from D0"),
      flag("PME_D1", 12, "PME# from D1"),
      flag("PME_D2", 13, "PME# from D2"),
      flag("PME_D3HOT", 14, "PME# from D3hot"),
      flag("PME_D3COLD", 15, "PME# from D3cold"),
    ]),
    register("PMCSR", 4, 2, "Power management control and status", [
      code("POWER_STATE", 1, 0, "power state", POWER_STATES),
      flag("NO_SOFT_RESET", 3, "keeps its state from D3hot to D0"),
      flag("PME_ENABLE", 8, "PME# enabled"),
      number("DATA_SELECT", 12, 9, "data register selected"),
      number("DATA_SCALE", 14, 13, "data register scale"),
      flag("PME_STATUS", 15, "PME# asserted"),
    ]),
    register("BRIDGE", 6, 1, "Bridge support extensions", [
      flag("B2_B3", 6, "its bus is in B2 when it is in D3hot"),
      flag("BPCC_ENABLE", 7, "bus power and clock control enabled"),
      mask("RESERVED", 5, 0, "reserved"),
    ]),
  ];
}

function msiRows(bytes: Uint8Array): readonly Row[] {
  const control = configUint(bytes, 2, 2);
  const wide = (control & 0x80) !== 0;
  const vectors = (value: bigint): string => value > 5n ? "reserved" : `${1n << value} vectors`;
  const data = wide ? 0x0c : 0x08;
  const rows: Row[] = [
    register("CONTROL", 2, 2, "Message control", [
      flag("ENABLE", 0, "MSI enabled"),
      number("CAPABLE", 3, 1, "vectors it can use", vectors),
      number("ENABLED", 6, 4, "vectors it may use", vectors),
      flag("64BIT", 7, "64-bit message address"),
      flag("MASKABLE", 8, "vectors can be masked one by one"),
      flag("EXTENDED_DATA_CAPABLE", 9, "extended message data supported"),
      flag("EXTENDED_DATA_ENABLE", 10, "extended message data enabled"),
    ]),
    register("ADDRESS", 4, wide ? 8 : 4, "Message address", undefined, { kind: "address" }),
    register("DATA", data, 2, "Message data"),
  ];
  if ((control & 0x100) !== 0) {
    rows.push(register("MASK", data + 4, 4, "Vectors masked"), register("PENDING", data + 8, 4, "Vectors pending"));
  }
  return rows;
}

const MSIX_ROWS: readonly Row[] = [
  register("CONTROL", 2, 2, "Message control", [
    number("TABLE_SIZE", 10, 0, "table size", (value) => `${value + 1n} vectors`),
    flag("FUNCTION_MASK", 14, "all vectors masked"),
    flag("ENABLE", 15, "MSI-X enabled"),
  ]),
  register("TABLE", 4, 4, "Vector table", [
    number("BIR", 2, 0, "in BAR"),
    number("OFFSET", 31, 3, "offset", (value) => hex(value << 3n)),
  ]),
  register("PBA", 8, 4, "Pending bit array", [
    number("BIR", 2, 0, "in BAR"),
    number("OFFSET", 31, 3, "offset", (value) => hex(value << 3n)),
  ]),
];

function pcieRows(bytes: Uint8Array): readonly Row[] {
  const flags = configUint(bytes, 2, 2);
  const version = flags & 0xf;
  const type = flags >>> 4 & 0xf;
  // Integrated endpoints and event collectors have no link; slots belong to root ports and downstream ports that say so.
  const hasLink = type !== 9 && type !== 10;
  const hasSlot = (flags & 0x100) !== 0 && (type === 4 || type === 6);
  const hasRoot = type === 4 || type === 10;
  return [
    ...PCIE_DEVICE_ROWS,
    ...(hasLink ? PCIE_LINK_ROWS : []),
    ...(hasSlot ? PCIE_SLOT_ROWS : []),
    ...(hasRoot ? PCIE_ROOT_ROWS : []),
    ...(version >= 2 ? PCIE_DEVICE2_ROWS : []),
    ...(version >= 2 && hasLink ? PCIE_LINK2_ROWS : []),
  ];
}

const PCIE_DEVICE_ROWS: readonly Row[] = [
  register("FLAGS", 0x02, 2, "PCI Express capabilities", [
    number("VERSION", 3, 0, "version of this capability"),
    code("TYPE", 7, 4, "device or port type", PORT_TYPES),
    flag("SLOT", 8, "the link leads to a slot"),
    number("IRQ", 13, 9, "interrupt message number"),
    flag("UNDEFINED_14", 14, "undefined since 2.0"),
    flag("FLIT_MODE", 15, "flit mode supported"),
  ]),
  register("DEVCAP", 0x04, 4, "Device capabilities", [
    number("PAYLOAD", 2, 0, "largest payload", payload),
    number("PHANTOM", 4, 3, "phantom functions, bits"),
    flag("EXT_TAG", 5, "8-bit tags supported"),
    number("L0S", 8, 6, "acceptable L0s latency, code"),
    number("L1", 11, 9, "acceptable L1 latency, code"),
    number("UNDEFINED", 14, 12, "undefined since 1.1"),
    flag("RBER", 15, "role-based error reporting"),
    flag("ERR_COR_SUBCLASS", 16, "ERR_COR subclass"),
    number("SLOT_POWER", 25, 18, "slot power limit, value", slotPower),
    code("SLOT_POWER_SCALE", 27, 26, "slot power limit, scale", { 0: "1 W", 1: "0.1 W", 2: "0.01 W", 3: "0.001 W" }),
    flag("FLR", 28, "function level reset"),
    flag("MIXED_MPS", 29, "mixed payload sizes supported"),
    flag("TEE_IO", 30, "TEE-IO supported"),
  ]),
  register("DEVCTL", 0x08, 2, "Device control", [
    flag("CERE", 0, "reports correctable errors"),
    flag("NFERE", 1, "reports non-fatal errors"),
    flag("FERE", 2, "reports fatal errors"),
    flag("URRE", 3, "reports unsupported requests"),
    flag("RELAX_EN", 4, "relaxed ordering enabled"),
    number("PAYLOAD", 7, 5, "payload", payload),
    flag("EXT_TAG", 8, "8-bit tags enabled"),
    flag("PHANTOM", 9, "phantom functions enabled"),
    flag("AUX_PME", 10, "auxiliary power enabled"),
    flag("NOSNOOP_EN", 11, "no-snoop enabled"),
    number("READRQ", 14, 12, "largest read request", payload),
    flag("BCR_FLR", 15, "configuration retry enabled (bridge)"),
  ]),
  register("DEVSTA", 0x0a, 2, "Device status", [
    flag("CED", 0, "correctable error seen"),
    flag("NFED", 1, "non-fatal error seen"),
    flag("FED", 2, "fatal error seen"),
    flag("URD", 3, "unsupported request seen"),
    flag("AUXPD", 4, "auxiliary power present"),
    flag("TRPND", 5, "transactions pending"),
    flag("EMERGENCY_POWER", 6, "emergency power reduction"),
  ]),
];

const PCIE_LINK_ROWS: readonly Row[] = [
  register("LNKCAP", 0x0c, 4, "Link capabilities", [
    code("SLS", 3, 0, "fastest speed", LINK_SPEEDS),
    number("MLW", 9, 4, "widest width", lanes),
    code("ASPMS", 11, 10, "ASPM supported", ASPM),
    number("L0SEL", 14, 12, "L0s exit latency, code"),
    number("L1EL", 17, 15, "L1 exit latency, code"),
    flag("CLKPM", 18, "clock power management"),
    flag("SDERC", 19, "surprise down error reporting"),
    flag("DLLLARC", 20, "reports data link layer active"),
    flag("LBNC", 21, "link bandwidth notification"),
    flag("ASPM_OPTIONALITY", 22, "ASPM optionality compliance"),
    number("PN", 31, 24, "port number"),
  ]),
  register("LNKCTL", 0x10, 2, "Link control", [
    code("ASPMC", 1, 0, "ASPM enabled", ASPM),
    flag("RCB", 3, "read completion boundary 128 bytes"),
    flag("LD", 4, "link disabled"),
    flag("RL", 5, "retrain link"),
    flag("CCC", 6, "common clock"),
    flag("ES", 7, "extended synch"),
    flag("CLKREQ_EN", 8, "clock power management enabled"),
    flag("HAWD", 9, "hardware autonomous width disabled"),
    flag("LBMIE", 10, "bandwidth management interrupt"),
    flag("LABIE", 11, "autonomous bandwidth interrupt"),
    code("DRS_SIGNALING", 15, 14, "DRS signalling", { 0: "none", 1: "interrupt", 2: "DRS to FRS" }),
  ]),
  register("LNKSTA", 0x12, 2, "Link status", [
    code("CLS", 3, 0, "speed", LINK_SPEEDS),
    number("NLW", 9, 4, "width", lanes),
    flag("UNDEFINED_10", 10, "undefined since 1.1"),
    flag("LT", 11, "training"),
    flag("SLC", 12, "slot clock"),
    flag("DLLLA", 13, "data link layer active"),
    flag("LBMS", 14, "bandwidth changed by management"),
    flag("LABS", 15, "bandwidth changed by itself"),
  ]),
];

const PCIE_SLOT_ROWS: readonly Row[] = [
  register("SLTCAP", 0x14, 4, "Slot capabilities", [
    flag("ABP", 0, "attention button"),
    flag("PCP", 1, "power controller"),
    flag("MRLSP", 2, "MRL sensor"),
    flag("AIP", 3, "attention indicator"),
    flag("PIP", 4, "power indicator"),
    flag("HPS", 5, "hot-plug surprise"),
    flag("HPC", 6, "hot-plug capable"),
    number("SPLV", 14, 7, "slot power limit, value", slotPower),
    code("SPLS", 16, 15, "slot power limit, scale", { 0: "1 W", 1: "0.1 W", 2: "0.01 W", 3: "0.001 W" }),
    flag("EIP", 17, "electromechanical interlock"),
    flag("NCCS", 18, "no command completed notification"),
    number("PSN", 31, 19, "physical slot number"),
  ]),
  register("SLTCTL", 0x18, 2, "Slot control", [
    flag("ABPE", 0, "attention button interrupt"),
    flag("PFDE", 1, "power fault interrupt"),
    flag("MRLSCE", 2, "MRL sensor interrupt"),
    flag("PDCE", 3, "presence change interrupt"),
    flag("CCIE", 4, "command completed interrupt"),
    flag("HPIE", 5, "hot-plug interrupt"),
    number("AIC", 7, 6, "attention indicator, code"),
    number("PIC", 9, 8, "power indicator, code"),
    flag("PCC", 10, "power off"),
    flag("EIC", 11, "interlock control"),
    flag("DLLSCE", 12, "link state interrupt"),
    flag("ASPL_DISABLE", 13, "automatic slot power limit off"),
    flag("INBAND_PD_DISABLE", 14, "in-band presence detect off"),
  ]),
  register("SLTSTA", 0x1a, 2, "Slot status", [
    flag("ABP", 0, "attention button pressed"),
    flag("PFD", 1, "power fault"),
    flag("MRLSC", 2, "MRL sensor changed"),
    flag("PDC", 3, "presence changed"),
    flag("CC", 4, "command completed"),
    flag("MRLSS", 5, "MRL open"),
    flag("PDS", 6, "card present"),
    flag("EIS", 7, "interlock engaged"),
    flag("DLLSC", 8, "link state changed"),
  ]),
];

const PCIE_ROOT_ROWS: readonly Row[] = [
  register("RTCTL", 0x1c, 2, "Root control", [
    flag("SECEE", 0, "system error on correctable error"),
    flag("SENFEE", 1, "system error on non-fatal error"),
    flag("SEFEE", 2, "system error on fatal error"),
    flag("PMEIE", 3, "PME interrupt"),
    flag("CRSSVE", 4, "configuration retry visible"),
    flag("NO_NFM", 5, "no NFM subtree below"),
  ]),
  register("RTCAP", 0x1e, 2, "Root capabilities", [flag("CRSVIS", 0, "configuration retry visibility")]),
  register("RTSTA", 0x20, 4, "Root status", [
    mask("PME_RQ_ID", 15, 0, "PME requester ID"),
    flag("PME", 16, "PME status"),
    flag("PENDING", 17, "PME pending"),
  ]),
];

const PCIE_DEVICE2_ROWS: readonly Row[] = [
  register("DEVCAP2", 0x24, 4, "Device capabilities 2", [
    mask("COMP_TMOUT_RANGES", 3, 0, "completion timeout ranges"),
    flag("COMP_TMOUT_DIS", 4, "completion timeout can be disabled"),
    flag("ARI", 5, "forwards ARI"),
    flag("ATOMIC_ROUTE", 6, "routes AtomicOps"),
    flag("ATOMIC_COMP32", 7, "completes 32-bit AtomicOps"),
    flag("ATOMIC_COMP64", 8, "completes 64-bit AtomicOps"),
    flag("ATOMIC_COMP128", 9, "completes 128-bit CAS"),
    flag("NO_RO_PRPR", 10, "no relaxed ordering between peers"),
    flag("LTR", 11, "latency tolerance reporting"),
    mask("TPH_COMP", 13, 12, "TPH completer"),
    mask("LN_CLS", 15, 14, "LN system cache line size"),
    flag("10BIT_TAG_COMP", 16, "completes 10-bit tags"),
    flag("10BIT_TAG_REQ", 17, "requests with 10-bit tags"),
    mask("OBFF", 19, 18, "OBFF"),
    flag("EE_PREFIX", 20, "extended format field"),
    flag("E2E_TLP_PREFIX", 21, "end-to-end TLP prefixes"),
    number("MAX_E2E_PREFIX", 23, 22, "most end-to-end prefixes, 0 is 4"),
    mask("EMERGENCY_POWER", 25, 24, "emergency power reduction"),
    flag("EMERGENCY_POWER_INIT", 26, "needs initialisation after it"),
    flag("DMWR_COMP", 28, "completes deferrable writes"),
    mask("DMWR_LEN", 30, 29, "deferrable write length"),
    flag("FRS", 31, "function readiness status"),
  ]),
  register("DEVCTL2", 0x28, 2, "Device control 2", [
    code("COMP_TIMEOUT", 3, 0, "completion timeout", COMPLETION_TIMEOUTS),
    flag("COMP_TMOUT_DIS", 4, "completion timeout disabled"),
    flag("ARI", 5, "forwards ARI"),
    flag("ATOMIC_REQ", 6, "may request AtomicOps"),
    flag("ATOMIC_EGRESS_BLOCK", 7, "blocks AtomicOps"),
    flag("IDO_REQ_EN", 8, "ID-based ordering of requests"),
    flag("IDO_CMP_EN", 9, "ID-based ordering of completions"),
    flag("LTR_EN", 10, "latency tolerance reporting enabled"),
    flag("EMERGENCY_POWER_REQ", 11, "emergency power reduction requested"),
    flag("10BIT_TAG_REQ_EN", 12, "10-bit tags enabled"),
    number("OBFF", 14, 13, "OBFF, code"),
    flag("EE_PREFIX_BLOCK", 15, "blocks end-to-end prefixes"),
  ]),
  register("DEVSTA2", 0x2a, 2, "Device status 2"),
];

const PCIE_LINK2_ROWS: readonly Row[] = [
  register("LNKCAP2", 0x2c, 4, "Link capabilities 2", [
    number("SLS_VECTOR", 7, 1, "speeds", speedVector),
    flag("CROSSLINK", 8, "crosslink"),
    mask("LOWER_SKP_GEN", 15, 9, "lower SKP generation, speeds"),
    mask("LOWER_SKP_RCV", 22, 16, "lower SKP reception, speeds"),
    flag("RETIMER", 23, "detects a retimer"),
    flag("TWO_RETIMERS", 24, "detects two retimers"),
    flag("DRS", 31, "device readiness status"),
  ]),
  register("LNKCTL2", 0x30, 2, "Link control 2", [
    code("TLS", 3, 0, "target speed", LINK_SPEEDS),
    flag("ENTER_COMP", 4, "enter compliance"),
    flag("HASD", 5, "hardware autonomous speed disabled"),
    code("DEEMPHASIS", 6, 6, "selectable de-emphasis", { 0: "-6 dB", 1: "-3.5 dB" }),
    number("TX_MARGIN", 9, 7, "transmit margin, code"),
    flag("ENTER_MOD_COMP", 10, "enter modified compliance"),
    flag("COMP_SOS", 11, "compliance SOS"),
    number("COMP_PRESET", 15, 12, "compliance preset"),
  ]),
  register("LNKSTA2", 0x32, 2, "Link status 2", [
    code("DEEMPHASIS", 0, 0, "current de-emphasis", { 0: "-6 dB", 1: "-3.5 dB" }),
    flag("EQ_COMPLETE", 1, "equalisation complete"),
    flag("EQ_PHASE1", 2, "equalisation phase 1 done"),
    flag("EQ_PHASE2", 3, "equalisation phase 2 done"),
    flag("EQ_PHASE3", 4, "equalisation phase 3 done"),
    flag("EQ_REQUEST", 5, "equalisation requested"),
    flag("RETIMER", 6, "retimer present"),
    flag("TWO_RETIMERS", 7, "two retimers present"),
    number("CROSSLINK", 9, 8, "crosslink resolution, code"),
    flag("FLIT_MODE", 10, "flit mode"),
    number("COMPONENT_PRESENCE", 14, 12, "downstream component presence, code"),
    flag("DRS", 15, "DRS message received"),
  ]),
];

function speedVector(value: bigint): string {
  const speeds = Object.entries(LINK_SPEEDS).filter(([code]) => (value >> BigInt(Number(code) - 1) & 1n) === 1n);
  return speeds.length === 0 ? "none" : speeds.map(([, speed]) => speed).join(", ");
}

const UNCORRECTABLE: readonly BitField[] = [
  flag("UND", 0, "undefined since 1.1"),
  flag("DLP", 4, "data link protocol error"),
  flag("SURPDN", 5, "surprise down"),
  flag("POISON_TLP", 12, "poisoned TLP received"),
  flag("FCP", 13, "flow control protocol error"),
  flag("COMP_TIME", 14, "completion timeout"),
  flag("COMP_ABORT", 15, "completer abort"),
  flag("UNX_COMP", 16, "unexpected completion"),
  flag("RX_OVER", 17, "receiver overflow"),
  flag("MALF_TLP", 18, "malformed TLP"),
  flag("ECRC", 19, "ECRC error"),
  flag("UNSUP", 20, "unsupported request"),
  flag("ACSV", 21, "ACS violation"),
  flag("INTN", 22, "internal error"),
  flag("MCBTLP", 23, "blocked multicast TLP"),
  flag("ATOMEG", 24, "AtomicOp egress blocked"),
  flag("TLPPRE", 25, "TLP prefix blocked"),
  flag("POISON_BLK", 26, "poisoned TLP egress blocked"),
  flag("DMWR_BLK", 27, "deferrable write egress blocked"),
  flag("IDE_CHECK", 28, "IDE check failed"),
  flag("MISR_IDE", 29, "misrouted IDE TLP"),
  flag("PCRC_CHECK", 30, "PCRC check failed"),
  flag("XLAT_BLK", 31, "TLP translation egress blocked"),
];

const CORRECTABLE: readonly BitField[] = [
  flag("RCVR", 0, "receiver error"),
  flag("BAD_TLP", 6, "bad TLP"),
  flag("BAD_DLLP", 7, "bad DLLP"),
  flag("REP_ROLL", 8, "replay number rolled over"),
  flag("REP_TIMER", 12, "replay timer ran out"),
  flag("ADV_NFAT", 13, "advisory non-fatal error"),
  flag("INTERNAL", 14, "corrected internal error"),
  flag("LOG_OVER", 15, "header log overflow"),
];

const AER_ROWS: readonly Row[] = [
  register("UNCOR_STATUS", 0x04, 4, "Uncorrectable errors seen", UNCORRECTABLE),
  register("UNCOR_MASK", 0x08, 4, "Uncorrectable errors masked", UNCORRECTABLE),
  register("UNCOR_SEVER", 0x0c, 4, "Uncorrectable errors that are fatal", UNCORRECTABLE),
  register("COR_STATUS", 0x10, 4, "Correctable errors seen", CORRECTABLE),
  register("COR_MASK", 0x14, 4, "Correctable errors masked", CORRECTABLE),
  register("CAP", 0x18, 4, "Advanced error capabilities and control", [
    number("FEP", 4, 0, "first error, bit"),
    flag("ECRC_GENC", 5, "can generate ECRC"),
    flag("ECRC_GENE", 6, "generates ECRC"),
    flag("ECRC_CHKC", 7, "can check ECRC"),
    flag("ECRC_CHKE", 8, "checks ECRC"),
    flag("MULT_HDR_CAP", 9, "can record several headers"),
    flag("MULT_HDR_EN", 10, "records several headers"),
    flag("TLP_PREFIX_LOG", 11, "prefix log valid"),
    flag("COMP_TIME_LOG", 12, "logs completion timeout prefix and header"),
    number("HEADER_LOG_SIZE", 17, 13, "header log size, code"),
    flag("FLIT_LOGGED", 18, "TLP logged in flit mode"),
  ]),
  register("HEADER_LOG0", 0x1c, 4, "Header log, first word"),
  register("HEADER_LOG1", 0x20, 4, "Header log, second word"),
  register("HEADER_LOG2", 0x24, 4, "Header log, third word"),
  register("HEADER_LOG3", 0x28, 4, "Header log, fourth word"),
];

/** Root ports and event collectors collect the errors of what is below them. */
const AER_ROOT_ROWS: readonly Row[] = [
  register("ROOT_COMMAND", 0x2c, 4, "Root error command", [
    flag("COR_EN", 0, "interrupt on correctable errors"),
    flag("NONFATAL_EN", 1, "interrupt on non-fatal errors"),
    flag("FATAL_EN", 2, "interrupt on fatal errors"),
  ]),
  register("ROOT_STATUS", 0x30, 4, "Root error status", [
    flag("COR_RCV", 0, "correctable error received"),
    flag("MULTI_COR_RCV", 1, "several correctable errors received"),
    flag("UNCOR_RCV", 2, "uncorrectable error received"),
    flag("MULTI_UNCOR_RCV", 3, "several uncorrectable errors received"),
    flag("FIRST_FATAL", 4, "the first uncorrectable one was fatal"),
    flag("NONFATAL_RCV", 5, "non-fatal error received"),
    flag("FATAL_RCV", 6, "fatal error received"),
    number("ERR_COR_SUBCLASS", 8, 7, "ERR_COR subclass, code"),
    number("IRQ", 31, 27, "interrupt message number"),
  ]),
  register("ERR_COR_SRC", 0x34, 2, "Who sent the correctable error: bus, device, function"),
  register("ERR_SRC", 0x36, 2, "Who sent the uncorrectable error: bus, device, function"),
];

function aerRows(_bytes: Uint8Array, portType: number | null): readonly Row[] {
  return portType === 4 || portType === 10 ? [...AER_ROWS, ...AER_ROOT_ROWS] : AER_ROWS;
}

const ARI_ROWS: readonly Row[] = [
  register("CAP", 4, 2, "ARI capability", [
    flag("MFVC", 0, "function groups of MFVC"),
    flag("ACS", 1, "function groups of ACS"),
    number("NEXT", 15, 8, "next function"),
  ]),
  register("CTRL", 6, 2, "ARI control", [
    flag("MFVC", 0, "function groups of MFVC on"),
    flag("ACS", 1, "function groups of ACS on"),
    number("GROUP", 6, 4, "function group"),
  ]),
];

/** The seven services of ACS, by bit: what a port can do, and in the control register what it does. */
const ACS_BITS: readonly BitField[] = [
  flag("SV", 0, "source validation"),
  flag("TB", 1, "translation blocking"),
  flag("RR", 2, "request redirect"),
  flag("CR", 3, "completion redirect"),
  flag("UF", 4, "upstream forwarding"),
  flag("EC", 5, "egress control"),
  flag("DT", 6, "direct translated"),
];

const ACS_ROWS: readonly Row[] = [
  register("CAP", 4, 2, "ACS capability", [
    ...ACS_BITS,
    flag("ENHANCED", 7, "enhanced"),
    number("EGRESS_VECTOR_SIZE", 15, 8, "egress control vector, bits"),
  ]),
  register("CTRL", 6, 2, "ACS control", [
    ...ACS_BITS,
    flag("IB", 7, "I/O request blocking"),
    code("DMAC", 9, 8, "downstream port memory targets", { 0: "direct", 1: "block", 2: "redirect" }),
    code("UMAC", 11, 10, "upstream port memory targets", { 0: "direct", 1: "block", 2: "redirect" }),
    flag("URRC", 12, "unclaimed requests redirected"),
  ]),
];

const ATS_ROWS: readonly Row[] = [
  register("CAP", 4, 2, "ATS capability", [
    number(
      "INVALIDATE_QUEUE_DEPTH",
      4,
      0,
      "invalidate requests it accepts",
      (value) => `${value === 0n ? 32n : value}`,
    ),
    flag("PAGE_ALIGNED", 5, "requests are page-aligned"),
    flag("GLOBAL_INVALIDATE", 6, "global invalidate"),
    flag("RELAXED_ORDERING", 7, "relaxed ordering"),
  ]),
  register("CTRL", 6, 2, "ATS control", [
    number("STU", 4, 0, "smallest translation unit", (value) => formatBytes(4096n << value)),
    flag("ENABLE", 15, "ATS enabled"),
  ]),
];

const SRIOV_ROWS: readonly Row[] = [
  register("CAP", 0x04, 4, "SR-IOV capabilities", [
    flag("VFM", 0, "VF migration"),
    flag("ARI_PRESERVED", 1, "keeps ARI"),
    flag("VF_10BIT_TAG_REQ", 2, "VFs request with 10-bit tags"),
    number("VFM_IRQ", 31, 21, "migration interrupt message number"),
  ]),
  register("CTRL", 0x08, 2, "SR-IOV control", [
    flag("VFE", 0, "VFs enabled"),
    flag("VFM", 1, "VF migration enabled"),
    flag("INTR", 2, "migration interrupt"),
    flag("MSE", 3, "VFs answer memory cycles"),
    flag("ARI", 4, "ARI capable hierarchy"),
    flag("VF_10BIT_TAG_REQ_EN", 5, "VFs use 10-bit tags"),
  ]),
  register("STATUS", 0x0a, 2, "SR-IOV status", [flag("VFM", 0, "VF migration pending")]),
  register("INITIAL_VF", 0x0c, 2, "VFs at start", undefined, { kind: "quantity" }),
  register("TOTAL_VF", 0x0e, 2, "VFs at most", undefined, { kind: "quantity" }),
  register("NUM_VF", 0x10, 2, "VFs now", undefined, { kind: "quantity" }),
  register("FUNC_LINK", 0x12, 1, "Function dependency link"),
  register("VF_OFFSET", 0x14, 2, "First VF, routing ID offset", undefined, { kind: "quantity" }),
  register("VF_STRIDE", 0x16, 2, "Next VF, routing ID stride", undefined, { kind: "quantity" }),
  register("VF_DID", 0x1a, 2, "VF device ID"),
  register("SUP_PGSIZE", 0x1c, 4, "Page sizes supported, bit n is 4 KiB × 2^n"),
  register("SYS_PGSIZE", 0x20, 4, "Page size, bit n is 4 KiB × 2^n"),
  ...Array.from({ length: 6 }, (_, i) => register(`VF_BAR${i}`, 0x24 + 4 * i, 4, `VF base address ${i}`)),
  register("MIGRATION_STATE", 0x3c, 4, "VF migration state array", [
    number("BIR", 2, 0, "in BAR"),
    number("OFFSET", 31, 3, "offset", (value) => hex(value << 3n)),
  ]),
];

/** Resizable BAR: one pair of registers for each BAR, as many as the first control register says, at most six. */
function rebarRows(bytes: Uint8Array): readonly Row[] {
  const count = Math.min(6, Math.max(1, configUint(bytes, 8, 4) >>> 5 & 0x7));
  return Array.from({ length: count }, (_, i): Row[] => [
    register(`CAP${i}`, 4 + 8 * i, 4, "Sizes this BAR can have", [
      number("SIZES", 31, 4, "1 MiB × 2^n for each bit", rebarSizes),
    ]),
    register(`CTRL${i}`, 8 + 8 * i, 4, "Size this BAR has", [
      number("BAR_IDX", 2, 0, "BAR"),
      number("NBAR", 7, 5, "resizable BARs (first register only)"),
      number("SIZE", 13, 8, "size", (value) => formatBytes(1n << (20n + value))),
      mask("SIZES_HIGH", 31, 16, "sizes from 256 TiB"),
    ]),
  ]).flat();
}

function rebarSizes(value: bigint): string {
  const sizes: string[] = [];
  for (let bit = 0n; bit < 28n; bit++) if ((value >> bit & 1n) === 1n) sizes.push(formatBytes(1n << (20n + bit)));
  return sizes.length === 0 ? "none" : sizes.join(", ");
}

/** The DVSEC vendor ID of the CXL consortium. */
export const CXL_VENDOR_ID = 0x1e98;

const DVSEC_HEADER_ROWS: readonly Row[] = [
  register("HEADER1", 4, 4, "DVSEC header 1", [
    mask("VENDOR_ID", 15, 0, "vendor"),
    number("REVISION", 19, 16, "revision"),
    number("LENGTH", 31, 20, "length", (value) => `${value} bytes`),
  ]),
  register("HEADER2", 8, 2, "DVSEC header 2", [number("ID", 15, 0, "vendor's number for it")]),
];

function cxlRange(index: number, at: number): Row[] {
  return [
    register(`RANGE${index}_SIZE_HIGH`, at, 4, `Range ${index} size, bits 63:32`),
    register(`RANGE${index}_SIZE_LOW`, at + 4, 4, `Range ${index} size, bits 31:28, and state`, [
      flag("MEMORY_INFO_VALID", 0, "information valid"),
      flag("MEMORY_ACTIVE", 1, "memory ready"),
      code("MEDIA_TYPE", 4, 2, "media", { 0: "volatile", 1: "non-volatile", 2: "see CDAT" }),
      code("MEMORY_CLASS", 7, 5, "class", { 0: "memory", 1: "storage", 2: "see CDAT" }),
      number("DESIRED_INTERLEAVE", 12, 8, "desired interleave, code"),
      number("MEMORY_ACTIVE_TIMEOUT", 15, 13, "time until ready, code"),
      flag("MEMORY_ACTIVE_DEGRADED", 16, "active with reduced capacity"),
      mask("SIZE_LOW", 31, 28, "size, bits 31:28"),
    ]),
    register(`RANGE${index}_BASE_HIGH`, at + 8, 4, `Range ${index} base, bits 63:32`),
    register(`RANGE${index}_BASE_LOW`, at + 12, 4, `Range ${index} base, bits 31:28`, [
      mask("BASE_LOW", 31, 28, "base, bits 31:28"),
    ]),
  ];
}

/** CXL 3.1 §8.1.3: what a CXL device is and can do. */
const CXL_DEVICE_ROWS: readonly Row[] = [
  register("CAPABILITY", 0x0a, 2, "CXL capability", [
    flag("CACHE_CAPABLE", 0, "CXL.cache"),
    flag("IO_CAPABLE", 1, "CXL.io"),
    flag("MEM_CAPABLE", 2, "CXL.mem"),
    flag("MEM_HWINIT_MODE", 3, "memory comes up by hardware"),
    number("HDM_COUNT", 5, 4, "legacy HDM ranges"),
    flag("CACHE_WB_INVALIDATE_CAPABLE", 6, "cache write-back and invalidate"),
    flag("RESET_CAPABLE", 7, "CXL reset"),
    number("RESET_TIMEOUT", 10, 8, "reset timeout, code"),
    flag("RESET_MEM_CLR_CAPABLE", 11, "clears memory on reset"),
    flag("TSP_CAPABLE", 12, "TSP"),
    flag("MULTIPLE_LOGICAL_DEVICE", 13, "multiple logical devices"),
    flag("VIRAL_CAPABLE", 14, "viral"),
    flag("PM_INIT_REPORTING", 15, "reports PM initialisation complete"),
  ]),
  register("CONTROL", 0x0c, 2, "CXL control", [
    flag("CACHE_ENABLE", 0, "CXL.cache enabled"),
    flag("IO_ENABLE", 1, "CXL.io enabled"),
    flag("MEM_ENABLE", 2, "CXL.mem enabled"),
    number("CACHE_SF_COVERAGE", 7, 3, "snoop filter coverage"),
    number("CACHE_SF_GRANULARITY", 10, 8, "snoop filter granularity, code"),
    flag("CACHE_CLEAN_EVICTION", 11, "no clean evictions"),
    flag("DIRECT_P2P_MEM_ENABLE", 12, "direct peer-to-peer CXL.mem"),
    flag("VIRAL_ENABLE", 14, "viral enabled"),
  ]),
  register("STATUS", 0x0e, 2, "CXL status", [flag("VIRAL_STATUS", 14, "viral entered")]),
  register("STATUS2", 0x12, 2, "CXL status 2", [
    flag("CACHE_INVALID", 0, "cache invalidated"),
    flag("RESET_COMPLETE", 1, "CXL reset complete"),
    flag("RESET_ERROR", 2, "CXL reset failed"),
    flag("HDM_PRESERVATION_ERROR", 3, "volatile memory was not preserved"),
    flag("PM_INIT_COMPLETE", 15, "PM initialisation complete"),
  ]),
  register("CAPABILITY2", 0x16, 2, "CXL capability 2", [
    code("CACHE_SIZE_UNIT", 3, 0, "unit of the cache size", { 0: "not reported", 1: "64 KiB", 2: "1 MiB" }),
    number("CACHE_SIZE", 15, 8, "cache size, in units"),
  ]),
  ...cxlRange(1, 0x18),
  ...cxlRange(2, 0x28),
];

const PORT_EXTENSION_ROWS: readonly Row[] = [
  register("STATUS", 0x0a, 2, "Port extension status", [
    flag("PM_INIT_COMPLETE", 0, "PM initialisation complete"),
    flag("VIRAL_STATUS", 14, "viral entered"),
  ]),
  register("CONTROL", 0x0c, 2, "Port control override", [
    flag("UNMASK_SBR", 0, "secondary bus reset works"),
    flag("UNMASK_LINK_DISABLE", 1, "link disable works"),
    flag("ALT_MEMORY_ENABLE", 2, "alternate memory and ID space"),
    flag("ALT_BME", 3, "alternate bus master enable"),
    flag("UIO_TO_HDM_ENABLE", 4, "UIO to HDM enabled"),
    flag("VIRAL_ENABLE", 14, "viral enabled"),
  ]),
  register("ALT_BUS_BASE", 0x0e, 1, "Alternate bus, first"),
  register("ALT_BUS_LIMIT", 0x0f, 1, "Alternate bus, last"),
  register("ALT_MEMORY_BASE", 0x10, 2, "Alternate memory base, bits 31:20"),
  register("ALT_MEMORY_LIMIT", 0x12, 2, "Alternate memory limit, bits 31:20"),
];

const GPF_SCALES: Readonly<Record<number, string>> = {
  0: "1 µs",
  1: "10 µs",
  2: "100 µs",
  3: "1 ms",
  4: "10 ms",
  5: "100 ms",
  6: "1 s",
  7: "10 s",
};

/** CXL 3.1 §8.1.6 and §8.1.7: global persistent flush. */
function gpfTimeout(name: string, at: number, title: string): Row {
  return register(name, at, 2, title, [
    number("BASE", 3, 0, "time, in the unit of SCALE"),
    code("SCALE", 11, 8, "unit", GPF_SCALES),
  ]);
}

const GPF_PORT_ROWS: readonly Row[] = [
  gpfTimeout("PHASE1", 0x0c, "Global persistent flush, limit of phase 1"),
  gpfTimeout("PHASE2", 0x0e, "Global persistent flush, limit of phase 2"),
];

const GPF_DEVICE_ROWS: readonly Row[] = [
  gpfTimeout("PHASE2_DURATION", 0x0a, "Global persistent flush, duration of phase 2"),
  register("PHASE2_POWER", 0x0c, 4, "Power in phase 2, in mW", undefined, { kind: "quantity" }),
];

const FLEX_BUS_BITS: readonly BitField[] = [
  flag("CACHE", 0, "CXL.cache"),
  flag("IO", 1, "CXL.io"),
  flag("MEM", 2, "CXL.mem"),
];

const FLEX_BUS_LINK_BITS: readonly BitField[] = [
  ...FLEX_BUS_BITS,
  flag("SYNC_HEADER_BYPASS", 3, "sync header bypass"),
  flag("DRIFT_BUFFER", 4, "drift buffer"),
  flag("68B_FLIT_VH", 5, "68-byte flits and virtual hierarchy"),
  flag("MLD", 6, "multiple logical devices"),
];

function flexBusRows(bytes: Uint8Array): readonly Row[] {
  const sizeBytes = configUint(bytes, 4, 4) >>> 20;
  return [
    register("CAPABILITY", 0x0a, 2, "Flex bus port capability", [
      ...FLEX_BUS_BITS,
      flag("68B_FLIT_VH", 5, "68-byte flits and virtual hierarchy"),
      flag("MLD", 6, "multiple logical devices"),
      flag("256B_FLIT", 13, "latency-optimised 256-byte flits"),
      flag("PBR_FLIT", 14, "port based routing flits"),
    ]),
    register("CONTROL", 0x0c, 2, "Flex bus port control", [
      ...FLEX_BUS_LINK_BITS,
      flag("RCD", 7, "restricted CXL device"),
      flag("RETIMER1", 8, "retimer 1 present"),
      flag("RETIMER2", 9, "retimer 2 present"),
      flag("256B_FLIT", 13, "latency-optimised 256-byte flits"),
      flag("PBR_FLIT", 14, "port based routing flits"),
    ]),
    register("STATUS", 0x0e, 2, "Flex bus port status: what was negotiated", [
      ...FLEX_BUS_LINK_BITS,
      flag("256B_FLIT", 13, "latency-optimised 256-byte flits"),
      flag("PBR_FLIT", 14, "port based routing flits"),
    ]),
    // Revision 1 added the modified training set, revision 2 the rest.
    ...(sizeBytes >= 0x14 ? [register("RECEIVED_MODIFIED_TS", 0x10, 4, "Received modified TS data, phase 1")] : []),
    ...(sizeBytes >= 0x20
      ? [
        register("CAPABILITY2", 0x14, 4, "Flex bus port capability 2", [flag("NOP_HINT", 0, "NOP hint")]),
        register("CONTROL2", 0x18, 4, "Flex bus port control 2", [flag("NOP_HINT", 0, "NOP hint")]),
        register("STATUS2", 0x1c, 4, "Flex bus port status 2", [number("NOP_HINT", 1, 0, "NOP hint, code")]),
      ]
      : []),
  ];
}

/** Register locator: as many pairs of dwords as its length holds. */
function locatorRows(bytes: Uint8Array): readonly Row[] {
  const sizeBytes = configUint(bytes, 4, 4) >>> 20;
  const count = Math.min(32, Math.max(0, Math.floor((sizeBytes - 0x0c) / 8)));
  return Array.from({ length: count }, (_, i): Row[] => [
    register(`BLOCK${i}_LOW`, 0x0c + 8 * i, 4, `Register block ${i}`, [
      number("BIR", 2, 0, "in BAR"),
      code("ID", 15, 8, "what it is", {
        0: "empty",
        1: "component registers",
        2: "BAR virtualisation ACL",
        3: "CXL device registers",
        4: "CPMU registers",
        0xff: "designated vendor specific",
      }),
      number("OFFSET_LOW", 31, 16, "offset, bits 31:16", (value) => hex(value << 16n)),
    ]),
    register(`BLOCK${i}_HIGH`, 0x10 + 8 * i, 4, `Register block ${i}, offset bits 63:32`),
  ]).flat();
}

function dvsecRows(bytes: Uint8Array): readonly Row[] {
  if ((configUint(bytes, 4, 4) & 0xffff) !== CXL_VENDOR_ID) return DVSEC_HEADER_ROWS;
  switch (configUint(bytes, 8, 2)) {
    case 0:
      return [...DVSEC_HEADER_ROWS, ...CXL_DEVICE_ROWS];
    case 3:
      return [...DVSEC_HEADER_ROWS, ...PORT_EXTENSION_ROWS];
    case 4:
      return [...DVSEC_HEADER_ROWS, ...GPF_PORT_ROWS];
    case 5:
      return [...DVSEC_HEADER_ROWS, ...GPF_DEVICE_ROWS];
    case 7:
      return [...DVSEC_HEADER_ROWS, ...flexBusRows(bytes)];
    case 8:
      return [...DVSEC_HEADER_ROWS, ...locatorRows(bytes)];
    default:
      return DVSEC_HEADER_ROWS;
  }
}

const PCIE = "PCI Express Base 6.0";

/** Tables of the standard list, by capability ID. */
export const STANDARD_TABLES: Readonly<Record<number, CapabilityTable>> = {
  0x01: { source: "PCI Power Management 1.2 §3.2", rows: pmRows() },
  0x05: { source: `${PCIE} §7.7.1`, rows: msiRows },
  0x0d: {
    source: "PCI-to-PCI Bridge 1.2 §3.2.5.14",
    rows: [
      register("SUBSYSTEM_VENDOR_ID", 4, 2, "Subsystem vendor ID"),
      register("SUBSYSTEM_ID", 6, 2, "Subsystem ID"),
    ],
  },
  0x10: { source: `${PCIE} §7.5.3`, rows: pcieRows },
  0x11: { source: `${PCIE} §7.7.2`, rows: MSIX_ROWS },
};

/** Tables of the extended list, by capability ID. */
export const EXTENDED_TABLES: Readonly<Record<number, CapabilityTable>> = {
  ...MORE_EXTENDED_TABLES,
  0x01: { source: `${PCIE} §7.8.4`, rows: aerRows },
  0x03: { source: `${PCIE} §7.9.3`, rows: [register("SERIAL", 4, 8, "Device serial number")] },
  0x0d: { source: `${PCIE} §7.7.11`, rows: ACS_ROWS },
  0x0e: { source: `${PCIE} §7.8.8`, rows: ARI_ROWS },
  0x0f: { source: `${PCIE} §10.5.1`, rows: ATS_ROWS },
  0x10: { source: `${PCIE} §9.3.3`, rows: SRIOV_ROWS },
  0x15: { source: `${PCIE} §7.8.6`, rows: rebarRows },
  0x23: { source: `${PCIE} §7.9.6, CXL 3.1 §8.1`, rows: dvsecRows },
};
