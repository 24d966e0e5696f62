/**
 * Options that stand before the word of a subcommand, or without one, and the schema that a tool with subcommands has.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { CommanderError } from "commander";

import type { JsonObject } from "../../src/core/layout_json.ts";
import { printSchema } from "./output.ts";

/** An option as a command lists it. */
type CommandOption = CommandUnknownOpts["options"][number];

function isCalled(option: CommandOption, flag: string): boolean {
  return option.long === flag || option.short === flag;
}

const WITHOUT_WORD = new WeakMap<CommandUnknownOpts, string>();

/** Says which subcommand a tool is when no word is given; its options then work without the word too. */
export function withoutWord(command: CommandUnknownOpts, subcommand: string): CommandUnknownOpts {
  WITHOUT_WORD.set(command, subcommand);
  return command;
}

/** Adds `--json-schema`, which prints the tool's schema and stops, wherever it stands: before or behind a subcommand. */
export function withSchema(command: CommandUnknownOpts, schema: () => JsonObject): CommandUnknownOpts {
  return withOwnSchema(command, schema);
}

/** Adds `--json-schema` to one subcommand: it prints this schema and stops, whatever else is missing. */
export function withOwnSchema<Command extends CommandUnknownOpts>(command: Command, schema: () => JsonObject): Command {
  command.option("--json-schema", "print the schema of --json, and stop");
  command.on("option:json-schema", () => {
    printSchema(schema());
    throw new CommanderError(0, "busbar.schema", "the schema was printed");
  });
  return command;
}

/**
 * Moves options of a subcommand that stand before its word behind it, and adds the word that a tool means without one.
 * What is not understood is left as it is, for the parser to refuse.
 */
export function subcommandFirst(command: CommandUnknownOpts, args: readonly string[]): readonly string[] {
  if (command.commands.length === 0) return args;
  const flags: string[] = [];
  let at = 0;
  for (let arg; (arg = args[at]) !== undefined && arg.startsWith("-") && arg !== "-"; at++) {
    const [flag = arg] = arg.split("=", 1);
    const option = command.commands.flatMap((one) => one.options).find((one) => isCalled(one, flag));
    if (option === undefined) return args;
    flags.push(flag);
    if (option.required && !arg.includes("=")) at++;
  }
  const word = at < args.length ? args[at] : WITHOUT_WORD.get(command);
  const subcommand = command.commands.find((one) => one.name() === word);
  if (flags.length === 0 || subcommand === undefined) return args;
  // Without a word they are the tool's own where it has them.
  if (at >= args.length && flags.some((flag) => command.options.some((one) => isCalled(one, flag)))) return args;
  if (!flags.every((flag) => subcommand.options.some((one) => isCalled(one, flag)))) return args;
  return [subcommand.name(), ...args.slice(0, at), ...args.slice(at + 1)];
}

/** The commands of a tool that have an option, by their names behind the tool's. */
export function commandsWith(command: CommandUnknownOpts, flag: string): string[] {
  return command.commands.filter((one) => one.options.some((option) => isCalled(option, flag))).map((one) =>
    one.name()
  );
}
