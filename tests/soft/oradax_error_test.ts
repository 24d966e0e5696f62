import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { SoftOradax } from "../../ffi/soft_oradax.ts";
import { buildCcb } from "../../src/oradax/ccb.ts";
import type { Ccb } from "../../src/oradax/ccb_command.ts";
import { openOradax } from "../../src/oradax/open.ts";
import type { OradaxBuffer } from "../../src/core/oradax_driver.ts";
import { type OradaxTransport, submitError } from "../../src/oradax/transport.ts";
import { finished, withOradax } from "./oradax_device.ts";

withOradax();

/** Streams in pages of their own. */
const PAGE = 8192;
const IN = 0;
const SEC = PAGE;
const OUT = 2 * PAGE;
const TBL = 3 * PAGE;

class Bench implements Disposable {
  readonly dax: OradaxTransport;
  readonly buffer: OradaxBuffer;

  constructor(settings = "") {
    this.dax = openOradax(parseLocator(`soft:oradax${settings}`));
    this.buffer = this.dax.allocate(4 * PAGE);
  }

  at(offset: number): bigint {
    return this.buffer.address + BigInt(offset);
  }

  /** A good command: 64 bytes, extracted as they are. */
  copy(more: Partial<Ccb> = {}): Ccb {
    return {
      command: "extract",
      primary: { address: this.at(IN), format: "bytes", elementSize: 1, length: 64 },
      output: { address: this.at(OUT), format: "bytes1" },
      ...more,
    } as Ccb;
  }

  /** Submits a command, changed word by word, and gives status and error of its completion. */
  run(ccb: Ccb, words: Readonly<Record<number, (word: bigint) => bigint>> = {}): [number, number] {
    const bytes = changed(buildCcb(ccb), words);
    const submission = this.dax.submit(0, bytes);
    assertEquals([submission.units, submission.status], [bytes.length / 64, 0]);
    const done = finished(this.dax, 0);
    return [done.status, done.error];
  }

  /** Submits a command, changed word by word, and gives the status that it is refused with. */
  refusal(ccb: Ccb, words: Readonly<Record<number, (word: bigint) => bigint>> = {}, index = 0): [number, bigint] {
    const submission = this.dax.submit(index, changed(buildCcb(ccb), words));
    assertEquals(submission.units, 0);
    return [submission.status, submission.statusData];
  }

  [Symbol.dispose](): void {
    this.dax[Symbol.dispose]();
  }
}

function changed(
  ccb: Uint8Array<ArrayBuffer>,
  words: Readonly<Record<number, (word: bigint) => bigint>>,
): Uint8Array<ArrayBuffer> {
  const view = new DataView(ccb.buffer);
  for (const [index, change] of Object.entries(words)) {
    view.setBigUint64(8 * Number(index), BigInt.asUintN(64, change(view.getBigUint64(8 * Number(index)))));
  }
  return ccb;
}

/** Replaces a field of a word. */
function field(high: number, low: number, value: number): (word: bigint) => bigint {
  const mask = (1n << BigInt(high - low + 1)) - 1n;
  return (word) => word & ~(mask << BigInt(low)) | BigInt(value) << BigInt(low);
}

Deno.test("what the driver checks is refused at submission: opcode, version, address types (status 6)", () => {
  using bench = new Bench();
  for (const opcode of [0x06, 0x0f, 0x10, 0x11, 0x15, 0xff]) {
    assertEquals(bench.refusal(bench.copy(), { 0: field(55, 48, opcode) }), [6, 0n], `opcode ${opcode}`);
  }
  assertEquals(bench.refusal(bench.copy(), { 0: field(63, 60, 2) }), [6, 0n]);
  for (const [high, low] of [[44, 43], [42, 40], [39, 37], [36, 34]] as const) {
    assertEquals(bench.refusal(bench.copy(), { 0: field(high, low, 1) }), [6, 0n]);
    assertEquals(bench.refusal(bench.copy(), { 0: field(high, low, 2) }), [6, 0n]);
  }
  using old = new Bench("?dax=1");
  assertEquals(old.refusal(old.copy(), { 0: field(63, 60, 1) }), [6, 0n]);
  assertEquals(bench.run(bench.copy()), [1, 0]);
});

