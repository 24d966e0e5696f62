/**
 * `deno task docs`: writes what is generated of the documentation, and the catalog of tools. With `--check` it writes
 * nothing, and exit status 1 says that something is not as it would be written.
 *
 * - tools/manual/catalog.ts, from the files in tools/ that export a command, and the "I want to" line of their pages
 * - tools/manual/examples.ts, from the tables "More uses" of the pages: what `--help` and the manual pages show
 * - synopsis and options of docs/tools/<tool>.md, from the commands
 * - the table of README.md, from the pages
 * - docs/README.md, from all pages; docs/not-run.md, from tests/not_run.yaml
 * - ffi/sources.json, the C sources of what is given away, for a package that lies on a server
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { parse } from "@std/yaml";

import { SHIPPED_LIBRARIES } from "../../ffi/build.ts";
import { operationsHeader } from "../../src/remote/operations.ts";
import { note, print } from "../cli/output.ts";
import { describeCommand } from "./command_description.ts";
import { optionsSection, synopsisSection } from "./markdown_page.ts";

/** A tool: the name of its file in tools/, and what its page says one wants from it. */
export interface DocumentedTool {
  /** The file's name without `.ts`. */
  readonly name: string;
  /** What follows "I want to", without a full stop. */
  readonly purpose: string;
}

/** The project's folder. */
const ROOT = new URL("../../", import.meta.url);

/** The folders of docs/, with what the index calls them. */
const FOLDERS: readonly (readonly [folder: string, title: string])[] = [
  ["design", "Design, a page a domain"],
  ["decisions", "Decisions"],
  ["benchmarks", "Benchmarks"],
];

/**
 * The tools that have a page, and what is wrong with the others. Reads text only: no tool is loaded.
 *
 * @param problems takes a sentence for each tool without a page, or without the line of what one wants from it
 */
export function documentedTools(problems: string[], root: URL = ROOT): DocumentedTool[] {
  return toolNames(root).flatMap((name) => {
    const path = `docs/tools/${name}.md`;
    const page = read(path, root);
    if (page === null) {
      problems.push(`${path}: the tool ${name} has no page; docs/tools/mmio.md shows what one looks like`);
      return [];
    }
    const purpose = /^# .*\n\nI want to ((?:.+\n)+?)\n/.exec(page)?.[1]?.trim().replaceAll("\n", " ");
    if (purpose === undefined || !purpose.endsWith(".")) {
      problems.push(`${path}: below the title one sentence must say 'I want to …'`);
      return [];
    }
    return [{ name, purpose: purpose.slice(0, -1) }];
  });
}

/** What the generated pages should hold. Loads the tools, so the catalog has to be there. */
async function generatedPages(tools: readonly DocumentedTool[], problems: string[]): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const { name } of tools) {
    const path = `docs/tools/${name}.md`;
    const { command }: { command: CommandUnknownOpts } = await import(new URL(`tools/${name}.ts`, ROOT).href);
    const described = describeCommand(command);
    const synopsis = replaceSection(read(path) ?? "", path, "synopsis", synopsisSection(described), problems);
    files.set(path, replaceSection(synopsis, path, "options", optionsSection(described), problems));
  }
  const rows = tools.map(({ name, purpose }) => `| ${purpose} | [${name}](docs/tools/${name}.md) |`);
  const table = ["| I want to | page |", "|---|---|", ...rows].join("\n");
  files.set("README.md", replaceSection(read("README.md") ?? "", "README.md", "tools", table, problems));
  files.set("docs/not-run.md", notRun());
  files.set("docs/README.md", index(tools));
  files.set("ffi/sources.json", sourceList());
  files.set("tools/manual/examples.ts", exampleTable(tools, problems));
  files.set("csrc/agent/operations.h", operationsHeader());
  return files;
}

/** The files in tools/ that declare a command. `busbar` runs the others and is none itself. */
function toolNames(root: URL): string[] {
  return namesIn("tools", ".ts", root).filter((name) =>
    /^export const command\b/m.test(read(`tools/${name}.ts`, root) ?? "")
  );
}

