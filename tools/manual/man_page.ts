/**
 * Manual pages in the language of man(7), made from the commands.
 * @module
 */

import { EXAMPLES } from "./examples.ts";
import { EXIT_STATUS } from "../../src/core/error.ts";
import { printableLines } from "../../src/core/printable.ts";
import {
  allCommands,
  type ArgumentDescription,
  type CommandDescription,
  type OptionDescription,
} from "./command_description.ts";

/** What exit statuses mean, as the manual says it. */
const STATUSES: readonly (readonly [number, string])[] = [
  [0, "done, or yes"],
  [EXIT_STATUS["no"], "the answer is no, or the device reported failure"],
  [EXIT_STATUS["usage"], "wrong usage or configuration"],
  [EXIT_STATUS["absent"], "could not be reached or determined"],
  [EXIT_STATUS["bug"], "a bug in busbar"],
  [EXIT_STATUS["hangup"], "ended by SIGHUP, after what was changed was put back"],
  [EXIT_STATUS["interrupted"], "ended by SIGINT, after what was changed was put back"],
  [EXIT_STATUS["terminated"], "ended by SIGTERM, after what was changed was put back"],
];

/** The page of `busbar` itself, which lists the tools. */
export function programPage(
  program: CommandDescription,
  titles: Readonly<Record<string, string>>,
  version: string,
): string {
  return [
    ...head(program.name, program.description, version),
    ".SH SYNOPSIS",
    `.B ${program.name}`,
    ".I tool",
    "[arguments]",
    ...options(program.options),
    ".SH TOOLS",
    ...program.commands.flatMap(({ name }) => item(`.BR ${program.name}-${name} (1)`, titles[name] ?? "")),
    ...exitStatus(),
    "",
  ].join("\n");
}

/** The page of a tool, with all its subcommands. */
export function toolPage(program: string, tool: CommandDescription, version: string): string {
  const [, ...below] = allCommands(tool);
  return [
    ...head(`${program}-${tool.name}`, tool.description, version),
    ".SH SYNOPSIS",
    ...synopsis([program, tool.name], tool),
    ".SH DESCRIPTION",
    escaped(tool.description),
    ...parameters(tool.arguments),
    ...options(tool.options),
    ...(below.length === 0 ? [] : [".SH COMMANDS"]),
    ...below.flatMap(([path, command]) => [
      `.SS "${[program, ...path].join(" ")}"`,
      ...synopsis([program, ...path], command),
      ".PP",
      escaped(command.description),
      ...command.arguments.flatMap(parameterItem),
      ...command.options.flatMap(optionItem),
    ]),
    ...examples(tool.name),
    ...exitStatus(),
    ".SH SEE ALSO",
    `.BR ${program} (1)`,
    "",
  ].join("\n");
}

function head(name: string, description: string, version: string): string[] {
  const brief = description.replace(/\.(?: .*)?$/s, "");
  return [
    `.TH ${name.toUpperCase()} 1 "" "busbar ${version}" "busbar manual"`,
    ".SH NAME",
    `${escaped(name)} \\- ${escaped(brief)}`,
  ];
}

function synopsis(path: readonly string[], command: CommandDescription): string[] {
  const words = command.arguments.map(({ name, required, variadic }) => {
    const word = `\\fI${escaped(name)}\\fR${variadic ? " ..." : ""}`;
    return required ? word : `[${word}]`;
  });
  const below = command.commands.length > 0 ? [["\\fIcommand\\fR", "..."]] : [];
  const ways = below.length === 0 || words.length > 0 ? [words, ...below] : below;
  return ways.flatMap((rest, i) => [
    ...(i === 0 ? [] : [".br"]),
    `.B ${path.map(escaped).join(" ")}`,
    ["[options]", ...rest].join(" "),
  ]);
}

function parameters(described: readonly ArgumentDescription[]): string[] {
  return described.length === 0 ? [] : [".SH ARGUMENTS", ...described.flatMap(parameterItem)];
}

function parameterItem({ name, description }: ArgumentDescription): string[] {
  return item(`\\fI${escaped(name)}\\fR`, description);
}

function options(described: readonly OptionDescription[]): string[] {
  return [".SH OPTIONS", ...described.flatMap(optionItem)];
}

function optionItem({ names, description: purpose, value, defaultValue }: OptionDescription): string[] {
  const words = names.map((name) => `\\fB${escaped(name)}\\fR`).join(", ");
  const description = defaultValue === null ? purpose : `${purpose} (default: ${defaultValue})`;
  if (value === null) return item(words, description);
  const placeholder = `\\fI${escaped(value.placeholder)}\\fR`;
  return item(`${words} ${value.required ? placeholder : `[${placeholder}]`}`, description);
}

function exitStatus(): string[] {
  return [".SH EXIT STATUS", ...STATUSES.flatMap(([status, meaning]) => item(`\\fB${status}\\fR`, meaning))];
}

function examples(tool: string): string[] {
  const known = EXAMPLES[tool] ?? [];
  return known.length === 0 ? [] : [
    ".SH EXAMPLES",
    ...known.flatMap(([purpose, typed]) => [".TP", `\\fB${escaped(typed)}\\fR`, escaped(purpose)]),
  ];
}

function item(term: string, text: string): string[] {
  return [".TP", term, escaped(text)];
}

/**
 * Text as troff takes it: ASCII, other characters by their number; and a backslash, and a line that begins with a full
 * stop or an apostrophe, mean something else.
 */
function escaped(text: string): string {
  return printableLines(text).replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^(?=[.'])/gm, "\\&").replace(
    /[\u{80}-\u{10ffff}]/gu,
    (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`,
  );
}
