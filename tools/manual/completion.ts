/**
 * The command of `completion <shell>`: a script that completes command lines of busbar, made from its commands.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { SHIPPED } from "../../src/lab/machine_file.ts";
import { print } from "../cli/output.ts";
import { bashCompletion } from "./completion_bash.ts";
import { fishCompletion } from "./completion_fish.ts";
import { zshCompletion } from "./completion_zsh.ts";
import { describeProgram, type Tool } from "./describe_program.ts";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** The command line of `completion`, for a program of these tools. */
export function completionCommand(tools: Readonly<Record<string, Tool>>): CommandUnknownOpts {
  return new Command("completion")
    .description("Print a script that completes command lines of busbar with Tab.")
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(["bash", "zsh", "fish"] as const))
    .addArgument(
      new Argument("[program]", "what to complete: a tool when it has an executable file of its own")
        .choices(["busbar", ...Object.keys(tools)]).default("busbar"),
    )
    .addHelpText(
      "after",
      `
bash  busbar completion bash >~/.local/share/bash-completion/completions/busbar
      or, in ~/.bashrc: source <(busbar completion bash)
zsh   busbar completion zsh >FOLDER/_busbar, for a FOLDER in $fpath
fish  busbar completion fish >~/.config/fish/completions/busbar.fish`,
    )
    .action(async (shell, program) => {
      const busbar = await describeProgram(tools);
      const described = busbar.commands.find(({ name }) => name === program) ?? busbar;
      print(SHELLS[shell](described, SHIPPED).trimEnd());
    });
}
