/**
 * `completion <shell>`: a script that completes command lines of busbar, made from its commands.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { run } from "./cli/run.ts";
import { TOOLS } from "./manual/catalog.ts";
import { completionCommand } from "./manual/completion.ts";

/** The command line of `completion`. */
export const command: CommandUnknownOpts = completionCommand(TOOLS);

if (import.meta.main) await run(command);
