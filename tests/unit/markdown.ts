/**
 * What is wrong with a set of Markdown pages, as sentences. Pages are read by a CommonMark parser with tables; each rule
 * is one function over its tokens.
 * @module
 */

import createMarkdownIt, { type MarkdownIt, type Token } from "markdown-it";

/** The text of the pages, by path relative to the root of the project. */
export type Pages = ReadonlyMap<string, string>;

/** A page, parsed. */
interface Page {
  readonly path: string;
  readonly lines: readonly string[];
  readonly tokens: readonly Token[];
}

/** Lines typed into a shell: after a prompt, with a known command, or with a lower-case word and an option. */
const SHELL_LINES: readonly RegExp[] = [
  /^[$#] /,
  /^(?:deno|npx|npm|sudo|cd|echo|eval|export|mount|umount|modprobe|mkdir|printf|source|apt-get|ndctl|daxctl|lspci) \S/,
  /^[a-z./][\w./-]*\s(?:.*\s)?--?(?:\w|\s)/,
];

/** A file or folder of the project, as a code span names it. */
const PROJECT_PATH = /^(?:src|csrc|ffi|tools|tests|bench|docs)\/[\w./-]+$/;

/** Languages of code in which a line that begins with `#` is a comment. */
const HASH_COMMENTS = ["sh", "bash", "yaml", "python"];

/** The parser: CommonMark with tables, and HTML comments as they stand. */
export function markdownParser(): MarkdownIt {
  return createMarkdownIt("commonmark").enable("table");
}

/** All problems of all pages, `path:line: what is wrong`. `tools` are the names that must have one page each. */
export function markdownProblems(pages: Pages, tools: readonly string[], exists: (path: string) => boolean): string[] {
  const parsed = Array.from(pages, ([path, text]) => parse(path, text));
  const anchors = new Map(parsed.map((page) => [page.path, anchorsOf(page)]));
  return [
    ...parsed.flatMap((page) => [
      ...fenceProblems(page),
      ...headingProblems(page),
      ...tableProblems(page),
      ...toolTableProblems(page),
      ...linkProblems(page, anchors, exists),
    ]),
    ...toolPageProblems(parsed, tools),
  ];
}

function parse(path: string, text: string): Page {
  return { path, lines: text.split("\n"), tokens: markdownParser().parse(text, {}) };
}

/** Fences are closed and name their language; what stands in them is no Markdown. */
function fenceProblems({ path, lines, tokens }: Page): string[] {
  const problems: string[] = [];
  for (const token of tokens) {
    if (token.type !== "fence" || token.map === null) continue;
    const [from, to] = token.map;
    const at = `${path}:${from + 1}`;
    const last = lines[to - 1]?.trim() ?? "";
    if (to - 1 === from || !last.startsWith(token.markup) || last.replaceAll(token.markup[0] ?? "`", "") !== "") {
      problems.push(`${at}: the fence is not closed`);
    }
    const language = token.info.trim().split(/\s+/)[0] ?? "";
    if (language === "") problems.push(`${at}: the fence does not name its language`);
    if (language === "markdown") continue;
    const heading = HASH_COMMENTS.includes(language) ? /^#{2,6} \S/ : /^#{1,6} \S/;
    token.content.split("\n").forEach((line, index) => {
      const where = `${path}:${from + 2 + index}`;
      if (heading.test(line)) problems.push(`${where}: a heading inside a code block: ${line}`);
      if (isDelimiterRow(line)) problems.push(`${where}: a table inside a code block`);
    });
  }
  return problems;
}

/** One heading of level 1, first of all; no heading is a shell line; no level is left out. */
function headingProblems({ path, tokens }: Page): string[] {
  const problems: string[] = [];
  const first = tokens.find((token) => token.type !== "html_block");
  if (first?.type !== "heading_open" || first.tag !== "h1") problems.push(`${path}:1: the page has no title`);
  let before = 0;
  tokens.forEach((token, index) => {
    if (token.type !== "heading_open") return;
    const at = `${path}:${(token.map?.[0] ?? 0) + 1}`;
    const level = Number(token.tag.slice(1));
    const text = tokens[index + 1]?.content ?? "";
    if (SHELL_LINES.some((line) => line.test(text))) problems.push(`${at}: a shell line as a heading: ${text}`);
    if (level === 1 && before > 0) problems.push(`${at}: a second title: ${text}`);
    if (level > before + 1) problems.push(`${at}: a heading of level ${level} below one of level ${before}`);
    before = level;
  });
  return problems;
}

/** Tables stand under a heading of their own, one each, and are neither cut nor glued to what follows. */
function tableProblems({ path, lines, tokens }: Page): string[] {
  const problems: string[] = [];
  let tablesHere = 0;
  tokens.forEach((token, index) => {
    if (token.type === "heading_open") tablesHere = 0;
    if (token.type === "paragraph_open" || token.type === "blockquote_open") {
      const [from = 0, to = 0] = token.map ?? [];
      for (let line = from; line < to; line++) {
        if (lines[line]?.trimStart().startsWith("|")) problems.push(`${path}:${line + 1}: a table row outside a table`);
      }
    }
    if (token.type !== "table_open") return;
    const [from = 0, to = 0] = token.map ?? [];
    tablesHere++;
    if (tablesHere > 1) problems.push(`${path}:${from + 1}: a second table under one heading`);
    if (!tokens.slice(0, index).some((one) => one.type === "heading_open")) {
      problems.push(`${path}:${from + 1}: a table without a heading`);
    }
    const width = cells(lines[from] ?? "").length;
    for (let line = from; line < to; line++) {
      const row = lines[line] ?? "";
      const at = `${path}:${line + 1}`;
      if (!row.trimStart().startsWith("|")) problems.push(`${at}: text glued to a table: ${row}`);
      else if (cells(row).length !== width) problems.push(`${at}: ${cells(row).length} cells in a table of ${width}`);
      if (line > from + 1 && isDelimiterRow(row)) problems.push(`${at}: two tables without a blank line between them`);
    }
  });
  return problems;
}

/** In a tool's page every row of a table `| to | type |` is about that tool. */
function toolTableProblems({ path, lines, tokens }: Page): string[] {
  const tool = /^docs\/tools\/(\w+)\.md$/.exec(path)?.[1];
  if (tool === undefined) return [];
  const problems: string[] = [];
  for (const token of tokens) {
    const [from = 0, to = 0] = token.type === "table_open" ? token.map ?? [] : [];
    if (from === to || cells(lines[from] ?? "").join("|") !== "to|type") continue;
    for (let line = from + 2; line < to; line++) {
      const typed = cells(lines[line] ?? "")[1] ?? "";
      const code = [...typed.matchAll(/`+([^`]+)`+/g)].map((match) => match[1] ?? "");
      if (code.some((one) => new RegExp(`\\b${tool}\\b`).test(one))) continue;
      problems.push(`${path}:${line + 1}: a row of another tool's table: ${typed}`);
    }
  }
  return problems;
}

/** Links lead to files that exist and to headings that they have; files named in code spans exist. */
function linkProblems(
  { path, tokens }: Page,
  anchors: ReadonlyMap<string, ReadonlySet<string>>,
  exists: (path: string) => boolean,
): string[] {
  const problems: string[] = [];
  for (const block of tokens) {
    const at = `${path}:${(block.map?.[0] ?? 0) + 1}`;
    for (const token of block.children ?? []) {
      const target = token.attrGet(token.type === "image" ? "src" : "href");
      if (typeof target !== "string" || /^(?:https?|mailto):/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : new URL(file, `file:///${path}`).pathname.slice(1);
      if (!exists(to)) problems.push(`${at}: the link leads nowhere: ${target}`);
      else if (anchor !== undefined && anchors.get(to)?.has(anchor) !== true) {
        problems.push(`${at}: there is no such heading: ${target}`);
      }
    }
    for (const token of block.children ?? []) {
      const named = token.type === "code_inline" && PROJECT_PATH.test(token.content) ? token.content : null;
      if (named !== null && !exists(named.replace(/\/$/, ""))) problems.push(`${at}: there is no ${named}`);
    }
    // An unresolved reference link stays text.
    for (const token of block.children ?? []) {
      const left = token.type === "text" ? /\]\[[\w-]*\]|\]\([^)]*$/.exec(token.content) : null;
      if (left !== null) problems.push(`${at}: a link that is none: ${token.content}`);
    }
  }
  return problems;
}

