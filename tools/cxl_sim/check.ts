/**
 * `cxl_sim check`: every mistake of a file of settings or of a trace, not the first alone.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { completeConfig } from "../../src/sim/complete_config.ts";
import { checkTrace } from "../../src/sim/host/trace_file.ts";
import { presetSettings } from "../../src/sim/presets.ts";
import { print, printJson } from "../cli/output.ts";
import { readValue } from "./files.ts";

/** The command line of `cxl_sim check`. */
export const check: CommandUnknownOpts = new Command("check")
  .description("Check settings (.json, .yaml) or a trace, and tell all mistakes. Exit 0 none, 2 some.")
  .argument("<file>", "settings or a trace")
  .option("--json", "print one JSON document")
  .action(async (file, options) => {
    const mistakes = /\.(json|ya?ml)$/.test(file)
      ? await configMistakes(file)
      : (await checkTrace(file)).map(({ message }) => message);
    if (mistakes.length > 0) Deno.exitCode = 2;
    if (options.json) return printJson({ schema: "cxl_sim_check/1", file, mistakes });
    print(mistakes.length === 0 ? `${file}: no mistakes` : mistakes.join("\n"));
  });

async function configMistakes(file: string): Promise<readonly string[]> {
  const value = await readValue(file, "the settings");
  const { checkConfig } = await import("../../src/sim/config_file.ts");
  const checked = checkConfig(value);
  if ("mistakes" in checked) return checked.mistakes.map((text) => `${file}: ${text}`);
  const { preset, config } = checked.file;
  try {
    completeConfig({ topology: "(1,(2,3))", ...preset === null ? {} : presetSettings(preset), ...config });
    return [];
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    return [`${file}: ${error.message}`];
  }
}
