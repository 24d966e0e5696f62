/** Every Markdown page of the project, read by a CommonMark parser. */

import { assert, assertEquals } from "@std/assert";

import { TOOLS } from "../../tools/manual/catalog.ts";
import { allCommands, describeCommand } from "../../tools/manual/command_description.ts";
import { projectFiles } from "./imports.ts";
import { markdownProblems, optionProblems, type Pages } from "./markdown.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

function exists(path: string): boolean {
  try {
    Deno.statSync(`${ROOT}/${path}`);
    return true;
  } catch {
    return false;
  }
}

Deno.test("every Markdown page renders as it is meant: fences, headings, tables, links, a page for each tool", () => {
  const pages = projectFiles(ROOT, /\.md$/);
  assert(pages.size > 20);
  assertEquals(markdownProblems(pages, Object.keys(TOOLS), exists), []);
});

Deno.test("the commands in the pages type options that their tools have", async () => {
  const optionsOf = new Map<string, ReadonlySet<string>>();
  for (const [name, { load }] of Object.entries(TOOLS)) {
    const { command } = await load();
    const options = allCommands(describeCommand(command)).flatMap(([, one]) =>
      one.options.flatMap(({ names }) => names)
    );
    optionsOf.set(name, new Set(options));
  }
  assertEquals(optionProblems(projectFiles(ROOT, /\.md$/), optionsOf), []);
  const planted: Pages = new Map([[
    "docs/x.md",
    "# x\n\n`mmio 01:00.0 read VS --wide`, `lab run nvme -- nvme list --wide`\n",
  ]]);
  assertEquals(optionProblems(planted, optionsOf), ["docs/x.md: mmio has no --wide: mmio 01:00.0 read VS --wide"]);
});

Deno.test("the README and ARCHITECTURE.md stay short", () => {
  const lines = (path: string): number => Deno.readTextFileSync(`${ROOT}/${path}`).trimEnd().split("\n").length;
  assert(lines("README.md") <= 120);
  assert(lines("ARCHITECTURE.md") <= 200);
});

/** Two pages without a fault. */
const SOUND: Readonly<Record<string, string>> = {
  "README.md": [
    "# busbar",
    "",
    "See [mmio](docs/tools/mmio.md#more-uses) and [bind](docs/tools/bind.md).",
    "",
    "```console",
    "$ busbar mmio soft:nvme read VS",
    "```",
    "",
  ].join("\n"),
  "docs/tools/bind.md":
    "# bind\n\nText.\n\n## More uses\n\n| to | type |\n|---|---|\n| take it | `bind vfio 01:00.0` |\n",
  "docs/tools/mmio.md": [
    "# mmio",
    "",
    "Text.",
    "",
    "## More uses",
    "",
    "| to | type |",
    "|---|---|",
    "| wait | `mmio 01:00.0 poll CSTS 1` |",
    "",
    "## Options",
    "",
    "| option | meaning |",
    "|---|---|",
    "| `--write` | allow writing |",
    "",
  ].join("\n"),
};

function problemsOf(changed: Readonly<Record<string, string>>): string[] {
  const pages: Pages = new Map(Object.entries({ ...SOUND, ...changed }));
  return markdownProblems(pages, ["bind", "mmio"], (path) => pages.has(path));
}

/** A page of {@linkcode SOUND} with one part replaced. The part must be there. */
function replaced(path: string, part: string, by: string): Readonly<Record<string, string>> {
  const text = SOUND[path] ?? "";
  assert(text.includes(part));
  return { [path]: text.replace(part, by) };
}

const MMIO = "docs/tools/mmio.md";

