/**
 * `cxl_gpu info`: what a device is.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { openType2 } from "../../src/type2/open.ts";
import { findQuirks } from "../../src/type2/quirks.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { documentSchema } from "../cli/run.ts";
import { infoDocument, infoLines, infoSchema, quirkLines } from "../render/type2/info.ts";

/** The command line of `cxl_gpu info`. */
export const info: CommandUnknownOpts = new Command("info")
  .description("Show generation, features, memory and transport of a device.")
  .argument("<device>", "soft:type2, or type2:PATH, the file of cxl_gpu serve")
  .option("--quirks", "look for ways in which it differs from the protocol: allocates and frees a page")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [infoSchema()], "info"));
    using gpu = openType2(device);
    const quirks = options.quirks ? await findQuirks(gpu) : null;
    if (options.json) printJson(infoDocument(gpu, quirks));
    else print([...infoLines(gpu), ...quirkLines(quirks)].join("\n"));
  });
