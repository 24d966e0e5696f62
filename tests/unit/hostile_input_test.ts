import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { parseJson, parseYaml } from "../../src/core/documents.ts";
import { readInput } from "../../src/core/input.ts";
import { runTool, toolArgs } from "../soft/tool.ts";

/** Lists of nine, each of nine of the one before: 336 bytes that stand for 9¹¹ values. */
const BOMB = [
  "a: &a [x,x,x,x,x,x,x,x,x]",
  ..."bcdefghijk".split("").map((name, i) => {
    const before = `*${"abcdefghij"[i]}`;
    return `${name}: &${name} [${Array.from({ length: 9 }, () => before).join(",")}]`;
  }),
].join("\n");
const CYCLE = "&a [*a]\n";

/** A folder with inputs that have no end, no writer, or more inside than outside. */
async function withInputs(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.symlink("/dev/zero", `${folder}/zero.yaml`);
    assert((await new Deno.Command("mkfifo", { args: [`${folder}/fifo`] }).output()).success);
    await Deno.writeTextFile(`${folder}/sparse.json`, "");
    await Deno.truncate(`${folder}/sparse.json`, 10 * 2 ** 30);
    await Deno.writeTextFile(`${folder}/bomb.yaml`, BOMB);
    await Deno.writeTextFile(`${folder}/cycle.yaml`, CYCLE);
    await Deno.writeTextFile(`${folder}/deep.yaml`, "[".repeat(100_000));
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a limit holds while reading: a device without an end, a sparse file, a pipe that nobody fills", async () => {
  await withInputs((folder) => {
    const options = { limitBytes: 1 << 20, what: "a page" };
    for (const name of ["zero.yaml", "sparse.json"]) {
      const error = assertThrows(() => readInput(`${folder}/${name}`, options), BusbarError);
      assertEquals([error.code, error.exitStatus], ["out-of-range", 2], name);
      assertStringIncludes(error.message, "more than 1 MiB are too many for a page");
    }
    const waited = assertThrows(() => readInput(`${folder}/fifo`, options), BusbarError);
    assertEquals([waited.code, waited.exitStatus], ["timeout", 3]);
    return Promise.resolve();
  });
});

Deno.test("what a pipe gives is read to its end, and a file that grows only up to the limit", async () => {
  await withInputs(async (folder) => {
    const child = new Deno.Command("sh", {
      args: ["-c", `(sleep 0.2; printf 'one '; sleep 0.2; printf two) > "$1"`, "sh", `${folder}/fifo`],
    }).spawn();
    const bytes = readInput(`${folder}/fifo`, { limitBytes: 7, what: "a page" });
    assertEquals(new TextDecoder().decode(bytes), "one two");
    await child.status;
    await Deno.writeTextFile(`${folder}/exact`, "1234567");
    assertEquals(readInput(`${folder}/exact`, { limitBytes: 7, what: "a page" }).length, 7);
    assertThrows(() => readInput(`${folder}/exact`, { limitBytes: 6, what: "a page" }), BusbarError, "more than 6 B");
  });
});

Deno.test("YAML that holds itself, stands for too much or lies too deep is an error, in time and in one short line", async () => {
  const cases = [
    [BOMB, "stands for more than"],
    [CYCLE, "an anchor holds an alias of itself"],
    ["a: &x {b: *x}", "an anchor holds an alias of itself"],
    ["[".repeat(100_000), "nested too deeply"],
    ["{a: ".repeat(250) + "1" + "}".repeat(250), "deep"],
    [`? ${"y".repeat(10_000)}\n: [`, ""],
  ] as const;
  for (const [text, part] of cases) {
    const began = performance.now();
    let error: unknown = null;
    try {
      await parseYaml(text, "bad.yaml");
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof BusbarError && error.code === "malformed", `${error}`);
    assertStringIncludes(error.message, part);
    assert(error.message.length < 300 && !error.message.includes("\n"), error.message);
    assert(performance.now() - began < 5000, "it takes as long as it is large inside");
  }
  assertThrows(() => parseJson("[".repeat(100_000) + "]".repeat(100_000), "bad.json"), BusbarError);
  assertEquals(await parseYaml("a: &x {b: 1}\nc: *x\nd: [*x, *x]", "good.yaml"), {
    a: { b: 1 },
    c: { b: 1 },
    d: [{ b: 1 }, { b: 1 }],
  });
});

