import { assert, assertEquals, assertThrows } from "@std/assert";

import { SoftDevice } from "../../ffi/soft.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { pollRegister, type WritableMmio } from "../../src/core/mmio.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

const CC = 0x14, CSTS = 0x1c, NSSR = 0x20, AQA = 0x24, ASQ = 0x28, ACQ = 0x30;
/** 4 KiB pages, the NVM command set, 64-byte commands, 16-byte completions, enabled: NVMe Base 2.0 §3.1.3.5. */
const CC_ENABLE = 0x0046_0001;

function open(settings: Record<string, string> = {}): { device: SoftDevice; bar: WritableMmio } {
  const device = SoftDevice.open("soft:nvme", "nvme", new Map(Object.entries(settings)));
  const bar = device.bar(0);
  assert(bar !== null);
  return { device, bar };
}

async function waitStatus(bar: WritableMmio, mask: number, wanted: number, limitMs = 2000): Promise<number> {
  return Number(
    await pollRegister(bar, {
      offset: CSTS,
      accessBytes: 4,
      mask: BigInt(mask),
      wanted: BigInt(wanted),
      what: `CSTS & ${mask} = ${wanted}`,
      deadline: Deadline.after(limitMs),
    }),
  );
}

function setUpQueues(device: SoftDevice, bar: WritableMmio): Disposable {
  const queues = device.allocDma(8192);
  bar.write32(AQA, 31 << 16 | 31);
  bar.write64(ASQ, queues.iova);
  bar.write64(ACQ, queues.iova + 4096n);
  return queues;
}

Deno.test("the controller becomes ready after its delay, and not ready after disable", async () => {
  const { device, bar } = open({ ready_ms: "60" });
  using _device = device;
  using _queues = setUpQueues(device, bar);
  const started = performance.now();
  bar.write32(CC, CC_ENABLE);
  assertEquals(bar.read32(CSTS) & 1, 0);
  await waitStatus(bar, 1, 1);
  assert(performance.now() - started >= 55, "ready too early");
  bar.write32(CC, 0);
  await waitStatus(bar, 1, 0);
});

Deno.test("each bad admin queue or configuration ends in CSTS.CFS, never ready, and only disabling clears it", async () => {
  const cases: readonly [string, (bar: WritableMmio) => void, number][] = [
    ["AQA 0", (bar) => bar.write32(AQA, 0), CC_ENABLE],
    ["AQA with no completion queue", (bar) => bar.write32(AQA, 31), CC_ENABLE],
    ["ASQ with a low bit set", (bar) => bar.write64(ASQ, 0x5_0000_0001n), CC_ENABLE],
    ["ACQ 0", (bar) => bar.write64(ACQ, 0n), CC_ENABLE],
    ["IOSQES 0", () => {}, CC_ENABLE & ~0xf0000],
    ["IOCQES 0", () => {}, CC_ENABLE & ~0xf00000],
    ["MPS above MPSMAX", () => {}, CC_ENABLE | 5 << 7],
    ["an unsupported CSS", () => {}, CC_ENABLE | 1 << 4],
    ["an unsupported AMS", () => {}, CC_ENABLE | 1 << 11],
  ];
  for (const [name, spoil, cc] of cases) {
    const { device, bar } = open({ ready_ms: "0" });
    using _device = device;
    using _queues = setUpQueues(device, bar);
    spoil(bar);
    bar.write32(CC, cc);
    assertEquals(await waitStatus(bar, 2, 2), 2, name);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(bar.read32(CSTS), 2, `${name}: stays fatal`);
    bar.write32(CC, cc & ~1);
    await waitStatus(bar, 3, 0);
  }
});

Deno.test("shutdown shows 'in progress', then 'complete', while ready stays", async () => {
  const { device, bar } = open({ ready_ms: "0", shutdown_ms: "60" });
  using _device = device;
  using _queues = setUpQueues(device, bar);
  bar.write32(CC, CC_ENABLE);
  await waitStatus(bar, 1, 1);
  bar.write32(CC, CC_ENABLE | 1 << 14);
  assertEquals(await waitStatus(bar, 0xc, 0x4), 0x5);
  assertEquals(await waitStatus(bar, 0xc, 0x8), 0x9);
});

