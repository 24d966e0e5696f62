/**
 * `completion <shell>`: a script that completes command lines of busbar, made from its commands.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { SHIPPED } from "../src/lab/machine_file.ts";
import { programFacts, TOOLS } from "./busbar.ts";
import { bashCompletion } from "./manual/completion_bash.ts";
import { fishCompletion } from "./manual/completion_fish.ts";
import { zshCompletion } from "./manual/completion_zsh.ts";
import { print } from "./cli/output.ts";
import { run } from "./cli/run.ts";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** The command line of `completion`. */
export const command: CommandUnknownOpts = new Command("completion")
  .description("Print a script that completes command lines of busbar with Tab.")
  .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(["bash", "zsh", "fish"] as const))
  .addArgument(
    new Argument("[program]", "what to complete: a tool when it has an executable file of its own")
      .choices(["busbar", ...Object.keys(TOOLS)]).default("busbar"),
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
    const busbar = await programFacts();
    const facts = busbar.commands.find(({ name }) => name === program) ?? busbar;
    print(SHELLS[shell](facts, SHIPPED).trimEnd());
  });

if (import.meta.main) await run(command);
