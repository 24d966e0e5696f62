/**
 * The description of busbar as a whole, from its tools.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { type CommandDescription, describeCommand } from "./command_description.ts";

/** A tool. */
export interface Tool {
  /** What it is for, in a few words. */
  readonly title: string;
  /** Loads its command. */
  readonly load: () => Promise<{ readonly command: CommandUnknownOpts }>;
}

/** What `busbar` takes: all tools, loaded, as its subcommands. */
export async function describeProgram(tools: Readonly<Record<string, Tool>>): Promise<CommandDescription> {
  const loaded = await Promise.all(Object.values(tools).map(({ load }) => load()));
  return {
    name: "busbar",
    description: "Reach real hardware: map it, drive it, simulate it.",
    arguments: [],
    options: [
      { names: ["-V", "--version"], description: "print the version, and stop", value: null, defaultValue: null },
      { names: ["-h", "--help"], description: "list the tools, and stop", value: null, defaultValue: null },
    ],
    commands: loaded.map(({ command }) => describeCommand(command)),
  };
}
