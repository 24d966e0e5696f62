/**
 * `cxl_sim run|sweep|record|convert|serve|client|topology|presets|check`: a simulator of CXL memory. Options without a word mean `run`.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { run as runTool } from "./cli/run.ts";
import { withOwnSchema } from "./cli/subcommand.ts";
import { check } from "./cxl_sim/check.ts";
import { client } from "./cxl_sim/client.ts";
import { convert } from "./cxl_sim/convert.ts";
import { presets } from "./cxl_sim/presets.ts";
import { record } from "./cxl_sim/record.ts";
import { run } from "./cxl_sim/run.ts";
import { serve } from "./cxl_sim/serve.ts";
import { sweep } from "./cxl_sim/sweep.ts";
import { topology } from "./cxl_sim/topology.ts";
import { simSchema } from "./render/sim/schemas.ts";

/** The command line of `cxl_sim`. */
export const command: CommandUnknownOpts = new Command("cxl_sim")
  .description("Simulate CXL memory: what a program, a trace or a generator would see behind switches and expanders.")
  .enablePositionalOptions()
  .addCommand(run, { isDefault: true })
  .addCommand(sweep)
  .addCommand(withOwnSchema(record, () => simSchema("record")))
  .addCommand(withOwnSchema(convert, () => simSchema("convert")))
  .addCommand(withOwnSchema(serve, () => simSchema("serve")))
  .addCommand(withOwnSchema(client, () => simSchema("client")))
  .addCommand(withOwnSchema(topology, () => simSchema("topology")))
  .addCommand(withOwnSchema(presets, () => simSchema("presets")))
  .addCommand(withOwnSchema(check, () => simSchema("check")));

if (import.meta.main) await runTool(command);
