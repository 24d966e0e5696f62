/**
 * `man [tool]`: manual pages, made from the commands.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import denoJson from "../deno.json" with { type: "json" };
import { systemError } from "../src/core/error.ts";
import { programFacts, TOOLS } from "./busbar.ts";
import { programPage, toolPage } from "./manual/man_page.ts";
import { writeOutput } from "./cli/files.ts";
import { print } from "./cli/output.ts";
import { run } from "./cli/run.ts";

/** The command line of `man`. */
export const command: CommandUnknownOpts = new Command("man")
  .description("Print a manual page of busbar or of a tool, for man -l -; or write all of them.")
  .addArgument(
    new Argument("[tool]", "the tool").choices(["busbar", ...Object.keys(TOOLS)]).default("busbar"),
  )
  .option("--output <folder>", "write every page there, as in ~/.local/share/man/man1")
  .addHelpText("after", "\nbusbar man dump_bar0 | man -l -")
  .action(async (name, options) => {
    const pages = await manualPages();
    if (options.output === undefined) {
      return print(pages.get(name === "busbar" ? "busbar.1" : `busbar-${name}.1`)?.trimEnd() ?? "");
    }
    try {
      await Deno.mkdir(options.output, { recursive: true });
    } catch (cause) {
      throw systemError(cause, "make the folder", options.output);
    }
    for (const [file, page] of pages) writeOutput(`${options.output}/${file}`, page);
    print(`${pages.size} pages in ${options.output}`);
  });

/** All pages, by the name of their files. */
export async function manualPages(): Promise<Map<string, string>> {
  const program = await programFacts();
  const titles = Object.fromEntries(Object.entries(TOOLS).map(([name, { title }]) => [name, title]));
  return new Map([
    ["busbar.1", programPage(program, titles, denoJson.version)],
    ...program.commands.map((tool) => [`busbar-${tool.name}.1`, toolPage("busbar", tool, denoJson.version)] as const),
  ]);
}

if (import.meta.main) await run(command);
