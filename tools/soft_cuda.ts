/**
 * `soft_cuda`: programs and PTX on the software CUDA device.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { ptx } from "./soft_cuda/ptx.ts";
import { run as runProgram } from "./soft_cuda/run.ts";
import { run } from "./cli/run.ts";

/** The command line of `soft_cuda`. */
export const command: CommandUnknownOpts = new Command("soft_cuda")
  .description("Run CUDA programs without a GPU, and see what a PTX file holds.")
  .addCommand(runProgram)
  .addCommand(ptx);

if (import.meta.main) await run(command);