Deno.test("no tool hangs on, dies of or prints a stack for an input without an end or with too much inside", async () => {
  await withInputs(async (folder) => {
    const yaml = ["zero.yaml", "sparse.json", "bomb.yaml", "cycle.yaml", "deep.yaml"];
    const tools: readonly (readonly [string, readonly string[], string, readonly string[]])[] = [
      ["tiering", ["apply", "--dry-run"], "", yaml],
      ["tiering", ["experiment"], "", ["bomb.yaml", "cycle.yaml"]],
      ["dax_config", ["show", "--config"], "", yaml],
      ["dax_config", ["check", "--log"], "", ["zero.yaml", "sparse.json"]],
      ["cxl_sim", ["check"], "", yaml],
      ["lab", ["run", "--machine"], "", ["bomb.yaml", "cycle.yaml"]],
      ["pcie_topology", [], "file:", ["zero.yaml", "sparse.json", "fifo"]],
      ["nvme_identify", [], "file:", ["zero.yaml", "sparse.json"]],
      ["soft_cuda", ["ptx"], "", ["zero.yaml", "sparse.json"]],
    ];
    for (const [tool, args, prefix, names] of tools) {
      for (const name of names) {
        const { code, stderr } = await runTool(tool, [...args, `${prefix}${folder}/${name}`]);
        const what = `${tool} ${args.join(" ")} ${name}: ${stderr.slice(0, 500)}`;
        assert(code === 2 || code === 3, `status ${code}: ${what}`);
        assert(stderr.length < 1500 && !/\n\s+at /.test(stderr), what);
      }
    }
  });
});

Deno.test("a full disk is status 3 and one line, with and without --json, also for help", async () => {
  const calls = [
    ["nvme_identify", "soft:nvme"],
    ["nvme_identify", "soft:nvme", "--json"],
    ["pcie_topology"],
    ["pcie_topology", "--json"],
    ["numa_stats", "--json"],
    ["restore"],
    ["completion", "bash"],
    ["man", "restore"],
    ["nvme_identify", "--help"],
    ["busbar", "--help"],
    ["nvme_identify", "--json-schema"],
  ];
  for (const [tool = "", ...args] of calls) {
    const script = 'exec "$@" > /dev/full';
    const { code, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, "sh", Deno.execPath(), ...toolArgs(tool, args)],
    }).output();
    const text = new TextDecoder().decode(stderr).replace(/^busbar: building .*\n/gm, "");
    assertEquals(code, 3, `${tool} ${args.join(" ")}: ${text}`);
    // What an ordinary user may not read is noted before.
    const lines = text.trimEnd().split("\n").filter((line) => !/capabilities from 0x40 on are not known/.test(line));
    assertEquals(lines, [`${tool}: standard output: cannot write: no space left (ENOSPC)`]);
  }
});

Deno.test("a device or a pipe that output goes to keeps its name, and what it does not take is an error", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // By a link, so that a tool that replaces what it writes to takes away the link and not the device.
    const full = `${folder}/full`;
    await Deno.symlink("/dev/full", full);
    const save = ["file:docs/tools/desktop.dump", "--save", full];
    for (
      const [tool, args] of [
        ["pcie_topology", save],
        ["nvme_admin", ["telemetry", "soft:nvme", full]],
        ["cxl_sim", ["run", "--synthetic", "gups", "--csv", full]],
      ] as const
    ) {
      const { code, stderr } = await runTool(tool, args);
      assertEquals(code, 3, `${tool}: ${stderr}`);
      assertStringIncludes(stderr, "no space left");
      assertEquals(await Deno.readLink(full), "/dev/full", tool);
    }
    const file = `${folder}/file`;
    await Deno.writeTextFile(file, "old");
    await Deno.symlink(file, `${folder}/link`);
    assertEquals((await runTool("pcie_topology", [save[0] ?? "", "--save", `${folder}/link`])).code, 0);
    assertEquals(await Deno.readLink(`${folder}/link`), file);
    assertStringIncludes(await Deno.readTextFile(file), "# busbar recorded machine");
    const pipe = `${folder}/pipe`;
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    const unread = await runTool("pcie_topology", [save[0] ?? "", "--save", pipe]);
    assertEquals(unread.code, 2, unread.stderr);
    assertStringIncludes(unread.stderr, "is a pipe that nobody reads");
    const unwritten = await runTool("cxl_sim", ["run", "--trace", pipe]);
    assertEquals(unwritten.code, 3, unwritten.stderr);
    assertStringIncludes(unwritten.stderr, "nobody wrote to this pipe");
    const pictures = await runTool("cxl_sim", ["run", "--synthetic", "gups", "--svg", file]);
    assertEquals(pictures.code, 3, pictures.stderr);
    assertStringIncludes(pictures.stderr, "cannot make folder");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
