/**
 * `man [tool]`: manual pages, made from the commands.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { run } from "./cli/run.ts";
import { TOOLS } from "./manual/catalog.ts";
import { manCommand } from "./manual/man.ts";

/** The command line of `man`. */
export const command: CommandUnknownOpts = manCommand(TOOLS);

if (import.meta.main) await run(command);
