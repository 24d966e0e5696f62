/**
 * The command of `man [tool]`: manual pages, made from the commands.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import denoJson from "../../deno.json" with { type: "json" };
import { systemError } from "../../src/core/error.ts";
import { writeOutput } from "../cli/files.ts";
import { print } from "../cli/output.ts";
import { describeProgram, type Tool } from "./describe_program.ts";
import { programPage, toolPage } from "./man_page.ts";

/** The command line of `man`, for a program of these tools. */
export function manCommand(tools: Readonly<Record<string, Tool>>): CommandUnknownOpts {
  return new Command("man")
    .description(
      "Show a manual page of busbar or of a tool; where no terminal is, print it for man -l -; or write all of them.",
    )
    .addArgument(
      new Argument("[tool]", "the tool").choices(["busbar", ...Object.keys(tools)]).default("busbar"),
    )
    .option("--output <folder>", "write every page there, as in ~/.local/share/man/man1")
    .action(async (name, options) => {
      const pages = await manualPages(tools);
      if (options.output === undefined) {
        return await show(pages.get(name === "busbar" ? "busbar.1" : `busbar-${name}.1`)?.trimEnd() ?? "");
      }
      try {
        await Deno.mkdir(options.output, { recursive: true });
      } catch (cause) {
        throw systemError(cause, "make the folder", options.output);
      }
      for (const [file, page] of pages) writeOutput(`${options.output}/${file}`, page);
      print(`${pages.size} pages in ${options.output}`);
    });
}

/** Shows a page with man on a terminal; elsewhere, and where there is no man, it is printed as it is. */
async function show(page: string): Promise<void> {
  if (!Deno.stdout.isTerminal()) return print(page);
  let viewer: Deno.ChildProcess;
  try {
    viewer = new Deno.Command("man", { args: ["-l", "-"], stdin: "piped" }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return print(page);
    throw error;
  }
  const writer = viewer.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(page + "\n"));
    await writer.close();
  } catch (error) {
    // Whoever quits the pager early closes the pipe.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
  const { code } = await viewer.status;
  if (code !== 0) Deno.exitCode = code;
}

/** All pages, by the name of their files. */
export async function manualPages(tools: Readonly<Record<string, Tool>>): Promise<Map<string, string>> {
  const program = await describeProgram(tools);
  const titles = Object.fromEntries(Object.entries(tools).map(([name, { title }]) => [name, title]));
  return new Map([
    ["busbar.1", programPage(program, titles, denoJson.version)],
    ...program.commands.map((tool) => [`busbar-${tool.name}.1`, toolPage("busbar", tool, denoJson.version)] as const),
  ]);
}
