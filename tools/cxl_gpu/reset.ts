/**
 * `cxl_gpu reset`: gives back what programs left.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { openType2 } from "../../src/type2/open.ts";
import { print } from "../cli/output.ts";
import { formatBytes } from "../../src/core/units.ts";

/** The command line of `cxl_gpu reset`. */
export const reset: CommandUnknownOpts = new Command("reset")
  .description("Destroy the guest's own context with all that is allocated in it. Sessions of programs stay.")
  .argument("<device>", "type2:PATH, the file of cxl_gpu serve")
  .option("--write", "do it")
  .action(async (device, options) => {
    using gpu = openType2(device);
    const before = await gpu.memory();
    if (!options.write) {
      print(
        `${
          formatBytes(before.totalBytes - before.freeBytes)
        } are allocated; with --write the guest's own part is freed`,
      );
      return;
    }
    await gpu.end();
    const after = await gpu.memory();
    print(`${formatBytes(after.freeBytes - before.freeBytes)} were freed, ${formatBytes(after.freeBytes)} are free`);
  });
