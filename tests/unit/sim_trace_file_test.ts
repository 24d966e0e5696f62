import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { BusbarError } from "../../src/core/error.ts";
import { mergeTraces } from "../../src/sim/host/merge.ts";
import { checkTrace, openTrace } from "../../src/sim/host/trace_file.ts";
import { writeTrace } from "../../src/sim/host/trace_writer.ts";
import { AccessBatch, Op } from "../../src/sim/trace/batch.ts";
import { BinaryEncoder, encodeHeader, FLAG_UNMERGED, UNFINISHED } from "../../src/sim/trace/binary.ts";
import { BatchSource } from "../../src/sim/trace/order.ts";

/** A folder that is gone at the end. */
class Folder implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "sim-trace-" });

  write(name: string, contents: string | Uint8Array): string {
    const path = `${this.path}/${name}`;
    Deno.writeFileSync(path, typeof contents === "string" ? new TextEncoder().encode(contents) : contents);
    return path;
  }

  names(): string[] {
    return Array.from(Deno.readDirSync(this.path), (entry) => entry.name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Everything of a trace as lines: ticks, host, thread, op, address, bytes. */
async function linesOf(path: string, capacity = 16384, options = {}): Promise<string[]> {
  await using trace = await openTrace(path, options);
  const batch = new AccessBatch(capacity);
  const lines: string[] = [];
  while (await trace.read(batch) > 0) {
    for (let i = 0; i < batch.count; i++) {
      lines.push(
        [batch.time[i], batch.host[i], batch.thread[i], batch.op[i], batch.address[i], batch.bytes[i]].join(" "),
      );
    }
  }
  return lines;
}

function refused(path: string, options = {}): Promise<BusbarError> {
  return assertRejects(() => linesOf(path, 16384, options), BusbarError);
}

const CSV_TEXT = "0,0,R,0x40,8\n1,0,W,0x80,8\n1.5,3,A,0xc0,8\n2,0,M,0x1000,65536\n3,0,U,0x1000\n";

Deno.test("every form of a file gives the same accesses: CSV, gzip, zstd, binary, and back", async () => {
  await using folder = new Folder();
  const csv = folder.write("a.csv", CSV_TEXT);
  const expected = await linesOf(csv);
  assertEquals(expected.length, 6);
  const packed = new TextEncoder().encode(CSV_TEXT);
  const half = packed.length >> 1;
  const members = [gzipSync(packed.subarray(0, half)), gzipSync(packed.subarray(half))];
  assertEquals(await linesOf(folder.write("a.csv.gz", gzipSync(packed))), expected);
  assertEquals(
    await linesOf(folder.write("b.gz", Uint8Array.from(members.flatMap((member) => [...member])))),
    expected,
  );
  assertEquals(await linesOf(folder.write("a.csv.zst", zstdCompressSync(packed))), expected);
  for (
    const [from, to] of [["a.csv", "b.bbt"], ["b.bbt", "c.jsonl"], ["c.jsonl", "d.bbt"], ["d.bbt", "e.csv"]] as const
  ) {
    await using trace = await openTrace(`${folder.path}/${from}`);
    const written = await writeTrace(trace, `${folder.path}/${to}`, { flags: trace.flags });
    assertEquals(written.accesses, 6);
    assertEquals(await linesOf(`${folder.path}/${to}`), expected);
  }
  assertEquals(await Deno.readFile(`${folder.path}/b.bbt`), await Deno.readFile(`${folder.path}/d.bbt`));
  assertEquals(
    await linesOf(folder.write("f.bbt.gz", gzipSync(await Deno.readFile(`${folder.path}/b.bbt`)))),
    expected,
  );
  // An allocation and its size are never torn apart, however small the batch.
  for (const capacity of [2, 3, 4, 5]) assertEquals(await linesOf(`${folder.path}/b.bbt`, capacity), expected);
});

Deno.test("any batch of entries survives the binary form, exactly", async () => {
  await using folder = new Folder();
  const entry = fc.record({
    gap: fc.oneof(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 2 ** 32, max: 2 ** 40 })),
    host: fc.integer({ min: 0, max: 31 }),
    thread: fc.integer({ min: 0, max: 4095 }),
    op: fc.constantFrom(Op.Read, Op.Write, Op.Atomic | 0x80, Op.Prefetch, Op.Flush, Op.Invalidate, Op.Free),
    address: fc.integer({ min: 0, max: 2 ** 52 - 1 }),
    bytes: fc.integer({ min: 1, max: 65535 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 40 }), async (entries) => {
      const batch = new AccessBatch(Math.max(1, entries.length));
      let time = 0;
      for (const { gap, host, thread, op, address, bytes } of entries) {
        batch.append(time += gap, host, thread, op, address, bytes);
      }
      const path = `${folder.path}/x.bbt`;
      await writeTrace(new BatchSource([batch]), path);
      const expected = Array.from(
        { length: batch.count },
        (_, i) =>
          [batch.time[i], batch.host[i], batch.thread[i], batch.op[i], batch.address[i], batch.bytes[i]].join(" "),
      );
      assertEquals(await linesOf(path, 7), expected);
    }),
    { numRuns: 50, seed: 14 },
  );
});

