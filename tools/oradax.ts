/**
 * `oradax info|scan|extract|select|translate|decode|bench`: the Data Analytics Accelerator, of this machine or in software.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { decodeCcb } from "../src/oradax/ccb.ts";
import { openDefaultOradax, openOradax } from "../src/oradax/open.ts";
import { bench } from "./oradax/bench.ts";
import { vectorCommands } from "./oradax/vectors.ts";
import { ccbJson, ccbLines, infoJson, infoLines, oradaxSchema } from "./render/oradax/oradax.ts";
import { print, printJson } from "./cli/output.ts";
import { withSchema } from "./cli/subcommand.ts";
import { run } from "./cli/run.ts";

const info: CommandUnknownOpts = new Command("info")
  .description("Tell which accelerator there is, and which version.")
  .option("--device <locator>", "soft:oradax or /dev/oradax1; the machine's own if it has one")
  .option("--json", "print one JSON document")
  .action((options) => {
    using device = options.device === undefined ? openDefaultOradax() : openOradax(options.device);
    if (options.json) printJson(infoJson(device));
    else print(infoLines(device).join("\n"));
  });

const decode: CommandUnknownOpts = new Command("decode")
  .description("Explain a Coprocessor Control Block, word by word.")
  .argument("<hex...>", "64 or 128 bytes in hexadecimal; blanks, _ and : between them are skipped")
  .option("--json", "print one JSON document")
  .action((words, options) => {
    const digits = words.join("").replace(/[\s_:]/g, "").replace(/^0x/i, "");
    if (!/^([0-9a-f]{2}){1,128}$/i.test(digits)) {
      throw new BusbarError("usage", "that is no CCB: up to 128 bytes, two hexadecimal digits each", {
        operation: "decode",
        hint: "oradax decode 0002030C1000201F 0000000000000000 …",
      });
    }
    const ccb = decodeCcb(Uint8Array.fromHex(digits));
    if (options.json) printJson(ccbJson(ccb));
    else print(ccbLines(ccb).join("\n"));
  });

/** The command line of `oradax`. */
export const command: CommandUnknownOpts = vectorCommands.reduce<CommandUnknownOpts>(
  (tool, one) => tool.addCommand(one),
  withSchema(
    new Command("oradax")
      .description("Scan, extract, select and translate packed data by the Data Analytics Accelerator, or in software.")
      .action((_, tool) => {
        throw new BusbarError("usage", "what is to be done?", { hint: tool.helpInformation().trimEnd() });
      }),
    oradaxSchema,
  )
    .addCommand(info)
    .addCommand(decode)
    .addCommand(bench),
);

if (import.meta.main) await run(command);
