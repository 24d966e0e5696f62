/**
 * Numbers of specifications that C needs too: register offsets, opcodes, statuses, pages. Each stands in a table of ours and
 * once more in C; here the two are compared by name.
 */

import { assert, assertEquals } from "@std/assert";

import { CQE_BYTES, CQE_WORDS, SQE_BYTES, SQE_WORDS } from "../../ffi/nvme_queue.ts";
import { type BitField, uintRow } from "../../src/core/layout.ts";
import { ANA_STATES } from "../../src/nvme/tables/log_events.ts";
import { EFFECTS_LOG, FEATURE_NAMES, LOG_PAGE_NAMES } from "../../src/nvme/tables/log_support.ts";
import { ADMIN_OPCODES, IO_OPCODES } from "../../src/nvme/tables/opcodes.ts";
import { pageNamed } from "../../src/nvme/tables/pages.ts";
import { DOORBELLS_OFFSET, NVME_REGISTERS, registerOffset } from "../../src/nvme/tables/registers.ts";
import { NvmeStatus, statusCodeNamed } from "../../src/nvme/tables/status.ts";
import {
  ADDRESS_TYPES,
  CCB_STATES,
  COMPLETION_ERRORS,
  COMPLETION_STATUS,
  KILL_ACTIONS,
  LENGTH_UNITS,
  OPCODE_INVERT,
  OPCODES,
  OPERAND_UNUSED,
  OUTPUT_FORMATS,
  PRIMARY_FORMATS,
} from "../../src/oradax/codes.ts";
import { CCB_BYTES, COMPLETION_BYTES } from "../../src/oradax/ccb_tables.ts";
import { COMPLETION_AREAS, MOST_SUBMIT_UNITS } from "../../src/oradax/transport.ts";
import { PCI_COMMAND, PCI_COMMAND_MASTER } from "../../src/pci/config_space.ts";
import { enumerators, indexedEntries } from "./c_constants.ts";

const CSRC = new URL("../../csrc/", import.meta.url).pathname;
const text = (path: string): string => Deno.readTextFileSync(`${CSRC}${path}`);
const SPEC = enumerators(text("soft/nvme/spec.h"));

/** Enumerators with a prefix, without it. */
function prefixed(constants: ReadonlyMap<string, number>, prefix: string): [string, number][] {
  const found = [...constants].filter(([name]) => name.startsWith(prefix));
  assert(found.length > 0, `nothing begins with ${prefix}`);
  return found.map(([name, value]) => [name.slice(prefix.length), value]);
}

/** True when each word of a C name begins a word of the specification's name. */
function fits(name: string, title: string): boolean {
  const words = title.toLowerCase().split(/[^a-z0-9]+/);
  return name.toLowerCase().split("_").every((word) => words.some((one) => one.startsWith(word)));
}

/** The highest and lowest bit of a field. */
function bitsOf(fields: readonly BitField[] | undefined, name: string): [high: number, low: number] {
  const bits = fields?.find((one) => one.name === name)?.bits;
  assert(bits !== undefined, `there is no field ${name}`);
  return typeof bits === "number" ? [bits, bits] : [...bits];
}

/** The bits of a register's field, at their place. */
function fieldMask(register: string, name: string): number {
  const [high, low] = bitsOf(uintRow(NVME_REGISTERS, register).fields, name);
  return 2 ** (high + 1) - 2 ** low;
}

Deno.test("enumerators are read from C as the compiler reads them", () => {
  const source =
    `enum { A, B = 0x10, C, D = 1 << 4 | 2, /* E = 9, */ F = B + 2 * 3 };\nenum kind { G = sizeof(int), H, I = 7u };`;
  assertEquals([...enumerators(source)], [["A", 0], ["B", 16], ["C", 17], ["D", 18], ["F", 22], ["I", 7]]);
  const table = `enum { K = 3 };\nstatic const struct x T[9] = {\n  [K] = {run, 1},\n  [0x05] = walk,\n};\n`;
  assertEquals(indexedEntries(table, "T"), [[3, "run"], [5, "walk"]]);
});

