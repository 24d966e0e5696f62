/**
 * Shell completion for bash 4.2 and later. Needs no package besides bash.
 * @module
 */

import { allCommands, type CommandDescription, type Kind } from "./command_description.ts";
import { quoted } from "./shell_words.ts";
import script from "./completion.bash" with { type: "text" };

/**
 * A script that completes a program in bash.
 *
 * @param machines the lab machines that come with busbar
 */
export function bashCompletion(program: CommandDescription, machines: readonly string[]): string {
  const name = program.name;
  const tables = {
    commands: [] as string[],
    options: [] as string[],
    values: [] as string[],
    arguments: [] as string[],
  };
  for (const [path, command] of allCommands(program)) {
    const key = path.slice(1).join(" ");
    const entry = (key: string, words: readonly string[]): string => `  [${quoted(key)}]=${quoted(words.join(" "))}`;
    // An empty key is no key in bash, so each one begins with a slash.
    if (command.commands.length > 0) tables.commands.push(entry(`/${key}`, command.commands.map(({ name }) => name)));
    tables.options.push(entry(`/${key}`, command.options.flatMap(({ names }) => names)));
    for (const { names, value } of command.options) {
      if (value === null) continue;
      const kind = `${value.required ? "" : "?"}${kindText(value.kind)}`;
      for (const name of names) tables.values.push(entry(`/${key} ${name}`, [kind]));
    }
    if (command.arguments.length > 0) {
      const kinds = command.arguments.map(({ kind, variadic }) => `${kindText(kind)}${variadic ? "*" : ""}`);
      tables.arguments.push(entry(`/${key}`, kinds));
    }
  }
  const declared = Object.entries(tables).map(([table, lines]) =>
    `declare -gA _${name}_${table}=(\n${lines.join("\n")}\n)\n`
  );
  return `# bash completion for ${name}, made by: busbar completion bash\n${declared.join("")}` +
    script.replaceAll("NAME", name).replace("MACHINES", machines.join(" "));
}

function kindText(kind: Kind): string {
  if (typeof kind === "string") return kind;
  return "words" in kind ? `=${kind.words.join(",")}` : `@${kind.prefixes.join(",")}`;
}