Deno.test("hosts that are not merged in a text are merged: by time, host, line; the file's order does not matter", async () => {
  await using folder = new Folder();
  const a = ["0,0,R,1", "5,0,R,2", "5,0,R,3", "9,0,R,4"];
  const b = ["0,1,R,5", "5,1,R,6", "7,1,R,7"];
  const merged = await linesOf(folder.write("m.csv", [a[0], b[0], a[1], a[2], b[1], b[2], a[3]].join("\n")));
  assertEquals(merged.map((line) => line.split(" ")[4]), ["1", "5", "2", "3", "6", "7", "4"]);
  assertEquals(await linesOf(folder.write("n.csv", [...a, ...b].join("\n"))), merged);
  assertEquals(await linesOf(folder.write("o.csv", [...b, ...a].join("\n"))), merged);
});

Deno.test("a binary trace that says it is not merged is ordered; one that does not say so is refused", async () => {
  await using folder = new Folder();
  const batch = new AccessBatch();
  batch.append(10240, 0, 0, Op.Read, 64, 8);
  batch.append(0, 0, 1, Op.Read, 128, 8);
  const encoder = new BinaryEncoder();
  const records = encoder.encode(batch);
  const file = (flags: number): Uint8Array => Uint8Array.from([...encodeHeader(encoder.header(flags)), ...records]);
  assertEquals((await linesOf(folder.write("u.bbt", file(FLAG_UNMERGED)))).map((line) => line.split(" ")[4]), [
    "128",
    "64",
  ]);
  assertStringIncludes((await refused(folder.write("v.bbt", file(0)))).message, "are not merged by time");
});

Deno.test("cut, foreign, unfinished and damaged binary traces are named", async () => {
  await using folder = new Folder();
  const batch = new AccessBatch();
  for (let i = 0; i < 10; i++) batch.append(i, 0, 0, Op.Read, i * 64, 8);
  const encoder = new BinaryEncoder();
  const records = encoder.encode(batch);
  const whole = Uint8Array.from([...encodeHeader(encoder.header()), ...records]);
  const unfinished = Uint8Array.from([...encodeHeader({ ...encoder.header(), records: UNFINISHED }), ...records]);
  const badOp = whole.slice();
  badOp[32 + 16 * 3 + 12] = 99;
  const version = whole.slice();
  version[8] = 9;
  const torn = whole.slice();
  torn[32 + 16 * 9 + 12] = Op.Allocate;
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["cut at a record", whole.slice(0, -16), "9 records, and its header says 10"],
    ["cut in a record", whole.slice(0, -5), "ends in 11 bytes of a record after record 9"],
    ["cut in the header", whole.slice(0, 20), "20 bytes, where the header of a binary trace has 32"],
    ["longer than it says", Uint8Array.from([...whole, ...whole.slice(-16)]), "more than the 10 records"],
    ["unfinished", unfinished, "its recorder did not finish"],
    ["an unknown op", badOp, "record 3: op 99"],
    ["another version", version, "version 9"],
    ["an allocation without its size", torn, "ends in an allocation without its size"],
    [
      "foreign",
      Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 0, 0, ...new Uint8Array(100)]),
      "does not begin with BBTRACE1",
    ],
  ];
  for (const [what, bytes, part] of cases) {
    const error = await refused(folder.write("x.bbt", bytes));
    assertEquals([what, error.code], [what, "malformed"]);
    assertStringIncludes(error.message, part, what);
  }
});

