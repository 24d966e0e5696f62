import { assert, assertEquals, assertRejects } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { OradaxSession } from "../../src/oradax/session.ts";
import { packed } from "../../src/oradax/vector.ts";
import { Random } from "../unit/random.ts";
import { withOradax } from "./oradax_device.ts";

withOradax();

/** The smallest pieces there are, so that short vectors already take many. */
const SMALL = { pieceBytes: 8192, inFlight: 3 };

/** Element `index` of a packed vector. */
function elementAt(bytes: Uint8Array, bits: number, index: number, startBit = 0): number {
  let value = 0;
  for (let i = 0; i < bits; i++) {
    const at = startBit + index * bits + i;
    value = 2 * value + ((bytes[at >> 3] ?? 0) >> (7 - at % 8) & 1);
  }
  return value;
}

function bitAt(bytes: Uint8Array, index: number): number {
  return (bytes[index >> 3] ?? 0) >> (7 - index % 8) & 1;
}

Deno.test("the example of docs/tools/oradax.md, the kernel document's, prints the inverted bitmap", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/tools/oradax.md", import.meta.url));
  const example = /```ts\n(import \{ [^}]*oradax[\s\S]*?)```/i.exec(page)?.[1];
  assert(example !== undefined);
  const lines = example.trim().split("\n").filter((line) => line !== "");
  assert(lines.length <= 10, `${lines.length} lines`);
  const folder = await Deno.makeTempDir();
  try {
    const root = new URL("../../", import.meta.url).href;
    await Deno.writeTextFile(
      `${folder}/example.ts`,
      example.replaceAll(/"\.\/((?:[\w/]+\/)?mod\.ts)"/g, `"${root}$1"`),
    );
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--config", config, `${folder}/example.ts`];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
    // A5 C0 has 12 bits 1010 0101 1100; the bitmap of its zeros is 0101 1010 0011.
    assertEquals(new TextDecoder().decode(stdout), "5a30 6\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("vectors longer than a piece come out whole: scans, selections and extractions of odd widths", async () => {
  const random = new Random("oradax session");
  using session = OradaxSession.open("soft:oradax", SMALL);
  for (const bits of [1, 3, 8, 12, 15, 16, 23, 32]) {
    const elements = 60_000 + random.below(1000);
    const startBit = bits % 8 === 0 ? 0 : random.below(8);
    const bytes = random.noise(4 * Math.ceil((startBit + elements * bits) / 32));
    const source = packed(bytes, { bits, elements, startBit });
    const low = Math.floor(2 ** bits / 4);
    const found = await session.scanRange(source, low, null);
    const expected = Array.from({ length: elements }, (_, i) => elementAt(bytes, bits, i, startBit) >= low);
    assertEquals(found.count, expected.filter(Boolean).length);
    for (const [i, one] of expected.entries()) {
      if (bitAt(found.bits ?? new Uint8Array(), i) !== Number(one)) throw new Error(`${bits} bits: result ${i}`);
    }
    const { indexes } = await session.scanRange(source, low, null, { output: "indexes" });
    assertEquals(indexes?.length, found.count);
    assert(indexes?.every((index) => expected[index]));
    const chosen = await session.select(source, found.bits ?? new Uint8Array(), { bytes: 4 });
    assertEquals(chosen.count, found.count);
    for (const [i, index] of (indexes ?? []).entries()) {
      if (Number(chosen.values[i]) !== elementAt(bytes, bits, index, startBit)) throw new Error(`${bits} bits: ${i}`);
    }
    const wide = await session.extract(source, { bytes: 4 });
    for (let i = 0; i < elements; i++) {
      if (Number(wide.values[i]) !== elementAt(bytes, bits, i, startBit)) throw new Error(`${bits} bits: element ${i}`);
    }
  }
});

Deno.test("numbers of every size go in and come out in the host's order, from any memory and into memory that is given", async () => {
  const random = new Random("oradax numbers");
  using session = OradaxSession.open("soft:oradax", SMALL);
  const sizes = [
    [1, (...of: [ArrayBufferLike, number, number]) => new Uint8Array(...of)],
    [2, (...of: [ArrayBufferLike, number, number]) => new Uint16Array(...of)],
    [4, (...of: [ArrayBufferLike, number, number]) => new Uint32Array(...of)],
    [8, (...of: [ArrayBufferLike, number, number]) => new BigUint64Array(...of)],
  ] as const;
  for (const [bytes, numbers] of sizes) {
    // No whole number of eight bytes, and not at the beginning of its memory.
    const count = 20_000 + 8 * random.below(100) + 1;
    const noise = random.noise(8 * (count + 1)).subarray(0, bytes * (count + 1));
    const input = numbers(noise.buffer, bytes, count);
    const shared = numbers(new SharedArrayBuffer(bytes * (count + 1)), bytes, count);
    new Uint8Array(shared.buffer).set(noise);
    for (const given of [input, shared]) {
      assertEquals((await session.extract(given, { bytes })).values, input);
    }
    const mask = random.noise(4 * Math.ceil(count / 32));
    const chosen = Array.from(input as ArrayLike<number | bigint>).filter((_, i) => bitAt(mask, i) === 1);
    assertEquals(
      Array.from((await session.select(input, mask, { bytes })).values as ArrayLike<number | bigint>),
      chosen,
    );
    const into = numbers(new ArrayBuffer(bytes * (count + 3)), bytes, count + 1);
    const { values } = await session.extract(input, { bytes, into });
    assertEquals(values, input);
    assert(values.buffer === into.buffer && values.byteOffset === into.byteOffset);
    const behind = new Uint8Array(into.buffer).subarray(bytes * (count + 1));
    assertEquals(behind, new Uint8Array(2 * bytes));
    const small = numbers(new ArrayBuffer(bytes * count), 0, count - 1);
    await assertRejects(() => session.extract(input, { bytes, into: small }), BusbarError, "to go into");
  }
  const wrong = new Uint16Array(9);
  await assertRejects(() => session.extract(new Uint8Array(9), { bytes: 1, into: wrong }), BusbarError, "to go into");
});

Deno.test("nothing found, nothing chosen and empty bit vectors are results, not errors", async () => {
  using session = OradaxSession.open("soft:oradax", SMALL);
  for (const input of [Uint16Array.of(1, 2, 3), new Uint16Array(20_000)]) {
    const { count, indexes } = await session.scanValue(input, 9, { output: "indexes" });
    assertEquals([count, indexes], [0, new Uint32Array()]);
    const mask = new Uint8Array(Math.ceil(input.length / 8));
    assertEquals((await session.select(input, mask, { bytes: 2 })).values, new Uint16Array());
  }
  for (const how of ["and", "or", "xor"] as const) {
    assertEquals(session[how](new Uint8Array(), new Uint8Array()), new Uint8Array());
  }
});

Deno.test("translation looks every element up, with both sizes of table", async () => {
  const random = new Random("oradax translate");
  using session = OradaxSession.open("soft:oradax", SMALL);
  const numbers = new Uint16Array(random.noise(40_000).buffer);
  for (const sizeBytes of [4096, 8192]) {
    const table = random.noise(sizeBytes);
    const { bits, count } = await session.translate(numbers, table, { test: 1 });
    let ones = 0;
    for (const [i, number] of numbers.entries()) {
      // 4 KiB: the upper bit has to be the test value, and is no part of the index.
      const expected = sizeBytes === 8192 ? bitAt(table, number) : number >> 15 & bitAt(table, number & 0x7fff);
      ones += expected;
      if (bitAt(bits ?? new Uint8Array(), i) !== expected) throw new Error(`table of ${sizeBytes}: element ${i}`);
    }
    assertEquals(count, ones);
  }
});

Deno.test("copy, fill, and, or and xor do what their names say", async () => {
  const random = new Random("oradax copy");
  using session = OradaxSession.open("soft:oradax", SMALL);
  const bytes = random.noise(50_000);
  assertEquals(await session.copy(bytes), bytes);
  assertEquals(await session.fill(0x1234, 30_001, 2), new Uint16Array(30_001).fill(0x1234));
  assertEquals(await session.fill(7n, 3, 8), new BigUint64Array(3).fill(7n));
  const [a, b] = [random.noise(1000), random.noise(1000)];
  assertEquals(session.and(a, b), a.map((byte, i) => byte & (b[i] ?? 0)));
  assertEquals(session.or(a, b), a.map((byte, i) => byte | (b[i] ?? 0)));
  assertEquals(session.xor(a, b), a.map((byte, i) => byte ^ (b[i] ?? 0)));
});

Deno.test("a session goes on where the device takes only a few CCBs at a time", async () => {
  using session = OradaxSession.open("soft:oradax?queue=1&units=1&delay_us=2000", SMALL);
  const found = await session.scanValue(new Uint8Array(100_000), 0);
  assertEquals(found.count, 100_000);
});

Deno.test("a session is interrupted, and can be used again afterwards", async () => {
  using session = OradaxSession.open("soft:oradax?units=1&delay_us=100000", SMALL);
  const abort = new AbortController();
  setTimeout(() => abort.abort(new BusbarError("interrupted", "enough")), 150);
  const started = performance.now();
  await assertRejects(
    () => session.scanValue(new Uint8Array(10_000_000), 0, { signal: abort.signal }),
    BusbarError,
    "enough",
  );
  assert(performance.now() - started < 5000);
  assertEquals((await session.scanValue(Uint8Array.of(1, 2, 1), 1)).count, 2);
});

Deno.test("wrong arguments are explained", async () => {
  using session = OradaxSession.open("soft:oradax?dax=1", SMALL);
  await assertRejects(() => session.scanValue(packed(new Uint8Array(9), { bits: 23 }), 1), BusbarError, "rule version");
  await assertRejects(() => session.scanValue(new Uint8Array(0), 1), BusbarError, "0 elements");
  await assertRejects(() => session.translate(new Uint8Array(9), new Uint8Array(5)), BusbarError, "5 bytes");
  await assertRejects(() => session.select(new Uint8Array(9), new Uint8Array(1), { bytes: 1 }), BusbarError, "8 bits");
  await assertRejects(() => session.scanValue(new Uint32Array(9), -1), BusbarError, "operands");
});
