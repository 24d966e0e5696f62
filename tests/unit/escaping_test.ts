import { assert, assertEquals } from "@std/assert";
import { setColorEnabled } from "@std/fmt/colors";

import { printable, printableJson, printableLines } from "../../src/core/printable.ts";
import { sealLine } from "../../src/core/undo/journal_reader.ts";
import type { PciNames } from "../../src/pci/ids.ts";
import { columns } from "../../tools/cli/table.ts";
import { drawCharts } from "../../tools/render/chart/draw.ts";
import { escapeMarkup } from "../../tools/render/markup.ts";
import { matrixLines, treeLines } from "../../tools/render/pci/topology_text.ts";
import { pictureHtml } from "../../tools/render/pci/topology_page.ts";
import { pictureSvg } from "../../tools/render/pci/topology_picture.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { logLines } from "../../tools/render/memory/dax_config.ts";
import type { CommandDescription } from "../../tools/manual/command_description.ts";
import { bashCompletion } from "../../tools/manual/completion_bash.ts";
import { fishCompletion } from "../../tools/manual/completion_fish.ts";
import { zshCompletion } from "../../tools/manual/completion_zsh.ts";
import { toolPage } from "../../tools/manual/man_page.ts";
import { matrix, shown, topology } from "./picture_machine.ts";
import { assertHarmless, randomText } from "./hostile_text.ts";
import { Random } from "./random.ts";
import { runTool } from "../soft/tool.ts";

const COUNT = 20_000;
Deno.test("20,000 random strings through each escaping function: none arrives raw, and JSON reads back the same", () => {
  const random = new Random("escaping");
  setColorEnabled(false);
  for (let i = 0; i < COUNT; i++) {
    const text = randomText(random);
    assertHarmless(printable(text), "printable");
    assertHarmless(printableLines(text), "printableLines");
    assertHarmless(escapeMarkup(text), "escapeMarkup");
    assertHarmless(columns([[text, text], ["a", text]]).join("\n"), "columns");
    const json = printableJson(JSON.stringify({ [text]: text }));
    assertHarmless(json, "JSON");
    assertEquals(JSON.parse(json), { [text]: text });
    // deno-lint-ignore no-control-regex
    const colored = printableLines(text, true).replace(/\x1b\[\d{1,3}(;\d{1,3}){0,4}m/g, "");
    assertHarmless(colored, "printableLines with colours");
  }
});

Deno.test("20,000 random strings through the renderers of text, HTML and SVG: none arrives raw", async () => {
  const random = new Random("renderers");
  setColorEnabled(false);
  const texts = Array.from({ length: COUNT }, () => randomText(random));
  let at = 0;
  const next = (): string => texts[at++ % COUNT] ?? "";
  const names: PciNames = namesThat(next);
  // Each picture names every function and class anew: hundreds of strings in one.
  for (let round = 0; at < COUNT; round++) {
    const label = `round ${round}`;
    const kernelNames = new Map(topology.nodes.map((node) => [node.function.name, [next()]]));
    const svg = pictureSvg({ topology, shown, names, kernelNames }, matrix);
    const html = pictureHtml({ topology, shown, names, kernelNames }, matrix);
    assertHarmless(svg, `SVG, ${label}`);
    assertHarmless(html, `HTML, ${label}`);
    // The page has a script of its own.
    assertEquals(html.match(/<(?:script|img|iframe)/gi), ["<script"], `HTML, ${label}`);
    assertHarmless(printableLines(treeLines(topology, shown, names).join("\n")), `tree, ${label}`);
    assertHarmless(printableLines(matrixLines(matrix, names).join("\n")), `matrix, ${label}`);
    assertHarmless(
      printableJson(JSON.stringify(topologyJson(topology, shown, names, matrix.verdicts.flat()))),
      `JSON, ${label}`,
    );
    assertHarmless(printableLines(logLines(next(), { initialized: [], refused: [] }).join("\n")), `log, ${label}`);
    if (round % 10 === 0) {
      const chart = {
        title: next(),
        x: { title: next() },
        y: { title: next(), scale: "band" as const },
        layers: [{
          kind: "stack" as const,
          parts: [{ bar: next(), part: next(), value: 1 }, { bar: next(), part: next(), value: 2 }],
        }],
      };
      assertHarmless(await drawCharts([chart]), `chart, ${label}`);
    }
  }
});

/** A database that has another name at every look. */
function namesThat(next: () => string): PciNames {
  return { path: next(), vendor: next, device: next, class: next };
}

Deno.test("hostile words in manual pages and completions: none arrives raw", () => {
  const random = new Random("manual");
  for (let i = 0; i < 500; i++) {
    const words: CommandDescription = {
      name: "tool",
      description: randomText(random),
      arguments: [],
      options: [],
      commands: [{ name: "sub", description: randomText(random), arguments: [], options: [], commands: [] }],
    };
    assertHarmless(toolPage("busbar", words, "1"), "man page");
    for (const shell of [bashCompletion, zshCompletion, fishCompletion]) {
      assertHarmless(shell({ ...words, commands: [words] }, ["nvme"]), shell.name);
    }
  }
});

Deno.test("only tools/cli/output.ts writes to the terminal: nothing goes past the escaping", async () => {
  const root = new URL("../../", import.meta.url).pathname;
  /** Bytes that are passed through on purpose: a guest's console, a child's output, the test runner's marks. */
  const passed = [
    "tools/cli/output.ts",
    "src/memory/child_process.ts",
    "src/lab/",
    "tools/lab/terminal.ts",
    "tests/",
    "ffi/build.ts",
  ];
  const found: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(root + folder)) {
      const path = `${folder}/${name}`;
      if (isDirectory) await walk(path);
      else if (name.endsWith(".ts") && !passed.some((one) => path.startsWith(one))) {
        const code = (await Deno.readTextFile(root + path)).replace(/^\s*(\*|\/\/).*$/gm, "");
        if (/\bDeno\.std(out|err)\.(write|writable)|\bconsole\.(log|error|warn)/.test(code)) found.push(path);
      }
    }
  };
  for (const folder of ["src", "tools", "ffi"]) await walk(folder);
  assertEquals(found, []);
});

