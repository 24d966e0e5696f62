import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import { readBarrier } from "../../ffi/mmio.ts";
import { SoftDevice } from "../../ffi/soft.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { checkP2p, type P2pOptions } from "../../src/gpu/p2p/chain.ts";
import { conclude, type P2pReport } from "../../src/gpu/p2p/report.ts";
import type { P2pCheck } from "../../src/gpu/p2p/check.ts";
import { hasPeerMappingOverride, readNvidiaModule } from "../../src/gpu/p2p/driver_checks.ts";
import { otherAqa } from "../../src/gpu/p2p/access.ts";
import type { MappedBar } from "../../src/pci/register_access.ts";
import { parseMachine } from "../../src/pci/machine_file.ts";
import { type FunctionSpec, pciMachineText } from "../unit/pci_machine.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

Deno.test.beforeAll(() => {
  openCudaDriver("soft")[Symbol.dispose]();
  SoftDevice.open("soft:nvme", "nvme", new Map())[Symbol.dispose]();
  readBarrier();
  using _memory = Mapping.anonymous(4096);
});
Deno.test.afterAll(closeAll);

const DRIVE = parsePciAddress("05:00.0");
const AQA = 0x24;

/** A server: a drive and a GPU behind two root ports of a root complex that the kernel trusts. */
const SERVER: readonly FunctionSpec[] = [
  { at: "00:00.0", id: "8086:09a2", kind: "host-bridge" },
  { at: "00:01.0", id: "8086:347a", kind: "root-port", buses: [5, 5], acs: [] },
  { at: "05:00.0", id: "144d:a80a", class: "010802", bars: [{ bar: 0, address: 0x9000_0000, size: 0x4000 }] },
  { at: "00:02.0", id: "8086:347b", kind: "root-port", buses: [0x65, 0x65], acs: [] },
  {
    at: "65:00.0",
    id: "10de:2330",
    class: "030200",
    driver: "nvidia",
    bars: [
      { bar: 0, address: 0xa000_0000, size: 1 << 24 },
      { bar: 1, address: 0x40_0000_0000, size: 1 << 28, type: "mem64-prefetchable" },
    ],
  },
];

const FILES: Readonly<Record<string, string>> = {
  "/proc/sys/kernel/osrelease": "6.8.0-60-generic",
  "/proc/self/status": "Name:\tx\nCapEff:\t000001ffffffffff\n",
  "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build",
  "/sys/module/nvidia/version": "580.82.07",
  "/proc/driver/nvidia/params": 'EnableStreamMemOPs: 1\nRegistryDwords: ""\nDmaRemapPeerMmio: 1',
};

function hostOf(functions: readonly FunctionSpec[], files: Readonly<Record<string, string>> = FILES): Host {
  const lines = Object.entries(files).map(([path, text]) => `#file ${JSON.stringify(path)} ${JSON.stringify(text)}`);
  return parseMachine(`${lines.join("\n")}\n${pciMachineText({ functions })}`, "made-up.txt").host;
}

/** The chain on a made-up machine, with the software controller's registers as BAR0. */
async function chain(
  cuda: string,
  options: P2pOptions = {},
  look: (aqa: () => number) => void = () => {},
): Promise<P2pReport> {
  using device = SoftDevice.open("soft:nvme", "nvme", new Map());
  const mmio = device.bar(0);
  assert(mmio !== null);
  mmio.write32(AQA, 0x0007_0003);
  const bar0: MappedBar = {
    name: "BAR0",
    pointer: mmio.pointer,
    sizeBytes: mmio.endOffset,
    mmio,
    [Symbol.dispose]: () => {},
  };
  const report = await checkP2p(DRIVE, {
    host: hostOf(SERVER),
    openCuda: () => openCudaDriver(cuda),
    mapBar0: () => bar0,
    lock: () => ({ [Symbol.dispose]: () => {} }),
    ...options,
  });
  look(() => mmio.read32(AQA));
  return report;
}

