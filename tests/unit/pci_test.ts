import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import { answerEach } from "../../src/core/host.ts";
import type { HostAnswer, HostRequest } from "../../src/core/host_requests.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { decodeCapability, dvsecIdentity, findCapability, listCapabilities } from "../../src/pci/capabilities.ts";
import { bridgeWindows, configUint, headerLayout } from "../../src/pci/config_space.ts";
import { className, readPciFunction, summarize } from "../../src/pci/function.ts";
import { barRegisters, formatResources, parseResources, resourceFlags } from "../../src/pci/resources.ts";
import {
  checkAnswers,
  explainMapError,
  lockdownMode,
  shownPowerState,
  usableBar,
} from "../../src/pci/accessibility.ts";
import { errnoError } from "../../src/core/error.ts";
import { MadeUpMachine, NVME_FOLDER, nvmeConfig, nvmeMachine } from "./machines.ts";

const NVME = "0000:01:00.0";

Deno.test("a function is read with its driver, group, path and BARs", () => {
  const fn = readPciFunction(nvmeMachine(), NVME);
  assertEquals([fn.vendorId, fn.deviceId, fn.classCode], [0x1b36, 0x0010, 0x010802]);
  assertEquals(
    [fn.driver, fn.iommuGroup, fn.numaNode, fn.powerState, fn.enableCount],
    ["nvme", "7", null, "D0", 1] as unknown[],
  );
  assertEquals([fn.ancestors, fn.hostBridge], [["0000:00:03.0"], "pci0000:00"] as unknown[]);
  assertEquals(fn.resources?.map((bar) => [bar.index, bar.role, bar.sizeBytes, bar.is64Bit]), [[
    0,
    "BAR",
    16384n,
    true,
  ]]);
  assertEquals(summarize(fn), "NVMe controller 1b36:0010, driver nvme, IOMMU group 7");
});

Deno.test("the class is the 24-bit value: neither shifted nor cut", () => {
  assertEquals(className(0x010802), "NVMe controller");
  assertEquals(className(0x010899), "non-volatile memory controller");
  assertEquals(className(0x0108), "unclassified device");
  assertEquals([className(0x030200), className(0x060400), className(0xff0000)], [
    "3D controller",
    "PCI bridge",
    "class ff0000",
  ]);
});

Deno.test("three errors are told apart: malformed, absent, gone between two reads", () => {
  const machine = nvmeMachine();
  assertEquals(assertThrows(() => readPciFunction(machine, "1:0"), BusbarError).code, "usage");
  const absent = assertThrows(() => readPciFunction(machine, "0000:09:00.0"), BusbarError);
  assertEquals([absent.code, absent.message], [
    "absent",
    "0000:09:00.0: no such PCI function (made-up machine has 2 PCI functions, and this is none of them)",
  ]);
  assertEquals(
    assertThrows(() => readPciFunction(new MadeUpMachine(), NVME), BusbarError, "has no PCI bus").code,
    "absent",
  );
  // The function disappears before each of the calls that read it, one after the other.
  const calls = new FaultyHost(nvmeMachine(), []);
  readPciFunction(calls, NVME);
  for (let after = 1; after < calls.calls.length; after++) {
    const vanishing = nvmeMachine();
    const host = new FaultyHost(vanishing, [{
      path: /./,
      after,
      times: 1,
      action: () => vanishing.remove(NVME_FOLDER),
    }]);
    let outcome = "read";
    try {
      readPciFunction(host, NVME);
    } catch (error) {
      assert(error instanceof BusbarError, String(error));
      outcome = error.code;
    }
    // Whoever vanishes during the very last call was there when everything was read.
    const expected = after >= calls.calls.length - 1 ? ["device-gone", "read"] : ["device-gone"];
    assert(expected.includes(outcome), `call ${after} (${calls.calls[after]}): ${outcome}`);
  }
});

/** Its configuration space has 4096 bytes by stat, and gives fewer. */
class UnprivilegedMachine extends MadeUpMachine {
  override sizeBytes(path: string): number {
    return path.endsWith("/config") ? 4096 : super.sizeBytes(path);
  }

  override batch(requests: readonly HostRequest[]): HostAnswer[] {
    return answerEach(this, requests);
  }
}

