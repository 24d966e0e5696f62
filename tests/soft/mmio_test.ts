import { assert, assertEquals, assertThrows } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import { fullBarrier, MappedMmio, readBarrier, writeBarrier } from "../../ffi/mmio.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { type AccessBytes, pollRegister } from "../../src/core/mmio.ts";
import { type Access, TrappedPage } from "./page_trap.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

const trapOnly = { ignore: Deno.build.arch !== "x86_64" };
const trapNote = trapOnly.ignore ? " (not run: the page trap knows x86-64 only)" : "";

const WIDTHS: readonly AccessBytes[] = [1, 2, 4, 8];

function repeat(count: number, access: (i: number) => Access): Access[] {
  return Array.from({ length: count }, (_, i) => access(i));
}

Deno.test(`each read is one access of exactly its width, cold and hot${trapNote}`, trapOnly, () => {
  using page = new TrappedPage(4096);
  const { mmio } = page;
  const reads: readonly [AccessBytes, (offset: number) => unknown][] = [
    [1, (offset) => mmio.read8(offset)],
    [2, (offset) => mmio.read16(offset)],
    [4, (offset) => mmio.read32(offset)],
    [8, (offset) => mmio.read64(offset)],
  ];
  for (const [width, read] of reads) {
    for (const count of [1, 3, 5000]) {
      for (let i = 0; i < count; i++) read(16);
      assertEquals(
        page.take(),
        repeat(count, () => ({ offset: 16, width, isWrite: false })),
        `${count} × read${8 * width}`,
      );
    }
  }
});

Deno.test(`each write is one access of exactly its width, cold and hot, and none reads${trapNote}`, trapOnly, () => {
  using page = new TrappedPage(4096);
  const { mmio } = page;
  const writes: readonly [AccessBytes, (offset: number) => void][] = [
    [1, (offset) => mmio.write8(offset, 0x5a)],
    [2, (offset) => mmio.write16(offset, 0x5aa5)],
    [4, (offset) => mmio.write32(offset, 0x5aa5_1234)],
    [8, (offset) => mmio.write64(offset, 0x5aa5_1234_5678_9abcn)],
  ];
  for (const [width, write] of writes) {
    for (const count of [1, 3, 5000]) {
      for (let i = 0; i < count; i++) write(32);
      assertEquals(
        page.take(),
        repeat(count, () => ({ offset: 32, width, isWrite: true })),
        `${count} × write${8 * width}`,
      );
    }
  }
});

Deno.test(`block reads and writes are ascending single accesses of the chosen width${trapNote}`, trapOnly, () => {
  using page = new TrappedPage(4096);
  for (const width of WIDTHS) {
    page.mmio.readBlock(64, 128, width);
    const ascending = (isWrite: boolean): Access[] =>
      repeat(128 / width, (i) => ({ offset: 64 + i * width, width, isWrite }));
    assertEquals(page.take(), ascending(false));
    page.mmio.writeBlock(64, new Uint8Array(128), width);
    assertEquals(page.take(), ascending(true));
  }
});

Deno.test(`a poll reads with the chosen width and stops at the first match${trapNote}`, trapOnly, () => {
  using page = new TrappedPage(4096);
  for (const width of WIDTHS) {
    assertEquals(page.mmio.pollSlice(0, width, 1n, 0n, 10), { matched: true, last: 0n });
    assertEquals(page.take(), [{ offset: 0, width, isWrite: false }]);
    assertEquals(page.mmio.pollSlice(8, width, 1n, 1n, 1).matched, false);
    const seen = page.take();
    assert(seen.length > 0 && seen.every((access) => access.offset === 8 && access.width === width && !access.isWrite));
  }
});

Deno.test("values of every width arrive where they were written, and nowhere else", () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  const bytes = memory.bytes();
  mmio.write8(1, 0xab);
  mmio.write16(2, 0xbeef);
  mmio.write32(4, 0xdead_beef);
  mmio.write64(8, 0x0123_4567_89ab_cdefn);
  assertEquals(bytes.subarray(0, 20).toHex(), "00ab" + "efbe" + "efbeadde" + "efcdab8967452301" + "00000000");
  assertEquals(
    [mmio.read8(1), mmio.read16(2), mmio.read32(4), mmio.read64(8)],
    [0xab, 0xbeef, 0xdeadbeef, 0x0123456789abcdefn] as unknown[],
  );
});

Deno.test("blocks of every width keep the bytes in their order", () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  const pattern = crypto.getRandomValues(new Uint8Array(256));
  for (const width of WIDTHS) {
    mmio.writeBlock(512, pattern, width);
    assertEquals(memory.bytes().slice(512, 768), pattern);
    assertEquals(mmio.readBlock(512, 256, width), pattern);
  }
  assertEquals(mmio.readBlock(0, 0, 4), new Uint8Array(0));
});