const ALL = { writeTest: true, readTest: true } as const;

function checkAt(report: P2pReport, step: number, name?: string): P2pCheck {
  const found = report.checks.find((check) => check.step === step && (name === undefined || check.name === name));
  assert(found !== undefined, `no check of step ${step} in ${JSON.stringify(report.checks.map(({ name }) => name))}`);
  return found;
}

Deno.test("by default the chain maps BAR0, writes nothing, and says that no write was tried", async () => {
  const report = await chain("soft", {}, (aqa) => assertEquals(aqa(), 0x0007_0003));
  assertEquals([report.level, report.class, report.gpu], ["mapped", "PHB", "0000:65:00.0"]);
  assertEquals(report.checks.filter(({ outcome }) => outcome === "fail"), []);
  assertEquals(report.stopped, "step 7: a write was not asked for");
  for (const check of report.checks) assert(check.evidence !== "" && check.rule !== "", check.name);
});

Deno.test("the GPU may be named as the CUDA driver numbers it, and is found in the tree by its address", async () => {
  const report = await chain("soft:cuda?devices=2&bus=0x64", { ...ALL, cudaDevice: 1 });
  assertEquals([report.gpu, report.level], ["0000:65:00.0", "reads return"]);
  const elsewhere = await chain("soft:cuda?devices=2&bus=0x64", { cudaDevice: 0 });
  assertEquals([elsewhere.gpu, elsewhere.level], [null, "mapped"]);
  const missing = await chain("soft:cuda", { cudaDevice: 3 });
  assertEquals([missing.gpu, missing.stopped], [null, "step 5: CUDA does not start"]);
});

Deno.test("with both tests a kernel's write arrives, is put back, and a read returns", async () => {
  const report = await chain("soft", ALL, (aqa) => assertEquals(aqa(), 0x0007_0003));
  assertEquals([report.level, report.stopped], ["reads return", null]);
  const write = checkAt(report, 7);
  assertStringIncludes(write.evidence, "AQA 0x00070003, written 0x00120009, read 0x00120009, put back 0x00070003");
  assertEquals(report.verdict, "unknown", "the software device shows nothing of a GPU");
});

