/** All of configuration space: values after reset, errors over time, every recorded machine. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";

import { Unknown } from "../../src/core/fact.ts";
import { documentSchema } from "../../tools/cli/run.ts";
import { parseAerCounts, readAerCounts } from "../../src/pci/aer.ts";
import { capabilityTables } from "../../src/pci/capabilities.ts";
import { headerLayout } from "../../src/pci/config_space.ts";
import { reportConfig } from "../../src/pci/config_report.ts";
import { errorChanges, readErrors } from "../../src/pci/error_watch.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { resetDifferences, resetRegisters } from "../../src/pci/reset_values.ts";
import {
  errorChangeLine,
  errorsJson,
  reportJson,
  reportLines,
  reportSchemas,
} from "../../tools/render/pci/config_report.ts";
import { MadeUpMachine } from "./machines.ts";
import { pciMachine } from "./pci_machine.ts";
import { Random } from "./random.ts";
import { schemaErrors } from "./schema.ts";

const SCHEMA = documentSchema("config", reportSchemas());

Deno.test("every register and field with a value after reset is in the table of its capability", () => {
  // A type 1 header, a root port: the tables with the most registers.
  const config = new Uint8Array(4096);
  config[0x0e] = 1;
  const tables = capabilityTables(config);
  const ids: Readonly<Record<string, string>> = Object.fromEntries(
    [
      ...[["standard", 1, "PM"], ["standard", 5, "MSI"], ["standard", 16, "PCIe"], ["standard", 17, "MSI-X"]],
      ...[["extended", 1, "AER"], ["extended", 13, "ACS"], ["extended", 14, "ARI"], ["extended", 15, "ATS"]],
      ...[["extended", 16, "SR-IOV"], ["extended", 19, "PRI"], ["extended", 23, "TPH"], ["extended", 24, "LTR"]],
      ...[["extended", 25, "secondary PCIe"], ["extended", 27, "PASID"], ["extended", 29, "DPC"]],
      ...[["extended", 30, "L1 PM substates"], ["extended", 31, "PTM"], ["extended", 46, "DOE"], [
        "extended",
        48,
        "IDE",
      ]],
    ].map(([list, id, title]) => [`${list} ${id}`, String(title)]),
  );
  const optional = ["SLTCTL", "SLTSTA", "RTCTL", "ROOT_COMMAND", "ROOT_STATUS", "RP_PIO_STATUS"];
  for (const [capability, register, fields] of resetRegisters()) {
    const layout = capability === "header"
      ? headerLayout(config)
      : tables.find(({ list, title }) => `${list} ` === capability.replace(/\d+$/, "") && title === ids[capability])
        ?.layout;
    assert(layout !== null && layout !== undefined, `${capability} has no table`);
    const row = layout.rows.find(({ name }) => name === register);
    if (row === undefined && optional.includes(register)) continue;
    assert(row?.type === "uint", `${capability} has no ${register}`);
    for (const field of fields) {
      assert(row.fields?.some(({ name }) => name === field), `${capability} ${register} has no ${field}`);
    }
  }
});

Deno.test("values after reset: what differs is told by field, what is open is not judged", () => {
  const [row] = headerLayout(new Uint8Array(4096))?.rows.filter(({ name }) => name === "COMMAND") ?? [];
  assert(row?.type === "uint");
  assertEquals(resetDifferences("header", "COMMAND", 0n, row.fields), []);
  const changed = resetDifferences("header", "COMMAND", 6n, row.fields)?.map((
    { field, value, reset },
  ) => [field, value, reset]);
  assertEquals(changed?.length, 2);
  assertEquals(changed?.map(([, value, reset]) => [value, reset]), [[1n, 0n], [1n, 0n]]);
  assertEquals(resetDifferences("header", "VENDOR_ID", 1n, undefined), null);
  assertEquals(resetDifferences("extended 16", "SYS_PGSIZE", 1n, undefined), []);
});

const FIXTURES = new URL("../fixtures/machines/", import.meta.url);

Deno.test("every function of a recorded machine: each part is shown, and the JSON keeps to its schema", () => {
  const { host, devices } = readMachineFile(new URL("cloud-virtual-machine.txt", FIXTURES).pathname);
  assert(devices.length > 3);
  for (const name of devices) {
    const fn = readPciFunction(host, name);
    const report = reportConfig(fn.config);
    assertEquals(schemaErrors(SCHEMA, reportJson(fn, report, readErrors(host, fn))), "", name);
    const lines = reportLines(fn, report).map(stripAnsiCode).join("\n");
    for (const part of report.parts) assertStringIncludes(lines, part.name);
    assertStringIncludes(lines, "COMMAND");
  }
});

Deno.test("any bytes are reported without an exception, whatever they say", () => {
  const random = new Random("config report");
  const fn = readPciFunction(pciMachine({ functions: [{ at: "00:01.0", id: "8086:1234" }] }).host, "0000:00:01.0");
  for (let i = 0; i < 200; i++) {
    const config = random.bytes([64, 256, 4096][i % 3] ?? 256);
    // Lists that lead somewhere, more often than chance would.
    config[6] = 0x10;
    config[0x34] = 0x40;
    if (config.length > 64) config[0x40] = [1, 5, 0x10, 0x11][i % 4] ?? 1;
    if (config.length > 256) config.set([[1, 2, 0x19, 0x1d, 0x1e, 0x23, 0x2e, 0x30][i % 8] ?? 1, 0, 1, 0], 0x100);
    const report = reportConfig(config);
    reportLines({ ...fn, config }, report);
    assertEquals(schemaErrors(SCHEMA, reportJson({ ...fn, config }, report, null)), "");
  }
});

Deno.test("IDE: as many streams as the registers say, and none where they say none", () => {
  const config = new Uint8Array(4096);
  config[6] = 0x10;
  const view = new DataView(config.buffer);
  view.setUint32(0x100, 0x0001_0030, true);
  // Link and selective streams: two traffic classes, two selective ones, the first with one address block.
  view.setUint32(0x104, 3 | 1 << 13 | 1 << 16, true);
  view.setUint32(0x100 + 0x0c + 16, 1, true);
  const names = reportConfig(config).parts[1]?.registers.map(({ decoded }) => decoded.row).map(({ name, offset }) =>
    `${name}@${offset}`
  );
  assertEquals(names?.slice(0, 6), [
    "CAP@4",
    "CTL@8",
    "LINK0_CTL@12",
    "LINK0_STATUS@16",
    "LINK1_CTL@20",
    "LINK1_STATUS@24",
  ]);
  assertEquals(names?.filter((name) => /SEL\d_CTL/.test(name)), ["SEL0_CTL@32", "SEL1_CTL@64"]);
});

Deno.test("errors over time: counters, registers and the link, each change once; a line that is none is not 0", () => {
  const { host } = pciMachine({ functions: [{ at: "00:01.0", id: "8086:1234", link: [4, 4, 4, 4] }] });
  const machine = new MadeUpMachine();
  const folder = "/sys/devices/pci0000:00/0000:00:01.0";
  machine.link("/sys/bus/pci/devices/0000:00:01.0", folder).file(
    `${folder}/config`,
    host.readBytes(`${folder}/config`, 0, 4096),
  )
    .file(`${folder}/aer_dev_correctable`, "RxErr 0\nBadTLP 2\nTOTAL_ERR_COR 2\n").file(
      `${folder}/aer_dev_fatal`,
      "nonsense\n",
    );
  const look = () => {
    const fn = readPciFunction(machine, "0000:00:01.0");
    return { fn, sample: readErrors(machine, fn) };
  };
  const { fn, sample: before } = look();
  assertEquals(before.counts.correctable, { RxErr: 0n, BadTLP: 2n });
  assertEquals(before.counts.nonfatal, null);
  assert(before.counts.fatal instanceof Unknown);
  assertEquals(before.link, "16 GT/s x4");
  machine.file(`${folder}/aer_dev_correctable`, "RxErr 1\nBadTLP 2\nTOTAL_ERR_COR 3\n");
  const config = machine.files.get(`${folder}/config`)?.slice() ?? new Uint8Array();
  config[0x50 + 0x12] = 0x21;
  machine.file(`${folder}/config`, config);
  const { sample: after } = look();
  const changes = errorChanges(before, after);
  assertEquals(changes, [
    { name: "correctable.RxErr", before: "0", after: "1" },
    { name: "link", before: "16 GT/s x4", after: "2.5 GT/s x2" },
  ]);
  const time = new Date(0);
  assertEquals(
    stripAnsiCode(errorChangeLine(time, changes[0] ?? { name: "", before: "", after: "" })),
    "00:00:00.000  correctable.RxErr 0 → 1",
  );
  assertEquals(schemaErrors(SCHEMA, errorsJson(fn, time, after, changes)), "");
  assert(parseAerCounts("RxErr -1") instanceof Unknown);
  assert(readAerCounts(host, folder).correctable instanceof Unknown, "of a recording it is not known");
});
