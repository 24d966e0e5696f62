/**
 * `cxl_sim presets`: devices whose figures are known, and where from.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { PRESETS } from "../../src/sim/presets.ts";
import { print, printJson } from "../cli/output.ts";
import { columns } from "../cli/table.ts";

/** The command line of `cxl_sim presets`. */
export const presets: CommandUnknownOpts = new Command("presets")
  .description("List devices whose figures are known: what they state, where that is from and what it includes.")
  .option("--json", "print one JSON document")
  .action((options) => {
    if (options.json) {
      const list = Object.entries(PRESETS).map(([name, preset]) => ({ name, ...preset }));
      return printJson({ schema: "cxl_sim_presets/1", presets: list });
    }
    const rows = Object.entries(PRESETS).map(([name, preset]) => [
      name,
      preset.title,
      preset.latencyNs === null
        ? `${preset.dramLatencyNs ?? preset.switchNs} ns`
        : `${Number(preset.latencyNs[0].toFixed(1))} ns`,
      preset.bandwidthGBs === null ? "-" : `${Number(preset.bandwidthGBs[0].toFixed(2))} GB/s`,
      `${preset.source}: ${preset.includes}`,
    ]);
    print(columns([["name", "device", "latency", "bandwidth", "source: what it includes"], ...rows]).join("\n"));
  });
