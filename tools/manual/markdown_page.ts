/**
 * The generated parts of a tool's Markdown page: synopsis and options, from its command.
 * @module
 */

import { allCommands, type CommandDescription } from "./command_description.ts";

/** The command lines of a tool, in a code block. */
export function synopsisSection(tool: CommandDescription): string {
  const lines = allCommands(tool).filter(([, command]) => command.commands.length === 0 || command.arguments.length > 0)
    .map(([path, command]) => {
      const words = command.arguments.map(({ name, required, variadic }) => {
        const word = `${name}${variadic ? "..." : ""}`;
        return required ? `<${word}>` : `[${word}]`;
      });
      return ["busbar", ...path, "[options]", ...words].join(" ");
    });
  return ["```text", ...lines, "```"].join("\n");
}

/** Arguments and options of a tool, a table for each of its subcommands. */
export function optionsSection(tool: CommandDescription): string {
  const sections = allCommands(tool).map(([path, command]) => {
    const own = path.length > 1;
    return [
      ...(own ? [`### ${path.join(" ")}`, "", text(command.description), ""] : ["## Options", ""]),
      ...table(command),
    ].join("\n");
  });
  return sections.join("\n\n");
}

function table({ arguments: parameters, options }: CommandDescription): string[] {
  const rows = [
    ...parameters.map(({ name, description }) => [`\`${name}\``, description]),
    ...options.map(({ names, description, value, defaultValue }) => {
      const argument = value === null ? "" : value.required ? ` <${value.placeholder}>` : ` [${value.placeholder}]`;
      const kind = value?.kind;
      const choices = typeof kind === "object" && "words" in kind ? `one of ${kind.words.join(", ")}` : null;
      const notes = [choices, defaultValue === null ? null : `default: ${defaultValue}`].filter((one) => one !== null);
      return [
        `\`${names.join("`, `")}${argument}\``,
        notes.length === 0 ? description : `${description} (${notes.join("; ")})`,
      ];
    }),
  ];
  return [
    "| argument, option | meaning |",
    "|---|---|",
    ...rows.map(([name = "", meaning = ""]) => `| ${name.replaceAll("|", "\\|")} | ${text(meaning)} |`),
  ];
}

/** Text of a command as Markdown that means only itself. */
function text(words: string): string {
  return words.replace(/[*<[\]|`\\]/g, "\\$&").replaceAll("\n", " ");
}
