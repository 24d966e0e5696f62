/**
 * nvme-cli's keys, and what in our tables each stands for.
 *
 * A key that is the name of a row in lower case needs no entry. Every other one is written here; one that is missing fails
 * the comparison, so that what nvme-cli knows and our tables do not is noticed.
 * @module
 */

import { assertEquals } from "@std/assert";

import type { DecodedTable } from "../../src/core/decoded.ts";
import { fieldPlace, trimmedText, type UintRow } from "../../src/core/layout.ts";
import type { PageAnswer, TheirObject, TheirValue } from "./nvme_cli.ts";

/** A list of nvme-cli's and the array of ours that it is. */
export interface ListRule {
  /** Name of our array or list. */
  readonly list: string;
  /** Their keys of an element. */
  readonly keys: Keys;
  /** How many of ours they leave out at the beginning. */
  readonly skips?: number;
}

/** A value of ours that takes a computation: a number, or a text that begins with what is to be looked for in theirs. */
type Computed = (table: DecodedTable) => bigint | string;

/** A list of theirs whose elements have one key, with the number of our element in it: `fid_3`. */
export interface NumberedRule {
  /** Name of our array. */
  readonly numbered: string;
  /** The row of an element. */
  readonly row: string;
}

/**
 * What a key stands for: `ROW`, `ROW.FIELD`, a list, an object around the same table, a computation, or nothing, where nvme-cli is wrong, with why.
 */
export type Rule =
  | string
  | ListRule
  | { readonly inside: Keys }
  | { readonly low32: string }
  | { readonly skip: string }
  | NumberedRule
  | Computed;

/** Their keys by name; the last resort `*` takes the place of a name that changes: the device's. */
export type Keys = Readonly<Record<string, Rule>>;

/** One structure that both decode. */
export interface Structure {
  /** The name of our page. */
  readonly page: string;
  /** nvme-cli's command. */
  readonly command: readonly string[];
  /** What the page answers. */
  readonly answer: PageAnswer;
  /** Bytes of a page. */
  readonly sizeBytes: number;
  /** How many random pages. */
  readonly pages: number;
  /** Keys that are not the name of a row. */
  readonly keys: Keys;
  /** Makes a random page one that nvme-cli survives. */
  readonly tame?: (page: Uint8Array) => void;
}

const identify = (id: number): PageAnswer => ({ opcode: 6, id });
const log = (id: number): PageAnswer => ({ opcode: 2, id });

const POWER_STATE: Keys = {
  max_power: "POWER.MP",
  // The scale, the non-operational bit and the six above them.
  flags: (table) => (table.uint("POWER") ?? 0n) >> 24n,
  entry_lat: "ENLAT",
  exit_lat: "EXLAT",
  read_tput: "RRT",
  read_lat: "RRL",
  write_tput: "RWT",
  write_lat: "RWL",
  idle_power: "IDLE.IDLP",
  idle_scale: "IDLE.IPS",
  active_power: "ACTIVE.ACTP",
  active_power_work: "ACTIVE.APW",
  active_scale: "ACTIVE.APS",
};

const SMART: Keys = {
  critical_warning: "CW",
  temperature: "CTEMP",
  avail_spare: "AVSP",
  spare_thresh: "AVSPT",
  percent_used: "PUSED",
  endurance_grp_critical_warning_summary: "EGCWS",
  data_units_read: "DUR",
  data_units_written: "DUW",
  host_read_commands: "HRC",
  host_write_commands: "HWC",
  controller_busy_time: "CBT",
  power_cycles: "PWRC",
  power_on_hours: "POH",
  unsafe_shutdowns: "UPL",
  media_errors: "MDIE",
  num_err_log_entries: "NEILE",
  warning_temp_time: "WCTT",
  critical_comp_time: "CCTT",
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((i) => [`temperature_sensor_${i}`, `TSEN${i}`])),
  thm_temp1_trans_count: "TMT1TC",
  thm_temp2_trans_count: "TMT2TC",
  thm_temp1_total_time: "TTTMT1",
  thm_temp2_total_time: "TTTMT2",
};