/** The text between the two markers, replaced. `problems` takes a sentence where they are missing. */
export function replaceSection(text: string, path: string, name: string, section: string, problems: string[]): string {
  const begin = `<!-- generated: ${name} -->`;
  const pattern = new RegExp(`${begin}\n[\\s\\S]*?<!-- end -->`);
  if (!pattern.test(text)) {
    problems.push(`${path}: the lines '${begin}' and '<!-- end -->' are missing`);
    return text;
  }
  return text.replace(pattern, () => `${begin}\n${section === "" ? "" : `\n${section}\n\n`}<!-- end -->`);
}

function catalog(tools: readonly DocumentedTool[]): string {
  const entries = tools.map(({ name, purpose }) => {
    const title = JSON.stringify(purpose);
    // What describes all tools is made from the table itself: importing its file would close a circle.
    const load = read(`tools/manual/${name}.ts`) === null
      ? `() => import("../${name}.ts")`
      : `async () => ({ command: (await import("./${name}.ts")).${name}Command(TOOLS) })`;
    const line = `  ${name}: { title: ${title}, load: ${load} },`;
    if (line.length <= 120) return line;
    const own = `    title: ${title},`;
    return `  ${name}: {\n${own.length <= 120 ? own : `    title:\n      ${title},`}\n    load: ${load},\n  },`;
  });
  return [
    "/**",
    " * The tools by name. A tool is loaded when it is called. Generated by `deno task docs`, from the files in tools/ and the",
    " * first line of their pages.",
    " *",
    " * `completion` and `man` describe every tool, so their commands are made from this table.",
    " * @module",
    " */",
    "",
    'import type { Tool } from "./describe_program.ts";',
    "",
    "/** The tools, by name: the file's name without `.ts`. */",
    "export const TOOLS: Readonly<Record<string, Tool>> = {",
    ...entries,
    "};",
    "",
  ].join("\n");
}

/** How many examples the help and the manual page of a tool show. */
const SHOWN_EXAMPLES = 3;

/** The first rows of each page's table "More uses", as TypeScript. */
function exampleTable(tools: readonly DocumentedTool[], problems: string[]): string {
  const rows = tools.flatMap(({ name }) => {
    const path = `docs/tools/${name}.md`;
    const examples = examplesOf(read(path) ?? "");
    if (examples.length < 2) problems.push(`${path}: the table '| to | type |' needs two rows: the help shows them`);
    const lines = examples.slice(0, SHOWN_EXAMPLES).map(([purpose, typed]) =>
      `    [${JSON.stringify(purpose)}, ${JSON.stringify(typed)}],`
    );
    return [`  ${name}: [`, ...lines, "  ],"];
  });
  return [
    "// deno-fmt-ignore-file",
    "/**",
    " * Examples of each tool: what one wants, and what is typed. Generated by `deno task docs` from the tables of the pages.",
    " * @module",
    " */",
    "",
    "/** By tool. */",
    "export const EXAMPLES: Readonly<Record<string, readonly (readonly [purpose: string, typed: string])[]>> = {",
    ...rows,
    "};",
    "",
  ].join("\n");
}

