import { assert, assertEquals, assertRejects } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import {
  Chase,
  MIXED_PIECE_BYTES,
  MixedStream,
  PersistentWriter,
  prepareTable,
  Stream,
  STREAM_KINDS,
  tableErrors,
  UpdateStream,
} from "../../ffi/membench.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { HotSet, MemoryPart, StreamKind } from "../../src/core/memory_loops.ts";
import { MemoryBackend } from "../../src/memory/backend.ts";
import { BENCHMARKS, benchMemory, countSteps } from "../../src/memory/membench.ts";
import { nextInStream, startOfStream } from "../../src/memory/random_stream.ts";
import { schemaErrors } from "../unit/schema.ts";
import { withLibraries } from "./setup.ts";
import { runTool, toolArgs } from "./tool.ts";

withLibraries();
Deno.test.beforeAll(async () => {
  using mapping = Mapping.anonymous(4096);
  await prepareTable({ memory: mapping, offset: 0, sizeBytes: 4096 });
});
Deno.test.afterAll(closeAll);

function part(mapping: Mapping, offset = 0, sizeBytes = mapping.sizeBytes - offset): MemoryPart {
  return { memory: mapping, offset, sizeBytes };
}

Deno.test("a pointer chase is one cycle through every slot, in an order that is no pattern", async () => {
  for (const [slots, stride] of [[2, 8], [3, 64], [1024, 256], [4097, 16]] as const) {
    using mapping = Mapping.anonymous(slots * stride);
    await Chase.prepare(part(mapping), stride, 7n, () => {});
    const words = new BigUint64Array(mapping.bytes().buffer);
    const base = BigInt(Deno.UnsafePointer.value(mapping.pointer));
    const seen = new Set<bigint>();
    let forward = 0;
    for (let at = base; !seen.has(at);) {
      seen.add(at);
      const next = words[Number(at - base) / 8] ?? 0n;
      if (next === at + BigInt(stride)) forward++;
      at = next;
    }
    assertEquals(seen.size, slots);
    if (slots > 1000) assert(forward < slots / 50, `${forward} of ${slots} hops go to the neighbour`);
  }
});

Deno.test("following it takes time, counts hops, and stays within the memory", async () => {
  using mapping = Mapping.anonymous(1 << 16);
  const chase = await Chase.prepare(part(mapping), 64, 1n, () => {});
  const [one, two] = [await chase.slice(-1), await chase.slice(0)];
  for (const slice of [one, two]) {
    assert(
      slice.count > 0 && slice.nanoseconds >= 100e6 && slice.cpuNanoseconds <= 1.1 * slice.nanoseconds,
      JSON.stringify(slice),
    );
  }
});

Deno.test("streams: a copy copies everything, a write writes everything, a read changes nothing", async () => {
  using mapping = Mapping.anonymous(1 << 20);
  const half = 1 << 19;
  const [to, from] = [part(mapping, 0, half), part(mapping, half)];
  for (const kind of Object.keys(STREAM_KINDS) as StreamKind[]) {
    const bytes = mapping.bytes();
    bytes.fill(1, 0, half);
    for (let i = half; i < bytes.length; i++) bytes[i] = i * 7 + (i >> 8);
    const slice = await new Stream(kind, to, from).slice(-1);
    assert(slice.count >= half, "at least once around");
    const [target, source] = [bytes.subarray(0, half), bytes.subarray(half)];
    assert(
      source.every((byte, i) => byte === ((i + half) * 7 + ((i + half) >> 8) & 0xff)),
      `${kind} changed what it reads`,
    );
    if (kind.startsWith("copy")) assert(target.every((byte, i) => byte === source[i]), kind);
    if (kind.startsWith("write")) assert(target.every((byte) => byte === 0x5a || byte === 0xa5), kind);
    if (kind === "read") assert(target.every((byte) => byte === 1), kind);
  }
});

Deno.test("a stream that holds back moves less", async () => {
  using mapping = Mapping.anonymous(1 << 20);
  const stream = new Stream("read", part(mapping));
  const [free, held] = [await stream.slice(-1), await stream.slice(-1, 1000)];
  assert(held.count < free.count / 4, `${held.count} and ${free.count}`);
});

