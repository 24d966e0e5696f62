import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { readAncestors, readPciFunction } from "../../src/pci/function.ts";
import { formatMachine, parseMachine, type RecordedMachine } from "../../src/pci/machine_file.ts";
import { NVME_FOLDER, nvmeMachine } from "./machines.ts";

const NVME = "0000:01:00.0";

/** Longer than a line of the file, with what JSON escapes and what it does not. */
const LONG_TEXT = '0-3,"odd"\\text\u00e4\n' + "x".repeat(1000);

function recorded(): string {
  const machine = nvmeMachine().file(`${NVME_FOLDER}/local_cpulist`, LONG_TEXT);
  const fn = readPciFunction(machine, NVME);
  const pieces = [
    { offset: 0x1000, bytes: Uint8Array.of(1, 2, 3, 4) },
    { offset: 0x2000, bytes: crypto.getRandomValues(new Uint8Array(200)) },
  ];
  return formatMachine(machine, [...readAncestors(machine, fn), fn], [{
    device: NVME,
    bar: 0,
    sizeBytes: 16384,
    pieces,
  }]);
}

Deno.test("a machine that is written and read again has the same functions, files, links and registers", () => {
  const text = recorded();
  const machine = parseMachine(text, "x.dump");
  const before = nvmeMachine();
  for (const name of ["0000:00:03.0", NVME]) {
    assertEquals(readPciFunction(machine.host, name), readPciFunction(before, name));
  }
  assertEquals(machine.devices, ["0000:00:03.0", NVME]);
  assertEquals(machine.host.readText("/sys/kernel/iommu_groups/7/type"), "DMA-FQ");
  assertEquals(machine.host.readText(`/sys/bus/pci/devices/${NVME}/local_cpulist`), LONG_TEXT);
  const fn = readPciFunction(machine.host, NVME);
  assertEquals(formatMachine(machine.host, [...readAncestors(machine.host, fn), fn], machine.regions), text);
});