/** Each tool has one page, each page its tool, and the README's table leads to it. */
function toolPageProblems(pages: readonly Page[], tools: readonly string[]): string[] {
  const problems: string[] = [];
  const titles = pages.flatMap((page) => {
    const heading = page.tokens.findIndex((token) => token.type === "heading_open");
    const title = page.tokens[heading + 1]?.content ?? "";
    return page.path.startsWith("docs/tools/") ? [{ path: page.path, title }] : [];
  });
  for (const tool of tools) {
    const own = titles.filter(({ title }) => title === tool).map(({ path }) => path);
    if (own.length !== 1 || own[0] !== `docs/tools/${tool}.md`) {
      problems.push(`docs/tools/${tool}.md: ${tool} must have exactly this page, and has ${own.join(", ") || "none"}`);
    }
  }
  for (const { path, title } of titles) {
    if (path !== "docs/tools/README.md" && !tools.includes(title)) {
      problems.push(`${path}:1: there is no tool '${title}'`);
    }
  }
  return problems;
}

/**
 * Options that a page types and its tool does not have. What follows ` -- ` is another program's.
 *
 * @param optionsOf all options of a tool and its subcommands, by the tool's name
 */
export function optionProblems(pages: Pages, optionsOf: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const problems: string[] = [];
  const tool = new RegExp(`(?:^|[\\s('"/;])(${[...optionsOf.keys()].join("|")})(?:\\.ts)?((?: [^;|&]*)?)`, "g");
  for (const [path, text] of pages) {
    const commands = parse(path, text).tokens.flatMap((token) => [
      ...(token.children ?? []).filter(({ type }) => type === "code_inline").map(({ content }) => content),
      ...(token.type === "fence" ? token.content.split("\n").filter((line) => line.startsWith("$ ")) : []),
    ]);
    for (const command of commands) {
      for (const [, name = "", args = ""] of command.matchAll(tool)) {
        for (const [option = ""] of (args.split(" -- ")[0] ?? "").matchAll(/(?<=\s\[?)--[a-z][\w-]*/g)) {
          if (optionsOf.get(name)?.has(option) !== true) problems.push(`${path}: ${name} has no ${option}: ${command}`);
        }
      }
    }
  }
  return problems;
}

/** The anchors that GitHub gives the headings of a page. */
function anchorsOf({ tokens }: Page): ReadonlySet<string> {
  const anchors = new Set<string>();
  tokens.forEach((token, index) => {
    if (token.type !== "heading_open") return;
    const children = tokens[index + 1]?.children ?? [];
    const text = children.filter(({ type }) => type === "text" || type === "code_inline").map(({ content }) => content);
    const slug = text.join("").toLowerCase().replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  });
  return anchors;
}

/** The cells of a row, without the outer bars. A bar after a backslash belongs to its cell. */
function cells(row: string): string[] {
  return row.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
}

function isDelimiterRow(line: string): boolean {
  return /^\s*\|(?:\s*:?-{3,}:?\s*\|)+\s*$/.test(line);
}