Deno.test("registers lie in C where the table has them", () => {
  for (const [name, value] of prefixed(SPEC, "REG_")) assertEquals([name, value], [name, registerOffset(name)]);
  assertEquals(SPEC.get("DOORBELLS"), DOORBELLS_OFFSET);
  const queue = enumerators(text("nvme_queue.h")), guardian = enumerators(text("guardian/nvme_guardian.c"));
  assertEquals(queue.get("CSTS_OFFSET"), registerOffset("CSTS"));
  assertEquals([guardian.get("CC"), guardian.get("CSTS")], [registerOffset("CC"), registerOffset("CSTS")]);
  assertEquals([guardian.get("PCI_COMMAND"), guardian.get("PCI_COMMAND_MASTER")], [PCI_COMMAND, PCI_COMMAND_MASTER]);
});

Deno.test("fields of CSTS have the same bits in C", () => {
  for (const name of ["RDY", "CFS", "SHST", "NSSRO"]) {
    assertEquals([name, SPEC.get(`CSTS_${name}`)], [name, fieldMask("CSTS", name)]);
  }
  const shift = Math.log2(fieldMask("CSTS", "SHST") / 3);
  // 01b: in progress, 10b: complete (NVM Express Base 2.0 §3.1.3.6).
  assertEquals([SPEC.get("CSTS_SHST_BUSY"), SPEC.get("CSTS_SHST_DONE")], [1 << shift, 2 << shift]);
  assertEquals(enumerators(text("nvme_queue.h")).get("CSTS_FATAL"), fieldMask("CSTS", "CFS"));
});

Deno.test("commands and completions have the same sizes in C", () => {
  const header = enumerators(text("busbar.h"));
  assertEquals([header.get("BB_NVME_SQE_BYTES"), header.get("BB_NVME_CQE_BYTES")], [SQE_BYTES, CQE_BYTES]);
  assertEquals([SQE_WORDS * 4, CQE_WORDS * 4], [SQE_BYTES, CQE_BYTES]);
});

/** Statuses whose name in C is not made of words of the specification's. */
const STATUS_NAMES: Readonly<Record<string, string>> = {
  OK: "Successful Completion",
  CID_CONFLICT: "Command ID Conflict",
  ABORTED: "Command Abort Requested",
  SQ_DELETED: "Command Aborted due to SQ Deletion",
  SGL_COUNT: "Invalid Number of SGL Descriptors",
  SGL_DATA_LENGTH: "Data SGL Length Invalid",
  SGL_METADATA_LENGTH: "Metadata SGL Length Invalid",
  INVALID_CMB_USE: "Invalid Use of Controller Memory Buffer",
  WRITE_PROTECTED: "Namespace is Write Protected",
  LBA_RANGE: "LBA Out of Range",
  CAPACITY: "Capacity Exceeded",
  NOT_READY: "Namespace Not Ready",
  INVALID_CQ: "Completion Queue Invalid",
  INVALID_QID: "Invalid Queue Identifier",
  ABORT_LIMIT: "Abort Command Limit Exceeded",
  AER_LIMIT: "Asynchronous Event Request Limit Exceeded",
  FIRMWARE_SLOT: "Invalid Firmware Slot",
  FIRMWARE_IMAGE: "Invalid Firmware Image",
  INVALID_FORMAT: "Invalid Format",
  FIRMWARE_NEEDS_RESET: "Firmware Activation Requires NVM Subsystem Reset",
  NOT_SAVEABLE: "Feature Identifier Not Saveable",
  NSID_UNAVAILABLE: "Namespace Identifier Unavailable",
  PRIVATE: "Namespace Is Private",
  SELF_TEST_BUSY: "Device Self-test In Progress",
  ANA_GROUP: "ANA Group Identifier Invalid",
  COMMAND_SET: "I/O Command Set Not Supported",
  INVALID_PI: "Invalid Protection Information",
  READ_ONLY_RANGE: "Attempted Write to Read Only Range",
  SIZE_LIMIT: "Command Size Limit Exceeded",
  ZONE_BOUNDARY: "Zoned Boundary Error",
  ZONE_TRANSITION: "Invalid Zone State Transition",
  WRITE_FAULT: "Write Fault",
  GUARD: "End-to-end Guard Check Error",
  APP_TAG: "End-to-end Application Tag Check Error",
  REF_TAG: "End-to-end Reference Tag Check Error",
  DEALLOCATED: "Deallocated or Unwritten Logical Block",
  ANA_PERSISTENT_LOSS: "Asymmetric Access Persistent Loss",
  ANA_INACCESSIBLE: "Asymmetric Access Inaccessible",
  ANA_CHANGE: "Asymmetric Access Transition",
};

