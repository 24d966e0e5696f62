/** Text as people paste it, and recordings of which much is missing: tests/fixtures/cases, with what is right. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { Unknown } from "../../src/core/fact.ts";
import { readHexText, textOf } from "../../src/core/hex_text.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { BusbarError } from "../../src/core/error.ts";
import { checkP2p } from "../../src/gpu/p2p/chain.ts";
import { decodeFetched } from "../../src/nvme/jobs/fetch.ts";
import { readPageFiles } from "../../src/nvme/jobs/page_file.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { joinLink, type LinkEnd } from "../../src/pci/link.ts";
import { parseMachine, type RecordedMachine } from "../../src/pci/recorded_machine.ts";
import { configValue, findConfigRegister } from "../../src/pci/register_access.ts";
import { findNode, readTopology } from "../../src/pci/topology.ts";

const CASES = new URL("../fixtures/cases/", import.meta.url);
const DRIVE = "0000:01:00.0";

function caseText(name: string): string {
  return Deno.readTextFileSync(new URL(name, CASES));
}

function machineOf(text: string): RecordedMachine {
  return parseMachine(text, "pasted.txt");
}

Deno.test("spaces for tabs, quoting marks, lost indentation and wrapped lines read as the text itself", () => {
  const spaces = caseText("lspci-vvxxx-spaces.txt");
  const forms = {
    spaces,
    tabs: spaces.replaceAll("        ", "\t"),
    quoted: spaces.replaceAll(/^/gm, "> "),
    "quoted twice": spaces.replaceAll(/^/gm, ">> "),
    "indented by four": spaces.replaceAll(/^/gm, "    "),
    flat: spaces.replaceAll(/^ +/gm, ""),
    "wrapped header": spaces.replace("Co Ltd Device", "Co Ltd\nDevice"),
    "wrapped attribute": spaces.replace("in use: nvme", "in use:\nnvme"),
    "line ends of Windows": spaces.replaceAll("\n", "\r\n"),
    "coloured by a terminal": spaces.replaceAll(/^(\S+)/gm, "\x1b[1;31m$1\x1b[0m"),
  };
  for (const [form, text] of Object.entries(forms)) {
    const machine = machineOf(text);
    const fn = readPciFunction(machine.host, DRIVE);
    assertEquals([fn.driver, fn.iommuGroup, fn.numaNode, fn.config.length], ["nvme", "76", 1, 256] as unknown[], form);
    assertEquals(fn.resources?.map((bar) => [bar.index, bar.start, bar.sizeBytes]), [[0, 0xfe000000n, 32768n]], form);
    assertEquals(machine.problems, [], form);
  }
});

Deno.test("a function named again adds nothing; one cut short is named with its bytes, and the others are whole", () => {
  const twice = machineOf(caseText("lspci-named-twice.txt"));
  assertEquals([twice.devices, twice.problems], [[DRIVE], []]);
  const cut = machineOf(caseText("lspci-one-cut-short.txt"));
  assertEquals(cut.devices, [DRIVE, "0000:02:00.0"]);
  assertEquals(cut.problems.map((text) => text.split(": ")[1]), ["0000:02:00.0 is cut short at 112 bytes"]);
  assertEquals(readPciFunction(cut.host, DRIVE).config.length, 256);
});

Deno.test("of 64 bytes nothing is said that they do not hold: no register, no driver, no link, no root complex", async () => {
  const { host } = machineOf(caseText("lspci-x-64-bytes.txt"));
  const fn = readPciFunction(host, DRIVE);
  for (const fact of [fn.driver, fn.iommuGroup, fn.numaNode, fn.powerState]) assert(fact instanceof Unknown);
  for (
    const ask of [
      () => findConfigRegister(fn.config, "PM.PMCSR", undefined, fn),
      () => configValue(fn.config, 0x44, 2, fn),
    ]
  ) {
    try {
      ask();
      throw new Error("it was read");
    } catch (error) {
      assert(error instanceof BusbarError, String(error));
      assertEquals([error.code, error.exitStatus], ["not-recorded", 3]);
    }
  }
  const node = findNode(readTopology(host), DRIVE);
  assertEquals([node.link?.state, node.acs.state, node.iommu.state], ["unknown", "unknown", "unknown"]);
  const { rootComplex } = node;
  assertEquals([rootComplex.name, rootComplex.kind, rootComplex.isBelowUnknown], ["bus 0000:01", "unknown", true]);
  const openCuda = (): never => {
    throw new BusbarError("unsupported", "no CUDA here");
  };
  const report = await checkP2p(parsePciAddress(DRIVE), { host, openCuda });
  assertEquals(report.verdict, "unknown");
  assertEquals(report.checks.filter(({ outcome }) => outcome !== "unknown").map(({ name }) => name), []);
  assertStringIncludes(report.checks[0]?.text ?? "", "its register holds 0xfe000000");
});

Deno.test("a link's verdict needs both ends; an empty slot has no downgrade and nothing to reseat", () => {
  const end = (speed: number, more: Partial<LinkEnd> = {}): LinkEnd => ({
    current: { speed: 1, width: 4 },
    max: { speed, width: 4 },
    target: null,
    active: null,
    isOccupied: null,
    source: "LnkCap, LnkSta",
    ...more,
  });
  assertEquals(joinLink(end(3), end(3))?.isSlower, true);
  const one = joinLink(new Unknown("not recorded"), end(3));
  assertEquals([one?.isSlower, one?.otherEnd, one?.remedy], [null, "not recorded", null]);
  // What already runs at its own most is not slower, whatever the other end could do.
  assertEquals(joinLink(null, end(1))?.isSlower, false);
  const empty = joinLink(end(3, { isOccupied: false }), null, false);
  assertEquals([empty?.state, empty?.isSlower, empty?.remedy], ["down", false, null]);
});

Deno.test("a CardBus bridge leads to its bus", () => {
  const config = (bytes: Readonly<Record<number, number>>): string =>
    [0, 16, 32, 48].map((at) =>
      `${at.toString(16).padStart(2, "0")}: ${
        Array.from({ length: 16 }, (_, i) => (bytes[at + i] ?? 0).toString(16).padStart(2, "0")).join(" ")
      }`
    ).join("\n");
  const text = `00:03.0 CardBus\n${config({ 0: 0x17, 0x0e: 2, 0x19: 0x1d, 0x1a: 0x20 })}\n\n1d:00.0 card\n${
    config({ 0: 1 })
  }`;
  const topology = readTopology(machineOf(text).host);
  assertEquals(findNode(topology, "1d:00.0").parent?.function.name, "0000:00:03.0");
  assertEquals(findNode(topology, "00:03.0").kind, "CardBus bridge");
});

/** The first 256 bytes of the SMART log, as other tools print them. */
const FORMS: Readonly<Record<string, readonly string[]>> = {
  xxd: ["xxd"],
  "xxd -g1": ["xxd", "-g1"],
  "xxd -p": ["xxd", "-p"],
  "hexdump -C": ["hexdump", "-C"],
  "od -t x1": ["od", "-t", "x1", "-v"],
};

