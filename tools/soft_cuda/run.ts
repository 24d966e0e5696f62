/**
 * `soft_cuda run`: a program with the software CUDA driver in front of NVIDIA's.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { softCudaFolder } from "../../ffi/build.ts";
import { softCudaSettings } from "../../src/gpu/driver.ts";
import { refuseStaticCudart } from "../../src/gpu/soft/program.ts";
import { interruption } from "../cli/run.ts";
import { runOnDriver } from "./program.ts";

/** The command line of `soft_cuda run`. */
export const run: CommandUnknownOpts = new Command("run")
  .description("Run a program that was linked with -cudart shared, or that calls the driver itself.")
  .argument("<command...>", "after --: the program and its arguments")
  .option("--profile <card>", "the kind of card: sm_75, sm_86, sm_90 or sm_100; short for --device soft:cuda?profile=…")
  .option("--device <locator>", "the device, as in soft:cuda?profile=sm_86&memory=4GiB&devices=2")
  .action(async (command, options) => {
    const settings = softCudaSettings(options.device ?? "soft:cuda", options.profile);
    refuseStaticCudart(command[0] ?? "");
    Deno.exitCode = await runOnDriver(command, softCudaFolder(), { BUSBAR_SOFT_CUDA: settings }, interruption);
  });