Deno.test("configuration space cut at 64 bytes is read as far as it goes, and the capabilities say why they are missing", () => {
  const machine = nvmeMachine().file(`${NVME_FOLDER}/config`, nvmeConfig().slice(0, 64));
  const fn = readPciFunction(machine, NVME);
  assertEquals(fn.classCode, 0x010802);
  const { capabilities, problems } = listCapabilities(fn.config);
  assertEquals([capabilities.length, problems.length], [0, 1]);
  // 64 bytes are no missing permission: that shows only where the file has more than the kernel gave.
  assertEquals(problems, ["capabilities from 0x40 on are not known: only 64 bytes were read"]);
  assertEquals(fn.configEnds, null);
  const cut = new UnprivilegedMachine();
  for (const [path, bytes] of machine.files) cut.files.set(path, bytes);
  for (const [path, target] of machine.links) cut.links.set(path, target);
  assertEquals(readPciFunction(cut, NVME).configEnds, "the kernel shows this user 64 of 4096 bytes");
  const short = nvmeMachine().file(`${NVME_FOLDER}/config`, nvmeConfig().slice(0, 10));
  assertEquals(assertThrows(() => readPciFunction(short, NVME), BusbarError).code, "malformed");
});

Deno.test("resource lines: BARs, ROM, SR-IOV BARs and windows, unassigned and disabled ones", () => {
  const lines = Array.from({ length: 17 }, () => "0x0000000000000000 0x0000000000000000 0x0000000000000000");
  lines[0] = "0x000000383ffe0000 0x000000383fffffff 0x000000000014220c";
  lines[2] = "0x000000000000e000 0x000000000000e01f 0x0000000000040101";
  lines[3] = "0x0000000000000000 0x0000000000003fff 0x0000000020040200";
  lines[6] = "0x00000000c0000000 0x00000000c007ffff 0x0000000000046200";
  lines[7] = "0x00000000d0000000 0x00000000d0003fff 0x0000000000140204";
  lines[14] = "0x00000000a0000000 0x00000000bfffffff 0x0000000000000200";
  const resources = parseResources(lines.join("\n"));
  assertEquals(
    resources.map((r) => [r.index, r.role, r.space, r.sizeBytes, r.prefetchable, r.is64Bit, r.assigned]),
    [
      [0, "BAR", "memory", 0x20000n, true, true, true],
      [2, "BAR", "I/O", 32n, false, false, true],
      [3, "BAR", "memory", 0x4000n, false, false, false],
      [6, "ROM", "memory", 0x80000n, true, false, true],
      [7, "VF BAR", "memory", 0x4000n, false, true, true],
      [14, "window", "memory", 0x20000000n, false, false, true],
    ],
  );
  assertEquals(parseResources(formatResources(resources)), resources);
  for (const text of ["", "x y z", "0x0 0x0", "0x0 0x0 0x0 0x0", "0xffffffffffffffffff 0x0 0x0"]) {
    assertEquals(assertThrows(() => parseResources(text), BusbarError).code, "malformed", text);
  }
});

Deno.test("BAR registers: 64-bit ones take two, zero and all ones are left out, bridges have two", () => {
  const config = nvmeConfig();
  assertEquals(barRegisters(config), [{
    index: 0,
    space: "memory",
    address: 0xfe000000n,
    is64Bit: true,
    prefetchable: false,
  }]);
  config.set(Uint8Array.fromHex("0c000040" + "38000000" + "01e00000" + "00000000" + "ffffffff" + "080000c0"), 0x10);
  assertEquals(barRegisters(config).map((bar) => [bar.index, bar.space, bar.address, bar.is64Bit, bar.prefetchable]), [
    [0, "memory", 0x3840000000n, true, true],
    [2, "I/O", 0xe000n, false, false],
    [5, "memory", 0xc0000000n, false, true],
  ]);
  // Linux prints these for the same BARs (drivers/pci/probe.c, decode_bar).
  const flags = barRegisters(config).map((bar) => resourceFlags(bar));
  assertEquals(flags, [0x14220cn, 0x40101n, 0x42208n]);
  config[0x0e] = 1;
  assertEquals(barRegisters(config).map((bar) => bar.index), [0]);
  // A CardBus bridge has one, of 32 bits; what looks like the upper half of its address is the capability pointer.
  config[0x0e] = 2;
  config[0x10] = 0;
  assertEquals(barRegisters(config).map((bar) => [bar.index, bar.address]), [[0, 0x40000000n]]);
});

Deno.test("capabilities are walked in order and decoded: power management, PCIe link", () => {
  const config = nvmeConfig();
  const list = listCapabilities(config);
  assertEquals(list.capabilities.map((one) => [one.name, one.offset]), [["PM", 0x40], ["PCIe", 0x50]]);
  assertEquals(list.problems, []);
  const pcie = findCapability(list, "standard", 0x10);
  assert(pcie !== null);
  const decoded = decodeCapability(pcie, config);
  const field = (row: string, name: string): string | null | undefined =>
    decoded.registers.find((one) => one.row.name === row)?.fields.find((one) => one.field.name === name)?.meaning;
  assertEquals([field("LNKCAP", "SLS"), field("LNKCAP", "MLW"), field("LNKSTA", "CLS"), field("LNKSTA", "NLW")], [
    "16 GT/s",
    "x4",
    "8 GT/s",
    "x4",
  ]);
  assertEquals(field("LNKCAP2", "SLS_VECTOR"), "2.5 GT/s, 5 GT/s, 8 GT/s, 16 GT/s");
  assertEquals([field("FLAGS", "TYPE"), field("DEVCAP", "FLR")], ["endpoint", "yes"]);
});