Deno.test("what the coprocessor cannot make sense of completes as a decode error (2, 2)", () => {
  using bench = new Bench();
  const copy = bench.copy();
  const scan = bench.copy({
    command: "scanValue",
    first: { value: 1n },
    output: { address: bench.at(OUT), format: "bits" },
  });
  const translate = bench.copy({
    command: "translate",
    primary: { address: bench.at(IN), format: "bytes", elementSize: 1, length: 8, unit: "bytes" },
    output: { address: bench.at(OUT), format: "bits" },
    table: { address: bench.at(TBL), version: 0 },
  });
  const select = bench.copy({ command: "select", secondary: { address: bench.at(SEC) } });
  const bad: readonly (readonly [string, Ccb, Readonly<Record<number, (word: bigint) => bigint>>])[] = [
    ...[3, 6, 7, 0xb, 0xe, 0xf].map((format) =>
      [`format ${format}`, { ...copy, version: 1 }, { 0: field(31, 28, format) }] as const
    ),
    ...[5, 6, 7, 8, 9, 0xa, 0xc, 0xd, 0xe, 0xf].map((format) =>
      [`output format ${format} of extract`, copy, { 0: field(13, 10, format) }] as const
    ),
    ...[0, 4, 9, 0xf].map((format) => [`output format ${format} of scan`, scan, { 0: field(13, 10, format) }] as const),
    ["no primary address", copy, { 0: field(36, 34, 0) }],
    ["no output address", copy, { 0: field(42, 40, 0) }],
    ["no table", translate, { 0: field(44, 43, 0) }],
    ["no selection vector", select, { 0: field(39, 37, 0) }],
    ["run lengths without a secondary input", copy, { 0: field(31, 28, 4) }],
    ["variable width without a secondary input", copy, { 0: field(31, 28, 2) }],
    ["length format 3", copy, { 3: field(25, 24, 3) }],
    ["translate that counts elements", translate, { 3: field(25, 24, 0) }],
    ["translate of 4 bytes", translate, { 0: field(27, 23, 3) }],
    ["translate of variable width", translate, { 0: field(31, 28, 2) }],
    ["select of run lengths", select, { 0: field(31, 28, 4) }],
    ["select with an encoding", select, { 0: field(19, 19, 1) }],
    ["select with a width", select, { 0: field(15, 14, 1) }],
    ["17 bytes", copy, { 0: field(27, 23, 16) }],
    ["16 bits with version 0", copy, { 0: (word) => field(31, 28, 1)(field(27, 23, 15)(word)) }],
    ["a start bit of bytes", copy, { 0: field(22, 20, 1) }],
    ["misaligned output", copy, { 6: (word) => word + 32n }],
    ["misaligned table", translate, { 7: (word) => word + 32n }],
    ["bit table version 2", translate, { 7: field(3, 0, 2) }],
    ["flow control 3", copy, { 3: field(63, 62, 3) }],
    ["no operand", scan, { 0: field(9, 5, 0x1f) }],
    ["operand size 0x0f", scan, { 0: field(9, 5, 0x0f) }],
    ["an operand of 5 bytes in a short CCB", scan, { 0: field(9, 5, 4) }],
    ["compressed data with a table of version 0", { ...copy, version: 1 }, {
      0: (word) => field(31, 28, 8)(field(44, 43, 3)(word)),
      7: () => bench.at(TBL),
    }],
  ];
  for (const [what, ccb, words] of bad) assertEquals(bench.run(ccb, words), [2, 2], what);
});

Deno.test("limits of output and page: (2, 1) with flow control, (2, 3) at the end of a page", () => {
  using bench = new Bench();
  const long = { address: bench.at(IN), format: "bytes", elementSize: 1, length: 200 } as const;
  const limited = bench.copy({ primary: long, output: { address: bench.at(OUT), format: "bytes1", limitBytes: 128 } });
  assertEquals(bench.run(limited), [2, 1]);
  assertEquals(bench.dax.poll(0)?.outputBytes, 128);
  // Flow control off: the size field is not looked at.
  assertEquals(bench.run(limited, { 3: field(63, 62, 0) }), [1, 0]);
  const nearEnd = bench.copy({ primary: long, output: { address: bench.at(OUT + PAGE - 64), format: "bytes1" } });
  const before = bench.buffer.read(OUT + PAGE, 64);
  assertEquals(bench.run(nearEnd), [2, 3]);
  assertEquals(bench.dax.poll(0)?.outputBytes, 64);
  assertEquals(bench.buffer.read(OUT + PAGE, 64), before);
  const input = bench.copy({ primary: { ...long, address: bench.at(IN + PAGE - 10) } });
  assertEquals(bench.run(input), [2, 3]);
  assertEquals([bench.dax.poll(0)?.outputBytes, bench.dax.poll(0)?.elements], [10, 10]);
});

