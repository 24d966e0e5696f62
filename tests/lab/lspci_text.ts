/**
 * What `lspci -vvv` (pciutils 3.9) would print of a function, made from our own decoded registers.
 *
 * Every line of a capability that our tables decode is predicted whole; comparing it with what lspci printed consumes
 * every field of it. A line that is not predicted is a difference. Runs of spaces and tabs count as one space.
 * @module
 */

import { formatBytes } from "../../src/core/units.ts";
import {
  type Capability,
  capabilityLayout,
  decodeCapability,
  dvsecIdentity,
  listCapabilities,
} from "../../src/pci/capabilities.ts";
import { configUint } from "../../src/pci/config_space.ts";

/** One function as lspci prints it: its first line, and the others without their indentation. */
export interface LspciBlock {
  /** `0000:01:00.0`. */
  readonly name: string;
  /** The rest of the first line. */
  readonly title: string;
  /** Lines about the function itself. */
  readonly lines: readonly string[];
  /** Lines of each capability, by its offset; the first is its headline. */
  readonly capabilities: ReadonlyMap<number, readonly string[]>;
}

/** Takes the text of `lspci -Dvvv` apart. */
export function parseLspci(text: string): LspciBlock[] {
  return text.trim().split("\n\n").map((block) => {
    const [head = "", ...rest] = block.split("\n");
    const [name = "", ...title] = head.split(" ");
    const lines: string[] = [];
    const capabilities = new Map<number, string[]>();
    let current = lines;
    for (const line of rest) {
      const depth = /^\t*/.exec(line)?.[0].length ?? 0;
      const flat = line.replace(/\s+/g, " ").trim();
      const offset = /^Capabilities: \[([0-9a-f]+)/.exec(flat)?.[1];
      if (depth === 1) current = lines;
      if (offset !== undefined && depth === 1) {
        current = [];
        capabilities.set(parseInt(offset, 16), current);
      }
      current.push(flat);
    }
    return { name, title: title.join(" "), lines, capabilities };
  });
}

/** The functions of `lspci -t`, each with the bridge above it. */
export function parseLspciTree(text: string): Map<string, string | null> {
  const parents = new Map<string, string | null>();
  /** For each column with a branch: the bus there, and the bridge that leads to it. */
  const branches = new Map<number, { bus: string; bridge: string | null }>();
  let place: { bus: string; bridge: string | null } = { bus: "", bridge: null };
  let last: string | null = null;
  for (const line of text.split("\n").filter((line) => line.trim() !== "")) {
    let at = line.search(/[+\\-]/);
    const branch = branches.get(at);
    if (branch !== undefined) place = branch;
    for (;;) {
      const rest = line.slice(at);
      const root = /^[+\\-]*\[([0-9a-f]{4}):([0-9a-f]{2})\]/.exec(rest);
      const below = /^-\[([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/.exec(rest);
      const fn = /^[+\\-]?-*([0-9a-f]{2}\.[0-7])/.exec(rest);
      const fork = /^-*-\+-/.exec(rest);
      if (root !== null) {
        if (!branches.has(at)) branches.set(line.indexOf("+"), place);
        place = { bus: `${root[1]}:${root[2]}`, bridge: null };
        at += root[0].length;
      } else if (below !== null) {
        place = { bus: `${place.bus.slice(0, 5)}${below[1]}`, bridge: last };
        at += below[0].length;
      } else if (fork !== null) {
        at += fork[0].indexOf("+");
        // The very first fork, before any bus, joins the root buses.
        if (place.bus !== "") branches.set(at, place);
        at += 1;
      } else if (fn !== null) {
        last = `${place.bus}:${fn[1]}`;
        parents.set(last, place.bridge);
        at += fn[0].length;
      } else break;
    }
  }
  return parents;
}

/** Values of a capability's registers by `REGISTER` or `REGISTER.FIELD`. */
class Values {
  readonly #values = new Map<string, bigint>();

  constructor(capability: Capability, config: Uint8Array) {
    for (const { row, value, fields } of decodeCapability(capability, config).registers) {
      if (typeof value === "bigint") this.#values.set(row.name, value);
      for (const { field, value } of fields) this.#values.set(`${row.name}.${field.name}`, value);
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** A value that the table must have. */
  of(name: string): number {
    const value = this.#values.get(name);
    if (value === undefined) throw new Error(`our table has no ${name}`);
    return Number(value);
  }

  /** `CorrErr+`: each pair is lspci's name and our field. */
  flags(register: string, names: readonly (readonly [string, string])[]): string {
    return names.map(([name, field]) => `${name}${this.of(`${register}.${field}`) === 0 ? "-" : "+"}`).join(" ");
  }

  hex(name: string, digits: number): string {
    const value = this.#values.get(name);
    if (value === undefined) throw new Error(`our table has no ${name}`);
    return value.toString(16).padStart(digits, "0");
  }
}

/** What lspci would print of a capability, or null when our tables do not decode it. */
export function expectedLines(name: string, capability: Capability, config: Uint8Array): string[] | null {
  if (capabilityLayout(capability, config) === null) return null;
  const values = new Values(capability, config);
  const version = capability.list === "extended" ? ` v${capability.version}` : "";
  const head = `Capabilities: [${capability.offset.toString(16)}${version}]`;
  const print = (capability.list === "standard" ? STANDARD : EXTENDED)[capability.id];
  if (print === undefined) throw new Error(`no prediction for ${capability.name}, which our tables decode`);
  const [first = "", ...rest] = print(values, config, capability, name);
  return [`${head} ${first}`, ...rest].map((line) => line.replace(/\s+/g, " ").trim());
}

type Printer = (v: Values, config: Uint8Array, capability: Capability, name: string) => string[];

const SPEEDS = ["unknown", "2.5GT/s", "5GT/s", "8GT/s", "16GT/s", "32GT/s", "64GT/s"];
const POWER_STATES = ["D0", "D1", "D2", "D3"];

const STANDARD: Readonly<Record<number, Printer>> = {
  0x01: (v) => [
    `Power Management version ${v.of("PMC.VERSION")}`,
    `Flags: ${v.flags("PMC", [["PMEClk", "PME_CLOCK"], ["DSI", "DSI"], ["D1", "D1"], ["D2", "D2"]])} ` +
    `AuxCurrent=${[0, 55, 100, 160, 220, 270, 320, 375][v.of("PMC.AUX_CURRENT")]}mA ` +
    `PME(${
      v.flags("PMC", [["D0", "PME_D0"], ["D1", "PME_D1"], ["D2", "PME_D2"], ["D3hot", "PME_D3HOT"], [
        "D3cold",
        "PME_D3COLD",
      ]]).replaceAll(" ", ",")
    })`,
    `Status: ${POWER_STATES[v.of("PMCSR.POWER_STATE")]} ${
      v.flags("PMCSR", [["NoSoftRst", "NO_SOFT_RESET"], ["PME-Enable", "PME_ENABLE"]])
    } DSel=${v.of("PMCSR.DATA_SELECT")} DScale=${v.of("PMCSR.DATA_SCALE")} ${
      v.flags("PMCSR", [["PME", "PME_STATUS"]])
    }`,
    // lspci says B3 where the bit says B2.
    ...(v.of("BRIDGE") !== 0
      ? [`Bridge: ${v.flags("BRIDGE", [["PM", "BPCC_ENABLE"]])} B3${v.of("BRIDGE.B2_B3") === 0 ? "+" : "-"}`]
      : []),
  ],
  0x05: (v) => [
    `MSI: ${v.flags("CONTROL", [["Enable", "ENABLE"]])} Count=${1 << v.of("CONTROL.ENABLED")}/${
      1 << v.of("CONTROL.CAPABLE")
    } ${v.flags("CONTROL", [["Maskable", "MASKABLE"], ["64bit", "64BIT"]])}`,
    `Address: ${v.hex("ADDRESS", v.of("CONTROL.64BIT") === 1 ? 16 : 8)} Data: ${v.hex("DATA", 4)}`,
    ...(v.has("MASK") ? [`Masking: ${v.hex("MASK", 8)} Pending: ${v.hex("PENDING", 8)}`] : []),
  ],
  0x0d: (v) => [`Subsystem: ${v.hex("SUBSYSTEM_VENDOR_ID", 4)}:${v.hex("SUBSYSTEM_ID", 4)}`],
  0x10: pcieLines,
  0x11: (v) => [
    `MSI-X: ${v.flags("CONTROL", [["Enable", "ENABLE"]])} Count=${v.of("CONTROL.TABLE_SIZE") + 1} ${
      v.flags("CONTROL", [["Masked", "FUNCTION_MASK"]])
    }`,
    `Vector table: BAR=${v.of("TABLE.BIR")} offset=${(v.of("TABLE.OFFSET") * 8).toString(16).padStart(8, "0")}`,
    `PBA: BAR=${v.of("PBA.BIR")} offset=${(v.of("PBA.OFFSET") * 8).toString(16).padStart(8, "0")}`,
  ],
};

const TYPE_TEXT: Readonly<Record<number, string>> = {
  0: "Endpoint",
  1: "Legacy Endpoint",
  4: "Root Port",
  5: "Upstream Port",
  6: "Downstream Port",
  7: "PCI-Express to PCI/PCI-X Bridge",
  8: "PCI/PCI-X to PCI-Express Bridge",
  9: "Root Complex Integrated Endpoint",
  10: "Root Complex Event Collector",
};

const L0S = ["<64ns", "<128ns", "<256ns", "<512ns", "<1us", "<2us", "<4us", "unlimited"];
const L1 = ["<1us", "<2us", "<4us", "<8us", "<16us", "<32us", "<64us", "unlimited"];
const TIMEOUTS: Readonly<Record<number, string>> = {
  0: "50us to 50ms",
  1: "50us to 100us",
  2: "1ms to 10ms",
  5: "16ms to 55ms",
  6: "65ms to 210ms",
  9: "260ms to 900ms",
  10: "1s to 3.5s",
  13: "4s to 13s",
  14: "17s to 64s",
};

/** Of a function without a memory BAR lspci does not say which atomic operations it completes. */
function hasMemoryBar(config: Uint8Array): boolean {
  const isVirtual = configUint(config, 0, 2) === 0xffff;
  const bars = (configUint(config, 0x0e, 1) & 0x7f) === 1 ? [0, 1] : [0, 1, 2, 3, 4, 5];
  return isVirtual || bars.some((i) => {
    const bar = configUint(config, 0x10 + 4 * i, 4);
    return bar !== 0 && (bar & 1) === 0;
  });
}

function pcieLines(v: Values, config: Uint8Array, _capability: Capability, name: string): string[] {
  const type = v.of("FLAGS.TYPE");
  const isRoot = type === 4;
  const isDownstream = type === 6;
  const isEndpoint = type === 0 || type === 1;
  const isIntegrated = type === 9 || type === 10;
  const isVersion2 = v.of("FLAGS.VERSION") >= 2;
  const slot = isRoot || isDownstream || type === 8 ? ` (Slot${v.of("FLAGS.SLOT") === 1 ? "+" : "-"})` : "";
  return [
    `Express (v${v.of("FLAGS.VERSION")}) ${TYPE_TEXT[type]}${slot}, MSI ${v.hex("FLAGS.IRQ", 2)}`,
    ...pcieDeviceLines(v, type, isEndpoint),
    ...(isIntegrated ? [] : pcieLinkLines(v, isRoot || isEndpoint || type === 7)),
    ...(slot.includes("+") ? pcieSlotLines(v) : []),
    ...(isRoot ? pcieRootLines(v) : []),
    ...(isVersion2 ? pcieDevice2Lines(v, isRoot, isDownstream, isEndpoint || isIntegrated, hasMemoryBar(config)) : []),
    // Of a device with several functions only the first controls the link.
    ...(isVersion2 && !isIntegrated ? pcieLink2Lines(v, isDownstream, !isEndpoint || name.endsWith(":00.0")) : []),
  ];
}

function pcieDeviceLines(v: Values, type: number, isEndpoint: boolean): string[] {
  // Captured slot power is what an upstream-facing port was told.
  const hasPower = type === 0 || type === 5 || type === 7;
  const reset = isEndpoint || type === 9
    ? v.of("DEVCAP.FLR") === 1 ? ` ${v.flags("DEVCTL", [["FLReset", "BCR_FLR"]])}` : ""
    : type === 7
    ? ` ${v.flags("DEVCTL", [["BrConfRtry", "BCR_FLR"]])}`
    : "";
  const power = v.of("DEVCAP.SLOT_POWER") / 10 ** v.of("DEVCAP.SLOT_POWER_SCALE");
  return [
    `DevCap: MaxPayload ${128 << v.of("DEVCAP.PAYLOAD")} bytes, PhantFunc ${(1 << v.of("DEVCAP.PHANTOM")) - 1}` +
    (isEndpoint ? `, Latency L0s ${L0S[v.of("DEVCAP.L0S")]}, L1 ${L1[v.of("DEVCAP.L1")]}` : ""),
    // The three bits that are undefined since 1.1 are the buttons and lamps of 1.0a.
    `${v.flags("DEVCAP", [["ExtTag", "EXT_TAG"]])} ` +
    (isEndpoint || type === 5 || type === 7
      ? `${
        ["AttnBtn", "AttnInd", "PwrInd"].map((name, i) =>
          `${name}${(v.of("DEVCAP.UNDEFINED") >> i & 1) === 1 ? "+" : "-"}`
        ).join(" ")
      } `
      : "") +
    v.flags("DEVCAP", [["RBE", "RBER"]]) +
    (isEndpoint || type === 9 ? ` ${v.flags("DEVCAP", [["FLReset", "FLR"]])}` : "") +
    (hasPower ? ` SlotPowerLimit ${power}W` : ""),
    `DevCtl: ${
      v.flags("DEVCTL", [["CorrErr", "CERE"], ["NonFatalErr", "NFERE"], ["FatalErr", "FERE"], ["UnsupReq", "URRE"]])
    }`,
    v.flags("DEVCTL", [["RlxdOrd", "RELAX_EN"], ["ExtTag", "EXT_TAG"], ["PhantFunc", "PHANTOM"], [
      "AuxPwr",
      "AUX_PME",
    ], ["NoSnoop", "NOSNOOP_EN"]]) + reset,
    `MaxPayload ${128 << v.of("DEVCTL.PAYLOAD")} bytes, MaxReadReq ${128 << v.of("DEVCTL.READRQ")} bytes`,
    `DevSta: ${
      v.flags("DEVSTA", [["CorrErr", "CED"], ["NonFatalErr", "NFED"], ["FatalErr", "FED"], ["UnsupReq", "URD"], [
        "AuxPwr",
        "AUXPD",
      ], ["TransPend", "TRPND"]])
    }`,
  ];
}

/** Codes of both ends are compared by lspci with this function's own maximum. */
function compared(value: number, max: number): string {
  return value > max ? " (overdriven)" : value < max ? " (downgraded)" : "";
}

function pcieLinkLines(v: Values, hasCompletionBoundary: boolean): string[] {
  const aspm = v.of("LNKCAP.ASPMS");
  const exit = [
    ...((aspm & 1) !== 0 ? [`L0s ${L0S[v.of("LNKCAP.L0SEL")]}`] : []),
    ...((aspm & 2) !== 0 ? [`L1 ${L1[v.of("LNKCAP.L1EL")]}`] : []),
  ];
  const maxSpeed = v.of("LNKCAP.SLS");
  const maxWidth = v.of("LNKCAP.MLW");
  // Ports that lead down do not say "downgraded": what is below them may not be able to do more.
  const leadsDown = v.of("FLAGS.TYPE") === 4 || v.of("FLAGS.TYPE") === 6;
  const mark = (text: string): string => leadsDown && text === " (downgraded)" ? "" : text;
  return [
    `LnkCap: Port #${v.of("LNKCAP.PN")}, Speed ${SPEEDS[maxSpeed]}, Width x${maxWidth}, ASPM ${
      ["not supported", "L0s", "L1", "L0s L1"][aspm]
    }${exit.length === 0 ? "" : `, Exit Latency ${exit.join(", ")}`}`,
    v.flags("LNKCAP", [["ClockPM", "CLKPM"], ["Surprise", "SDERC"], ["LLActRep", "DLLLARC"], ["BwNot", "LBNC"], [
      "ASPMOptComp",
      "ASPM_OPTIONALITY",
    ]]),
    `LnkCtl: ASPM ${["Disabled", "L0s Enabled", "L1 Enabled", "L0s L1 Enabled"][v.of("LNKCTL.ASPMC")]};` +
    (hasCompletionBoundary ? ` RCB ${v.of("LNKCTL.RCB") === 1 ? 128 : 64} bytes,` : "") +
    ` ${v.flags("LNKCTL", [["Disabled", "LD"], ["CommClk", "CCC"]])}`,
    v.flags("LNKCTL", [["ExtSynch", "ES"], ["ClockPM", "CLKREQ_EN"], ["AutWidDis", "HAWD"], ["BWInt", "LBMIE"], [
      "AutBWInt",
      "LABIE",
    ]]),
    `LnkSta: Speed ${SPEEDS[v.of("LNKSTA.CLS")]}${mark(compared(v.of("LNKSTA.CLS"), maxSpeed))}, Width x${
      v.of("LNKSTA.NLW")
    }${mark(compared(v.of("LNKSTA.NLW"), maxWidth))}`,
    v.flags("LNKSTA", [["TrErr", "UNDEFINED_10"], ["Train", "LT"], ["SlotClk", "SLC"], ["DLActive", "DLLLA"], [
      "BWMgmt",
      "LBMS",
    ], ["ABWMgmt", "LABS"]]),
  ];
}

const INDICATOR = ["Unknown", "On", "Blink", "Off"];

function pcieSlotLines(v: Values): string[] {
  return [
    `SltCap: ${
      v.flags("SLTCAP", [
        ["AttnBtn", "ABP"],
        ["PwrCtrl", "PCP"],
        ["MRL", "MRLSP"],
        ["AttnInd", "AIP"],
        [
          "PwrInd",
          "PIP",
        ],
        ["HotPlug", "HPC"],
        ["Surprise", "HPS"],
      ])
    }`,
    `Slot #${v.of("SLTCAP.PSN")}, PowerLimit ${v.of("SLTCAP.SPLV") / 10 ** v.of("SLTCAP.SPLS")}W; ${
      v.flags("SLTCAP", [["Interlock", "EIP"], ["NoCompl", "NCCS"]])
    }`,
    `SltCtl: Enable: ${
      v.flags("SLTCTL", [
        ["AttnBtn", "ABPE"],
        ["PwrFlt", "PFDE"],
        ["MRL", "MRLSCE"],
        ["PresDet", "PDCE"],
        [
          "CmdCplt",
          "CCIE",
        ],
        ["HPIrq", "HPIE"],
        ["LinkChg", "DLLSCE"],
      ])
    }`,
    `Control: AttnInd ${INDICATOR[v.of("SLTCTL.AIC")]}, PwrInd ${INDICATOR[v.of("SLTCTL.PIC")]}, ${
      v.flags("SLTCTL", [["Power", "PCC"], ["Interlock", "EIC"]])
    }`,
    `SltSta: Status: ${
      v.flags("SLTSTA", [["AttnBtn", "ABP"], ["PowerFlt", "PFD"], ["MRL", "MRLSS"], ["CmdCplt", "CC"], [
        "PresDet",
        "PDS",
      ], ["Interlock", "EIS"]])
    }`,
    `Changed: ${v.flags("SLTSTA", [["MRL", "MRLSC"], ["PresDet", "PDC"], ["LinkState", "DLLSC"]])}`,
  ];
}

function pcieRootLines(v: Values): string[] {
  return [
    `RootCap: ${v.flags("RTCAP", [["CRSVisible", "CRSVIS"]])}`,
    `RootCtl: ${
      v.flags("RTCTL", [["ErrCorrectable", "SECEE"], ["ErrNon-Fatal", "SENFEE"], ["ErrFatal", "SEFEE"], [
        "PMEIntEna",
        "PMEIE",
      ], ["CRSVisible", "CRSSVE"]])
    }`,
    `RootSta: PME ReqID ${v.hex("RTSTA.PME_RQ_ID", 4)}, ${
      v.flags("RTSTA", [["PMEStatus", "PME"], [
        "PMEPending",
        "PENDING",
      ]])
    }`,
  ];
}

const RANGES: Readonly<Record<number, string>> = {
  0: "Not Supported",
  1: "Range A",
  2: "Range B",
  3: "Range AB",
  6: "Range BC",
  7: "Range ABC",
  14: "Range BCD",
  15: "Range ABCD",
};

function pcieDevice2Lines(
  v: Values,
  isRoot: boolean,
  isDownstream: boolean,
  isEndpoint: boolean,
  completesAtomics: boolean,
): string[] {
  const atomic = v.flags("DEVCAP2", [["32bit", "ATOMIC_COMP32"], ["64bit", "ATOMIC_COMP64"], [
    "128bitCAS",
    "ATOMIC_COMP128",
  ]]);
  const routing = v.flags("DEVCAP2", [["Routing", "ATOMIC_ROUTE"]]);
  const tph = v.of("DEVCAP2.TPH_COMP");
  const tphText = `TPHComp${(tph & 1) === 1 ? "+" : "-"} ExtTPHComp${(tph & 2) === 2 ? "+" : "-"}`;
  const type = v.of("FLAGS.TYPE");
  const prefixes = v.of("DEVCAP2.E2E_TLP_PREFIX") === 1
    ? `, MaxEETLPPrefixes ${v.of("DEVCAP2.MAX_E2E_PREFIX") || 4}`
    : "";
  return [
    `DevCap2: Completion Timeout: ${RANGES[v.of("DEVCAP2.COMP_TMOUT_RANGES")]}, ${
      v.flags("DEVCAP2", [["TimeoutDis", "COMP_TMOUT_DIS"], ["NROPrPrP", "NO_RO_PRPR"], ["LTR", "LTR"]])
    }`,
    `${v.flags("DEVCAP2", [["10BitTagComp", "10BIT_TAG_COMP"], ["10BitTagReq", "10BIT_TAG_REQ"]])} OBFF ${
      ["Not Supported", "Via message", "Via WAKE#", "Via message/WAKE#"][v.of("DEVCAP2.OBFF")]
    }, ${v.flags("DEVCAP2", [["ExtFmt", "EE_PREFIX"], ["EETLPPrefix", "E2E_TLP_PREFIX"]])}${prefixes}`,
    `EmergencyPowerReduction ${
      ["Not Supported", "Form Factor Dev Specific", "Form Factor Dev Specific", "Reserved"][
        v.of("DEVCAP2.EMERGENCY_POWER")
      ]
    }, ${v.flags("DEVCAP2", [["EmergencyPowerReductionInit", "EMERGENCY_POWER_INIT"]])}`,
    v.flags("DEVCAP2", [["FRS", "FRS"]]) +
    (isRoot
      ? ` LN System CLS ${
        ["Not Supported", "64byte cachelines", "128byte cachelines", "Reserved"][v.of("DEVCAP2.LN_CLS")]
      },`
      : "") +
    (isRoot || isEndpoint && type < 9 ? ` ${tphText}` : "") +
    (isRoot || isDownstream ? ` ${v.flags("DEVCAP2", [["ARIFwd", "ARI"]])}` : ""),
    ...(isRoot
      ? [`AtomicOpsCap: ${routing} ${atomic}`]
      : type === 5 || isDownstream
      ? [`AtomicOpsCap: ${routing}${completesAtomics ? ` ${atomic}` : ""}`]
      : (isEndpoint || type === 7 || type === 8) && completesAtomics
      ? [`AtomicOpsCap: ${atomic}`]
      : []),
    `DevCtl2: Completion Timeout: ${TIMEOUTS[v.of("DEVCTL2.COMP_TIMEOUT")]}, ${
      v.flags("DEVCTL2", [["TimeoutDis", "COMP_TMOUT_DIS"], ["LTR", "LTR_EN"], ["10BitTagReq", "10BIT_TAG_REQ_EN"]])
    } OBFF ${["Disabled", "Via message A", "Via message B", "Via WAKE#"][v.of("DEVCTL2.OBFF")]},` +
    (isRoot || isDownstream ? ` ${v.flags("DEVCTL2", [["ARIFwd", "ARI"]])}` : ""),
    ...(isRoot
      ? [`AtomicOpsCtl: ${v.flags("DEVCTL2", [["ReqEn", "ATOMIC_REQ"], ["EgressBlck", "ATOMIC_EGRESS_BLOCK"]])}`]
      : type === 5 || isDownstream
      ? [`AtomicOpsCtl: ${v.flags("DEVCTL2", [["EgressBlck", "ATOMIC_EGRESS_BLOCK"]])}`]
      : isEndpoint
      ? [`AtomicOpsCtl: ${v.flags("DEVCTL2", [["ReqEn", "ATOMIC_REQ"]])}`]
      : []),
  ];
}

function pcieLink2Lines(v: Values, isDownstream: boolean, controls: boolean): string[] {
  const deemphasis = (value: number): string => value === 1 ? "-3.5dB" : "-6dB";
  // Presets of compliance mode, PCI Express Base 6.0 table 4-3; in the lab all are 0.
  const vector = v.of("LNKCAP2.SLS_VECTOR");
  const lines: string[] = [];
  if (v.of("LNKCAP2") !== 0) {
    lines.push(
      `LnkCap2: Supported Link Speeds: ${speedRange(vector)}, ${
        v.flags("LNKCAP2", [["Crosslink", "CROSSLINK"], ["Retimer", "RETIMER"], ["2Retimers", "TWO_RETIMERS"], [
          "DRS",
          "DRS",
        ]])
      }`,
    );
  }
  return [
    ...lines,
    ...(!controls ? [] : [
      `LnkCtl2: Target Link Speed: ${SPEEDS[v.of("LNKCTL2.TLS") || 1]}, ${
        v.flags("LNKCTL2", [["EnterCompliance", "ENTER_COMP"], ["SpeedDis", "HASD"]])
      }${isDownstream ? `, Selectable De-emphasis: ${deemphasis(v.of("LNKCTL2.DEEMPHASIS"))}` : ""}`,
      `Transmit Margin: ${v.of("LNKCTL2.TX_MARGIN") === 0 ? "Normal Operating Range" : "not predicted"}, ${
        v.flags("LNKCTL2", [["EnterModifiedCompliance", "ENTER_MOD_COMP"], ["ComplianceSOS", "COMP_SOS"]])
      }`,
      `Compliance Preset/De-emphasis: ${
        v.of("LNKCTL2.COMP_PRESET") === 0 ? "-6dB de-emphasis, 0dB preshoot" : "not predicted"
      }`,
    ]),
    `LnkSta2: Current De-emphasis Level: ${deemphasis(v.of("LNKSTA2.DEEMPHASIS"))}, ${
      v.flags("LNKSTA2", [["EqualizationComplete", "EQ_COMPLETE"], ["EqualizationPhase1", "EQ_PHASE1"]])
    }`,
    v.flags("LNKSTA2", [["EqualizationPhase2", "EQ_PHASE2"], ["EqualizationPhase3", "EQ_PHASE3"], [
      "LinkEqualizationRequest",
      "EQ_REQUEST",
    ]]),
    `${v.flags("LNKSTA2", [["Retimer", "RETIMER"], ["2Retimers", "TWO_RETIMERS"]])} CrosslinkRes: ${
      ["unsupported", "Upstream Port", "Downstream Port", "incomplete"][v.of("LNKSTA2.CROSSLINK")]
    }`,
  ];
}

/** pciutils 3.9 knows the speeds up to 32 GT/s, and prints a vector with others as reserved. */
function speedRange(vector: number): string {
  const ranges: Readonly<Record<number, string>> = {
    0x00: "Unknown",
    0x01: "2.5GT/s",
    0x03: "2.5-5GT/s",
    0x07: "2.5-8GT/s",
    0x0f: "2.5-16GT/s",
    0x1f: "2.5-32GT/s",
    0x3f: "RsvdP",
  };
  return ranges[vector] ?? "not predicted";
}

const UNCORRECTABLE = [
  ["DLP", "DLP"],
  ["SDES", "SURPDN"],
  ["TLP", "POISON_TLP"],
  ["FCP", "FCP"],
  ["CmpltTO", "COMP_TIME"],
  ["CmpltAbrt", "COMP_ABORT"],
  ["UnxCmplt", "UNX_COMP"],
  ["RxOF", "RX_OVER"],
  ["MalfTLP", "MALF_TLP"],
  ["ECRC", "ECRC"],
  ["UnsupReq", "UNSUP"],
  ["ACSViol", "ACSV"],
] as const;

const CORRECTABLE = [
  ["RxErr", "RCVR"],
  ["BadTLP", "BAD_TLP"],
  ["BadDLLP", "BAD_DLLP"],
  ["Rollover", "REP_ROLL"],
  ["Timeout", "REP_TIMER"],
  ["AdvNonFatalErr", "ADV_NFAT"],
] as const;

const ACS = [
  ["SrcValid", "SV"],
  ["TransBlk", "TB"],
  ["ReqRedir", "RR"],
  ["CmpltRedir", "CR"],
  ["UpstreamFwd", "UF"],
  ["EgressCtrl", "EC"],
  ["DirectTrans", "DT"],
] as const;

const ARBITERS = [["Fixed", "FIXED"], ["WRR32", "WRR32"], ["WRR64", "WRR64"], ["WRR128", "WRR128"]] as const;
const ARBITRATIONS = ["Fixed", "WRR32", "WRR64", "WRR128", "TWRR128", "WRR256"];

/** Nanoseconds of a latency register's value and scale. */
function nanoseconds(value: number, scale: number): string {
  return `${value * 2 ** (5 * scale)}ns`;
}

const PTM_GRANULARITY = (value: number, zero: string): string =>
  value === 0 ? zero : value === 255 ? "Greater than 254ns" : `${value}ns`;

/** What pciutils 3.9 prints only the name of has no further lines. */
const MORE_EXTENDED: Readonly<Record<number, Printer>> = {
  0x02: (v) => [
    "Virtual Channel",
    `Caps: LPEVC=${v.of("PORT_CAP1.LOW_PRIORITY_COUNT")} RefClk=${
      v.of("PORT_CAP1.REFERENCE_CLOCK") === 0 ? "100ns" : "not predicted"
    } PATEntryBits=${1 << v.of("PORT_CAP1.ARBITRATION_ENTRY_SIZE")}`,
    `Arb: ${v.flags("PORT_CAP2", ARBITERS)}`,
    `Ctrl: ArbSelect=${ARBITRATIONS[v.of("PORT_CTL.ARBITRATION")]}`,
    `Status: ${v.flags("PORT_STATUS", [["InProgress", "TABLE_CHANGED"]])}`,
    ...Array.from({ length: 1 + v.of("PORT_CAP1.EXTENDED_COUNT") }, (_, i) => [
      `VC${i}: Caps: PATOffset=${v.hex(`VC${i}_CAP.TABLE_OFFSET`, 2)} MaxTimeSlots=${
        v.of(`VC${i}_CAP.MAX_TIME_SLOTS`) + 1
      } ${v.flags(`VC${i}_CAP`, [["RejSnoopTrans", "REJECT_SNOOP"]])}`,
      `Arb: ${v.flags(`VC${i}_CAP`, [...ARBITERS, ["TWRR128", "TWRR128"], ["WRR256", "WRR256"]])}`,
      `Ctrl: ${v.flags(`VC${i}_CTL`, [["Enable", "ENABLE"]])} ID=${v.of(`VC${i}_CTL.ID`)} ArbSelect=${
        ARBITRATIONS[v.of(`VC${i}_CTL.ARBITRATION`)]
      } TC/VC=${v.hex(`VC${i}_CTL.TC_MAP`, 2)}`,
      `Status: ${v.flags(`VC${i}_STATUS`, [["NegoPending", "NEGOTIATION_PENDING"], ["InProgress", "TABLE_CHANGED"]])}`,
    ]).flat(),
  ],
  0x0b: (v) => [
    `Vendor Specific Information: ID=${v.hex("HEADER.ID", 4)} Rev=${v.of("HEADER.REVISION")} Len=${
      v.hex("HEADER.LENGTH", 3)
    } <?>`,
  ],
  0x15: (v) => [
    "Physical Resizable BAR",
    ...Array.from({ length: 6 }, (_, i) => i).filter((i) => v.has(`CTRL${i}`)).map((i) => {
      const size = (code: number): string => shortSize(1n << BigInt(20 + code)).replace(/([KMGT])$/, "$1B");
      const sizes = Array.from({ length: 28 }, (_, n) => n).filter((n) => (v.of(`CAP${i}.SIZES`) >>> n & 1) === 1);
      return `BAR ${v.of(`CTRL${i}.BAR_IDX`)}: current size: ${size(v.of(`CTRL${i}.SIZE`))}, supported: ${
        sizes.map(size).join(" ")
      }`;
    }),
  ],
  0x13: (v) => [
    "Page Request Interface (PRI)",
    `PRICtl: ${v.flags("CTRL", [["Enable", "ENABLE"], ["Reset", "RESET"]])}`,
    `PRISta: ${v.flags("STATUS", [["RF", "RESPONSE_FAILURE"], ["UPRGI", "UNEXPECTED_INDEX"], ["Stopped", "STOPPED"]])}`,
    `Page Request Capacity: ${v.hex("MAX_REQ", 8)}, Page Request Allocation: ${v.hex("ALLOC_REQ", 8)}`,
  ],
  0x17: (v) => [
    "Transaction Processing Hints",
    ...(v.of("CAP.INT_VEC") === 1 ? ["Interrupt vector mode supported"] : []),
    ...(v.of("CAP.DEVICE_SPECIFIC") === 1 ? ["Device specific mode supported"] : []),
    ...(v.of("CAP.EXTENDED") === 1 ? ["Extended requester support"] : []),
    ["No steering table available", "Steering table in TPH capability structure", "Steering table in MSI-X table"][
      v.of("CAP.ST_LOCATION")
    ] ?? "not predicted",
  ],
  0x18: (v) => [
    "Latency Tolerance Reporting",
    `Max snoop latency: ${nanoseconds(v.of("MAX_SNOOP.VALUE"), v.of("MAX_SNOOP.SCALE"))}`,
    `Max no snoop latency: ${nanoseconds(v.of("MAX_NOSNOOP.VALUE"), v.of("MAX_NOSNOOP.SCALE"))}`,
  ],
  0x19: (v) => [
    "Secondary PCI Express",
    `LnkCtl3: ${v.flags("LNKCTL3", [["LnkEquIntrruptEn", "LINK_EQU_REQ_INTR_EN"], ["PerformEqu", "PERFORM_EQU"]])}`,
    `LaneErrStat: ${lanesWithErrors(v.of("LANE_ERROR_STATUS"))}`,
  ],
  0x1b: (v) => [
    "Process Address Space ID (PASID)",
    `PASIDCap: ${v.flags("CAP", [["Exec", "EXEC"], ["Priv", "PRIV"]])}, Max PASID Width: ${v.hex("CAP.WIDTH", 2)}`,
    `PASIDCtl: ${v.flags("CTRL", [["Enable", "ENABLE"], ["Exec", "EXEC"], ["Priv", "PRIV"]])}`,
  ],
  0x1d: (v) => [
    "Downstream Port Containment",
    `DpcCap: INT Msg #${v.of("CAP.IRQ")}, ${
      v.flags("CAP", [["RPExt", "RP_EXT"], ["PoisonedTLP", "POISONED_TLP"], ["SwTrigger", "SW_TRIGGER"]])
    } RP PIO Log ${v.of("CAP.RP_PIO_LOG_SIZE")}, ${v.flags("CAP", [["DL_ActiveErr", "DL_ACTIVE"]])}`,
    `DpcCtl: Trigger:${v.of("CTL.TRIGGER").toString(16)} ${
      v.flags("CTL", [
        ["Cmpl", "CPL_CTL"],
        ["INT", "INT_EN"],
        ["ErrCor", "ERR_COR_EN"],
        [
          "PoisonedTLP",
          "POISONED_TLP_EN",
        ],
        ["SwTrigger", "SW_TRIGGER"],
        ["DL_ActiveErr", "DL_ACTIVE_EN"],
      ])
    }`,
    `DpcSta: ${v.flags("STATUS", [["Trigger", "TRIGGER"]])} Reason:${v.hex("STATUS.TRIGGER_RSN", 2)} ${
      v.flags("STATUS", [["INT", "INTERRUPT"], ["RPBusy", "RP_BUSY"]])
    } TriggerExt:${v.hex("STATUS.TRIGGER_RSN_EXT", 2)} RP PIO ErrPtr:${v.hex("STATUS.RP_PIO_FEP", 2)}`,
    `Source: ${v.hex("SOURCE_ID", 4)}`,
  ],
  0x1e: (v) => {
    const times = ["2", "10", "100"];
    const states = (register: string): string =>
      v.flags(register, [["PCI-PM_L1.2", "PCIPM_L1_2"], ["PCI-PM_L1.1", "PCIPM_L1_1"], ["ASPM_L1.2", "ASPM_L1_2"], [
        "ASPM_L1.1",
        "ASPM_L1_1",
      ]]);
    const powerOn = (register: string, prefix: string): string =>
      `${v.of(`${register}.${prefix}_VALUE`) * Number(times[v.of(`${register}.${prefix}_SCALE`)] ?? NaN)}us`;
    const has12 = v.of("CAP.PCIPM_L1_2") === 1 || v.of("CAP.ASPM_L1_2") === 1;
    return [
      "L1 PM Substates",
      `L1SubCap: ${states("CAP")} ${v.flags("CAP", [["L1_PM_Substates", "L1_PM_SS"]])}`,
      ...(has12
        ? [`PortCommonModeRestoreTime=${v.of("CAP.CM_RESTORE_TIME")}us PortTPowerOnTime=${powerOn("CAP", "P_PWR_ON")}`]
        : []),
      `L1SubCtl1: ${states("CTL1")}`,
      ...(has12
        ? [
          `T_CommonMode=${v.of("CTL1.CM_RESTORE_TIME")}us${
            v.of("CAP.ASPM_L1_2") === 1
              ? ` LTR1.2_Threshold=${nanoseconds(v.of("CTL1.LTR_L12_TH_VALUE"), v.of("CTL1.LTR_L12_TH_SCALE"))}`
              : ""
          }`,
        ]
        : []),
      has12 ? `L1SubCtl2: T_PwrOn=${powerOn("CTL2", "T_PWR_ON")}` : "L1SubCtl2:",
    ];
  },
  0x1f: (v) => [
    "Precision Time Measurement",
    `PTMCap: ${v.flags("CAP", [["Requester:", "REQ"], ["Responder:", "RES"], ["Root:", "ROOT"]])}`,
    `PTMClockGranularity: ${PTM_GRANULARITY(v.of("CAP.GRANULARITY"), "Unimplemented")}`,
    `PTMControl: ${v.flags("CTRL", [["Enabled:", "ENABLE"], ["RootSelected:", "ROOT"]])}`,
    `PTMEffectiveGranularity: ${PTM_GRANULARITY(v.of("CTRL.GRANULARITY"), "Unknown")}`,
  ],
  0x25: () => ["Data Link Feature <?>"],
  0x26: () => ["Physical Layer 16.0 GT/s <?>"],
  0x27: () => ["Lane Margining at the Receiver <?>"],
  0x2a: (_v, _config, capability) => [`Extended Capability ID 0x${capability.id.toString(16)}`],
  0x2e: (v) => [
    "Data Object Exchange",
    `DOECap: ${v.flags("CAP", [["IntSup", "INT"]])}`,
    ...(v.of("CAP.INT") === 1 ? [`Interrupt Message Number ${v.hex("CAP.IRQ", 3)}`] : []),
    `DOECtl: ${v.flags("CTRL", [["IntEn", "INT_EN"]])}`,
    `DOESta: ${
      v.flags("STATUS", [["Busy", "BUSY"], ["IntSta", "INT_STATUS"], ["Error", "ERROR"], [
        "ObjectReady",
        "DATA_OBJECT_READY",
      ]])
    }`,
  ],
  0x30: (_v, _config, capability) => [`Extended Capability ID 0x${capability.id.toString(16)}`],
};

function lanesWithErrors(bits: number): string {
  const lanes = Array.from({ length: 32 }, (_, i) => i).filter((i) => (bits >>> i & 1) === 1);
  return lanes.length === 0 ? "0" : `LaneErr at lane: ${lanes.join(" ")}`;
}

const EXTENDED: Readonly<Record<number, Printer>> = {
  0x01: (v) => [
    "Advanced Error Reporting",
    `UESta: ${v.flags("UNCOR_STATUS", UNCORRECTABLE)}`,
    `UEMsk: ${v.flags("UNCOR_MASK", UNCORRECTABLE)}`,
    `UESvrt: ${v.flags("UNCOR_SEVER", UNCORRECTABLE)}`,
    `CESta: ${v.flags("COR_STATUS", CORRECTABLE)}`,
    `CEMsk: ${v.flags("COR_MASK", CORRECTABLE)}`,
    `AERCap: First Error Pointer: ${v.hex("CAP.FEP", 2)}, ${
      v.flags("CAP", [["ECRCGenCap", "ECRC_GENC"], ["ECRCGenEn", "ECRC_GENE"], ["ECRCChkCap", "ECRC_CHKC"], [
        "ECRCChkEn",
        "ECRC_CHKE",
      ]])
    }`,
    v.flags("CAP", [["MultHdrRecCap", "MULT_HDR_CAP"], ["MultHdrRecEn", "MULT_HDR_EN"], [
      "TLPPfxPres",
      "TLP_PREFIX_LOG",
    ], ["HdrLogCap", "COMP_TIME_LOG"]]),
    `HeaderLog: ${[0, 1, 2, 3].map((i) => v.hex(`HEADER_LOG${i}`, 8)).join(" ")}`,
    ...(v.has("ROOT_COMMAND")
      ? [
        `RootCmd: ${
          v.flags("ROOT_COMMAND", [["CERptEn", "COR_EN"], ["NFERptEn", "NONFATAL_EN"], ["FERptEn", "FATAL_EN"]])
        }`,
        `RootSta: ${
          v.flags("ROOT_STATUS", [["CERcvd", "COR_RCV"], ["MultCERcvd", "MULTI_COR_RCV"], ["UERcvd", "UNCOR_RCV"], [
            "MultUERcvd",
            "MULTI_UNCOR_RCV",
          ]])
        }`,
        `${
          v.flags("ROOT_STATUS", [["FirstFatal", "FIRST_FATAL"], ["NonFatalMsg", "NONFATAL_RCV"], [
            "FatalMsg",
            "FATAL_RCV",
          ]])
        } IntMsg ${v.of("ROOT_STATUS.IRQ")}`,
        `ErrorSrc: ERR_COR: ${v.hex("ERR_COR_SRC", 4)} ERR_FATAL/NONFATAL: ${v.hex("ERR_SRC", 4)}`,
      ]
      : []),
  ],
  0x03: (v) => [
    `Device Serial Number ${v.hex("SERIAL", 16).match(/../g)?.join("-")}`,
  ],
  0x0d: (v) => ["Access Control Services", `ACSCap: ${v.flags("CAP", ACS)}`, `ACSCtl: ${v.flags("CTRL", ACS)}`],
  0x0e: (v) => [
    "Alternative Routing-ID Interpretation (ARI)",
    `ARICap: ${v.flags("CAP", [["MFVC", "MFVC"], ["ACS", "ACS"]])}, Next Function: ${v.of("CAP.NEXT")}`,
    `ARICtl: ${v.flags("CTRL", [["MFVC", "MFVC"], ["ACS", "ACS"]])}, Function Group: ${v.of("CTRL.GROUP")}`,
  ],
  0x0f: (v) => [
    "Address Translation Service (ATS)",
    `ATSCap: Invalidate Queue Depth: ${v.hex("CAP.INVALIDATE_QUEUE_DEPTH", 2)}`,
    `ATSCtl: ${v.flags("CTRL", [["Enable", "ENABLE"]])}, Smallest Translation Unit: ${v.hex("CTRL.STU", 2)}`,
  ],
  0x10: (v) => [
    "Single Root I/O Virtualization (SR-IOV)",
    `IOVCap: ${v.flags("CAP", [["Migration", "VFM"], ["10BitTagReq", "VF_10BIT_TAG_REQ"]])} Interrupt Message Number: ${
      v.hex("CAP.VFM_IRQ", 3)
    }`,
    `IOVCtl: ${
      v.flags("CTRL", [["Enable", "VFE"], ["Migration", "VFM"], ["Interrupt", "INTR"], ["MSE", "MSE"], [
        "ARIHierarchy",
        "ARI",
      ], ["10BitTagReq", "VF_10BIT_TAG_REQ_EN"]])
    }`,
    `IOVSta: ${v.flags("STATUS", [["Migration", "VFM"]])}`,
    `Initial VFs: ${v.of("INITIAL_VF")}, Total VFs: ${v.of("TOTAL_VF")}, Number of VFs: ${
      v.of("NUM_VF")
    }, Function Dependency Link: ${v.hex("FUNC_LINK", 2)}`,
    `VF offset: ${v.of("VF_OFFSET")}, stride: ${v.of("VF_STRIDE")}, Device ID: ${v.hex("VF_DID", 4)}`,
    `Supported Page Size: ${v.hex("SUP_PGSIZE", 8)}, System Page Size: ${v.hex("SYS_PGSIZE", 8)}`,
    ...vfRegions(v),
    `VF Migration: offset: ${(v.of("MIGRATION_STATE.OFFSET") * 8).toString(16).padStart(8, "0")}, BIR: ${
      v.of("MIGRATION_STATE.BIR")
    }`,
  ],
  0x23: dvsecLines,
  ...MORE_EXTENDED,
};

function vfRegions(v: Values): string[] {
  const lines: string[] = [];
  for (let i = 0; i < 6; i++) {
    const low = v.of(`VF_BAR${i}`);
    if (low === 0) continue;
    const is64Bit = (low & 6) === 4;
    const address = `${is64Bit ? v.hex(`VF_BAR${i + 1}`, 8) : ""}${((low & ~0xf) >>> 0).toString(16).padStart(8, "0")}`;
    const kind = (low & 8) === 0 ? "non-prefetchable" : "prefetchable";
    lines.push(`Region ${i}: Memory at ${address} (${is64Bit ? 64 : 32}-bit, ${kind})`);
    if (is64Bit) i++;
  }
  return lines;
}

function dvsecLines(v: Values, config: Uint8Array, capability: Capability): string[] {
  const { vendorId, dvsecId, revision, sizeBytes } = dvsecIdentity(capability, config);
  const head = `Designated Vendor-Specific: Vendor=${vendorId.toString(16)} ID=${
    dvsecId.toString(16).padStart(4, "0")
  } Rev=${revision} Len=${sizeBytes}:`;
  const print = vendorId === 0x1e98 ? CXL[dvsecId] : undefined;
  return [`${head} ${vendorId === 0x1e98 ? "CXL" : "<?>"}`, ...print?.(v, config, capability, "") ?? []];
}

const CXL_BITS = [["Cache", "CACHE"], ["IO", "IO"], ["Mem", "MEM"]] as const;
const GPF_UNITS = ["1us", "10us", "100us", "1ms", "10ms", "100ms", "1s", "10s"];

const CXL: Readonly<Record<number, Printer>> = {
  0: (v) =>
    v.of("HEADER1.REVISION") === 0 ? [] : [
      `CXLCap: ${
        v.flags("CAPABILITY", [["Cache", "CACHE_CAPABLE"], ["IO", "IO_CAPABLE"], ["Mem", "MEM_CAPABLE"], [
          "Mem HW Init",
          "MEM_HWINIT_MODE",
        ]])
      } HDMCount ${v.of("CAPABILITY.HDM_COUNT")} ${v.flags("CAPABILITY", [["Viral", "VIRAL_CAPABLE"]])}`,
      `CXLCtl: ${v.flags("CONTROL", [["Cache", "CACHE_ENABLE"], ["IO", "IO_ENABLE"], ["Mem", "MEM_ENABLE"]])} ` +
      `Cache SF Cov ${v.of("CONTROL.CACHE_SF_COVERAGE")} Cache SF Gran ${v.of("CONTROL.CACHE_SF_GRANULARITY")} ` +
      v.flags("CONTROL", [["Cache Clean", "CACHE_CLEAN_EVICTION"], ["Viral", "VIRAL_ENABLE"]]),
      `CXLSta: ${v.flags("STATUS", [["Viral", "VIRAL_STATUS"]])}`,
      `CXLSta2: ${
        v.flags("STATUS2", [["ResetComplete", "RESET_COMPLETE"], ["ResetError", "RESET_ERROR"], [
          "PMComplete",
          "PM_INIT_COMPLETE",
        ]])
      }`,
      v.of("CAPABILITY2.CACHE_SIZE_UNIT") === 0 ? "Cache Size Not Reported" : "not predicted",
      ...[1, 2].flatMap((i) => {
        const at = (name: string): bigint => BigInt(v.of(`RANGE${i}_${name}`));
        const base = at("BASE_HIGH") << 32n | at("BASE_LOW") & 0xf000_0000n;
        const size = at("SIZE_HIGH") << 32n | at("SIZE_LOW") & 0xf000_0000n;
        const digits = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, "0");
        const low = (name: string): number => v.of(`RANGE${i}_SIZE_LOW.${name}`);
        return [
          `Range${i}: ${digits(base)}-${digits(base + size - 1n)}`,
          `${v.flags(`RANGE${i}_SIZE_LOW`, [["Valid", "MEMORY_INFO_VALID"], ["Active", "MEMORY_ACTIVE"]])} Type=${
            ["Volatile", "Non-volatile", "CDAT"][low("MEDIA_TYPE")]
          } Class=${["DRAM", "Storage", "CDAT"][low("MEMORY_CLASS")]} interleave=${low("DESIRED_INTERLEAVE")} timeout=${
            4 ** low("MEMORY_ACTIVE_TIMEOUT")
          }s`,
        ];
      }),
    ],
  3: (v) => [
    // lspci takes the register's offset, 0x0a, for the mask of its bit 0.
    `CXLPortSta: PMComplete${(v.of("STATUS") & 0x0a) === 0 ? "-" : "+"}`,
    `CXLPortCtl: ${
      v.flags("CONTROL", [
        ["UnmaskSBR", "UNMASK_SBR"],
        ["UnmaskLinkDisable", "UNMASK_LINK_DISABLE"],
        [
          "AltMem",
          "ALT_MEMORY_ENABLE",
        ],
        ["AltBME", "ALT_BME"],
        ["ViralEnable", "VIRAL_ENABLE"],
      ])
    }`,
    `AlternateBus: ${v.hex("ALT_BUS_BASE", 2)}-${v.hex("ALT_BUS_LIMIT", 2)}`,
    `AlternateBus: ${v.hex("ALT_MEMORY_BASE", 4)}-${v.hex("ALT_MEMORY_LIMIT", 4)}`,
  ],
  4: (v) => [1, 2].map((phase) => `GPF Phase ${phase} Timeout: ${gpfTime(v, `PHASE${phase}`)}`),
  5: (v) => [
    `GPF Phase 2 Duration: ${gpfTime(v, "PHASE2_DURATION")}`,
    `GPF Phase 2 Power: ${v.of("PHASE2_POWER")}mW`,
  ],
  7: (v) => {
    const link = [...CXL_BITS, ["SynHdrByp", "SYNC_HEADER_BYPASS"], ["DrftBuf", "DRIFT_BUFFER"], [
      "68BFlit",
      "68B_FLIT_VH",
    ], ["MltLogDev", "MLD"]] as const;
    const flits = [["256BFlit", "256B_FLIT"], ["PBRFlit", "PBR_FLIT"]] as const;
    return [
      `FBCap: ${v.flags("CAPABILITY", [...CXL_BITS, ["68BFlit", "68B_FLIT_VH"], ["MltLogDev", "MLD"], ...flits])}`,
      `FBCtl: ${
        v.flags("CONTROL", [...link, ["RCD", "RCD"], ["Retimer1", "RETIMER1"], ["Retimer2", "RETIMER2"], ...flits])
      }`,
      `FBSta: ${v.flags("STATUS", [...link, ...flits])}`,
      `FBModTS: Received FB Data: ${(v.of("RECEIVED_MODIFIED_TS") & 0xffffff).toString(16).padStart(6, "0")}`,
      ...(v.has("CAPABILITY2")
        ? [
          `FBCap2: ${v.flags("CAPABILITY2", [["NOPHint", "NOP_HINT"]])}`,
          `FBCtl2: ${v.flags("CONTROL2", [["NOPHint", "NOP_HINT"]])}`,
          `FBSta2: NOPHintInfo: ${v.of("STATUS2.NOP_HINT")}`,
        ]
        : []),
    ];
  },
  8: (v) => {
    const lines: string[] = [];
    const names = ["empty", "component registers", "BAR virtualization ACL registers", "CXL device registers"];
    for (let i = 0; v.has(`BLOCK${i}_LOW`); i++) {
      const id = v.of(`BLOCK${i}_LOW.ID`);
      if (id === 0) continue;
      const offset = v.hex(`BLOCK${i}_HIGH`, 8) +
        ((v.of(`BLOCK${i}_LOW`) & 0xffff_0000) >>> 0).toString(16).padStart(8, "0");
      lines.push(`Block${i + 1}: BIR: bar${v.of(`BLOCK${i}_LOW.BIR`)}, ID: ${names[id]}, offset: ${offset}`);
    }
    return lines;
  },
};

function gpfTime(v: Values, name: string): string {
  const unit = GPF_UNITS[v.of(`${name}.SCALE`)] ?? "";
  const [, number = "1", suffix = ""] = /^(\d+)(\w+)$/.exec(unit) ?? [];
  return `${v.of(`${name}.BASE`) * Number(number)}${suffix}`;
}

/** Every difference between what lspci prints of a function's capabilities and what our tables say of them. */
export function capabilityDifferences(block: LspciBlock, config: Uint8Array): { differences: string[]; lines: number } {
  const differences: string[] = [];
  const { capabilities } = listCapabilities(config);
  const known = new Set(capabilities.map((capability) => capability.offset));
  let lines = 0;
  for (const offset of block.capabilities.keys()) {
    if (!known.has(offset)) differences.push(`${block.name}: lspci has a capability at ${offset.toString(16)}`);
  }
  for (const capability of capabilities) {
    const theirs = block.capabilities.get(capability.offset);
    const ours = expectedLines(block.name, capability, config);
    if (theirs === undefined) {
      differences.push(`${block.name}: lspci has no ${capability.name} at ${capability.offset.toString(16)}`);
      continue;
    }
    if (ours === null) continue;
    const count = Math.max(ours.length, theirs.length);
    for (let i = 0; i < count; i++) {
      const [a, b] = [ours[i], theirs[i]];
      lines++;
      if (a !== b) differences.push(`${block.name} ${capability.name}, line ${i + 1}\n  lspci: ${b}\n  ours:  ${a}`);
    }
  }
  return { differences, lines };
}

/** Lines about the function itself that `pcie_topology` makes no claim about. */
const UNCLAIMED = /^(Subsystem|Physical Slot|Latency|Interrupt|Kernel modules|DeviceName|Expansion ROM)\b/;

/** What lspci would print about the function itself, without its capabilities. */
export function expectedHeader(config: Uint8Array, facts: {
  readonly group: string | null;
  readonly numaNode: number | null;
  readonly driver: string | null;
  readonly regions: readonly string[];
}): string[] {
  const bit = (offset: number, position: number): string =>
    (configUint(config, offset, 2) >> position & 1) === 1 ? "+" : "-";
  const flags = (offset: number, names: readonly (readonly [string, number])[]): string =>
    names.map(([name, position]) => `${name}${bit(offset, position)}`).join(" ");
  const status = (offset: number): string =>
    `${
      flags(offset, [["66MHz", 5], ...(offset === 6 ? [["UDF", 6]] as const : []), ["FastB2B", 7], ["ParErr", 8]])
    } DEVSEL=${["fast", "medium", "slow", "??"][configUint(config, offset, 2) >> 9 & 3]} >TAbort${
      bit(offset, 11)
    } <TAbort${bit(offset, 12)} <MAbort${bit(offset, 13)}`;
  const isBridge = (configUint(config, 0x0e, 1) & 0x7f) === 1;
  return [
    `Control: ${
      flags(4, [
        ["I/O", 0],
        ["Mem", 1],
        ["BusMaster", 2],
        ["SpecCycle", 3],
        ["MemWINV", 4],
        ["VGASnoop", 5],
        [
          "ParErr",
          6,
        ],
        ["Stepping", 7],
        ["SERR", 8],
        ["FastB2B", 9],
        ["DisINTx", 10],
      ])
    }`,
    `Status: ${flags(6, [["Cap", 4]])} ${status(6)} >SERR${bit(6, 14)} <PERR${bit(6, 15)} ${flags(6, [["INTx", 3]])}`,
    ...(facts.numaNode === null ? [] : [`NUMA node: ${facts.numaNode}`]),
    ...(facts.group === null ? [] : [`IOMMU group: ${facts.group}`]),
    ...facts.regions,
    ...(isBridge
      ? [
        `Bus: primary=${byte(config, 0x18)}, secondary=${byte(config, 0x19)}, subordinate=${
          byte(config, 0x1a)
        }, sec-latency=${configUint(config, 0x1b, 1)}`,
        ...windowLines(config),
        `Secondary status: ${status(0x1e)} <SERR${bit(0x1e, 14)} <PERR${bit(0x1e, 15)}`,
        `BridgeCtl: ${
          flags(0x3e, [["Parity", 0], ["SERR", 1], ["NoISA", 2], ["VGA", 3], ["VGA16", 4], ["MAbort", 5], [
            ">Reset",
            6,
          ], ["FastB2B", 7]])
        }`,
        flags(0x3e, [["PriDiscTmr", 8], ["SecDiscTmr", 9], ["DiscTmrStat", 10], ["DiscTmrSERREn", 11]]),
      ]
      : []),
    ...(facts.driver === null ? [] : [`Kernel driver in use: ${facts.driver}`]),
  ];
}

function byte(config: Uint8Array, offset: number): string {
  return configUint(config, offset, 1).toString(16).padStart(2, "0");
}

/** lspci shows closed windows too, as "[disabled]". */
function windowLines(config: Uint8Array): string[] {
  const at = (offset: number, size: 1 | 2 | 4): bigint => BigInt(configUint(config, offset, size));
  const line = (title: string, base: bigint, limit: bigint, bits: number, digits: number): string => {
    const size = base <= limit ? `[size=${shortSize(limit - base + 1n)}]` : "[disabled]";
    const hex = (value: bigint): string => value.toString(16).padStart(digits, "0");
    return `${title} behind bridge: ${hex(base)}-${hex(limit)} ${size} [${bits}-bit]`;
  };
  const ioWide = (at(0x1c, 1) & 0xfn) === 1n;
  const prefetchableWide = (at(0x24, 2) & 0xfn) === 1n;
  const high = (offset: number, size: 2 | 4, shift: bigint, wide: boolean): bigint =>
    wide ? at(offset, size) << shift : 0n;
  return [
    line(
      "I/O",
      (at(0x1c, 1) & 0xf0n) << 8n | high(0x30, 2, 16n, ioWide),
      (at(0x1d, 1) & 0xf0n) << 8n | 0xfffn | high(0x32, 2, 16n, ioWide),
      ioWide ? 32 : 16,
      ioWide ? 8 : 4,
    ),
    line("Memory", (at(0x20, 2) & 0xfff0n) << 16n, (at(0x22, 2) & 0xfff0n) << 16n | 0xfffffn, 32, 8),
    line(
      "Prefetchable memory",
      (at(0x24, 2) & 0xfff0n) << 16n | high(0x28, 4, 32n, prefetchableWide),
      (at(0x26, 2) & 0xfff0n) << 16n | 0xfffffn | high(0x2c, 4, 32n, prefetchableWide),
      prefetchableWide ? 64 : 32,
      prefetchableWide ? 16 : 8,
    ),
  ];
}

/** Sizes as lspci writes them: `16K`, `256`. */
export function shortSize(sizeBytes: bigint): string {
  return formatBytes(sizeBytes).replace(/ (.?)i?B$/, "$1").replace(/ B$/, "");
}

/** The width that lspci names for a window is the kernel's choice, not the register's: only addresses are compared. */
function addressesOnly(line: string): string {
  return line.includes(" behind bridge: ")
    ? line.replace(/ \[\d+-bit\]$/, "").replace(/: 0*([0-9a-f]+)-0*([0-9a-f]+)/, ": $1-$2")
    : line;
}

/** Every difference between lspci's lines about a function itself and ours. */
export function headerDifferences(block: LspciBlock, ours: readonly string[]): string[] {
  const theirs = block.lines.filter((line) => !UNCLAIMED.test(line)).map(addressesOnly);
  ours = ours.map(addressesOnly);
  const count = Math.max(ours.length, theirs.length);
  return Array.from(
    { length: count },
    (_, i) => ours[i] === theirs[i] ? [] : [`${block.name}, line ${i + 1}\n  lspci: ${theirs[i]}\n  ours:  ${ours[i]}`],
  ).flat();
}
