/**
 * `nvme_io` as its users run it: a drive in a file, written by one process and read by another.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { noise } from "./nvme_device.ts";
import { type BadInput, badInputIsExplained, runTool, toolArgs, type ToolResult } from "./tool.ts";

function io(...args: string[]): Promise<ToolResult> {
  return runTool("nvme_io", args);
}

let folder = "";
Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** A drive that outlives its process. */
function drive(name: string, settings: string = ""): string {
  return `soft:nvme?file=${folder}/${name}&size=8MiB${settings}`;
}

let schema: unknown = null;
async function fitsSchema(document: unknown): Promise<void> {
  schema ??= JSON.parse((await io("--json-schema")).stdout);
  assertEquals(schemaErrors(schema, document), "");
}

for (const settings of ["", "&lba=4096", "&ms=8&pi=1", "&lba=4096&ms=64&ext=1&pi=2", "&mdts=1"]) {
  Deno.test(`a pattern that one run wrote is verified by the next, and a wrong block is named (${settings})`, async () => {
    const device = drive(`pattern${settings.length}`, settings);
    const write = await io(device, "write", "--pattern", "7", "--write", "--json");
    assertEquals([write.code, write.stderr], [0, ""] as unknown[]);
    const written = JSON.parse(write.stdout);
    await fitsSchema(written);
    assertEquals(written.bytes, String(8 << 20));
    const verify = await io(device, "verify", "--pattern", "7", "--json");
    assertEquals(verify.code, 0, verify.stderr);
    await fitsSchema(JSON.parse(verify.stdout));
    const spoil = await io(device, "write", "--pattern", "8", "--lba", "100", "--blocks", "1", "--write");
    assertEquals(spoil.code, 0, spoil.stderr);
    const found = await io(device, "verify", "--pattern", "7", "--json");
    assertEquals(found.code, 1);
    const document = JSON.parse(found.stdout);
    await fitsSchema(document);
    assertEquals(document.mismatch.lba, "100");
  });
}

Deno.test("what is written from a file is read back byte for byte, and the drive's file holds it", async () => {
  const device = drive("data");
  const data = noise(3 << 20, 1);
  await Deno.writeFile(`${folder}/in`, data);
  const write = await io(
    device,
    "write",
    "--input",
    `${folder}/in`,
    "--lba",
    "16",
    "--write",
    "--depth",
    "8",
    "--queues",
    "2",
  );
  assertEquals(write.code, 0, write.stderr);
  const blocks = String(data.length / 512);
  const read = await io(device, "read", "--lba", "16", "--blocks", blocks, "--output", `${folder}/out`);
  assertEquals(read.code, 0, read.stderr);
  assertEquals(await Deno.readFile(`${folder}/out`), data);
  assertEquals((await Deno.readFile(`${folder}/data`)).subarray(16 * 512, 16 * 512 + data.length), data);
});

Deno.test("bench counts, and its histogram's sum is the number of transfers", async () => {
  const { code, stdout } = await io(drive("bench"), "bench", "--duration", "200ms", "--random", "3", "--json");
  assertEquals(code, 0);
  const document = JSON.parse(stdout);
  await fitsSchema(document);
  assert(document.transfers > 100);
  assertEquals(document.bytes, String(document.transfers * 4096));
});

Deno.test("a namespace with a partition table is only written with the drive's serial number", async () => {
  const device = drive("partitioned", "&serial=RIGHT");
  const image = new Uint8Array(8 << 20);
  image.set([0x55, 0xaa], 510);
  image.set(new TextEncoder().encode("EFI PART"), 512);
  await Deno.writeFile(`${folder}/partitioned`, image);
  const refused = await io(device, "write", "--pattern", "1", "--write");
  assertEquals(refused.code, 3);
  assertStringIncludes(refused.stderr, "GPT");
  assertEquals(await Deno.readFile(`${folder}/partitioned`), image);
  const wrong = await io(device, "write", "--pattern", "1", "--write", "--erase", "WRONG");
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.stderr, "RIGHT");
  assertEquals((await io(device, "write", "--pattern", "1", "--write", "--erase", "RIGHT")).code, 0);
  await Deno.writeFile(`${folder}/partitioned`, image);
  const formerName = await io(device, "write", "--pattern", "1", "--write", "--overwrite", "RIGHT");
  assertEquals(formerName.code, 0);
  assertStringIncludes(formerName.stderr, "--overwrite is called --erase now");
});

Deno.test("a media error in the middle ends the run with the NVMe status and exit status 1", async () => {
  const fault = encodeURIComponent("status=0x281,opcode=2,lba=5000");
  const { code, stdout, stderr } = await io(`soft:nvme?fault=${fault}`, "verify", "--pattern", "1", "--json");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "Unrecovered Read Error");
  const document = JSON.parse(stdout);
  await fitsSchema(document);
  assertEquals(document.error.code, "device-failed");
});