/** What is planted, and what has to be said of it. */
const FAULTS: readonly (readonly [title: string, changed: Readonly<Record<string, string>>, problem: RegExp])[] = [
  ["a fence that is not closed", replaced("README.md", "VS\n```", "VS"), /README\.md:5: the fence is not closed/],
  [
    "a heading inside a code block",
    replaced("README.md", "$ busbar mmio soft:nvme read VS", "$ busbar mmio soft:nvme read VS\n\n### bind"),
    /README\.md:8: a heading inside a code block: ### bind/,
  ],
  [
    "a shell line as a heading",
    replaced(MMIO, "## Options", "# deno run -A tools/mmio.ts soft:nvme read VS"),
    /mmio\.md:11: a shell line as a heading: deno run/,
  ],
  ["a root shell line as a title", replaced(MMIO, "Text.", "# umount /mnt"), /mmio\.md:3: a shell line as a heading/],
  [
    "a second page of a tool",
    { "docs/tools/register.md": "# mmio\n\nText.\n" },
    /mmio must have exactly this page, and has docs\/tools\/mmio\.md, docs\/tools\/register\.md/,
  ],
  ["a page of no tool", { "docs/tools/old.md": "# old\n\nText.\n" }, /old\.md:1: there is no tool 'old'/],
  [
    "a table row outside a table",
    replaced(MMIO, "|---|---|\n| wait |", "\n| wait |"),
    /mmio\.md:7: a table row outside a table/,
  ],
  [
    "two tables without a blank line between them",
    replaced(MMIO, "CSTS 1` |\n\n## Options\n\n", "CSTS 1` |\n"),
    /mmio\.md:11: two tables without a blank line/,
  ],
  [
    "a second table under one heading",
    replaced(MMIO, "## Options\n\n", ""),
    /mmio\.md:11: a second table under one heading/,
  ],
  ["text glued to a table", replaced(MMIO, "CSTS 1` |\n", "CSTS 1` |\nMore.\n"), /mmio\.md:10: text glued to a table/],
  ["a row with a cell too many", replaced(MMIO, "| wait |", "| wait | a |"), /mmio\.md:9: 3 cells in a table of 2/],
  [
    "a row of another tool's table",
    replaced(MMIO, "| wait |", "| give it back | `bind restore 01:00.0` |\n| wait |"),
    /mmio\.md:9: a row of another tool's table/,
  ],
  ["a link to no file", replaced("README.md", "docs/tools/bind.md", "docs/tools/gone.md"), /the link leads nowhere/],
  ["a link to no heading", replaced("README.md", "#more-uses", "#more-users"), /there is no such heading/],
  [
    "a file that moved away",
    replaced(MMIO, "Text.", "See `src/nvme/registers.ts`."),
    /there is no src\/nvme\/registers\.ts/,
  ],
  ["a fence without a language", replaced("README.md", "```console", "```"), /does not name its language/],
  [
    "a table inside a code block",
    replaced(
      "README.md",
      "$ busbar mmio soft:nvme read VS",
      "$ busbar mmio soft:nvme read VS\n| to | type |\n|---|---|",
    ),
    /README\.md:8: a table inside a code block/,
  ],
  ["a second title", replaced(MMIO, "## Options", "# Options"), /mmio\.md:11: a second title: Options/],
  [
    "a level left out",
    replaced(MMIO, "## More uses", "### More uses"),
    /mmio\.md:5: a heading of level 3 below one of level 1/,
  ],
  [
    "a table without a heading",
    replaced(MMIO, "# mmio", "| a | b |\n|---|---|\n| 1 | 2 |\n\n# mmio"),
    /mmio\.md:1: a table without a heading/,
  ],
  [
    "a broken link",
    replaced("README.md", "[bind](docs/tools/bind.md)", "[bind](docs/tools/bind.md"),
    /a link that is none/,
  ],
  ["a page without a title", replaced(MMIO, "# mmio\n\n", ""), /mmio\.md:1: the page has no title/],
];

Deno.test("sound pages have no problem", () => assertEquals(problemsOf({}), []));

Deno.test("a tool without a page is found", () => {
  const { [MMIO]: _left, ...others } = SOUND;
  const problems = markdownProblems(new Map(Object.entries(others)), ["bind", "mmio"], () => true);
  assert(
    problems.some((problem) => /mmio must have exactly this page, and has none/.test(problem)),
    problems.join("\n"),
  );
});

for (const [title, changed, problem] of FAULTS) {
  Deno.test(`a planted fault is found: ${title}`, () => {
    const problems = problemsOf(changed);
    assert(problems.some((one) => problem.test(one)), `not found among:\n${problems.join("\n")}`);
  });
}