Deno.test("every line is one that lspci's reader takes: below 250 characters, and none of ours looks like its own", () => {
  for (const line of recorded().split("\n")) {
    assert(line.length < 250, line);
    assert(/^(#|$|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] |[0-9a-f]{2,3}: ([0-9a-f]{2} ?){16}$)/.test(line), line);
  }
});

Deno.test("text that lspci -xxxx printed reads as a machine; bus numbers give the path", () => {
  const hex = (bytes: string): string =>
    bytes.padEnd(64 * 3, "00 ").match(/.{48}/g)?.map((line, i) => `${i.toString(16)}0: ${line.trim()}`).join("\n") ??
      "";
  const bridge = "86 80 01 19 07 04 10 00 07 00 04 06 10 00 01 00 00 00 00 00 00 00 00 00 00 01 01 00 ";
  const drive = "36 1b 10 00 07 04 10 00 02 02 08 01 00 00 00 00 04 00 10 f7 00 00 00 00 ";
  const text =
    `00:01.0 PCI bridge: Intel Corporation Some Bridge\n\tControl: I/O+ Mem+ BusMaster+\n${hex(bridge)}\n\n` +
    `01:00.0 Non-Volatile memory controller [0108]: Red Hat [1b36:0010] (prog-if 02)\n\tKernel driver in use: nvme\n${
      hex(drive)
    }\n`;
  const machine = parseMachine(text.replaceAll("\n", "\r\n"), "mail.txt");
  const fn = readPciFunction(machine.host, "01:00.0");
  assertEquals(
    [fn.classCode, fn.ancestors, fn.hostBridge, fn.resources],
    [0x010802, ["0000:00:01.0"], "pci0000:00", null] as unknown[],
  );
});

Deno.test("bridges whose bus numbers run in a circle do not hang the reader", () => {
  const bridge = (secondary: string): string =>
    `00: 86 80 01 19 07 04 10 00 07 00 04 06 10 00 01 00\n10: 00 00 00 00 00 00 00 00 00 ${secondary} 05 00 00 00 00 00\n20: ${
      "00 ".repeat(15)
    }00\n30: ${"00 ".repeat(15)}00\n`;
  const machine = parseMachine(`01:00.0 a\n${bridge("02")}\n02:00.0 b\n${bridge("01")}`, "x");
  assertEquals(readPciFunction(machine.host, "01:00.0").ancestors.length, 1);
});

Deno.test("every cut of a recording is named with its line; what is left is as it was, and the rest not recorded", () => {
  const text = recorded();
  const whole = readPciFunction(parseMachine(text, "x.dump").host, NVME);
  let read = 0;
  for (let length = 0; length < text.trimEnd().length; length += 37) {
    let machine: RecordedMachine;
    try {
      machine = parseMachine(text.slice(0, length), "x.dump");
    } catch (error) {
      assert(error instanceof BusbarError && error.code === "malformed", `${length}: ${error}`);
      assert(error.message.startsWith("x.dump"), `${length}: ${error.message}`);
      continue;
    }
    assert(machine.problems.some((problem) => problem.includes("cut short")), `${length}: ${machine.problems}`);
    if (!machine.devices.includes(NVME)) continue;
    read++;
    const fn = readPciFunction(machine.host, NVME);
    assertEquals(fn.config, whole.config.subarray(0, fn.config.length));
    for (const name of ["driver", "iommuGroup", "numaNode", "powerState", "physicalFunction"] as const) {
      const isSame = fn[name] === whole[name];
      assert(isSame || fn[name] instanceof Unknown, `${length}: ${name} is ${fn[name]}`);
    }
  }
  assert(read > 100, `${read} cuts in the last function`);
});

Deno.test("each kind of damage is named with its line, and the rest is read", () => {
  const config = `${NVME} x\n${Array.from({ length: 4 }, (_, i) => `${i}0: ${"00 ".repeat(15)}00`).join("\n")}\n`;
  const cases: readonly [string, string][] = [
    [`${config}40: zz\n`, "line 6: '40: zz' is no line of hexadecimal bytes"],
    [`${config}80: 00\n`, "line 6: offset 0x80 where 0x40 belongs"],
    [`${config}40: 00\n`, "line 1: 0000:01:00.0 is cut short at 65 bytes"],
    [`${config}\n${config.replace("00: 00", "00: 11")}`, "line 7: 0000:01:00.0 stands there again with other bytes"],
    [`${config}\n00: 86 80\n`, "line 7: bytes of a function that no line above them names"],
    [`00: 86 80\n\n${config}`, "line 1: bytes of a function that no line above them names"],
    [`${config}#region ${NVME} 9 4096\n`, "line 6: #region takes"],
    [`${config}#region ${NVME} 0 -1\n`, "line 6: #region takes"],
    [`${config}#data 0x0 00\n`, "line 6: #data with no #region"],
    [`${config}#region ${NVME} 0 16\n#data 0x10 00\n`, "line 7: #data lies outside"],
    [`${config}#region ${NVME} 0 16\n#data 0x0 0\n`, "line 7: #data takes"],
    [`${config}#file "/a"\n`, "line 6: #file takes 2 quoted texts"],
    [`${config}#file "/a" "b" "c"\n`, "line 6: #file is not followed by quoted text"],
    [`${config}#file "a" "b"\n`, "line 6: #file takes an absolute path"],
    [`${config}#file nonsense\n`, "line 6: #file is not followed"],
    [`#+ x\n${config}`, "line 1: a continued line with nothing before it"],
  ];
  for (const [text, message] of cases) {
    const machine = parseMachine(text, "x.dump");
    assertEquals(machine.devices, [NVME], message);
    assertStringIncludes(machine.problems.join("\n"), message);
  }
});

Deno.test("a file is refused only when nothing in it can be used, with its first line and what was expected", () => {
  const cases: readonly [string, string][] = [
    ["", "no PCI function in it: the file is empty; expected was a line such as '01:00.0"],
    ["\nhello\nworld\n", "x.dump, line 2: no PCI function in it: 'hello'; expected was a line such as '01:00.0"],
    ["01:00.0 Drive\n02:00.0 Card\n", "x.dump, line 1: no bytes of 0000:01:00.0 or of any other function; expected"],
    [`01:00.0 Drive\n00: ${"00 ".repeat(16)}\n`, "line 1: 0000:01:00.0 is left out: only 16 of the 64 bytes"],
    ["12:45.3 not an address\n", "'12:45.3 not an address'"],
  ];
  for (const [text, message] of cases) {
    assertEquals(assertThrows(() => parseMachine(text, "x.dump"), BusbarError, message).code, "malformed");
  }
});

Deno.test("a recorded device is opened by file:, and ?device= chooses among several", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, recorded());
    using device = openPciDevice(parseLocator(`file:${file}`));
    assertEquals([device.function.name, device.kind], [NVME, "recorded"]);
    const bar = device.bar(0);
    assertEquals([bar.read8(0x1003), bar.read32(0x1000)], [4, 0x04030201]);
    assertThrows(() => bar.read8(0x1004), BusbarError, "were not recorded");
    assertThrows(() => bar.read8(16384), BusbarError, "lie outside");
    assertThrows(() => device.bar(2), BusbarError, "the registers of BAR2 were not recorded");
    using bridge = openPciDevice(parseLocator(`file:${file}?device=00:03.0`));
    assertEquals(bridge.function.classCode, 0x060400);
    assertThrows(
      () => openPciDevice(parseLocator(`file:${file}?device=09:00.0`)),
      BusbarError,
      "0000:09:00.0: not recorded: recorded machine",
    );
    assertThrows(() => openPciDevice(parseLocator(`file:${file}?dev=1`)), BusbarError, "no setting");
    assertThrows(() => device.allocDma(1), BusbarError, "no DMA");
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("what lspci -vv prints between a function's name and its bytes is taken over: BARs, group, node, driver", () => {
  const hex = Array.from(
    { length: 16 },
    (_, i) => `${(16 * i).toString(16).padStart(2, "0")}: ${"00 ".repeat(16).trim()}`,
  ).join("\n");
  const machine = parseMachine(
    "01:00.0 Non-Volatile memory controller: Somebody Something (rev 02)\n" +
      "\tControl: I/O+ Mem+ BusMaster+\n\tNUMA node: 1\n\tIOMMU group: 14\n" +
      "\tRegion 0: Memory at fce00000 (64-bit, non-prefetchable) [size=16K]\n" +
      "\tRegion 2: Memory at 6000000000 (64-bit, prefetchable) [size=256M]\n" +
      "\tRegion 4: I/O ports at e180 [size=32]\n" +
      "\tRegion 5: Memory at <unassigned> (32-bit, non-prefetchable) [size=4K]\n" +
      `\tKernel driver in use: nvme\n${hex}\n`,
    "mailed.txt",
  );
  const fn = readPciFunction(machine.host, "0000:01:00.0");
  assertEquals([fn.driver, fn.iommuGroup, fn.numaNode], ["nvme", "14", 1] as unknown[]);
  assertEquals(
    fn.resources?.map(({ index, space, start, sizeBytes, is64Bit, prefetchable, assigned }) => [
      index,
      space,
      start,
      sizeBytes,
      is64Bit,
      prefetchable,
      assigned,
    ]),
    [
      [0, "memory", 0xfce00000n, 16384n, true, false, true],
      [2, "memory", 0x6000000000n, 256n << 20n, true, true, true],
      [4, "I/O", 0xe180n, 32n, false, false, true],
      [5, "memory", 0n, 4096n, false, false, false],
    ] as unknown[],
  );
});
