/**
 * `dax_config show|check|env|qemu|namespace`: direct-access memory as programs are told to use it, and what it is made of.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { check } from "./dax_config/check.ts";
import { env } from "./dax_config/env.ts";
import { namespace } from "./dax_config/namespace.ts";
import { qemu } from "./dax_config/qemu.ts";
import { show } from "./dax_config/show.ts";
import { run } from "./cli/run.ts";

/** The command line of `dax_config`. */
export const command: CommandUnknownOpts = new Command("dax_config")
  .description(
    "Settings for direct-access memory: what they are, whether they work, for a shell, for QEMU; namespaces of it.",
  )
  .addCommand(show)
  .addCommand(check)
  .addCommand(env)
  .addCommand(qemu)
  .addCommand(namespace);

if (import.meta.main) await run(command);