function smartOf(text: string): ReturnType<typeof readPageFiles> {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, text);
    const locator = parseLocator(`file:${file}`);
    assert(locator.kind === "file");
    return readPageFiles(locator);
  } finally {
    Deno.removeSync(file);
  }
}

function checkSmart(text: string, form: string): void {
  const { pages, problems } = smartOf(text);
  const [page] = pages;
  assert(page !== undefined, form);
  const table = decodeFetched(page);
  assertEquals([page.page.name, page.bytes?.length], ["smart", 256], form);
  assertEquals([table?.uint("CTEMP"), table?.uint("AVSP"), table?.uint("PUSED")], [0x138n, 100n, 1n], form);
  assertEquals([table?.uint("DUR"), table?.uint("POH")], [136_887_354n, 1772n], form);
  assert(problems?.some((problem) => problem.includes("only 256 of 512 bytes")), `${form}: ${problems}`);
}

Deno.test("256 of 512 bytes of a log as nvme get-log prints them: what is there is decoded, the rest is missing", () => {
  const text = caseText("nvme-get-log-2-first-256.txt");
  checkSmart(text, "nvme get-log");
  checkSmart(text.replaceAll(/^/gm, "> "), "quoted");
  const [dump] = readHexText(text).dumps;
  const bytes = dump?.pieces[0]?.bytes ?? new Uint8Array();
  assertEquals(textOf(bytes), null);
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(file, bytes);
    for (const [form, [program = "", ...args]] of Object.entries(FORMS)) {
      let printed: string;
      try {
        printed = new TextDecoder().decode(new Deno.Command(program, { args: [...args, file] }).outputSync().stdout);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) continue;
        throw error;
      }
      checkSmart(printed, form);
    }
  } finally {
    Deno.removeSync(file);
  }
  // A line that was lost is a hole, and words whose byte order is not known are refused with their line.
  const hole = smartOf(text.replace(/^0080:.*\n/m, "")).pages[0];
  assertEquals(hole?.missing, [{ offset: 0x80, end: 0x90 }]);
  assertEquals(hole === undefined ? 0n : decodeFetched(hole)?.uint("POH"), null);
  assertStringIncludes(readHexText("0000000 3800 6401\n").problems.join(), "line 1: words of two bytes");
});