Deno.test("every failure of steps 5 to 8 has its own explanation and remedy", async () => {
  const explained: [string, string, number, RegExp][] = [
    ["fail=cuInit:100", "CUDA", 5, /sees no GPU/],
    ["fail=cuInit:999", "CUDA", 5, /no name for/],
    ["fail=cuInit:803", "CUDA", 5, /different versions/],
    ["fail=cuDeviceGetByPCIBusId:101", "CUDA", 5, /no GPU of that number/],
    ["fail=cuMemHostRegister_v2:1", "host registration of BAR0", 6, /cannot find the BAR's pages: Linux 6\.8.*580/],
    ["fail=cuMemHostRegister_v2:2", "host registration of BAR0", 6, /no address space/],
    ["fail=cuMemHostRegister_v2:304", "host registration of BAR0", 6, /into the kernel failed/],
    ["fail=cuMemHostRegister_v2:800", "host registration of BAR0", 6, /only an administrator/],
    ["fail=cuMemHostRegister_v2:801", "host registration of BAR0", 6, /platform cannot/],
    ["fail=cuMemHostRegister_v2:999", "host registration of BAR0", 6, /bad state/],
    ["fail=cuMemHostGetDevicePointer_v2:1", "host registration of BAR0", 6, /cannot find|not valid/],
    ["version=11080", "posted write", 7, /'8\.2': this .version is newer than the driver/],
    ["cc=60", "posted write", 7, /above the device's compute capability/],
    ["fail=cuLaunchKernel:719", "posted write", 7, /a kernel failed/],
    ["drop_writes=1", "posted write", 7, /did not arrive/],
    ["reads_ones=1", "read", 8, /all ones/],
  ];
  const texts = new Set<string>();
  for (const [setting, name, step, text] of explained) {
    const report = await chain(`soft:cuda?${setting}`, ALL, (aqa) => assertEquals(aqa(), 0x0007_0003, setting));
    const check = checkAt(report, step, name);
    assertMatch(check.text, text, setting);
    assertNotEquals(check.remedy, null, setting);
    assert(check.outcome === "fail" || check.outcome === "unknown", setting);
    texts.add(check.text);
    assertEquals(report.verdict, "unknown");
    if (step < 8) assertEquals(report.stopped?.startsWith(`step ${step}`), true, setting);
  }
  assert(texts.size >= explained.length - 1);
  const missing = await chain("/nowhere/libcuda.so.1", ALL);
  assertMatch(checkAt(missing, 5, "CUDA").text, /there is no CUDA driver; tried \/nowhere/);
  const old = await chain("soft:cuda?version=11080");
  assertMatch(checkAt(old, 5, "CUDA").text, /software device/);
});

Deno.test("a read is refused where it may lose the drive, unless it is forced", async () => {
  const amd = SERVER.map((fn) => fn.at === "00:00.0" ? { ...fn, id: "1234:0001" } : fn);
  const refused = await chain("soft", { ...ALL, host: hostOf(amd) });
  assertEquals([refused.level, refused.stopped], ["writes arrive", "step 8: a read may lose the drive"]);
  assertMatch(checkAt(refused, 8).text, /not known to return.*power cycle/);
  const forced = await chain("soft", { ...ALL, host: hostOf(amd), force: true });
  assertEquals(forced.level, "reads return");
});

Deno.test("a write is refused while a driver has the drive, or another run", async () => {
  const bound = SERVER.map((fn) => fn.at === "05:00.0" ? { ...fn, driver: "nvme" } : fn);
  const report = await chain("soft", { ...ALL, host: hostOf(bound) }, (aqa) => assertEquals(aqa(), 0x0007_0003));
  assertMatch(checkAt(report, 7).text, /the driver nvme has it/);
  const locked = await chain("soft", {
    ...ALL,
    lock: () => {
      throw new BusbarError("busy", "another run of busbar drives it");
    },
  });
  assertMatch(checkAt(locked, 7).text, /another run/);
});

Deno.test("without a GPU, CUDA and privilege the chain still says what it saw", async () => {
  const files = { "/proc/self/status": "CapEff:\t0000000000000000\n", "/proc/sys/kernel/osrelease": "6.12.0" };
  const host = hostOf(SERVER.filter(({ id }) => !id.startsWith("10de")), files);
  const report = await chain("/nowhere/libcuda.so.1", { host });
  assertEquals([report.gpu, report.class, report.verdict, report.level], [null, null, "unknown", "none"] as unknown[]);
  assertEquals(checkAt(report, 1, "GPU").outcome, "unknown");
  assertEquals(checkAt(report, 4, "privilege").outcome, "warn");
  assertMatch(checkAt(report, 4, "kernel").text, /from Linux 6\.10 on/);
});

Deno.test("a drive without a BAR, a GPU in other hands, and a locked-down kernel say no", async () => {
  const cases: [readonly FunctionSpec[], Record<string, string>, number, RegExp][] = [
    [
      SERVER.map((fn) => fn.at === "05:00.0" ? { ...fn, bars: [{ bar: 0, address: 0, size: 0x4000 }] } : fn),
      {},
      1,
      /BAR0/,
    ],
    [SERVER.map((fn) => fn.at === "65:00.0" ? { ...fn, driver: "nouveau" } : fn), {}, 4, /of nouveau/],
    [SERVER, { "/sys/kernel/security/lockdown": "none [integrity] confidentiality" }, 3, /locked down \(integrity\)/],
    [SERVER.map((fn) => fn.at === "05:00.0" ? { ...fn, class: "020000" } : fn), {}, 1, /is no NVMe controller/],
  ];
  for (const [functions, files, step, text] of cases) {
    const report = await chain("/nowhere/libcuda.so.1", { host: hostOf(functions, { ...FILES, ...files }) });
    assertEquals(report.verdict, "no", text.source);
    const failed = report.checks.find((check) => check.outcome === "fail" && check.step === step);
    assertMatch(failed?.text ?? "", text);
  }
});

Deno.test("the verdict: yes when a write arrived, no when something failed, else not determined", () => {
  const check = (step: number, outcome: P2pCheck["outcome"], name = "x"): P2pCheck => ({
    step,
    name,
    outcome,
    text: "text",
    evidence: "e",
    rule: "r",
    remedy: null,
  });
  const verdictOf = (...checks: P2pCheck[]): string[] => {
    const { level, verdict, tiers } = conclude(checks, false);
    return [level, verdict, ...tiers.map(({ answer }) => answer)];
  };
  const memory = check(5, "pass", "GPU memory");
  assertEquals(verdictOf(check(6, "pass"), check(7, "not run")), [
    "mapped",
    "unknown",
    "unknown",
    "unknown",
    "unknown",
  ]);
  assertEquals(verdictOf(memory, check(6, "pass"), check(7, "pass")), [
    "writes arrive",
    "yes",
    "yes",
    "unknown",
    "unknown",
  ]);
  assertEquals(verdictOf(check(5, "warn", "GPU memory"), check(6, "pass"), check(7, "pass")), [
    "writes arrive",
    "yes",
    "yes",
    "no",
    "no",
  ]);
  // What arrived outweighs a rule that said it could not; a failed read does not take tier 1 away.
  assertEquals(verdictOf(check(3, "fail"), check(6, "pass"), check(7, "pass"), check(8, "fail"))[1], "yes");
  assertEquals(verdictOf(check(6, "pass"), check(7, "fail"))[1], "no");
  assertEquals(verdictOf(check(6, "fail")), ["none", "no", "no", "no", "no"]);
});

Deno.test("NVIDIA's driver is read from its files", () => {
  const module = readNvidiaModule(hostOf(SERVER));
  assertEquals([module.version, module.flavour, module.kernel], ["580.82.07", "open", "6.8.0-60-generic"]);
  const closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023";
  const other = readNvidiaModule(hostOf(SERVER, { "/proc/driver/nvidia/version": closed }));
  assertEquals([other.version, other.flavour], ["535.104.05", "proprietary"]);
  for (
    const [words, expected] of [
      ["PeerMappingOverride=1;", true],
      ["ForceP2P=0x11;PeerMappingOverride=0x1", true],
      ["PeerMappingOverride=0", false],
      ["NotPeerMappingOverride=1", false],
      ["", false],
    ] as const
  ) {
    const params = `RegistryDwords: "${words}"`;
    assertEquals(
      hasPeerMappingOverride(readNvidiaModule(hostOf(SERVER, { "/proc/driver/nvidia/params": params }))),
      expected,
    );
  }
});

Deno.test("the other value of AQA is legal, and differs in both sizes", () => {
  for (let round = 0; round < 1000; round++) {
    const old = Math.floor(Math.random() * 2 ** 32);
    const other = otherAqa(old);
    assertEquals(other & ~0x0fff_0fff, 0);
    assertNotEquals(other & 0xfff, old & 0xfff);
    assertNotEquals(other >>> 16, old >>> 16 & 0xfff);
  }
});

Deno.test("the tool: a drive that is not there, and its schema", async () => {
  const absent = await runTool("check_p2p", ["fffe:01:00.0", "--json"]);
  assertEquals(absent.code, 3);
  const schema = JSON.parse((await runTool("check_p2p", ["--json-schema"])).stdout);
  assertEquals(schemaErrors(schema, JSON.parse(absent.stdout)), "");
  assertEquals(schemaErrors(schema, { schema: "check_p2p/1", ...await chain("soft", ALL) }), "");
  assertEquals((await runTool("check_p2p", [])).code, 2);
  assertEquals((await runTool("check_p2p", ["01:00.0", "--read-test"])).code, 2);
});