Deno.test("compressed data: Huffman is refused (12, scope 0), bad symbols and widths are (2, A)", () => {
  using bench = new Bench();
  const ozip = (table: string): [number, number] => {
    bench.buffer.write(TBL, Uint8Array.fromHex(table));
    return bench.run(bench.copy({
      primary: { address: bench.at(IN), format: "bytesCompressed", elementSize: 1, length: 2, unit: "bits" },
      table: { address: bench.at(TBL), version: 1 },
    }));
  };
  bench.buffer.write(IN, Uint8Array.of(0xff));
  assertEquals(ozip("0004" + "1111" + "41424344"), [1, 0]);
  assertEquals(ozip("0003" + "1110" + "414243"), [2, 0x0a], "code word 3 of 3 symbols");
  assertEquals(ozip("0004" + "1101" + "414243"), [2, 0x0a], "a symbol of 0 bytes");
  assertEquals(ozip("0004" + "1119" + "414243444546474849"), [2, 0x0a], "a symbol of 9 bytes");
  assertEquals(ozip("0000"), [2, 0x0a], "no symbols");
  const widths = bench.copy({
    primary: { address: bench.at(IN), format: "variable", elementSize: 1, length: 1 },
    secondary: { address: bench.at(SEC), elementBits: 8, exact: true },
  });
  bench.buffer.write(SEC, Uint8Array.of(0));
  assertEquals(bench.run(widths), [2, 0x0a], "an element of 0 bytes");
  bench.buffer.write(SEC, Uint8Array.of(17));
  assertEquals(bench.run(widths), [2, 0x0a], "an element of 17 bytes");
  const [status, scope] = bench.refusal(bench.copy(), { 0: field(31, 28, 8) });
  assertEquals([status, scope], [12, 0n]);
  const error = submitError("soft:oradax", { units: 0, status, statusData: scope });
  assertEquals(error.code, "unsupported");
  assert(error.message.includes("this exact CCB: emulate it"), error.message);
});

Deno.test("memory that is not the device's, or read-only, is refused with its address (10)", () => {
  using soft = SoftOradax.open("soft:oradax", new Map());
  const memory = soft.allocate(PAGE, PAGE);
  const output = soft.allocate(PAGE, PAGE);
  const ccb = (address: bigint): Uint8Array<ArrayBuffer> =>
    buildCcb({
      command: "extract",
      primary: { address, format: "bytes", elementSize: 1, length: 1 },
      output: { address: output.address, format: "bytes1" },
    });
  assertEquals(soft.handle.submit(0, ccb(0x1234n)), { takenBytes: 0, status: 10, statusData: 0x1234n });
  assertEquals(soft.handle.submit(0, ccb(memory.address)).status, 0);
  while (soft.handle.wait(0, 50_000) === 0);
  soft.protect(memory);
  assertEquals(soft.handle.submit(0, ccb(memory.address)), { takenBytes: 0, status: 10, statusData: memory.address });
});

Deno.test("what the hypervisor answers comes through as status and data, and the device goes on", () => {
  using soft = SoftOradax.open("soft:oradax", new Map());
  const noop = buildCcb({ command: "noop" });
  for (const [error, status] of [[6, 6], [9, 2], [10, 10], [14, 9], [23, 12], [2, 13], [8, 13], [15, 13]] as const) {
    soft.refuseNext(error, 0x77n);
    assertEquals(soft.handle.submit(0, noop), { takenBytes: 0, status, statusData: 0x77n });
    assertEquals(soft.handle.submit(0, noop), { takenBytes: 64, status: 0, statusData: 0n });
    while (soft.handle.wait(0, 50_000) === 0);
    assertEquals(soft.handle.wait(0, 0), 1);
  }
});

Deno.test("completion areas: out of range and in flight are status 7, a long CCB at the end alone is status 6", () => {
  using bench = new Bench("?units=1&delay_us=200000");
  const scan = bench.copy({
    command: "scanValue",
    first: { value: 1n, sizeBytes: 8 },
    output: { address: bench.at(OUT), format: "bits" },
  });
  assertEquals(bench.refusal(scan, {}, 127), [7, 0n]);
  assertEquals(bench.refusal({ command: "noop" }, { 0: field(58, 58, 1) }), [6, 0n]);
  assertEquals(bench.dax.submit(3, buildCcb(bench.copy())).units, 1);
  assertEquals(bench.refusal(bench.copy(), {}, 3), [7, 0n]);
  assertEquals(bench.dax.poll(3), null);
});