Deno.test("extended capabilities: AER, ACS, SR-IOV, resizable BAR, CXL DVSECs with their register blocks", () => {
  const config = nvmeConfig();
  const put = (offset: number, digits: string): void => config.set(Uint8Array.fromHex(digits), offset);
  put(0x100, "01000214" + "00401000"); // AER, next 0x140: completion timeout and unsupported request seen
  put(0x140, "0d000115" + "1d00" + "1d00"); // ACS, next 0x150: SV RR CR UF
  put(0x150, "15000116" + "f0ff0000" + "20080000"); // resizable BAR, next 0x160: BAR0 is 256 MiB
  put(0x160, "23000119" + "981e4002" + "0800" + "0000" + "00010000" + "00000000" + "00030100" + "01000000"); // next 0x190
  put(0x190, "10000100" + "02000000" + "0900" + "0000" + "0800" + "1000" + "0400");
  const list = listCapabilities(config);
  assertEquals(list.problems, []);
  assertEquals(
    list.capabilities.filter((one) => one.list === "extended").map((one) => one.name),
    ["AER", "ACS", "resizable BAR", "DVSEC", "SR-IOV"],
  );
  const decode = (id: number): Record<string, Record<string, string>> => {
    const capability = findCapability(list, "extended", id);
    assert(capability !== null);
    return Object.fromEntries(
      decodeCapability(capability, config).registers.map((row) => [
        row.row.name,
        Object.fromEntries(row.fields.map((one) => [one.field.name, one.meaning ?? one.value.toString()])),
      ]),
    );
  };
  assertEquals([decode(0x01).UNCOR_STATUS?.COMP_TIME, decode(0x01).UNCOR_STATUS?.UNSUP], ["yes", "yes"]);
  assertEquals(Object.entries(decode(0x0d).CTRL ?? {}).filter(([, value]) => value === "yes").map(([name]) => name), [
    "SV",
    "RR",
    "CR",
    "UF",
  ]);
  assertEquals(
    [decode(0x15).CTRL0?.SIZE, decode(0x15).CAP0?.SIZES?.startsWith("1 MiB")],
    ["256 MiB", true] as unknown[],
  );
  const dvsec = findCapability(list, "extended", 0x23);
  assert(dvsec !== null);
  assertEquals(dvsecIdentity(dvsec, config), {
    vendorId: 0x1e98,
    dvsecId: 8,
    revision: 0,
    sizeBytes: 0x24,
    name: "CXL register locator",
  });
  assertEquals([decode(0x23).BLOCK0_LOW?.ID, decode(0x23).BLOCK1_LOW?.ID], [
    "component registers",
    "CXL device registers",
  ]);
  assertEquals(decode(0x10).CTRL?.VFE, "yes");
});

Deno.test("a list that loops, leaves its space or reads all ones ends with a problem, not a hang", () => {
  const cases: readonly [string, (config: Uint8Array) => void][] = [
    ["loops", (config) => config[0x51] = 0x40],
    ["into the header", (config) => config[0x51] = 0x10],
    ["all ones", (config) => config.fill(0xff, 0x50, 0x54)],
    ["points to 0x80", (config) => config.set([1, 0, 1, 8], 0x100)],
    ["points to 0x102", (config) => config.set([1, 0, 0x21, 0x10], 0x100)],
    ["loops at 0x100", (config) => config.set([1, 0, 1, 0x10], 0x100)],
  ];
  for (const [problem, spoil] of cases) {
    const config = nvmeConfig();
    spoil(config);
    const { problems } = listCapabilities(config);
    assert(problems.some((text) => text.includes(problem)), `${problem}: ${problems.join("; ")}`);
  }
  for (const fill of [0x00, 0xff]) assertEquals(listCapabilities(new Uint8Array(4096).fill(fill)).capabilities, []);
});

Deno.test("bridge windows are read at full width, and closed ones are left out", () => {
  const config = new Uint8Array(256);
  config[0x0e] = 1;
  config.set(Uint8Array.fromHex("f100"), 0x1c); // I/O closed
  config.set(Uint8Array.fromHex("00fd10fd"), 0x20);
  config.set(Uint8Array.fromHex("0100f1ff" + "38000000" + "3b000000"), 0x24);
  assertEquals(bridgeWindows(config), [
    { kind: "memory", base: 0xfd000000n, limit: 0xfd1fffffn },
    { kind: "prefetchable", base: 0x3800000000n, limit: 0x3bffffffffn },
  ]);
  assertEquals([
    headerLayout(config)?.name,
    headerLayout(new Uint8Array(64))?.name,
    headerLayout(new Uint8Array(64).fill(2))?.name,
    headerLayout(new Uint8Array(64).fill(3)),
  ], [
    "PCI type 1 header",
    "PCI type 0 header",
    "CardBus bridge header",
    null,
  ] as unknown[]);
  assertEquals(configUint(config, 255, 2), 0xffff);
});