const ERROR: Keys = {
  error_count: "EC",
  cmdid: "CID",
  status_field: (table) => (table.uint("STATUS") ?? 0n) >> 1n,
  phase_tag: "STATUS.P",
  parm_error_location: "PEL",
  vs: "VSIA",
  cs: "CSINFO",
  trtype_spec_info: "TTSI",
  opcode: "OPC",
  log_page_version: "LPVER",
};

/** A revision as nvme-cli shows it: the eight bytes as a number, and once more as characters. */
function revision(slot: number): [string, Rule] {
  return [`Firmware Rev Slot ${slot}`, (table) => `revision ${table.text(`FRS${slot}`)}`];
}

const SELF_TEST_RESULT: Keys = {
  "Self test result": "DSTS.DSTR",
  "Self test code": "DSTS.DSTC",
  "Segment number": "SEGN",
  "Valid Diagnostic Information": "VDINFO",
  "Power on hours": "POH",
  "Namespace Identifier": "NSID",
  "Failing LBA": "FLBA",
  "Status Code Type": "SCT",
  "Status Code": "SC",
  "Vendor Specific": "VS",
};

/** nvme-cli's words for the states of Asymmetric Namespace Access. */
const ANA_WORDS: Readonly<Record<number, string>> = {
  1: "optimized",
  2: "non-optimized",
  3: "inaccessible",
  4: "persistent-loss",
  15: "change",
};

const NVM_SET: Keys = {
  nvmset_id: "NVMSETID",
  endurance_group_id: "ENDGID",
  random_4k_read_typical: "R4KRTYP",
  optimal_write_size: "OWS",
  total_nvmset_cap: "TNVMSETCAP",
  unalloc_nvmset_cap: "UNVMSETCAP",
};