Deno.test("statuses have the same codes in C", () => {
  // What a handler returns that has not ended, and the bit that is part of the others.
  const none = ["DNR", "LATER", "HELD"];
  for (const [name, value] of prefixed(SPEC, "SC_").filter(([name]) => !none.includes(name))) {
    const status = new NvmeStatus(value);
    assert(status.entry !== null, `SC_${name} is no status: ${value.toString(16)}`);
    const title = STATUS_NAMES[name];
    if (title === undefined) assert(fits(name, status.name), `SC_${name} is '${status.name}'`);
    else assertEquals([name, status.code], [name, statusCodeNamed(title)]);
  }
  assert(new NvmeStatus(SPEC.get("SC_DNR") ?? 0).doNotRetry);
});

/** Handlers whose name is not made of words of the command's. */
const COMMAND_NAMES: Readonly<Record<string, string>> = {
  delete_sq: "Delete I/O Submission Queue",
  create_sq: "Create I/O Submission Queue",
  delete_cq: "Delete I/O Completion Queue",
  create_cq: "Create I/O Completion Queue",
  abort_command: "Abort",
  nvme_firmware_download: "Firmware Image Download",
  nvme_format: "Format NVM",
  write_blocks: "Write",
  read_blocks: "Read",
};

Deno.test("opcodes have the same numbers in C", () => {
  for (const [name, opcode] of prefixed(enumerators(text("nvme_job.c")), "OPC_")) {
    assertEquals(IO_OPCODES[opcode]?.toUpperCase(), name);
  }
  const tables = [
    [ADMIN_OPCODES, [text("soft/nvme/spec.h") + text("soft/nvme/admin.c"), "nvme_admin_operations"]],
    [IO_OPCODES, [text("soft/nvme/io.c"), "nvme_io_operations"]],
    [IO_OPCODES, [text("soft/nvme/zone_command.c"), "nvme_zone_operations"]],
  ] as const;
  for (const [names, [source, array]] of tables) {
    const entries = indexedEntries(source, array);
    assert(entries.length > 2, `${array} has ${entries.length} entries`);
    for (const [opcode, handler] of entries) {
      const name = names[opcode];
      assert(name !== undefined, `${array}: ${handler} has opcode ${opcode}`);
      const title = COMMAND_NAMES[handler];
      if (title === undefined) {
        assert(fits(handler.replace(/^nvme_/, ""), name), `${handler} has the opcode of ${name}`);
      } else assertEquals([handler, name], [handler, title]);
    }
  }
});

/** Which function fills which Identify page. */
const IDENTIFY_PAGES: Readonly<Record<string, string>> = {
  controller: "id-ctrl",
  controller_of_set: "nvm-id-ctrl",
  namespace_active: "id-ns",
  namespace_of_set_active: "nvm-id-ns",
  namespace_independent: "cmdset-ind-id-ns",
  descriptors: "ns-descs",
  active_list: "list-ns",
  allocated_list: "list-ns-allocated",
  controllers: "list-ctrl",
  endurance_groups: "list-endgrp",
  command_sets: "id-iocs",
};

Deno.test("log pages, features and Identify pages have the same numbers in C", () => {
  const logs: Readonly<Record<string, string>> = {
    CHANGED_NAMESPACES: "Changed Attached Namespace List",
    TELEMETRY: "Telemetry Controller-Initiated",
    ANA: "Asymmetric Namespace Access",
    CHANGED_ZONES: "Changed Zone List",
  };
  for (const [name, value] of prefixed(SPEC, "LOG_")) {
    const title = LOG_PAGE_NAMES[value] ?? "";
    assert(logs[name] === undefined ? fits(name, title) : logs[name] === title, `LOG_${name} is '${title}'`);
  }
  const features: Readonly<Record<string, string>> = { EVENTS: "Asynchronous Event Configuration" };
  for (const [name, value] of prefixed(SPEC, "FEATURE_")) {
    const title = FEATURE_NAMES[value] ?? "";
    assert(
      features[name] === undefined ? fits(name, title) : features[name] === title,
      `FEATURE_${name} is '${title}'`,
    );
  }
  const spec = text("soft/nvme/spec.h");
  for (const [lid, fill] of indexedEntries(spec + text("soft/nvme/log.c"), "LOGS")) {
    assert(LOG_PAGE_NAMES[lid] !== undefined, `log.c: ${fill} fills log page ${lid}`);
  }
  for (const [fid] of indexedEntries(spec + text("soft/nvme/feature.c"), "FEATURE_TABLE")) {
    assert(FEATURE_NAMES[fid] !== undefined, `feature.c has feature ${fid}`);
  }
  const entries = new Map(indexedEntries(text("soft/nvme/identify.c"), "PAGES").map(([cns, fill]) => [fill, cns]));
  for (const [fill, name] of Object.entries(IDENTIFY_PAGES)) {
    const source = pageNamed(name)?.source;
    assertEquals([fill, entries.get(fill)], [fill, source?.kind === "identify" ? source.cns : null]);
  }
});