/** The rows of a page's table of uses, without Markdown. */
export function examplesOf(page: string): (readonly [purpose: string, typed: string])[] {
  const table = /^\| to \| type \|\n\|[-|]+\n((?:\|.*\n)+)/m.exec(page)?.[1] ?? "";
  return table.trimEnd().split("\n").filter((row) => row !== "").map((row) => {
    const [purpose = "", cell = ""] = row.slice(1, -1).split(/(?<!\\)\|/).map((one) => one.trim());
    return [plain(purpose), plain(/`[^`]+`/.exec(cell)?.[0] ?? cell)] as const;
  });
}

function plain(markdown: string): string {
  return markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll("`", "").replaceAll("\\|", "|");
}

/** What the C libraries are built from, by path. A server lists no folders. */
function sourceList(): string {
  const folders = new Set([
    "csrc",
    "csrc/api",
    ...SHIPPED_LIBRARIES.flatMap((spec) => spec.folders.filter((place) => !place.endsWith(".c"))),
  ]);
  const paths = [...folders].flatMap((folder) => {
    const names = Array.from(Deno.readDirSync(new URL(folder, ROOT)), (entry) => entry.name)
      .filter((name) => /\.(c|h|inc|def|map)$/.test(name));
    return names.map((name) => `${folder}/${name}`);
  });
  return JSON.stringify(paths.sort(), null, 2) + "\n";
}

function notRun(): string {
  const rows = parse(read("tests/not_run.yaml") ?? "");
  if (!Array.isArray(rows)) throw new Error("tests/not_run.yaml is no list");
  return [
    "# Not run",
    "",
    "What is written and compiled, and was never run by us, with the reason. Nothing here is claimed to work. Generated by",
    "`deno task docs` from `tests/not_run.yaml`; what a machine leaves out for want of a program is in the table that",
    "`deno task test` ends with.",
    "",
    "| what | reason |",
    "|---|---|",
    ...rows.map(({ what, reason }: { what: unknown; reason: unknown }) => `| ${what} | ${reason} |`),
    "",
  ].join("\n");
}

function index(tools: readonly DocumentedTool[]): string {
  return [
    "# Documentation",
    "",
    "All pages. Generated by `deno task docs`.",
    "",
    "- [README](../README.md): what busbar is, and where to start",
    "- [ARCHITECTURE](../ARCHITECTURE.md): folders, the import rule, and where to add something",
    ...namesIn("docs", ".md").filter((name) => name !== "README").map((name) => entry(`docs/${name}.md`)),
    "",
    "In the examples a line that begins with `$` is typed in the root of the checkout, and what follows is its output; `…`",
    "stands for lines left out. `deno task` also prints the command that it runs, which is left out. `deno task lab run NAME`",
    "boots the [lab machine](tools/lab.md) NAME, which runs the rest of the line.",
    "",
    "## Tools, a page each",
    "",
    ...tools.map(({ name, purpose }) => `- [${name}](tools/${name}.md): ${purpose}`),
    ...FOLDERS.flatMap(([folder, title]) => [
      "",
      `## ${title}`,
      "",
      ...namesIn(`docs/${folder}`, ".md").map((name) => entry(`docs/${folder}/${name}.md`)),
    ]),
    "",
  ].join("\n");
}

/** A page's line in the index: its title, and but for decisions, whose titles say it all, the first sentence below it. */
function entry(path: string): string {
  const text = path === "docs/not-run.md" ? notRun() : read(path) ?? "";
  const [, title = path, first = ""] = /^# (.*)\n\n((?:(?!#|\||<!--|```).+\n)*)/.exec(text) ?? [];
  const sentence = /^.*?\.(?=\s|$)/.exec(first.replaceAll("\n", " ").trim())?.[0] ?? "";
  const plain = path.startsWith("docs/decisions/")
    ? ""
    : sentence.replace(/\.$/, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return `- [${title}](${path.replace("docs/", "")})${plain === "" ? "" : `: ${plain}`}`;
}

/** The names of the files in a folder with this ending, without it, sorted. */
function namesIn(folder: string, ending: string, root: URL = ROOT): string[] {
  return Array.from(Deno.readDirSync(new URL(folder, root)), (entry) => entry.name)
    .filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length)).sort();
}

function read(path: string, root: URL = ROOT): string | null {
  try {
    return Deno.readTextFileSync(new URL(path, root));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Writes the files that differ, or with `check` only says that they do. Returns their paths. */
export function update(files: ReadonlyMap<string, string>, check: boolean, root: URL = ROOT): string[] {
  const stale = Array.from(files).filter(([path, text]) => read(path, root) !== text);
  for (const [path, text] of stale) {
    if (check) note(`${path}: not as 'deno task docs' writes it`);
    else Deno.writeTextFileSync(new URL(path, root), text);
  }
  return stale.map(([path]) => path);
}

async function main(check: boolean): Promise<void> {
  const problems: string[] = [];
  const tools = documentedTools(problems);
  // First, because tools import it: a catalog with the marks of a merge in it is written anew.
  const stale = update(new Map([["tools/manual/catalog.ts", catalog(tools)]]), check);
  if (!check || stale.length === 0) stale.push(...update(await generatedPages(tools, problems), check));
  for (const problem of problems) note(problem);
  if (!check) print(stale.length === 0 ? "nothing to write" : `wrote ${stale.join(", ")}`);
  if (problems.length > 0 || (check && stale.length > 0)) Deno.exitCode = 1;
}

if (import.meta.main) await main(Deno.args.includes("--check"));