/** Every structure that is compared. The first five are the ones that nvme-cli is asked for most. */
export const STRUCTURES: readonly Structure[] = [
  {
    page: "id-ctrl",
    command: ["id-ctrl"],
    answer: identify(1),
    sizeBytes: 4096,
    pages: 1000,
    keys: { psds: { list: "PSD", keys: POWER_STATE } },
    // NPSS beyond the 32 descriptors of the page makes nvme-cli read on, until it crashes.
    tame: (page) => page[263] = (page[263] ?? 0) % 32,
  },
  {
    page: "id-ns",
    command: ["id-ns", "-n", "1"],
    answer: identify(0),
    sizeBytes: 4096,
    pages: 1000,
    keys: { lbafs: { list: "LBAF", keys: { ds: "LBADS" } } },
  },
  { page: "smart", command: ["smart-log"], answer: log(2), sizeBytes: 512, pages: 1000, keys: SMART },
  {
    page: "error",
    command: ["error-log", "-e", "16"],
    answer: log(1),
    sizeBytes: 16 * 64,
    pages: 1000,
    keys: { errors: { list: "ENTRY", keys: ERROR } },
  },
  {
    page: "fw",
    command: ["fw-log"],
    answer: log(3),
    sizeBytes: 512,
    pages: 1000,
    keys: {
      "*": {
        inside: { "Active Firmware Slot (afi)": "AFI", ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map(revision)) },
      },
    },
  },
  {
    page: "self-test",
    command: ["self-test-log"],
    answer: log(6),
    sizeBytes: 564,
    pages: 100,
    keys: {
      "Current Device Self-Test Operation": "CDSTO",
      "Current Device Self-Test Completion": "CDSTC",
      "List of Valid Reports": { list: "RESULT", keys: SELF_TEST_RESULT },
    },
  },
  {
    page: "sanitize",
    command: ["sanitize-log"],
    answer: log(0x81),
    sizeBytes: 512,
    pages: 100,
    keys: {
      "*": {
        inside: {
          sstat: {
            inside: {
              global_erased: "SSTAT.GDE",
              no_cmplted_passes: "SSTAT.OPC",
              status: (table) => `code ${table.field("SSTAT", "SOS")}`,
            },
          },
          cdw10_info: "SCDW10",
          time_over_write: "ETO",
          time_block_erase: "ETBE",
          time_crypto_erase: "ETCE",
          time_over_write_no_dealloc: "ETOND",
          time_block_erase_no_dealloc: "ETBEND",
          time_crypto_erase_no_dealloc: "ETCEND",
        },
      },
    },
  },
  {
    page: "endurance",
    command: ["endurance-log", "-g", "1"],
    answer: log(9),
    sizeBytes: 512,
    pages: 100,
    keys: {
      critical_warning: "CW",
      avl_spare: "AVSP",
      avl_spare_threshold: "AVSPT",
      percent_used: "PUSED",
      endurance_estimate: "EE",
      data_units_read: "DUR",
      data_units_written: "DUW",
      media_units_written: "MUW",
      host_read_cmds: "HRC",
      host_write_cmds: "HWC",
      media_data_integrity_err: "MDIE",
      num_err_info_log_entries: "NEILE",
    },
  },
  {
    page: "predictable-latency",
    command: ["predictable-lat-log", "-i", "1"],
    answer: log(10),
    sizeBytes: 512,
    pages: 100,
    keys: {
      nvmset_id: () => 1n,
      event_type: "ET",
      dtwin_reads_typical: "DTWINRT",
      dtwin_writes_typical: "DTWINWT",
      dtwin_time_maximum: "DTWINTM",
      ndwin_time_minimum_high: "NDWINTMH",
      ndwin_time_minimum_low: "NDWINTML",
      dtwin_reads_estimate: "DTWINRE",
      dtwin_writes_estimate: "DTWINWE",
      dtwin_time_estimate: "DTWINTE",
    },
  },
  { page: "nvm-id-ctrl", command: ["nvm-id-ctrl"], answer: identify(6), sizeBytes: 4096, pages: 100, keys: {} },
  {
    page: "nvm-id-ns",
    command: ["nvm-id-ns", "-n", "1"],
    answer: identify(5),
    sizeBytes: 4096,
    pages: 100,
    keys: { elbafs: { list: "ELBAF", keys: { sts: "ELBAF.STS", pif: "ELBAF.PIF" } } },
  },
  {
    page: "cmdset-ind-id-ns",
    command: ["cmdset-ind-id-ns", "-n", "1"],
    answer: identify(8),
    sizeBytes: 4096,
    pages: 100,
    keys: {},
  },
  { page: "zns-id-ctrl", command: ["zns", "id-ctrl"], answer: identify(6), sizeBytes: 4096, pages: 100, keys: {} },
  {
    page: "zns-id-ns",
    command: ["zns", "id-ns", "-n", "1"],
    answer: identify(5),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      // It prints 64 bits as an int.
      lbafe: { list: "LBAFE", keys: { zsze: { low32: "ZSZE" } } },
    },
  },
  {
    page: "primary-ctrl-caps",
    command: ["primary-ctrl-caps"],
    answer: identify(0x14),
    sizeBytes: 4096,
    pages: 100,
    keys: {},
  },
  {
    page: "list-secondary",
    command: ["list-secondary"],
    answer: identify(0x15),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      num: "NUMID",
      "secondary-controllers": {
        list: "SCE",
        keys: {
          "secondary-controller-identifier": "SCID",
          "primary-controller-identifier": "PCID",
          "secondary-controller-state": "SCS",
          "virtual-function-number": "VFN",
          "num-virtual-queues": "NVQ",
          "num-virtual-interrupts": "NVI",
        },
      },
    },
    tame: (page) => page[0] = (page[0] ?? 0) & 0x7f,
  },
  {
    page: "id-nvmset",
    command: ["id-nvmset"],
    answer: identify(4),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      nid: "NUMIDS",
      NVMSet: { list: "SET", keys: NVM_SET },
    },
    tame: (page) => page[0] = (page[0] ?? 0) % 32,
  },
  {
    page: "id-ns-granularity",
    command: ["id-ns-granularity"],
    answer: identify(0x16),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      attributes: "ATTR",
      "num-descriptors": "NUMD",
      "namespace-granularity-list": {
        list: "NGD",
        keys: { "namespace-size-granularity": "NSZEGRAN", "namespace-capacity-granularity": "NCAPGRAN" },
      },
    },
  },
  {
    page: "id-uuid",
    command: ["id-uuid"],
    answer: identify(0x17),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      // It begins with the second entry: the first one is at byte 32 (Base 2.0 figure 283), and it takes it for a header.
      "UUID-list": { list: "UUID", skips: 1, keys: { association: "HDR.IDA" } },
    },
  },
  {
    page: "list-ctrl",
    command: ["list-ctrl"],
    answer: identify(0x13),
    sizeBytes: 4096,
    pages: 100,
    keys: { num_ctrl: "NUMIDS", ctrl_list: { list: "CNTLID", keys: { ctrl_id: "CNTLID" } } },
  },
  {
    page: "list-endgrp",
    command: ["list-endgrp"],
    answer: identify(0x19),
    sizeBytes: 4096,
    pages: 100,
    keys: { num_endgrp_id: "NUMIDS", endgrp_list: { list: "ENDGID", keys: { endgrp_id: "ENDGID" } } },
  },
  {
    page: "ana",
    command: ["ana-log"],
    answer: log(0x0c),
    sizeBytes: 16 + 8 * 32 + 128 * 4,
    pages: 100,
    keys: {
      "Asymmetric Namespace Access Log for NVMe device": { skip: "the device's name" },
      ngrps: "NAGD",
      "ANA DESC LIST ": {
        list: "GROUP",
        keys: {
          grpid: "AGID",
          nnsids: "NNSID",
          // As an int, too.
          chgcnt: { low32: "CHGCNT" },
          state: (table) => `word ${ANA_WORDS[Number(table.field("AS", "STATE"))] ?? "invalid state"}`,
          NSIDS: { list: "NSID", keys: {} },
        },
      },
    },
    tame: (page) => {
      const view = new DataView(page.buffer, page.byteOffset);
      const groups = (page[8] ?? 0) % 9;
      view.setUint16(8, groups, true);
      for (let at = 16, i = 0; i < groups; i++) {
        const namespaces = (page[at + 4] ?? 0) % 16;
        view.setUint32(at + 4, namespaces, true);
        // It takes the reserved bits above the state for a part of it.
        page[at + 16] = (page[at + 16] ?? 0) & 0xf;
        at += 32 + 4 * namespaces;
      }
    },
  },
  {
    page: "persistent-event",
    command: ["persistent-event-log", "-a", "1", "-l", "1024"],
    answer: log(0x0d),
    sizeBytes: 1024,
    pages: 100,
    keys: {
      log_id: "LID",
      total_num_of_events: "TNEV",
      total_log_len: "TLL",
      log_revision: "LREV",
      log_header_len: "LHL",
      timestamp: "TSTMP",
      power_on_hours: "POH",
      power_cycle_count: "PWRCC",
      pci_vid: "VID",
      pci_ssvid: "SSVID",
      gen_number: "GNUM",
      ...Object.fromEntries(
        [..."123456789abcd"].map((
          digit,
        ) => [`bitmap_${digit}`, { skip: "it repeats the last text for a bit that is 0" }]),
      ),
      list_of_event_entries: {
        list: "EVENT",
        keys: {
          event_number: { skip: "it counts" },
          event_type: (table) => `last code 0x${(table.uint("ET") ?? 0n).toString(16)}`,
          event_type_rev: "ETREV",
          event_header_len: "EHL",
          event_header_additional_info: "EHAI",
          ctrl_id: "CNTLID",
          event_time_stamp: "ETSTAMP",
          port_id: "PELPID",
          vu_info_len: "VSIL",
          event_len: "EL",
          prev_ts: { skip: "what belongs to one type of event is not decoded" },
          ml_secs_since_reset: { skip: "what belongs to one type of event is not decoded" },
        },
      },
    },
    // Some events of the same kind, a change of the clock, one behind the other.
    tame: (page) => {
      const view = new DataView(page.buffer, page.byteOffset);
      const events = (page[4] ?? 0) % 8;
      view.setUint32(4, events, true);
      view.setBigUint64(8, BigInt(512 + 40 * events), true);
      for (let at = 512; at < 512 + 40 * events; at += 40) {
        view.setUint8(at, 3);
        view.setUint8(at + 2, 21);
        view.setUint16(at + 20, 0, true);
        view.setUint16(at + 22, 16, true);
      }
      page.fill(0, 512 + 40 * events);
    },
  },
  {
    page: "feature-effects",
    command: ["fid-support-effects-log"],
    answer: log(0x12),
    sizeBytes: 1024,
    pages: 100,
    keys: { fid_support: { numbered: "FID", row: "EFFECTS" } },
  },
  {
    page: "mi-effects",
    command: ["mi-cmd-support-effects-log"],
    answer: log(0x13),
    sizeBytes: 4096,
    pages: 100,
    keys: { mi_command_support: { numbered: "MI", row: "EFFECTS" } },
  },
  {
    page: "lba-status",
    command: ["lba-status-log"],
    answer: log(0x0e),
    sizeBytes: 4096,
    pages: 100,
    keys: {
      ns_elements: { list: "NAMESPACE", keys: { descs: { list: "RANGE", keys: {} } } },
    },
    tame: (page) => {
      const view = new DataView(page.buffer, page.byteOffset);
      view.setUint32(0, page.length, true);
      view.setUint32(4, (page[4] ?? 0) % 4, true);
      // Three elements of up to 15 ranges each, one behind the other.
      for (let at = 16, i = 0; i < 3; i++) {
        const ranges = (page[at + 4] ?? 0) % 16;
        view.setUint32(at + 4, ranges, true);
        at += 16 * (1 + ranges);
      }
    },
  },
  {
    page: "fdp-configs",
    command: ["fdp", "configs", "-e", "1"],
    answer: log(0x20),
    sizeBytes: 4096,
    pages: 100,
    keys: { n: "NUMFDPC", configs: { list: "CONFIG", keys: { ruhs: { list: "RUHD", keys: {} } } } },
    tame: (page) => {
      const view = new DataView(page.buffer, page.byteOffset);
      const count = (page[0] ?? 0) % 4;
      view.setUint16(0, count, true);
      view.setUint32(4, page.length, true);
      for (let at = 16, i = 0; i <= count; i++) {
        const handles = (page[at + 8] ?? 0) % 16;
        view.setUint16(at, 64 + 4 * handles, true);
        view.setUint16(at + 8, handles, true);
        at += 64 + 4 * handles;
      }
    },
  },
  {
    page: "fdp-usage",
    command: ["fdp", "usage", "-e", "1"],
    answer: log(0x21),
    sizeBytes: 4096,
    pages: 100,
    keys: { ruhus: { list: "RUHU", keys: {} } },
    tame: (page) => new DataView(page.buffer, page.byteOffset).setUint16(0, page[0] ?? 0, true),
  },
  {
    page: "fdp-stats",
    command: ["fdp", "stats", "-e", "1"],
    answer: log(0x22),
    sizeBytes: 64,
    pages: 100,
    keys: {},
  },
  {
    page: "fdp-events",
    command: ["fdp", "events", "-e", "1"],
    answer: log(0x23),
    sizeBytes: 4096,
    pages: 100,
    keys: { n: "NEVT", events: { list: "EVENT", keys: { lba: { skip: "it reads four bytes too far" } } } },
    tame: (page) => new DataView(page.buffer, page.byteOffset).setUint32(0, (page[0] ?? 0) % 64, true),
  },
  {
    page: "list-ns",
    command: ["list-ns"],
    answer: identify(2),
    sizeBytes: 4096,
    pages: 100,
    keys: { nsid_list: { list: "NSID", keys: {} } },
  },
];