Deno.test("offsets outside, unaligned, negative or not whole are refused before C sees them", () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  const bad: readonly (() => unknown)[] = [
    () => mmio.read32(4096),
    () => mmio.read32(4093),
    () => mmio.read32(2),
    () => mmio.read16(1),
    () => mmio.read64(4092),
    () => mmio.read8(-1),
    () => mmio.read8(0.5),
    () => mmio.read32(NaN),
    () => mmio.read32(1e300),
    () => mmio.write32(4096, 0),
    () => mmio.write8(0, 256),
    () => mmio.write32(0, -1),
    () => mmio.write32(0, 1.5),
    () => mmio.write64(0, 1n << 64n),
    () => mmio.readBlock(4090, 8, 4),
    () => mmio.readBlock(0, 6, 4),
    () => mmio.readBlock(0, -4, 4),
    () => mmio.pollSlice(4096, 4, 1n, 1n, 1),
  ];
  for (const access of bad) {
    for (let i = 0; i < 3; i++) assertEquals(assertThrows(access, BusbarError).code, "out-of-range", access.toString());
  }
});

Deno.test("a window into a region takes the region's offsets and refuses what lies before it", () => {
  using memory = Mapping.anonymous(4096);
  memory.bytes()[16] = 0x77;
  using mmio = new MappedMmio("window", memory.registers, 4096, null, 0x10000);
  assertEquals(mmio.read8(0x10010), 0x77);
  assertEquals([mmio.firstOffset, mmio.endOffset], [0x10000, 0x11000]);
  assertThrows(() => mmio.read8(0xffff), BusbarError, "lie outside 0x10000 to 0x11000");
  assertThrows(() => mmio.read8(0x11000), BusbarError, "lie outside");
});

Deno.test("after dispose every access is an error, not a crash", () => {
  using memory = Mapping.anonymous(4096);
  const mmio = new MappedMmio("memory", memory.registers, 4096);
  mmio[Symbol.dispose]();
  mmio[Symbol.dispose]();
  for (
    const access of [() => mmio.read32(0), () => mmio.write8(0, 1), () => mmio.readBlock(0, 4, 4), () => mmio.pointer]
  ) {
    assertEquals(assertThrows(access, BusbarError).code, "closed");
  }
});

Deno.test("a device that vanishes is an error for every accessor: SIGBUS does not end the process", () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, new Uint8Array(8192));
    using mapping = Mapping.file(path, 8192, { writable: true });
    using mmio = new MappedMmio("vanishing", mapping.registers, 8192);
    assertEquals(mmio.read32(4096), 0);
    // The kernel raises SIGBUS for pages past the end of a file, as it does for a revoked BAR.
    Deno.truncateSync(path, 4096);
    const accesses: readonly (() => unknown)[] = [
      () => mmio.read8(4096),
      () => mmio.read16(4096),
      () => mmio.read32(4096),
      () => mmio.read64(4096),
      () => mmio.write8(4096, 1),
      () => mmio.write16(4096, 1),
      () => mmio.write32(4096, 1),
      () => mmio.write64(4096, 1n),
      ...WIDTHS.flatMap((width) => [
        () => mmio.readBlock(4096 - 16, 32, width),
        () => mmio.writeBlock(4096 - 16, new Uint8Array(32), width),
        () => mmio.pollSlice(4096, width, 1n, 1n, 5),
      ]),
    ];
    for (const access of accesses) {
      assertEquals(assertThrows(access, BusbarError, "the device is gone").code, "device-gone", access.toString());
    }
    assertEquals(mmio.read32(0), 0, "what is left of it can still be read");
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("all ones are a value where nothing faulted", () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  mmio.write64(0, 0xffff_ffff_ffff_ffffn);
  assertEquals([mmio.read8(0), mmio.read16(0), mmio.read32(0)], [0xff, 0xffff, 0xffff_ffff]);
  assertEquals(mmio.read64(0), 0xffff_ffff_ffff_ffffn);
});

Deno.test("a poll ends at its limit with the last value, and lets timers run meanwhile", async () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  mmio.write32(0, 0x1234);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  try {
    const started = performance.now();
    const poll = pollRegister(mmio, {
      offset: 0,
      accessBytes: 4,
      mask: 1n,
      wanted: 1n,
      what: "RDY = 1",
      deadline: Deadline.after(300),
    });
    const error = await poll.then(() => null, (error) => error);
    assert(error instanceof BusbarError && error.code === "timeout");
    assertEquals(error.message, "memory: RDY = 1 (last 0x00001234) did not happen within 300 ms");
    assert(performance.now() - started < 2000 && ticks >= 3, `${ticks} ticks`);
  } finally {
    clearInterval(timer);
  }
});

Deno.test("a poll of a stuck register ends soon after it is interrupted", async () => {
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new BusbarError("interrupted", "ended by SIGINT")), 100);
  const started = performance.now();
  const error = await pollRegister(mmio, {
    offset: 0,
    accessBytes: 4,
    mask: 1n,
    wanted: 1n,
    what: "RDY = 1",
    deadline: Deadline.after(60_000),
    signal: controller.signal,
  }).then(() => null, (error) => error);
  clearTimeout(timer);
  assertEquals(error instanceof BusbarError && error.code, "interrupted");
  assert(performance.now() - started < 500);
});

Deno.test("barriers can be called", () => {
  readBarrier();
  writeBarrier();
  fullBarrier();
});

Deno.test("the library can be closed and opened again", { sanitizeResources: false }, () => {
  closeAll();
  using memory = Mapping.anonymous(4096);
  using mmio = new MappedMmio("memory", memory.registers, 4096);
  assertEquals(mmio.read32(0), 0);
});