Deno.test("--output - is standard output, in the order of the blocks, and makes no file", async () => {
  const device = drive("stream");
  const data = noise(2 << 20, 4);
  await Deno.writeFile(`${folder}/stream.in`, data);
  assertEquals((await io(device, "write", "--input", `${folder}/stream.in`, "--write")).code, 0);
  const args = toolArgs("nvme_io", [device, "read", "--output", "-", "--blocks", "4096", "--queues", "2"]);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: folder }).output();
  assertEquals([code, stdout], [0, data]);
  assertStringIncludes(new TextDecoder().decode(stderr), "read: 16 × 128 KiB");
  assert(!(await Array.fromAsync(Deno.readDir(folder))).some(({ name }) => name === "-"));
});

Deno.test("a transfer is printed with its own size, and only percentiles that its samples give", async () => {
  const one = await io("soft:nvme", "read", "--blocks", "64");
  assertStringIncludes(one.stdout, "read: 1 × 32 KiB in ");
  assertStringIncludes(one.stdout, "1 transfer: 50 % needs 2");
  const shorter = await io("soft:nvme", "read", "--blocks", "300", "--json");
  assertEquals(JSON.parse(shorter.stdout).latencyUs.percentiles["99"], null);
  const text = (await io("soft:nvme", "verify", "--blocks", "300")).stdout;
  assertStringIncludes(text, "verify: 150 KiB in 2 transfers of at most 128 KiB");
});

Deno.test("a depth that nobody asked for is lowered to what the queues take, and said", async () => {
  const { code, stdout, stderr } = await io("soft:nvme?mqes=7", "bench", "--duration", "50ms");
  assertEquals(code, 0);
  assertStringIncludes(stderr, "7 transfers in flight, not 32");
  assertStringIncludes(stdout, "(depth 7, 1 queue)");
});

Deno.test("phases on two drives at once: what is written is verified, rates are kept, and each second has its row", async () => {
  const [one, two] = [drive("first", "&serial=ONE"), drive("second", "&serial=TWO")];
  await Deno.writeTextFile(
    `${folder}/job.yaml`,
    `
drives: ["${one}", "${two}"]
global: { iodepth: 8 }
phases:
  - { name: fill, rw: write, bs: 64KiB, pattern: 7 }
  - { name: check, rw: randread, bs: 4KiB, pattern: 7, number_ios: 500, random_distribution: "zipf:0.8" }
  - { name: calm, rw: randread, bs: 4KiB, rate_iops: 200, duration: 500ms, queues: 2, threads: true }
`,
  );
  const job = [one, "bench", "--job", `${folder}/job.yaml`, "--json"];
  const refused = await io(...job);
  assertEquals(refused.code, 2);
  assertStringIncludes(refused.stderr, "would write to the drive");
  const files = ["--timeline", `${folder}/time.csv`, "--interval", "100ms", "--latencies", `${folder}/all.hlog`];
  const { code, stdout, stderr } = await io(...job, "--write", ...files);
  assertEquals([code, stderr], [0, ""] as unknown[]);
  const document = JSON.parse(stdout);
  await fitsSchema(document);
  const [fill, check, calm] = document.phases;
  for (const phase of [fill, check, calm]) {
    assertEquals(phase.drives.map((each: { device: string }) => each.device), [one, two]);
  }
  for (const each of fill.drives) assertEquals(each.bytes, String(8 << 20));
  for (const each of check.drives) assertEquals([each.transfers, each.mismatch], [500, null]);
  // One more in each queue: one is due at the start.
  for (const each of calm.drives) assert(each.transfers <= each.elapsedMs / 5 + 2, `${each.transfers}`);
  const [head, ...rows] = (await Deno.readTextFile(`${folder}/time.csv`)).trimEnd().split("\n");
  assertEquals(head, "phase,drive,seconds,length_s,transfers,iops,mib_per_s");
  const counted = (phase: string): number =>
    rows.map((row) => row.split(",")).filter(([name]) => name === phase).reduce((sum, row) => sum + Number(row[4]), 0);
  assertEquals([counted("fill"), counted("check")], [256, 1000]);
  assert(rows.filter((row) => row.startsWith("calm")).length >= 4, rows.join("\n"));
  assertEquals((await Deno.readTextFile(`${folder}/all.hlog`)).match(/^Tag=/gm)?.length, 6);
});

Deno.test("with interrupts the tool moves the same data, and says how often it slept", async () => {
  const device = drive("interrupts", "&fault=latency%3D2000");
  const write = await io(
    device,
    "write",
    "--pattern",
    "3",
    "--blocks",
    "256",
    "--block-size",
    "4KiB",
    "--write",
    "--interrupts",
  );
  assertEquals(write.code, 0, write.stderr);
  const more = ["--interrupts", "--poll-first", "50", "--json"];
  const verify = await io(
    device,
    "verify",
    "--pattern",
    "3",
    "--blocks",
    "256",
    "--block-size",
    "4KiB",
    "--depth",
    "4",
    ...more,
  );
  assertEquals(verify.code, 0, verify.stderr);
  assert(JSON.parse(verify.stdout).interruptWaits >= 8, verify.stdout);
});