/** What `od`, `hexdump` and `xxd` print that are no bytes in their order. */
const NUMBER_FORMS: readonly (readonly string[])[] = [
  ["hexdump"],
  ["hexdump", "-o"],
  ["hexdump", "-d"],
  ["hexdump", "-b"],
  ["od"],
  ["od", "-x"],
  ["od", "-b"],
  ["od", "-t", "u1"],
  ["od", "-t", "d1"],
  ["od", "-t", "x4"],
  ["od", "-t", "x8"],
  ["od", "-t", "u2"],
  ["xxd", "-e"],
  ["xxd", "-e", "-g2"],
  ["xxd", "-b"],
];

/** What prints bytes in their order, with `*` for lines that are the same. */
const BYTE_FORMS: readonly (readonly string[])[] = [
  ["hexdump", "-C"],
  ["od", "-t", "x1"],
  ["od", "-A", "d", "-t", "x1"],
  ["od", "-A", "x", "-t", "x1z"],
  ["xxd"],
  ["xxd", "-a"],
  ["xxd", "-g4"],
  ["xxd", "-g8", "-c", "32"],
];

/** What a program prints of some bytes, as it is read; null where there is no such program. */
function printedBy(
  [program = "", ...args]: readonly string[],
  bytes: Uint8Array,
): ReturnType<typeof readHexText> | null {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(file, bytes);
    const { stdout } = new Deno.Command(program, { args: [...args, file] }).outputSync();
    return readHexText(new TextDecoder().decode(stdout));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  } finally {
    Deno.removeSync(file);
  }
}

/** A page with rows that are the same, and rows that read as numbers of another base. */
function pageToPrint(): Uint8Array {
  const page = new Uint8Array(512);
  page.set([0x00, 0x38, 0x01, 0x64, 0x0a, 0x01]);
  page.set(new TextEncoder().encode("0123456789 12345 67 10 20 30"), 0x40);
  page.fill(0x10, 0x80, 0x90);
  page[0x1ff] = 1;
  return page;
}

Deno.test("numbers that are no bytes in their order are refused whole: a wrong value is never read out of them", () => {
  for (const form of NUMBER_FORMS) {
    const read = printedBy(form, pageToPrint());
    if (read === null) continue;
    assertEquals(read.dumps, [], form.join(" "));
    assert(read.problems.length > 0, form.join(" "));
  }
});

Deno.test("bytes are read whatever counts their offsets, also behind lines that are the same", () => {
  const page = pageToPrint();
  for (const form of BYTE_FORMS) {
    const read = printedBy(form, page);
    if (read === null) continue;
    assertEquals(read.problems, [], form.join(" "));
    assertEquals(read.dumps.map(({ pieces }) => pieces), [[{ offset: 0, bytes: page }]], form.join(" "));
  }
});

Deno.test("a text in UTF-16, as some shells write it, reads as the same in UTF-8", () => {
  const utf16 = (text: string): Uint8Array => {
    const units = Uint16Array.from(`\ufeff${text}`, (unit) => unit.charCodeAt(0));
    return new Uint8Array(units.buffer);
  };
  const text = caseText("nvme-get-log-2-first-256.txt");
  assertEquals(textOf(utf16(text)), textOf(new TextEncoder().encode(text)));
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(file, utf16(caseText("lspci-x-64-bytes.txt")));
    assertEquals(readMachineFile(file).devices, [DRIVE]);
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("a function that reads all ones does not answer: neither its class nor its registers are known", async () => {
  const row = (at: number): string => `${at.toString(16).padStart(2, "0")}: ${"ff ".repeat(16).trim()}`;
  const { host } = machineOf(`01:00.0 NVMe (rev ff)\n${[0, 16, 32, 48].map(row).join("\n")}\n`);
  const fn = readPciFunction(host, DRIVE);
  try {
    findConfigRegister(fn.config, "PM.PMCSR", undefined, fn);
    throw new Error("it was read");
  } catch (error) {
    assert(error instanceof BusbarError, String(error));
    assertEquals([error.code, error.exitStatus], ["unreachable", 3]);
  }
  const openCuda = (): never => {
    throw new BusbarError("unsupported", "no CUDA here");
  };
  const { checks } = await checkP2p(parsePciAddress(DRIVE), { host, openCuda });
  assertStringIncludes(checks[0]?.text ?? "", "does not answer");
});