Deno.test("a subsystem reset takes the magic value, disables the controller and sets NSSRO until the next enable", async () => {
  const { device, bar } = open({ ready_ms: "0" });
  using _device = device;
  using _queues = setUpQueues(device, bar);
  bar.write32(CC, CC_ENABLE);
  await waitStatus(bar, 1, 1);
  bar.write32(NSSR, 0x4e56_4d65);
  await waitStatus(bar, 0x11, 0x10);
  assertEquals(bar.read32(CC), 0);
  // All registers are reset, the admin queue's among them, which a controller reset by CC.EN keeps: NVMe Base 2.0 §3.7.2.
  assertEquals([bar.read32(AQA), bar.read64(ASQ), bar.read64(ACQ)], [0, 0n, 0n] as unknown[]);
  using _again = setUpQueues(device, bar);
  bar.write32(CC, CC_ENABLE);
  await waitStatus(bar, 0x11, 1);
});

Deno.test("read-only registers come back after a stray write", async () => {
  const { device, bar } = open({ mqes: "63", to: "4", dstrd: "2" });
  using _device = device;
  const cap = bar.read64(0);
  assertEquals(cap & 0xffffn, 63n);
  assertEquals(cap >> 24n & 0xffn, 4n);
  assertEquals(cap >> 32n & 0xfn, 2n);
  bar.write64(0, 0n);
  bar.write32(CSTS, 0xffff_ffff);
  const end = Deadline.after(2000);
  while ((bar.read64(0) !== cap || bar.read32(CSTS) !== 0) && !end.expired) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals([bar.read64(0), bar.read32(CSTS)], [cap, 0] as unknown[]);
});

Deno.test("settings that the device does not know, or that are out of range, do not start it", () => {
  for (const settings of [{ nope: "1" }, { mqes: "x" }, { mqes: "65536" }, { mqes: "" }, { serial: "x".repeat(21) }]) {
    assertThrows(() => open(settings), BusbarError, "EINVAL");
  }
  assertThrows(() => SoftDevice.open("soft:toaster", "toaster", new Map()), BusbarError, "no such device");
});

Deno.test("DMA memory: zeroed, its address differs from its pointer, empty and unknown to the device after dispose", () => {
  const { device } = open();
  using _device = device;
  const first = device.allocDma(100);
  const second = device.allocDma(4096);
  assert(first.bytes.every((byte) => byte === 0) && first.bytes.length === 100);
  assertEquals(first.iova % 4096n, 0n);
  assert(second.iova >= first.iova + 8192n, "an unreachable page lies between two allocations");
  assert(first.iova !== Deno.UnsafePointer.value(first.pointer));
  const view = first.bytes;
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assertEquals(view.length, 0);
  assertThrows(() => first.bytes, BusbarError, "freed");
  for (const size of [0, -1, 0.5]) assertThrows(() => device.allocDma(size), BusbarError);
});

Deno.test("closing the device takes its BAR, its configuration space and its memory away", () => {
  const { device, bar } = open();
  const config = device.config;
  const buffer = device.allocDma(4096);
  device[Symbol.dispose]();
  device[Symbol.dispose]();
  assertEquals(config.length, 0);
  assertThrows(() => bar.read32(0), BusbarError, "closed");
  assertThrows(() => buffer.bytes, BusbarError);
  assertThrows(() => device.allocDma(1), BusbarError, "closed");
});

Deno.test("the device is found by its class code, like any other", () => {
  using device = openPciDevice(parseLocator("soft:nvme"));
  assertEquals(device.function.classCode, 0x010802);
  assertEquals(device.bar(0).read32(8), 0x0001_0400);
});

Deno.test("a hundred devices at once, and threads that end", () => {
  const devices = Array.from({ length: 100 }, () => open().device);
  for (const device of devices) device[Symbol.dispose]();
});