const BAD: readonly BadInput[] = [
  [[], 2, "usage", "which device"],
  [["soft:nvme"], 2, "usage", "which device, and what?"],
  [["soft:nvme", "scribble"], 2, "usage", "'scribble' is nothing that nvme_io does"],
  [["zz", "read"], 2, "usage", "'zz' names no device"],
  [["soft:nvme", "write", "--pattern", "1"], 2, "usage", "would write to the drive"],
  [["soft:nvme", "bench", "--read-share", "0.5"], 2, "usage", "would write to the drive"],
  [["soft:nvme", "bench", "--read-share", "2"], 2, "usage", "'2'"],
  [["soft:nvme", "read", "--namespace", "9"], 3, "absent", "9"],
  [["soft:nvme", "read", "--lba", "131072"], 2, "out-of-range", "131072"],
  [["soft:nvme", "read", "--blocks", "0"], 2, "out-of-range", "0 blocks"],
  [["soft:nvme", "read", "--lba", "-1"], 2, "usage", "-1"],
  [["soft:nvme", "read", "--depth", "0"], 2, "usage", "0"],
  [["soft:nvme?queues=1", "read", "--queues", "2"], 2, "usage", "2 queues were asked for, and the controller has 1"],
  [["soft:nvme", "read", "--queues", "65"], 2, "usage", "65"],
  [["soft:nvme", "read", "--block-size", "5x"], 2, "usage", "5x"],
  [
    ["soft:nvme", "bench", "--block-size", "1000"],
    2,
    "usage",
    "transfers of 1000 bytes: the namespace has blocks of 512 bytes",
  ],
  [["soft:nvme?lba=4096", "read", "--block-size", "512"], 2, "usage", "blocks of 4096 bytes"],
  [["soft:nvme?mdts=1", "read", "--block-size", "64KiB"], 2, "usage", "it takes at most 8 KiB at once"],
  [["soft:nvme?queues=4", "bench", "--queues", "64"], 2, "usage", "64 queues were asked for, and the controller has 4"],
  [["soft:nvme?mqes=7", "bench", "--depth", "32"], 2, "usage", "its queue takes at most 7"],
  [["soft:nvme", "read", "--depth", "1", "--queues", "2"], 2, "usage", "each takes at least one"],
  [["soft:nvme", "read", "--pattern", "1"], 2, "usage", "--pattern has no effect here"],
  [["soft:nvme", "verify", "--duration", "1"], 2, "usage", "--duration has no effect here"],
  [["soft:nvme", "read", "--input", "x"], 2, "usage", "--input has no effect here"],
  [["soft:nvme", "bench", "--output", "x"], 2, "usage", "--output has no effect here"],
  [["soft:nvme", "read", "--output", "x", "--random"], 2, "usage", "--random has no effect here"],
  [
    ["soft:nvme?nn=8", "read", "--namespace", "9"],
    2,
    "out-of-range",
    "there can be no namespace 9: its identifiers end at 8",
  ],
  [["soft:nvme", "read", "--output", "/nonexistent/x"], 3, "absent", "/nonexistent/x"],
  [["soft:nvme", "write", "--input", "/nonexistent", "--write"], 3, "absent", "/nonexistent"],
  [["soft:nvme", "bench", "--zipf", "0.9"], 2, "usage", "--zipf has no effect here"],
  [["soft:nvme", "bench", "--random", "--zipf", "1"], 2, "usage", "'1' is no number between 0 and 1"],
  [["soft:nvme", "read", "--poll-first", "9"], 2, "usage", "--poll-first has no effect here"],
  [["soft:nvme", "bench", "--job", "/nonexistent", "--depth", "2"], 2, "usage", "--depth has no effect here"],
  [["soft:nvme", "bench", "--job", "/nonexistent"], 3, "absent", "/nonexistent"],
  [["ffff:ff:1f.7", "read"], 3, "absent", "no such PCI function"],
];

Deno.test("every bad input is one line, a hint and its exit status; with --json one document; never a stack", async () => {
  schema ??= JSON.parse((await io("--json-schema")).stdout);
  await badInputIsExplained("nvme_io", BAD, schema);
});

Deno.test("--timeline - writes its rows, and nothing else, to standard output while the bench runs", async () => {
  const args = ["soft:nvme", "bench", "--timeline", "-", "--interval", "50ms", "--duration", "300ms"];
  const { code, stdout, stderr } = await runTool("nvme_io", args);
  assertEquals(code, 0, stderr);
  const [head, ...rows] = stdout.trimEnd().split("\n");
  assertEquals(head, "phase,drive,seconds,length_s,transfers,iops,mib_per_s");
  assert(rows.length > 1 && rows.every((row) => row.startsWith("bench,soft:nvme,")), stdout);
  assertStringIncludes(stderr, "IOPS");
});