Deno.test("hostile text on its way through a tool: file names, arguments, YAML keys, recordings, journals", async () => {
  const evil = "\x1b]0;owned\x07\x9b2J\u202egnp\x1b[31m";
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/${evil}.yaml`,
      `"${evil.replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)}": 1\n`,
    );
    await Deno.mkdir(`${folder}/journals`, { mode: 0o700 });
    const lines = [
      {
        journal: 2,
        pid: 1,
        startTime: "0",
        bootId: (await Deno.readTextFile("/proc/sys/kernel/random/boot_id")).trim(),
        command: evil,
        createdAt: evil,
      },
      { state: "open", seq: 1, what: evil, probe: { kind: "text", path: `/nonexistent/${evil}` }, old: evil, undo: [] },
    ].map((line) => new TextDecoder().decode(sealLine(line))).join("");
    await Deno.writeTextFile(`${folder}/journals/1-0.jsonl`, lines, { mode: 0o600 });
    await Deno.writeTextFile(
      `${folder}/machine.txt`,
      `00:01.0 ${evil}\n00: 86 80 34 12 00 00 00 00 00 00 04 06 00 00 01 00\n` +
        Array.from({ length: 3 }, (_, i) => `${i + 1}0: ${"00 ".repeat(16)}\n`).join(""),
    );
    const env = { BUSBAR_JOURNAL_DIR: `${folder}/journals` };
    const calls = [
      ["busbar", evil],
      ["nvme_identify", evil],
      ["nvme_identify", `file:${folder}/${evil}.yaml`],
      ["nvme_identify", `--${evil}`],
      ["tiering", "apply", "--dry-run", `${folder}/${evil}.yaml`],
      ["cxl_sim", "check", `${folder}/${evil}.yaml`],
      ["dax_config", "show", "--config", `${folder}/${evil}.yaml`],
      ["pcie_topology", `file:${folder}/machine.txt`],
      ["config", `file:${folder}/machine.txt`],
      ["restore", "--dry-run"],
      ["restore", "--kept", evil],
    ];
    for (const [tool = "", ...args] of calls) {
      for (const json of tool === "busbar" ? [[]] : [[], ["--json"]]) {
        const { stdout, stderr } = await runTool(tool, [...args, ...json], env);
        const what = `${tool} ${JSON.stringify([...args, ...json])}`;
        assertHarmless(stdout, what);
        assertHarmless(stderr, what);
        assert(stdout.length + stderr.length > 0, what);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
