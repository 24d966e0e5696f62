/**
 * Shell completion for fish.
 * @module
 */

import { allCommands, type CommandDescription, type Kind } from "./command_description.ts";
import functions from "./completion.fish" with { type: "text" };
import { brief } from "./shell_words.ts";

/** A script that completes a program in fish. */
export function fishCompletion(program: CommandDescription, machines: readonly string[]): string {
  const name = program.name;
  const lists: Readonly<Record<Exclude<Kind, object>, string>> = {
    file: "-F",
    folder: "-a '(__fish_complete_directories)'",
    device: `-a '(__${name}_devices)' -F`,
    machine: `-a ${quoted(machines.join(" "))} -F`,
    command: "-a '(__fish_complete_subcommand)' -F",
    any: "",
  };
  const list = (kind: Kind): string => {
    if (typeof kind === "string") return lists[kind];
    return `-a ${quoted("words" in kind ? kind.words.join(" ") : `(__${name}_names ${kind.prefixes.join(" ")})`)}`;
  };
  const lines = [`complete -c ${name} -f`];
  for (const [path, command] of allCommands(program)) {
    const where = command.commands.length > 0 ? "just" : "in";
    const at = `complete -c ${name} -n ${quoted(`__${name}_${where} ${path.slice(1).join(" ")}`.trim())}`;
    for (const { name: word, description } of command.commands) {
      lines.push(`${at} -a ${word} -d ${quoted(brief(description))}`);
    }
    for (const { names, description, value } of command.options) {
      const words = names.map((one) => one.startsWith("--") ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`).join(" ");
      // -r: the value is a word of its own, and what is listed behind it are values.
      const takes = value === null ? "" : ` ${value.required ? "-r " : ""}${list(value.kind)}`.trimEnd();
      lines.push(`${at} ${words}${takes} -d ${quoted(brief(description))}`);
    }
    command.arguments.forEach(({ kind, variadic }, i) => {
      const condition = `__${name}_${variadic ? "past" : "nth"} ${[i, ...path.slice(1)].join(" ")}`;
      if (list(kind) !== "") lines.push(`complete -c ${name} -n ${quoted(condition)} ${list(kind)}`);
    });
  }
  return `# fish completion for ${name}, made by: busbar completion fish\n` +
    `${functions.replaceAll("NAME", name)}\n${lines.join("\n")}\n`;
}

/** A word in fish: only \\ and ' mean something between single quotes. */
function quoted(word: string): string {
  return `'${word.replace(/[\\']/g, "\\$&")}'`;
}