/** How many values were compared. */
export interface Tally {
  values: number;
}

/**
 * Compares a page that nvme-cli decoded with ours, key by key of nvme-cli's.
 *
 * @throws when a key stands for nothing of ours, or a value differs
 */
export function compareKeys(theirs: TheirObject, ours: DecodedTable, keys: Keys, path: string, tally: Tally): void {
  for (const [key, value] of Object.entries(theirs)) {
    const where = `${path}.${key}`;
    const rule = keys[key] ?? keys["*"] ?? ownName(ours, key, where);
    if (typeof rule === "object") {
      if ("skip" in rule) continue;
      if ("numbered" in rule) compareNumbered(value as readonly TheirObject[], ours, rule, where, tally);
      else if ("low32" in rule) {
        tally.values++;
        assertEquals(numberOf(value, 32), BigInt.asUintN(32, ours.uint(rule.low32) ?? 0n), where);
      } else if ("inside" in rule) compareKeys(value as TheirObject, ours, rule.inside, where, tally);
      else compareLists(value as readonly TheirObject[], ours, rule, where, tally);
      continue;
    }
    tally.values++;
    if (typeof rule === "function") compareComputed(value, rule(ours), where);
    else compareValue(value, ours, rule, where);
  }
}

function ownName(ours: DecodedTable, key: string, where: string): string {
  const name = key.toUpperCase();
  if (ours.rows.some(({ row }) => row.name === name)) return name;
  throw new Error(`nvme-cli's key '${where}' stands for nothing in our table ${ours.name}`);
}

