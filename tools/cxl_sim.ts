/**
 * `cxl_sim run|sweep|record|convert|topology|presets|check`: a simulator of CXL memory. Options without a word mean `run`.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { run as runTool } from "./cli/run.ts";
import { convert } from "./cxl_sim/convert.ts";
import { record } from "./cxl_sim/record.ts";
import { run } from "./cxl_sim/run.ts";

/** The command line of `cxl_sim`. */
export const command: CommandUnknownOpts = new Command("cxl_sim")
  .description("Simulate CXL memory: what a program, a trace or a generator would see behind switches and expanders.")
  .enablePositionalOptions()
  .addCommand(run, { isDefault: true })
  .addCommand(record)
  .addCommand(convert);

if (import.meta.main) await runTool(command);
