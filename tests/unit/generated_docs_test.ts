/** What `deno task docs` writes, and that it says what is missing or stale. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { documentedTools, replaceSection, update } from "../../tools/manual/docs.ts";
import type { CommandDescription } from "../../tools/manual/command_description.ts";
import { optionsSection, synopsisSection } from "../../tools/manual/markdown_page.ts";

async function inFolder(files: Readonly<Record<string, string>>, test: (root: URL) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${folder}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
      await Deno.writeTextFile(`${folder}/${path}`, text);
    }
    test(new URL(`file://${folder}/`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const TOOL = "export const command = 1;\n";

Deno.test("a tool is a file that exports a command; its purpose is the first sentence of its page", () =>
  inFolder({
    "tools/probe.ts": TOOL,
    "tools/demo.ts": "const command = 1;\n",
    "docs/tools/probe.md": "# probe\n\nI want to look at a device,\nand at its neighbours.\n\nMore text.\n",
  }, (root) => {
    const problems: string[] = [];
    const purpose = "look at a device, and at its neighbours";
    assertEquals(documentedTools(problems, root), [{ name: "probe", purpose }]);
    assertEquals(problems, []);
  }));

Deno.test("a tool without a page, and a page that does not say what it is for, are problems", () =>
  inFolder({
    "tools/probe.ts": TOOL,
    "tools/scan.ts": TOOL,
    "docs/tools/scan.md": "# scan\n\nScans devices.\n",
  }, (root) => {
    const problems: string[] = [];
    assertEquals(documentedTools(problems, root), []);
    assertEquals(problems.length, 2);
    assertStringIncludes(problems[0] ?? "", "docs/tools/probe.md: the tool probe has no page");
    assertStringIncludes(problems[1] ?? "", "docs/tools/scan.md: below the title one sentence must say");
  }));

Deno.test("a stale file is named by --check and left alone, and written without it", () =>
  inFolder({ "docs/a.md": "old", "docs/b.md": "same" }, (root) => {
    const files = new Map([["docs/a.md", "new"], ["docs/b.md", "same"], ["docs/c.md", "not there yet"]]);
    assertEquals(update(files, true, root), ["docs/a.md", "docs/c.md"]);
    assertEquals(Deno.readTextFileSync(new URL("docs/a.md", root)), "old");
    assertEquals(update(files, false, root), ["docs/a.md", "docs/c.md"]);
    assertEquals(update(files, true, root), []);
  }));

Deno.test("a section is replaced between its markers only, and missing markers are a problem", () => {
  const problems: string[] = [];
  const page = "# x\n\n<!-- generated: options -->\n<<<<<<< a merge\n<!-- end -->\n\nText.\n";
  const replaced = replaceSection(page, "x.md", "options", "$& new", problems);
  assertEquals(replaced, "# x\n\n<!-- generated: options -->\n\n$& new\n\n<!-- end -->\n\nText.\n");
  assertEquals(problems, []);
  assertEquals(replaceSection("# x\n", "x.md", "options", "new", problems), "# x\n");
  assertEquals(problems.length, 1);
});

Deno.test("options and arguments become tables whose cells mean only themselves", () => {
  const probe: CommandDescription = {
    name: "probe",
    description: "Look.",
    arguments: [{ name: "device", description: "a device", required: false, variadic: true, kind: "device" }],
    options: [
      {
        names: ["-f", "--form"],
        description: "of <x> | *y*",
        value: { placeholder: "name", required: true, kind: { words: ["text", "csv"] } },
        defaultValue: "text",
      },
    ],
    commands: [],
  };
  assertEquals(synopsisSection(probe), "```text\nbusbar probe [options] [device...]\n```");
  const options = optionsSection(probe);
  assertStringIncludes(options, "| `device` | a device |");
  assertStringIncludes(options, "| `-f`, `--form <name>` | of \\<x> \\| \\*y\\* (one of text, csv; default: text) |");
});