Deno.test("a mixed stream writes its share of the pieces, spread evenly, and leaves the others as they are", async () => {
  const pieces = 300;
  using mapping = Mapping.anonymous(pieces * MIXED_PIECE_BYTES);
  for (const percent of [100, 67, 50, 1, 0]) {
    const bytes = mapping.bytes().fill(1);
    const slice = await new MixedStream(part(mapping), percent).slice(-1);
    assert(slice.count >= mapping.sizeBytes, "at least once around");
    const isRead = Array.from({ length: pieces }, (_, i) => {
      const piece = bytes.subarray(i * MIXED_PIECE_BYTES, (i + 1) * MIXED_PIECE_BYTES);
      const read = piece.every((byte) => byte === 1);
      assert(
        read || piece.every((byte) => byte === 0x5a || byte === 0xa5),
        `piece ${i} is written whole or not at all`,
      );
      return read;
    });
    for (const from of [0, 100, 200]) {
      assertEquals(isRead.slice(from, from + 100).filter((read) => read).length, percent, "of any 100 pieces");
    }
  }
  await assertRejects(() => new MixedStream(part(mapping, 0, 512), 50).slice(-1), BusbarError, "EINVAL");
  await assertRejects(() => new MixedStream(part(mapping), 101).slice(-1), BusbarError, "EINVAL");
});

Deno.test("the kernel says on which node pages lie: none before they are touched, all of them after", async () => {
  using mapping = Mapping.anonymous(64 * 4096 + 1);
  assertEquals(await mapping.pageNodes(), new Map([[null, 65]]));
  mapping.bytes().fill(1);
  const nodes = await mapping.pageNodes();
  assertEquals([nodes.has(null), [...nodes.values()].reduce((sum, count) => sum + count, 0)], [false, 65]);
});

Deno.test("membench matrix measures the nodes that the kernel shows; its document fits the schema, its files are written", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const quick = ["matrix", "--size", "256KiB", "--threads", "1", "--duration", "1ms", "--reads", "100,0"];
    const files = ["--svg", `${folder}/a.svg`, "--html", `${folder}/a.html`];
    const made = await runTool("membench", [...quick, "--json", ...files]);
    const schema = JSON.parse((await runTool("membench", ["matrix", "--json-schema"])).stdout);
    const document = JSON.parse(made.stdout);
    assertEquals([made.code, schemaErrors(schema, document)], [0, ""], made.stderr);
    const online = (await Deno.readTextFile("/sys/devices/system/node/online")).trim();
    assertEquals(document.environment.nodes, online);
    for (const { latencyNs, bandwidth, reason } of document.cells) {
      assertEquals([reason, bandwidth.length], [null, 2]);
      assert(latencyNs.min > 0 && latencyNs.min <= latencyNs.median && latencyNs.median <= latencyNs.max);
    }
    for (const name of ["a.svg", "a.html"]) {
      assert((await Deno.readTextFile(`${folder}/${name}`)).includes("bandwidth, GB/s, 0 % reads"), name);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const wrong = await runTool("membench", ["matrix", "--reads", "120"]);
  assertEquals(wrong.code, 2);
  assert(wrong.stderr.includes("'120' is no share of reads"), wrong.stderr);
});

Deno.test("random updates are those of a second implementation, also from the middle of the stream", async () => {
  using mapping = Mapping.anonymous(1 << 12);
  const table = part(mapping);
  const words = 1 << 9;
  await prepareTable(table);
  const expected = Array.from({ length: words }, (_, i) => BigInt(i));
  for (const start of [0n, 12_345n]) {
    let a = startOfStream(start);
    for (let i = 0; i < 10_000; i++) {
      a = nextInStream(a);
      const index = Number(a % BigInt(words));
      expected[index] = (expected[index] ?? 0n) ^ a;
    }
    const made = await new UpdateStream(table, startOfStream(start), null).slice(10_000, -1);
    assertEquals(made.count, 10_000);
  }
  assertEquals([...new BigUint64Array(mapping.bytes().buffer)], expected);
  assert(await tableErrors(table) > words / 2);
  for (const start of [0n, 12_345n]) await new UpdateStream(table, startOfStream(start), null).slice(10_000, -1);
  assertEquals(await tableErrors(table), 0);
});