Deno.test("command effects and access states have the same numbers in C", () => {
  const [row] = EFFECTS_LOG.rows.flatMap((one) => one.type === "array" ? one.rows : []);
  const fields = row?.type === "uint" ? row.fields ?? [] : [];
  for (const name of ["CSUPP", "LBCC", "NCC", "NIC", "CCC"]) {
    assertEquals([name, SPEC.get(`EFFECTS_${name}`)], [name, 2 ** bitsOf(fields, name)[1]]);
  }
  const cse = 2 ** bitsOf(fields, "CSE")[1];
  assertEquals([SPEC.get("EFFECTS_CSE_NS"), SPEC.get("EFFECTS_CSE_ALL")], [cse, 2 * cse]);
  for (const [name, value] of prefixed(SPEC, "ANA_")) {
    assertEquals(name.toLowerCase().replaceAll("_", name === "NON_OPTIMIZED" ? "-" : " "), ANA_STATES[value]);
  }
});

Deno.test("the coprocessor's codes have the same numbers in C", () => {
  const shared = enumerators(text("soft/oradax/oradax.h"));
  const sources = text("soft/oradax/oradax.h") + text("soft/oradax/device.h");
  const device = enumerators(sources);
  const take = (...names: string[]): (number | undefined)[] => names.map((name) => device.get(name));
  for (const [name, value] of Object.entries(OPCODES)) {
    const inC = `OPCODE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    assertEquals([inC, shared.get(inC)], [inC, value]);
  }
  assertEquals(take("OPCODE_INVERT", "OPERAND_UNUSED"), [OPCODE_INVERT, OPERAND_UNUSED]);
  assertEquals(take("CCB_UNIT_BYTES", "CA_BYTES"), [CCB_BYTES, COMPLETION_BYTES]);
  assertEquals(take("CA_COUNT", "MAX_UNITS_PER_SUBMIT"), [COMPLETION_AREAS, MOST_SUBMIT_UNITS]);
  const { bits, variable, bytesRuns, bytesCompressed } = PRIMARY_FORMATS;
  assertEquals(take("FORMAT_BITS", "FORMAT_VARIABLE", "FORMAT_RUNS", "FORMAT_COMPRESSED"), [
    bits,
    variable,
    bytesRuns,
    bytesCompressed,
  ]);
  assertEquals(take("OUTPUT_16_BYTES", "OUTPUT_BITS", "OUTPUT_INDEX_2", "OUTPUT_INDEX_4"), [
    OUTPUT_FORMATS.bytes16,
    OUTPUT_FORMATS.bits,
    OUTPUT_FORMATS.index2,
    OUTPUT_FORMATS.index4,
  ]);
  const { elements, bytes, bits: bitLength } = LENGTH_UNITS;
  assertEquals(take("LENGTH_ELEMENTS", "LENGTH_BYTES", "LENGTH_BITS"), [elements, bytes, bitLength]);
  const words = (prefix: string, names: Readonly<Record<number, string>>, skip: readonly string[] = []): void => {
    for (const [name, value] of prefixed(device, prefix).filter(([name]) => !skip.includes(name))) {
      const title = names[value] ?? "";
      assert(fits(name, title), `${prefix}${name} is '${title}'`);
    }
  };
  words("ERROR_", COMPLETION_ERRORS);
  words("ENTRY_", CCB_STATES);
  words("ACTION_", KILL_ACTIONS);
  words("ADDRESS_", ADDRESS_TYPES);
  const { CA_SUCCESS, CA_FAILED, CA_KILLED, CA_NOT_RUN } = Object.fromEntries(device);
  assertEquals(
    [CA_SUCCESS, CA_FAILED, CA_KILLED, CA_NOT_RUN].map((value) => COMPLETION_STATUS[value ?? -1]?.split(/[,:]/)[0]),
    ["succeeded", "failed", "killed", "not run"],
  );
});
