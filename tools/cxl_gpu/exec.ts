/**
 * `cxl_gpu exec`: a CUDA program on a Type 2 GPU.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { cudaShimFolder } from "../../ffi/build.ts";
import { BusbarError } from "../../src/core/error.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { formatPciAddress } from "../../src/core/pci_address.ts";
import { refuseStaticCudart } from "../../src/gpu/soft/program.ts";
import { interruption } from "../cli/run.ts";
import { runOnDriver } from "../soft_cuda/program.ts";

/** What CXL_GPU holds for a device. */
function deviceVariable(device: string): string {
  const locator = parseLocator(device);
  if (locator.kind === "type2") return locator.path.startsWith("/") ? locator.path : `${Deno.cwd()}/${locator.path}`;
  if (locator.kind === "pci" && locator.host === null) return formatPciAddress(locator.address);
  throw new BusbarError("usage", `'${device}' is no device that a program can reach`, {
    hint: "it takes type2:PATH, the file of cxl_gpu serve, or the PCI address of an ivshmem function",
  });
}

/** The command line of `cxl_gpu exec`. */
export const exec: CommandUnknownOpts = new Command("exec")
  .description("Run a program that was linked with -cudart shared, or that calls the driver itself, on a device.")
  .argument("<command...>", "after --: the program and its arguments")
  .option("--device <locator>", "type2:PATH, or a PCI address; by default the first one of this machine")
  .option("--debug", "log each command on standard error")
  .action(async (argv, options) => {
    refuseStaticCudart(argv[0] ?? "");
    const settings: Record<string, string> = {};
    if (options.device !== undefined) settings["CXL_GPU"] = deviceVariable(options.device);
    if (options.debug) settings["CXL_CUDA_DEBUG"] = "1";
    Deno.exitCode = await runOnDriver(argv, cudaShimFolder(), settings, interruption);
  });