Deno.test("a hot set gets its share of the updates, and they undo themselves as well", async () => {
  using mapping = Mapping.anonymous(1 << 20);
  const table = part(mapping);
  const words = 1 << 17;
  const hot: HotSet = { startWord: 0, words: words / 8, share: 0.9 };
  await prepareTable(table);
  const updates = 4000;
  await new UpdateStream(table, startOfStream(99n), hot).slice(updates, -1);
  const changed = [...new BigUint64Array(mapping.bytes().buffer).entries()].filter(([i, word]) => word !== BigInt(i));
  const inside = changed.filter(([i]) => i < words / 8).length / changed.length;
  // 0.9 and an eighth of the rest, less what fell on the same word twice: about 0.904.
  assert(inside > 0.88 && inside < 0.94, `${inside}`);
  await new UpdateStream(table, startOfStream(99n), hot).slice(updates, -1);
  assertEquals(await tableErrors(table), 0);
});

Deno.test("durable writes write every block, with each way of making it permanent", async () => {
  const path = await Deno.makeTempFile();
  await Deno.truncate(path, 16_384);
  try {
    for (const how of ["none", "cache flush", "msync"] as const) {
      using mapping = Mapping.file(path, 16_384, { writable: true });
      mapping.bytes().fill(0);
      const slice = await new PersistentWriter(part(mapping), 4096, how).slice(-1);
      assert(slice.count >= 4, `${how}: ${slice.count}`);
      assert((await Deno.readFile(path)).every((byte) => byte !== 0), how);
    }
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("what would reach outside the memory is refused before C is called", async () => {
  using mapping = Mapping.anonymous(8192);
  const outside = { memory: mapping, offset: 4096, sizeBytes: 8192 };
  await assertRejects(() => new Stream("read", outside).slice(-1), BusbarError, "outside");
  await assertRejects(() => Chase.prepare(outside, 64, 1n, () => {}), BusbarError, "outside");
  await assertRejects(() => new Stream("write", part(mapping, 8, 64)).slice(-1), BusbarError, "EINVAL");
  await assertRejects(() => new Stream("read", part(mapping)).slice(4000), BusbarError, "processor 4000 is offline");
  await assertRejects(
    () => new UpdateStream(part(mapping, 0, 24), 1n, null).slice(1, -1),
    BusbarError,
    "EINVAL",
  );
});

const QUICK = {
  benchmarks: BENCHMARKS,
  durationMs: 1,
  strideBytes: 256,
  threads: 2,
  cpus: [0],
  blockBytes: 4096,
  hot: { tableShare: 0.1, updateShare: 0.9 },
} as const;

Deno.test("a whole run: every number is there, above zero, and each step is announced", async () => {
  using backend = MemoryBackend.open({ backend: "anonymous", sizeBytes: 1n << 20n });
  const steps: string[] = [];
  const result = await benchMemory(backend, { ...QUICK, onStep: (what) => steps.push(what) });
  assertEquals(steps.length, countSteps(1 << 20, QUICK));
  assertEquals(result.latency?.map(({ workingSetBytes }) => workingSetBytes), [1 << 14, 1 << 16, 1 << 18, 1 << 20]);
  assert(result.latency?.every(({ medianNs, bestNs }) => bestNs > 0 && bestNs <= medianNs));
  assertEquals(Object.keys(result.bandwidth ?? {}), Object.keys(STREAM_KINDS));
  assert(Object.values(result.bandwidth ?? {}).every(({ perSecond, samples }) => perSecond > 1e6 && samples >= 3));
  assert((result.durable?.perSecond ?? 0) > 0);
  assertEquals([result.gups?.words, (result.gups?.errors ?? -1) <= 1311], [1 << 17, true]);
  assert((result.loaded?.[0]?.bytesPerSecond ?? 0) > (result.loaded?.at(-1)?.bytesPerSecond ?? Infinity));
});

Deno.test("an interruption ends a run, and the memory can be closed after it", async () => {
  using backend = MemoryBackend.open({ backend: "anonymous", sizeBytes: 1n << 20n });
  const aborter = new AbortController();
  const reason = new BusbarError("interrupted", "ended");
  const run = benchMemory(backend, {
    ...QUICK,
    durationMs: 60_000,
    signal: aborter.signal,
    onStep: () => aborter.abort(reason),
  });
  assertEquals((await assertRejects(() => run, BusbarError)).code, "interrupted");
});

Deno.test("too little memory is refused", async () => {
  using backend = MemoryBackend.open({ backend: "anonymous", sizeBytes: 4096n });
  assertEquals((await assertRejects(() => benchMemory(backend, QUICK), BusbarError)).code, "out-of-range");
});

Deno.test("options that do not fit the memory are refused in words", async () => {
  using backend = MemoryBackend.open({ backend: "anonymous", sizeBytes: 1n << 16n });
  for (
    const [wrong, message] of [[{ strideBytes: 100 }, "stride"], [{ blockBytes: 100 }, "blocks"], [
      { threads: 99 },
      "threads",
    ]] as const
  ) {
    const error = await assertRejects(() => benchMemory(backend, { ...QUICK, ...wrong }), BusbarError, message);
    assertEquals(error.code, "usage");
  }
});

Deno.test("membench: the document fits its schema, a file that it made is gone, one that exists is left alone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const quick = ["--size", "128KiB", "--duration", "1ms", "--only", "latency,durable"];
    const made = await runTool("membench", [
      "anonymous",
      `mmap:${folder}/made`,
      ...quick,
      "--json",
      "--svg",
      `${folder}/a.svg`,
    ]);
    const schema = JSON.parse((await runTool("membench", ["--json-schema"])).stdout);
    const document = JSON.parse(made.stdout);
    assertEquals([made.code, schemaErrors(schema, document)], [0, ""]);
    assertEquals(document.results.map(({ kind }: { kind: string }) => kind), ["anonymous", "file"]);
    assertEquals((await Deno.readTextFile(`${folder}/a.svg`)).match(/aria-label="line"/g)?.length, 2);
    assertEquals(await Array.fromAsync(Deno.readDir(folder), ({ name }) => name), ["a.svg"]);

    await Deno.writeFile(`${folder}/mine`, new Uint8Array(1 << 17).fill(9));
    const refused = await runTool("membench", [`${folder}/mine`, ...quick]);
    assertEquals([refused.code, refused.stdout], [2, ""]);
    assert(refused.stderr.includes("--write lets it"), refused.stderr);
    using _open = await Deno.open(`${folder}/mine`);
    const busy = await runTool("membench", [`${folder}/mine`, "--write", ...quick]);
    assertEquals(busy.code, 3);
    assert(busy.stderr.includes("is in use"), busy.stderr);
    assert((await Deno.readFile(`${folder}/mine`)).every((byte) => byte === 9));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Ctrl-C in the middle ends it with 130, and the file that it made is gone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const args = toolArgs("membench", [
      `mmap:${folder}/made`,
      "--size",
      "1MiB",
      "--duration",
      "60s",
      "--only",
      "bandwidth",
    ]);
    const child = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "null" }).spawn();
    const names = async (): Promise<string[]> => await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    for (let i = 0; i < 200 && (await names()).length === 0; i++) await new Promise((done) => setTimeout(done, 50));
    assertEquals(await names(), ["made"]);
    await new Promise((done) => setTimeout(done, 300));
    child.kill("SIGINT");
    assertEquals([(await child.status).code, await names()], [130, []]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the page of a run holds machine, method, table and curves, and nothing of a name gets out of its place", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `mmap:${folder}/<b>&`;
    const html = `${folder}/a.html`;
    const args = [file, "--size", "128KiB", "--duration", "1ms", "--only", "latency,loaded", "--html", html];
    const { code, stderr } = await runTool("membench", args);
    assertEquals(code, 0, stderr);
    const page = await Deno.readTextFile(html);
    assert(page.includes("&#60;b&#62;&#38;") && !page.includes("<b>"), "the name is escaped");
    for (const part of ["one random cycle", "latency by working set", "latency under load", "</svg>"]) {
      assert(page.includes(part), part);
    }
    assert(!page.includes("NaN") && !page.includes("Infinity"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a processor that is not there is named, and the memory is not blamed", async () => {
  using mapping = Mapping.anonymous(4096);
  const stream = new Stream("read", part(mapping));
  for (const cpu of [1023, 100_000]) {
    const error = await assertRejects(() => stream.slice(cpu), BusbarError, `processor ${cpu} is offline`);
    assertEquals(error.code, "usage");
  }
  const { code, stderr } = await runTool("membench", ["anonymous", "--cpus", "0,900-901"]);
  assertEquals(code, 2);
  assert(stderr.startsWith("membench: processors 900-901 are not online: 0"), stderr);
});