Deno.test("packed files: damage, a cut, and more than the limit are told; a folder, no file, no such form too", async () => {
  await using folder = new Folder();
  const bomb = gzipSync(new TextEncoder().encode("#\n".repeat(1 << 21)));
  assert(bomb.length < 1 << 16);
  const cases: readonly (readonly [string, Uint8Array | null, object, string, string])[] = [
    ["bomb.gz", bomb, { limitBytes: 1 << 20 }, "out-of-range", "more than 1 MiB come out of it"],
    ["cut.gz", gzipSync(new TextEncoder().encode(CSV_TEXT)).subarray(0, 30), {}, "malformed", "cannot be unpacked"],
    ["bad.zst", new TextEncoder().encode(CSV_TEXT), {}, "malformed", "cannot be unpacked"],
    ["absent.csv", null, {}, "absent", "no such file"],
    ["x.csv", new TextEncoder().encode(CSV_TEXT), { format: "nonsense" }, "usage", "'nonsense' is no form"],
  ];
  for (const [name, bytes, options, code, part] of cases) {
    const path = bytes === null ? `${folder.path}/${name}` : folder.write(name, bytes);
    const error = await refused(path, options);
    assertEquals(error.code, code, error.message);
    assertStringIncludes(error.message, part);
  }
  assertStringIncludes((await refused(folder.path)).message, "is a directory");
});

Deno.test("an empty file and one of comments are traces without accesses", async () => {
  await using folder = new Folder();
  assertEquals(await linesOf(folder.write("a", "")), []);
  assertEquals(await linesOf(folder.write("b", "# nothing\n\n")), []);
});

Deno.test("check tells all mistakes of a text, and that a good file has none", async () => {
  await using folder = new Folder();
  assertEquals(await checkTrace(folder.write("a.csv", CSV_TEXT)), []);
  const problems = await checkTrace(folder.write("b.csv", "0,0,R,1\nx\n1,0,Q,1\n2,0,R,1\n"));
  assertEquals(problems.map((problem) => problem.message.split(":")[1]), ["2", "3"]);
  assertEquals((await checkTrace(folder.write("c.csv", "x\n".repeat(500)), { format: "csv" })).length, 100);
});

Deno.test("a trace that cannot be written to its end leaves nothing behind", async () => {
  await using folder = new Folder();
  const failing = {
    reads: 0,
    read(batch: AccessBatch): number {
      if (this.reads++ > 0) throw new BusbarError("malformed", "broken in the middle");
      batch.count = 0;
      batch.append(0, 0, 0, Op.Read, 0, 64);
      return 1;
    },
  };
  await assertRejects(() => writeTrace(failing, `${folder.path}/x.bbt`), BusbarError, "broken in the middle");
  await assertRejects(() => writeTrace(failing, `${folder.path}/x.csv.gz`), BusbarError, "written unpacked");
  await assertRejects(() => writeTrace(failing, `${folder.path}/x.abc`), BusbarError, "tells no form");
  await assertRejects(
    () => writeTrace(failing, "-", { format: "binary" }),
    BusbarError,
    "cannot go to standard output",
  );
  assertEquals(folder.names(), []);
  // /dev/full lets itself be opened and has no room: its folder takes no temporary file, so the link is made by hand.
  const error = await assertRejects(() => writeTrace(new BatchSource([]), "/dev/full/x.bbt"), BusbarError);
  assert(error.exitStatus > 0);
});

Deno.test("merging threads: the order by time and thread, as a sort of all records gives it", async () => {
  await using folder = new Folder();
  const stream = fc.array(fc.record({ gap: fc.nat(5), address: fc.nat(1 << 20), wait: fc.boolean() }), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(stream, { minLength: 1, maxLength: 6 }), async (streams) => {
      const expected: (readonly [time: number, thread: number, address: number])[] = [];
      const paths = streams.map((steps, thread) => {
        const batch = new AccessBatch(Math.max(1, steps.length));
        let time = 0;
        for (const { gap, address, wait } of steps) {
          time += gap + (wait ? 2 ** 33 : 0);
          batch.append(time, 0, thread, Op.Read, address, 8);
          expected.push([time, thread, address]);
        }
        const encoder = new BinaryEncoder();
        const records = encoder.encode(batch);
        return folder.write(`t.${thread}`, Uint8Array.from([...encodeHeader(encoder.header()), ...records]));
      });
      expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      mergeTraces(paths, `${folder.path}/merged.bbt`);
      assertEquals(
        await linesOf(`${folder.path}/merged.bbt`),
        expected.map(([time, thread, address]) => [time, 0, thread, Op.Read, address, 8].join(" ")),
      );
    }),
    { numRuns: 40, seed: 14 },
  );
});
