/**
 * `cxl_gpu`: CXL Type 2 GPUs, and the software device that guests see as one.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { run } from "./cli/run.ts";
import { bench } from "./cxl_gpu/bench.ts";
import { coherency } from "./cxl_gpu/coherency.ts";
import { copy } from "./cxl_gpu/copy.ts";
import { decode } from "./cxl_gpu/decode.ts";
import { exec } from "./cxl_gpu/exec.ts";
import { info } from "./cxl_gpu/info.ts";
import { list } from "./cxl_gpu/list.ts";
import { reset } from "./cxl_gpu/reset.ts";
import { runKernel } from "./cxl_gpu/run.ts";
import { serve } from "./cxl_gpu/serve.ts";

/** The command line of `cxl_gpu`. */
export const command: CommandUnknownOpts = new Command("cxl_gpu")
  .description("See and use a CXL Type 2 GPU, or give guests one in software.")
  .addCommand(list)
  .addCommand(info)
  .addCommand(runKernel)
  .addCommand(exec)
  .addCommand(copy)
  .addCommand(bench)
  .addCommand(coherency)
  .addCommand(decode)
  .addCommand(reset)
  .addCommand(serve);

if (import.meta.main) await run(command);