function compareLists(
  theirs: readonly TheirObject[],
  ours: DecodedTable,
  { list, keys, skips = 0 }: ListRule,
  where: string,
  tally: Tally,
): void {
  const elements = new Map(ours.elements(list).map((element) => [element.index, element]));
  const { row } = ours.row(list);
  const isSparse = row.type === "array" && row.sparse === true;
  for (const [i, element] of theirs.entries()) {
    const own = elements.get(i + skips);
    if (own !== undefined) compareKeys(element, own, keys, `${where}[${i}]`, tally);
    // An element of zeros is left out by ours; one behind the end of the structure is nvme-cli's reading too far.
    else if (isSparse) assertEquals(Object.values(element).filter((one) => !isZero(one)), [], `${where}[${i}]`);
    else if (row.type !== "array" || i < row.count) throw new Error(`${where}[${i}]: ours ends after ${elements.size}`);
  }
}

function compareNumbered(
  theirs: readonly TheirObject[],
  ours: DecodedTable,
  { numbered, row }: NumberedRule,
  where: string,
  tally: Tally,
): void {
  const elements = new Map(ours.elements(numbered).map((element) => [element.index, element]));
  for (const [key, value] of theirs.flatMap((element) => Object.entries(element))) {
    const index = Number(/_(\d+)$/.exec(key)?.[1] ?? "-1");
    tally.values++;
    assertEquals(numberOf(value, 32), elements.get(index)?.uint(row) ?? null, `${where}.${key}`);
  }
}

