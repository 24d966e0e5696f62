/**
 * `dax_config env`: the settings as lines for a shell.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { quoteWord } from "../../src/lab/shell_words.ts";
import { VARIABLES } from "../../src/memory/settings.ts";
import { note, print } from "../cli/output.ts";
import { OPTIONS, readSettings } from "./settings.ts";

/** The command line of `dax_config env`. */
export const env: CommandUnknownOpts = new Command("env")
  .description('Print shell lines that set the variables: eval "$(busbar dax_config env --config dax_config.sh)"')
  .option(...OPTIONS.backend)
  .option(...OPTIONS.resource)
  .option(...OPTIONS.config)
  .action(async (options) => {
    const { backend, resource, notes } = await readSettings(options);
    for (const text of notes) note(`dax_config: ${text}`);
    print(`export ${VARIABLES.backend}=${quoteWord(backend.value)}`);
    print(`export ${VARIABLES.resource}=${quoteWord(resource.value)}`);
    const flags = `--cxl_backend=${backend.value} --cxl_memory_resource=${resource.value}`;
    // The guides' scripts write $CXL_BACKEND_FLAGS without quotes: blanks would split it, and patterns would be expanded.
    if (/[\s*?[\]\\]/.test(resource.value)) {
      note('dax_config: the shell would split CXL_BACKEND_FLAGS: pass --cxl_memory_resource="$CXL_MEMORY_RESOURCE"');
      return print("unset CXL_BACKEND_FLAGS");
    }
    print(`export CXL_BACKEND_FLAGS=${quoteWord(flags)}`);
  });