function functionWith(
  change: (machine: MadeUpMachine, config: Uint8Array) => void,
): ReturnType<typeof readPciFunction> {
  const machine = nvmeMachine();
  const config = nvmeConfig();
  change(machine, config);
  if (!machine.files.has("spoiled")) machine.file(`${NVME_FOLDER}/config`, config);
  return readPciFunction(machine, NVME);
}

Deno.test("each reason why registers cannot be read is recognised before they are read, with what to do", () => {
  const resource = (line: string): string => `${line}\n${"0x0 0x0 0x0\n".repeat(6)}`;
  const cases: readonly [string, string, string, number, (machine: MadeUpMachine, config: Uint8Array) => void][] = [
    ["unreachable", "memory decoding is off (COMMAND 0x0004)", "--enable-memory", 0, (_, config) => config[4] = 4],
    ["unreachable", "powered down (D3hot)", "power/control", 0, (_, config) => config[0x44] = 3],
    [
      "unreachable",
      "powered down (D3cold)",
      "power/control",
      0,
      (machine) => machine.file(`${NVME_FOLDER}/power_state`, "D3cold\n"),
    ],
    ["unreachable", "reads all ones", "rescan", 0, (_, config) => config.fill(0xff)],
    [
      "unreachable",
      "BAR0 has no address",
      "Above 4G",
      0,
      (machine) => machine.file(`${NVME_FOLDER}/resource`, resource("0x0 0x3fff 0x140204")),
    ],
    [
      "unsupported",
      "BAR0 is I/O ports",
      "the memory BARs are none",
      0,
      (machine) => machine.file(`${NVME_FOLDER}/resource`, resource("0xe000 0xe01f 0x40101")),
    ],
    ["absent", "no BAR3: the function does not implement it", "memory BARs are BAR0", 3, () => {}],
    ["absent", "no BAR1: it is the upper half of the 64-bit BAR0", "memory BARs are BAR0", 1, () => {}],
    [
      "not-recorded",
      "BAR0: its register holds 0xfe000000 (memory); its size is not known",
      "lspci -vv",
      0,
      (machine) => machine.files.delete(`${NVME_FOLDER}/resource`),
    ],
  ];
  for (const [code, message, hint, bar, change] of cases) {
    const fn = functionWith(change);
    const error = assertThrows(() => usableBar(fn, bar), BusbarError, message);
    assertEquals(error.code, code, message);
    assert(error.hint?.includes(hint), `${message}: ${error.hint}`);
  }
  assertEquals(usableBar(functionWith(() => {}), 0).sizeBytes, 16384n);
  assertEquals(shownPowerState(functionWith(() => {})), "D0");
  checkAnswers(functionWith(() => {}));
});

Deno.test("a failed mmap is explained by what the machine shows: strict devmem, lockdown, permission, unplugged", () => {
  const machine = nvmeMachine();
  const fn = readPciFunction(machine, NVME);
  const explain = (errno: number, host = machine, who = fn): BusbarError => {
    const error = explainMapError(host, who, 0, errnoError(errno, "map 4096 bytes", { path: "/sys/x" }));
    assert(error instanceof BusbarError);
    return error;
  };
  const strict = explain(22);
  assertEquals(strict.code, "busy");
  assert(strict.hint?.includes("iomem=relaxed") && strict.hint.includes(`echo ${NVME} >`), strict.hint ?? "");
  assertEquals(explain(22, machine, { ...fn, driver: null }).code, "io");
  const locked = nvmeMachine().file("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
  assertEquals(lockdownMode(locked), "integrity");
  assert(explain(1, locked).message.includes("locked down (integrity)"));
  assertEquals([explain(1).code, explain(13).code], ["permission", "permission"]);
  // A missing resource0 is no unplug while the function's folder is there.
  assertEquals(explain(2).code, "absent");
  assert(explain(2).message.includes("sysfs has no resource0"), explain(2).message);
  const gone = nvmeMachine();
  gone.remove(NVME_FOLDER);
  assertEquals(explain(2, gone).code, "device-gone");
  // No lockdown file means no lockdown only where securityfs is mounted.
  assertEquals(lockdownMode(new MadeUpMachine()), new Unknown("securityfs is not mounted"));
  assertEquals(lockdownMode(new MadeUpMachine().file("/sys/kernel/security/lsm", "capability,yama")), null);
});