function isZero(value: TheirValue): boolean {
  return typeof value === "object" && "number" in value && value.number === "0";
}

/** Some numbers are printed as if they had a sign, some numbers as texts. */
function numberOf(value: TheirValue, bits: number): bigint | null {
  const text = typeof value === "string" ? value : "number" in value ? String(value.number) : "";
  return /^-?\d+$/.test(text) ? BigInt.asUintN(bits, BigInt(text)) : null;
}

function compareComputed(value: TheirValue, ours: bigint | string, where: string): void {
  if (typeof ours === "bigint") return assertEquals(numberOf(value, 64), ours, where);
  const text = typeof value === "string" ? value : "";
  // `(3) Most Recent Sanitize Command Failed.`: the words are theirs, the code is the page's.
  if (ours.startsWith("code ")) return assertEquals(`code ${/^\((\d+)\)/.exec(text)?.[1]}`, ours, where);
  if (ours.startsWith("last code ")) {
    return assertEquals(`last code ${/\((0x[0-9a-f]+)\)$/.exec(text)?.[1]}`, ours, where);
  }
  if (ours.startsWith("word ")) return assertEquals(`word ${text}`, ours, where);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(/^\d+/.exec(text)?.[0] ?? "0"), true);
  assertEquals(`revision ${trimmedText(bytes)}`, ours, where);
}

function compareValue(value: TheirValue, ours: DecodedTable, rule: string, where: string): void {
  const [name = "", fieldName] = rule.split(".");
  const decoded = ours.row(name);
  if (fieldName !== undefined) {
    const field = (decoded.row as UintRow).fields?.find((one) => one.name === fieldName);
    const { width } = field === undefined ? { width: 0 } : fieldPlace(field);
    return assertEquals(numberOf(value, width), ours.field(name, fieldName), where);
  }
  if (typeof decoded.value === "bigint" && decoded.row.type === "uint") {
    return assertEquals(numberOf(value, 8 * decoded.row.sizeBytes), decoded.value, where);
  }
  const text = typeof value === "string" ? value : "";
  if (decoded.value instanceof Uint8Array) {
    return assertEquals(text.replaceAll("-", "").toLowerCase(), decoded.value.toHex(), where);
  }
  if (typeof decoded.value !== "string") throw new Error(`${where}: ours is not known: ${decoded.reason}`);
  // In C a text ends at its first NUL.
  const own = decoded.value.split("\\x00")[0]?.trimEnd() ?? "";
  assertEquals(trimmedText(Uint8Array.from(text, (character) => character.charCodeAt(0))), own, where);
}
