/**
 * Shell completion for zsh: one function for each command, in terms of zsh's own `_arguments`.
 * @module
 */

import { allCommands, type CommandDescription, type Kind, type OptionDescription } from "./command_description.ts";
import devices from "./completion.zsh" with { type: "text" };
import { brief, quoted } from "./shell_words.ts";

/** A script that completes a program in zsh. */
export function zshCompletion(program: CommandDescription, machines: readonly string[]): string {
  const name = program.name;
  const actions: Readonly<Record<Exclude<Kind, object>, string>> = {
    file: "_files",
    folder: "_files -/",
    device: `_${name}_devices`,
    machine: `_alternative "machines:machine:(${machines.join(" ")})" "files:file:_files -g \\"*.y(a|)ml\\""`,
    command: "_command_names -e",
    any: " ",
  };
  const action = (kind: Kind): string => {
    if (typeof kind === "string") return actions[kind];
    // A blank before it: the function gets no options of compadd.
    return "words" in kind ? `(${kind.words.join(" ")})` : ` _${name}_names ${kind.prefixes.join(" ")}`;
  };
  const functions = allCommands(program).map(([path, command]) => functionOf(path, command, action));
  return `#compdef ${name}\n# zsh completion for ${name}, made by: busbar completion zsh\n\n` +
    `${devices.replaceAll("NAME", name)}\n${functions.join("\n")}\n` +
    `if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi\n`;
}

function functionOf(path: readonly string[], command: CommandDescription, action: (kind: Kind) => string): string {
  const specs = command.options.flatMap((option) => optionSpecs(option, action));
  if (command.commands.length > 0) {
    const words = command.commands.map(({ name, description }) => quoted(`${name}:${brief(description)}`));
    const cases = command.commands.map(({ name }) => `      ${name}) _${[...path, name].join("_")} ;;`);
    return `_${path.join("_")}() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C ${[...specs, "'1: :->command'", "'*:: :->rest'"].join(" ")} && return
  case $state in
  command) local -a commands; commands=(${words.join(" ")}); _describe command commands ;;
  rest)
    case $line[1] in
${cases.join("\n")}
    esac
    ;;
  esac
}
`;
  }
  const places = command.arguments.map(({ name, required, variadic, kind }, i) => {
    const where = variadic ? "*" : String(i + 1);
    // Words of another command: the rest of the line is completed as its own.
    const what = kind === "command" ? "_normal" : action(kind);
    return quoted(
      `${where}${kind === "command" ? "::" : ":"}${required || variadic ? "" : ":"}${escaped(name)}:${what}`,
    );
  });
  return `_${path.join("_")}() {\n  _arguments ${[...specs, ...places].join(" \\\n    ")}\n}\n`;
}

function optionSpecs({ names, description, value }: OptionDescription, action: (kind: Kind) => string): string[] {
  return names.map((name) => {
    const help = `[${escaped(brief(description))}]`;
    if (value === null) return quoted(`${name}${help}`);
    const long = name.startsWith("--") ? "=" : "";
    return quoted(
      `${name}${long}${help}:${value.required ? "" : ":"}${escaped(value.placeholder)}:${action(value.kind)}`,
    );
  });
}

function escaped(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}
