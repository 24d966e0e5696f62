/**
 * What a command line takes: for shell completion and man pages. Everything comes from the commands themselves.
 * @module
 */

import type { Argument, CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { formatBytes, formatDurationMs } from "../../src/core/units.ts";

/** What may stand at a place of the command line, as far as a shell can list it. */
export type Kind =
  | "file"
  | "folder"
  | "device"
  | "machine"
  | "command"
  | "any"
  | { readonly words: readonly string[] }
  /** Names of files that begin like these paths: what the kernel calls its things. */
  | { readonly prefixes: readonly string[] };

/** An option. */
export interface OptionDescription {
  /** As typed: `--json`, or `-h` and `--help`. */
  readonly names: readonly string[];
  /** What it does. */
  readonly description: string;
  /** The value it takes, or null. */
  readonly value: { readonly placeholder: string; readonly required: boolean; readonly kind: Kind } | null;
  /** The value when the option is not given, as the help shows it, or null. */
  readonly defaultValue: string | null;
}

/** An argument. */
export interface ArgumentDescription {
  /** Its name in the help. */
  readonly name: string;
  /** What it is. */
  readonly description: string;
  /** False when it may be left out. */
  readonly required: boolean;
  /** True when any number of words may follow. */
  readonly variadic: boolean;
  /** What may stand there. */
  readonly kind: Kind;
}

/** A command, with those below it. */
export interface CommandDescription {
  /** Its name. */
  readonly name: string;
  /** What it does. */
  readonly description: string;
  /** What its arguments are, in order. */
  readonly arguments: readonly ArgumentDescription[];
  /** Its options, `--help` last. */
  readonly options: readonly OptionDescription[];
  /** Its subcommands. */
  readonly commands: readonly CommandDescription[];
}

/** What the words in the help mean to a shell. Other words are numbers, times, names: nothing that it could list. */
const KINDS: Readonly<Record<string, Kind>> = {
  file: "file",
  path: "file",
  folder: "folder",
  device: "device",
  locator: "device",
  nvme: "device",
  gpu: "device",
  machine: "machine",
  command: "command",
  memdev: { prefixes: ["/sys/bus/cxl/devices/mem"] },
  region: { prefixes: ["/sys/bus/cxl/devices/region"] },
  "region-or-dax": { prefixes: ["/sys/bus/cxl/devices/region", "/sys/bus/dax/devices/dax"] },
  "region-or-namespace": { prefixes: ["/sys/bus/nd/devices/region", "/sys/bus/nd/devices/namespace"] },
  namespace: { prefixes: ["/sys/bus/nd/devices/namespace"] },
};

const HELP: OptionDescription = {
  names: ["-h", "--help"],
  description: "show help, and stop",
  value: null,
  defaultValue: null,
};

/** A command as its file declares it. */
export function describeCommand(command: CommandUnknownOpts): CommandDescription {
  return {
    name: command.name(),
    description: command.description(),
    arguments: command.registeredArguments.map(describeArgument),
    options: [...command.options.filter((option) => !option.hidden).map(describeOption), HELP],
    commands: command.commands.map(describeCommand),
  };
}

function describeArgument(argument: Argument): ArgumentDescription {
  return {
    name: argument.name(),
    description: argument.description,
    required: argument.required,
    variadic: argument.variadic,
    kind: kindOf(argument.name(), argument.argChoices),
  };
}

function describeOption(option: Option): OptionDescription {
  const names = [option.short, option.long].filter((name) => typeof name === "string");
  const placeholder = /[<[]([^\]>]+)[\]>]/.exec(option.flags)?.[1]?.replace(/\.\.\.$/, "");
  const value = placeholder === undefined
    ? null
    : { placeholder, required: option.required, kind: kindOf(placeholder, option.argChoices) };
  return { names, description: option.description, value, defaultValue: defaultOf(option) };
}

/** The unit of a number, by the word that stands for it in the help. */
const UNITS: Readonly<Record<string, (value: number) => string>> = {
  bytes: (value) => `${value} bytes`,
  size: (value) => formatBytes(value),
  time: (value) => formatDurationMs(value),
  ns: (value) => `${value} ns`,
  "GB/s": (value) => `${value} GB/s`,
};

/** The value of an option that is not given, for people: a number has its unit. Null where there is none to show. */
export function defaultOf({ flags, defaultValue, defaultValueDescription }: Option): string | null {
  if (defaultValueDescription !== undefined) return defaultValueDescription;
  const unit = UNITS[/<([^>]+)>/.exec(flags)?.[1] ?? ""];
  if (unit !== undefined && (typeof defaultValue === "number" || typeof defaultValue === "bigint")) {
    return unit(Number(defaultValue));
  }
  const none = defaultValue === undefined || defaultValue === "" || typeof defaultValue === "boolean" ||
    (Array.isArray(defaultValue) && defaultValue.length === 0);
  return none ? null : String(defaultValue);
}

function kindOf(name: string, choices: readonly string[] | undefined): Kind {
  return choices !== undefined ? { words: choices } : KINDS[name] ?? "any";
}

/** A command and all below it, each with the words that lead to it. */
export function allCommands(
  command: CommandDescription,
  before: readonly string[] = [],
): [readonly string[], CommandDescription][] {
  const path = [...before, command.name];
  return [[path, command], ...command.commands.flatMap((one) => allCommands(one, path))];
}
