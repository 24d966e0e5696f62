import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { type BadInput, badInputIsExplained, runTool, toolArgs, type ToolResult } from "./tool.ts";

function dump(...args: string[]): Promise<ToolResult> {
  return runTool("dump_bar0", args);
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

let schema: unknown = null;
async function published(): Promise<unknown> {
  schema ??= JSON.parse((await dump("--json-schema")).stdout);
  return schema;
}

Deno.test("--json fits --json-schema and shows the device as it was asked for", async () => {
  const { code, stdout, stderr } = await dump("soft:nvme?serial=XYZ", "--json");
  const document = JSON.parse(stdout);
  assertEquals([code, stderr], [0, ""] as unknown[]);
  assertEquals(schemaErrors(await published(), document), "");
  assertEquals(document.device.name, "soft:nvme?serial=XYZ");
  assertEquals(document.registers.VS, {
    offset: 8,
    sizeBytes: 4,
    value: 0x10400,
    meaning: "1.4",
    fields: { TER: { value: 0 }, MNR: { value: 4 }, MJR: { value: 1 } },
    reservedBits: "0x00000000",
  });
});

Deno.test("every register of the controller is there in text, with name, offset and value", async () => {
  const { code, stdout } = await dump("soft:nvme?mqes=255");
  assertEquals(code, 0);
  assertStringIncludes(stdout, "soft:nvme?mqes=255: NVMe controller 1234:b0b0, software device");
  assertMatch(stdout, /^0x0000 {2}CAP +0x004008300f0100ff {2}Controller Capabilities$/m);
  assertMatch(stdout, /^ +MQES +255 +\[15:0\] Maximum Queue Entries Supported: 256 entries$/m);
  assertMatch(stdout, /^0x0e18 {2}PMRMSCU /m);
  assert(!stdout.includes("\x1b"), "colour codes without a terminal");
});

Deno.test("a recording shows the same again, as text and as JSON, and takes the same options", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/saved.dump`;
    const live = await dump("soft:nvme?mn=A%20B", "--save", file);
    const again = await dump(`file:${file}`);
    assertEquals([again.code, again.stdout], [0, live.stdout] as unknown[]);
    const json = await dump(`file:${file}`, "--json");
    assertEquals(json.stdout, (await dump("soft:nvme?mn=A%20B", "--json")).stdout);
    assertEquals((await dump("soft:nvme", "--diff", file)).stdout, `no register differs from ${file}\n`);
    const differs = await dump("soft:nvme?to=20", "--diff", file, "--json");
    assertEquals(differs.code, 1);
    const document = JSON.parse(differs.stdout);
    assertEquals(schemaErrors(await published(), document), "");
    assertEquals(document.changes.map((one: { register: string }) => one.register), ["CAP"]);
    const saved = await dump(`file:${file}`, "--save", `${folder}/second.dump`);
    assertEquals(saved.code, 0);
    assertEquals(await Deno.readTextFile(`${folder}/second.dump`), await Deno.readTextFile(file));
  });
});

Deno.test("bytes: runs, widths, --raw; JSON fits the schema", async () => {
  await withFolder(async (folder) => {
    const bytes = await dump("soft:nvme", "--range", "0x8+8", "--raw", `${folder}/raw`);
    assertStringIncludes(bytes.stdout, "00000008  00010400 00000000");
    assertEquals((await Deno.readFile(`${folder}/raw`)).toHex(), "0004010000000000");
    const narrow = await dump("soft:nvme", "--range", "0x8+4", "--width", "1");
    assertStringIncludes(narrow.stdout, "00000008  00 04 01 00");
    const document = JSON.parse((await dump("soft:nvme", "--hex", "--json")).stdout);
    assertEquals(schemaErrors(await published(), document), "");
    assertEquals(document.bytes.map((one: { offset: string }) => one.offset), ["0x0", "0xe00"]);
    const all = JSON.parse((await dump("soft:nvme", "--all", "--json")).stdout);
    assertEquals(all.bytes[0].hex.length, 2 * 16384);
  });
});

const BAD: readonly BadInput[] = [
  [[], 2, "usage", "which device?"],
  [["zz"], 2, "usage", "'zz' names no device"],
  [["0000:01:00.9"], 2, "usage", "is not a PCI address"],
  [["ffff:ff:1f.7"], 3, "absent", "no such PCI function"],
  [["soft:nope"], 2, "usage", "'soft:nope' is no PCI device"],
  [["soft:nvme?sise=1"], 2, "usage", "'sise'"],
  [["soft:nvme?mqes=0"], 2, "usage", "at least 1"],
  [["/dev/null"], 2, "usage", "'/dev/null' is no PCI device"],
  [["soft:nvme", "--bar", "3"], 3, "absent", "no BAR3"],
  [["soft:nvme", "--bar", "1", "--all"], 3, "absent", "upper half of the 64-bit BAR0"],
  [["soft:nvme", "--bar", "9"], 2, "usage", "'9' is no BAR"],
  [["soft:nvme", "--range", "0x3ff0+0x20"], 2, "out-of-range", "lie outside BAR0"],
  [["soft:nvme", "--range", "1+4"], 2, "out-of-range", "not aligned to 4"],
  [["soft:nvme", "--range", "5"], 2, "usage", "'5' is no range"],
  [["soft:nvme", "--range", "0+0"], 2, "usage", "is no range"],
  [["soft:nvme", "--width", "3"], 2, "usage", "'3' is no access width"],
  [["soft:nvme", "--watch", "never"], 2, "usage", "'never' is no duration"],
  [["soft:nvme", "--hex", "--watch"], 2, "usage", "--watch and --diff need NVMe registers"],
  [["soft:nvme", "--sise", "4"], 2, "usage", "unknown option '--sise'"],
  [["soft:nvme", "extra"], 2, "usage", "too many arguments"],
  [["soft:nvme", "--save", "/nonexistent/x"], 3, "absent", "/nonexistent/x: cannot write"],
  [["soft:nvme", "--diff", "/nonexistent"], 3, "absent", "/nonexistent: cannot read"],
  [["file:/nonexistent"], 3, "absent", "/nonexistent: cannot read"],
  [["file:/tmp"], 2, "usage", "/tmp: cannot read: is a directory"],
];

Deno.test("every bad input is one line, a hint and its exit status; with --json one document; never a stack", async () => {
  await badInputIsExplained("dump_bar0", BAD, await published());
});

Deno.test("of a recording that is cut short what is there is shown, the rest is not recorded; garbage is refused", async () => {
  await withFolder(async (folder) => {
    const whole = `${folder}/whole`;
    await dump("soft:nvme", "--save", whole);
    const text = await Deno.readTextFile(whole);
    // In the name of the function, in its bytes, in its files, in its registers.
    for (
      const [end, status] of [[" software", 2], ["20: ", 2], ["#region", 3], ["#data 0x0", 3], ["# end", 0]] as const
    ) {
      await Deno.writeTextFile(`${folder}/cut`, text.slice(0, text.indexOf(end)));
      const { code, stderr } = await dump(`file:${folder}/cut`);
      assertEquals(code, status, `${end}: ${stderr}`);
      assertStringIncludes(stderr, `dump_bar0: ${folder}/cut, line `);
    }
    await Deno.writeFile(`${folder}/garbage`, crypto.getRandomValues(new Uint8Array(5000)));
    assertEquals((await dump(`file:${folder}/garbage`)).code, 2);
  });
});

Deno.test("--watch shows nothing while nothing changes, ends at --timeout, and is JSON Lines with --json", async () => {
  const { code, stdout } = await dump("soft:nvme", "--watch", "20ms", "--timeout", "200ms", "--json");
  assertEquals(code, 0);
  const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.map((line) => line.schema), ["dump_bar0/1"]);
});

async function interrupt(signal: Deno.Signal): Promise<{ code: number; milliseconds: number }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs("dump_bar0", ["soft:nvme", "--watch", "30s"]),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const started = performance.now();
  child.kill(signal);
  const { code } = await child.status;
  const milliseconds = performance.now() - started;
  while (!(await reader.read()).done);
  return { code, milliseconds };
}

Deno.test("SIGINT, SIGTERM and SIGHUP end a watch within 500 ms with their status", async () => {
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    const { code, milliseconds } = await interrupt(signal);
    assertEquals(code, status, signal);
    assert(milliseconds < 500, `${signal}: ${milliseconds} ms`);
  }
});

Deno.test("a reader that closes the pipe ends the tool quietly with 0", async () => {
  const command = [Deno.execPath(), ...toolArgs("dump_bar0", ["soft:nvme"])].join(" ");
  // The pipe is closed before the tool writes to it.
  const script = `{ sleep 0.3; ${command}; echo "status $?" >&2; } | true`;
  const output = await new Deno.Command("bash", { args: ["-c", script] }).output();
  assertEquals(new TextDecoder().decode(output.stderr), "status 0\n");
});

Deno.test("--help tells the options and ends with 0", async () => {
  const { code, stdout } = await dump("--help");
  assertEquals(code, 0);
  for (const option of ["--range", "--save", "--diff", "--watch", "--enable-memory", "--json-schema"]) {
    assertStringIncludes(stdout, option);
  }
});