Deno.test("a CCB can be asked about and ended while it waits, while it runs and afterwards", () => {
  using bench = new Bench("?units=1&delay_us=300000");
  const { dax } = bench;
  assertEquals(dax.info(0).state, "not found");
  assertEquals(dax.kill(9), "not found");
  const ccb = buildCcb(bench.copy());
  for (const index of [0, 1, 2]) assertEquals(dax.submit(index, ccb).units, 1);
  while (dax.info(0).state === "enqueued") dax.poll(0, 1000);
  assertEquals(dax.info(0).state, "in progress");
  assertEquals(dax.info(2), { state: "enqueued", unit: 0, queue: 0, position: 1 });
  assertEquals(dax.kill(1), "dequeued");
  assertEquals([dax.poll(1)?.status, dax.poll(1)?.error], [3, 7]);
  assertEquals(dax.info(2).position, 0);
  assertEquals(dax.kill(0), "killed");
  assertEquals([dax.poll(0)?.status, dax.poll(0)?.error], [3, 7]);
  assertEquals(finished(dax, 2).status, 1);
  assertEquals(dax.info(2).state, "completed");
  assertEquals(dax.kill(2), "completed");
  // The driver says killed, although it had completed.
  assertEquals([dax.poll(2)?.status, dax.poll(2)?.error], [3, 7]);
  dax.dequeue();
});

Deno.test("a full queue takes a part of a submission, then none until there is room", () => {
  using bench = new Bench("?units=1&queue=2&delay_us=100000");
  const ccb = buildCcb(bench.copy());
  const five = new Uint8Array(5 * 64);
  for (let i = 0; i < 5; i++) five.set(ccb, 64 * i);
  const first = bench.dax.submit(0, five);
  assert(first.units >= 1 && first.units <= 3 && first.status === 0, JSON.stringify(first.units));
  let index = first.units;
  // What was not taken is free again, and is taken in the end.
  for (let tries = 0; index < 5; tries++) {
    assert(tries < 1000);
    const { units, status } = bench.dax.submit(index, ccb);
    assert(units === 1 || status === 2, `status ${status}`);
    index += units;
    bench.dax.poll(index - 1, 5000);
  }
  for (let i = 0; i < 5; i++) {
    assertEquals(finished(bench.dax, i).status, 1);
  }
});

Deno.test("serial CCBs run one after the other, conditional ones only after success, sync after all", () => {
  using bench = new Bench("?units=4");
  const bad = changed(buildCcb(bench.copy({ serial: true })), { 3: field(25, 24, 3) });
  const link = buildCcb(bench.copy({ serial: true, conditional: true }));
  const free = buildCcb(bench.copy());
  const sync = buildCcb({ command: "sync" });
  const all = new Uint8Array(5 * 64);
  for (const [i, ccb] of [bad, link, link, free, sync].entries()) all.set(ccb, 64 * i);
  assertEquals(bench.dax.submit(0, all).units, 5);
  const statuses = [0, 1, 2, 3, 4].map((index) => finished(bench.dax, index).status);
  assertEquals(statuses, [2, 4, 4, 1, 1]);
  // Feeding one into the next works only in order: every byte is carried through 15 places.
  const chain = new Uint8Array(15 * 64);
  bench.buffer.write(IN, new Uint8Array(64).fill(0x5a));
  for (let i = 0; i < 15; i++) {
    const from = i === 0 ? IN : OUT + 64 * (i - 1);
    chain.set(
      buildCcb({
        command: "extract",
        serial: true,
        conditional: i > 0,
        primary: { address: bench.at(from), format: "bytes", elementSize: 1, length: 64 },
        output: { address: bench.at(OUT + 64 * i), format: "bytes1" },
      }),
      64 * i,
    );
  }
  for (let round = 0; round < 50; round++) {
    bench.buffer.write(OUT, new Uint8Array(15 * 64));
    assertEquals(bench.dax.submit(10, chain).units, 15);
    finished(bench.dax, 24);
    assertEquals(bench.buffer.read(OUT + 14 * 64, 64), new Uint8Array(64).fill(0x5a));
  }
});

Deno.test("after close every call is an error, memory in flight is not freed, and wrong locators are explained", () => {
  const bench = new Bench("?units=1&delay_us=50000");
  assertEquals(bench.dax.submit(0, buildCcb(bench.copy())).units, 1);
  assertThrows(() => bench.buffer[Symbol.dispose](), BusbarError, "EBUSY");
  bench.buffer.write(0, Uint8Array.of(1));
  bench[Symbol.dispose]();
  bench[Symbol.dispose]();
  assertThrows(() => bench.dax.poll(0), BusbarError, "used after it was closed");
  assertThrows(() => bench.buffer.read(0, 1), BusbarError, "used after it was freed");
  assertThrows(() => openOradax(parseLocator("soft:oradax?unit=1")), BusbarError, "'unit'");
  assertThrows(() => openOradax(parseLocator("soft:oradax?loops=fast")), BusbarError, "cannot start");
  assertThrows(() => openOradax(parseLocator("/dev/null")), BusbarError, "is no data analytics accelerator");
  assertThrows(() => openOradax(parseLocator("/dev/oradax1")), BusbarError, "no such file");
});
